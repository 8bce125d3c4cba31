"""Uploads and results: bounded, readable by nobody else, gone after an hour and at the end."""

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bench.page.driver import STARTED, Server
from glow_jax.cli.ui import bundled
from glow_jax.cli.ui.guard import MAX_UPLOAD_BYTES
from glow_jax.cli.ui.private_folder import KEPT_S, PREFIX, SWEEP_S
from tests.support.page_calls import PageCalls
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow
END_S = 30.0
SMILE = bundled.expressions()["smile"]


@contextmanager
def started(parent: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A page of a process of its own, and its address; its folder is made in `parent`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "glow_jax.cli", "ui", "--port", "0"],
        env=os.environ | {"TMPDIR": str(parent), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = STARTED.match(process.stdout.readline())
        assert found is not None
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str], number: int) -> str:
    """Send a signal; returns what the page writes to standard error, once it has ended."""
    process.send_signal(number)
    _, said = process.communicate(timeout=END_S)
    assert process.returncode == 0, said
    return said


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_an_hour_and_the_end(tmp_path: Path) -> None:
    """Uploads and results lie in one folder; Ctrl-C removes it; before, an hour removes a file."""
    with started(tmp_path) as (process, url), PageCalls(url) as page:
        (folder,) = tmp_path.glob(f"{PREFIX}*")
        assert folder.stat().st_mode & 0o777 == 0o700
        upload = Path(page.upload(SMILE)[0]["path"])
        assert not page.press("draw", {}).line
        assert upload.is_relative_to(folder) and {"smile.png", "samples.zip"} <= files_in(folder)
        elsewhere = [path for path in tmp_path.rglob("*") if not path.is_relative_to(folder)]
        assert not elsewhere
        old = time.time() - KEPT_S - 1
        os.utime(upload, (old, old))
        deadline = time.monotonic() + 2 * SWEEP_S
        while upload.exists() and time.monotonic() < deadline:
            time.sleep(1)
        assert not upload.exists() and "samples.zip" in files_in(folder)
        assert ended(process, signal.SIGINT).endswith("uploads and results are deleted\n")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_end_amid_an_animation(tmp_path: Path, number: int) -> None:
    with started(tmp_path) as (process, url), PageCalls(url) as page:
        fields = {"clip-bundled": True, "animate-target": page.upload(SMILE)[0]}
        animating = threading.Thread(target=broken_off, args=(page, fields), daemon=True)
        animating.start()
        folder = next(tmp_path.glob(f"{PREFIX}*"))
        deadline = time.monotonic() + 120
        while not list(folder.glob("animations/*/*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(folder.glob("animations/*/*")), "the animation has not begun"
        said = ended(process, number)
        assert "Traceback" not in said, said
        assert not list(tmp_path.iterdir())


def broken_off(page: PageCalls, fields: dict[str, object]) -> None:
    """Ask for an animation whose answer does not arrive."""
    import httpx  # comes with the extra `ui`

    try:
        page.press("animate-go", fields)
    except Exception as error:
        assert isinstance(error, httpx.TransportError | RuntimeError), error


def test_uploads_are_bounded(tmp_path: Path, server: Server) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(SMILE.read_bytes() + bytes(20 * 10**6))
    with PageCalls(server.url) as page:
        line = page.press("edit-go", {"edit-picture": page.upload(large)[0]}).line
        assert re.fullmatch(r"large\.png: \d+ bytes; at most 20000000 in a picture", line)
        fields = {"expression": page.upload(SMILE)[0], "target-bundled": "person-16"}
        line = page.press("go", fields | {"neutral": page.upload(SMILE) * 17}).line
        assert line == "17 pictures of one person; at most 16"
        table = tmp_path / "job.csv"
        table.write_bytes(b"expression,source,target,alpha\n" + b"a,b,c,1\n" * 200_000)
        fields = {"table": page.upload(table)[0], "batch-pictures": page.upload(SMILE)}
        assert page.press("run", fields).line == "job.csv: 1600031 bytes; at most 1000000"
        fields = {"table": page.upload(SMILE)[0], "batch-pictures": page.upload(SMILE) * 501}
        line = page.press("run", fields).line
        assert line == "501 files; at most 500; pack them into a ZIP"
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.putrequest("POST", "/gradio_api/upload")
    connection.putheader("Content-Length", str(MAX_UPLOAD_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
