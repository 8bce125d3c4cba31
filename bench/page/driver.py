"""Serve the page in a process of its own, and open it in a headless Chromium.

The browser is Debian's (/usr/bin/chromium), driven by Playwright; nothing is downloaded.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
TIMEOUT_MS = 60_000  # of what takes no time on an idle machine
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}  # pixels
END_S = 120  # to delete many files on a busy machine
STARTED = re.compile(r"page: (http://\S+)")


class Server(NamedTuple):
    """A page that is served.

    Attributes:
        url: of the page.
        pid: of the process.
    """

    url: str
    pid: int

    @property
    def rss_mb(self) -> float:
        """Resident memory of the process, MB."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert match is not None
        return int(match[1]) / 1000


def missing() -> str:
    """What a browser test needs and this machine lacks, in words; "" if it lacks nothing."""
    from importlib.util import find_spec

    lacking = [name for name in ("gradio", "playwright") if find_spec(name) is None]
    if not CHROMIUM.exists():
        lacking.append(str(CHROMIUM))
    return f"needs {' and '.join(lacking)} (extras ui and test-ui)" if lacking else ""


@contextlib.contextmanager
def served(folder: Path, log: Path, *words: str) -> Iterator[Server]:
    """`glow-jax ui` with a free port; ended by SIGINT.

    Args:
        folder: that the process takes for the system's folder for temporary files.
        log: gets what the process writes to standard error.
        words: further options.

    Raises:
        RuntimeError: it does not start.
    """
    command = [sys.executable, "-m", "glow_jax.cli", "ui", "--port", "0", *words]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with open(log, "wb") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = STARTED.match(line)
            if match is None:
                raise RuntimeError(f"the page does not start: {line}{log.read_text()}")
            yield Server(match[1], process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=[*FLAGS], headless=True
        )
        try:
            yield browser
        finally:
            browser.close()


class Seen(NamedTuple):
    """What a browser reported of a page.

    Attributes:
        requests: addresses that it asked for.
        errors: uncaught errors of scripts, and messages of the console of kind "error".
    """

    requests: list[str]
    errors: list[str]


@contextlib.contextmanager
def opened(browser: Any, url: str, **how: Any) -> Iterator[tuple[Any, Seen]]:
    """The page in a new context of the browser, such as another user has.

    Args:
        browser: from `chromium`.
        url: of the page.
        how: settings of the context, such as `viewport` and `color_scheme`.
    """
    context = browser.new_context(accept_downloads=True, **how)
    context.set_default_timeout(TIMEOUT_MS)
    seen = Seen([], [])
    try:
        page = context.new_page()
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on(
            "console",
            lambda said: seen.errors.append(said.text) if said.type == "error" else None,
        )
        page.goto(url)
        page.get_by_role("tab", name="Transfer").wait_for()
        yield page, seen
    finally:
        context.close()


def foreign(seen: Seen, url: str) -> list[str]:
    """The requests that went anywhere but to the page's own server."""
    own = (url, "data:", "blob:")
    return [address for address in seen.requests if not address.startswith(own)]
