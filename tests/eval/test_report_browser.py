"""The report in a real browser: headless Chromium, where one is installed.

Screens of 1280 and 390 pixels, light and dark, and print: nothing runs over its edge, labels do
not touch, nothing is asked of the network. EVAL_REPORT_SHOTS=folder keeps the pictures.
"""

import base64
import io
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eval.protocol import figures
from eval.report import Context, write_report
from eval.table import AUS
from tests.support.made_up_scores import made_up, picture, without

BINARY = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BINARY is None, reason="no chromium here to look at the page with"),
]
SECONDS = 60

OVERFLOWS = """
[...document.querySelectorAll("section, .card, figure, figcaption, header, dl, .cards, p")]
  .filter(e => e.scrollWidth > e.clientWidth + 1
    || e.getBoundingClientRect().right > innerWidth + 1)
  .filter(e => !e.closest(".scroll")).map(e => e.outerHTML.slice(0, 120))
"""
CLIPPED = """
[...document.querySelectorAll("svg.chart text")].filter(t => {
  const a = t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect();
  return a.left < b.left - 1 || a.right > b.right + 1
    || a.top < b.top - 1 || a.bottom > b.bottom + 1;
}).map(t => t.textContent)
"""
TOUCHING = """
[...document.querySelectorAll("svg.chart, .card")].flatMap(box => {
  const all = [...box.querySelectorAll("text, p, h3")].map(t => [t.getBoundingClientRect(), t]);
  return all.flatMap(([a, t], i) => all.slice(0, i).filter(([b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4
  ).map(([_, u]) => t.textContent + " | " + u.textContent));
})
"""
SMALLEST = """
Math.min(...[...document.querySelectorAll("svg.chart text")].map(t =>
  12 * t.ownerSVGElement.getBoundingClientRect().width / 420))
"""


class Browser:
    """Chromium, driven by its DevTools protocol over two pipes: JSON, each ended by a zero byte."""

    def __init__(self, binary: str, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"]
        # it speaks on descriptors 3 and 4
        move = f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$0" "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", move, binary, *options, "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._sent, self._read, self._session = 0, b"", ""
        self.events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and wait for its answer; what else arrives is kept in `events`."""
        self._sent += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._sent, "method": method, "params": params, **session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._sent:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            more = os.read(self._in, 1 << 20)
            assert more, "the browser is gone"
            self._read += more
        message, self._read = self._read.split(b"\0", 1)
        return json.loads(message)

    def open(self, page: Path, width: int, scheme: str, medium: str = "screen") -> None:
        """Load a page on a screen of that width, in pixels."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=medium, features=wanted)
        self.events = []
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def ask(self, script: str) -> Any:
        """The value of an expression in the page; its content policy does not bind us."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened, data in the page itself left out."""
        asked = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in asked]
        return [url for url in urls if not url.startswith("data:")]

    def shot(self) -> Image.Image:
        """The whole page, also what is below the screen."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB")

    def pdf(self) -> bytes:
        """The page as printed."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True)["data"])

    def close(self) -> None:
        """End it, also if it hangs."""
        os.close(self._out)  # it ends when its pipe does
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert BINARY
    made = Browser(BINARY, tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


LONG = "a person with a long name " * 4 + "x" * 60
CASES = {
    "full": made_up(("/e/smile.png", "/e/blink.png", f"/e/{LONG}.png"), ("ann", "bob", LONG)),
    "nothing arrives": made_up(gain=0.0),
    "no identity": without(made_up(), identity=True),
    "one alpha": made_up(alphas=(0.5,)),
    "thirty alphas": made_up(alphas=tuple(np.linspace(0.1, 1, 30))),
    "no output": made_up(()),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    red, blue = picture(folder / "red.png", "red"), picture(folder / "blue.png", "blue")
    for i in range(0, 40, 2):  # every other picture is missing
        picture(folder / f"{i}.png", "green")
    context = Context(
        title=f"Judged: {LONG}",
        root=folder,
        expressions=lambda _: red,
        target_references=lambda _: blue,
        identity={"model": "Dlib", "threshold": 0.55, "weights": "w" * 90},
        reader="rendered",
        reader_quality=[{"au": au, "r": 0.9, "mae": 0.3, "slope": 0.8} for au in AUS],
        failures=[(LONG, "read", "cannot identify image file " + "z" * 90)],
        command="glow-jax eval " + "/a/very/long/path" * 12,
    )
    return {
        case: write_report(folder / case, scores, figures(scores, resamples=50), context=context)
        for case, scores in CASES.items()
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (320, "light")])
def test_page_fits_its_screen(
    browser: Browser, pages: dict[str, Path], case: str, width: int, scheme: str
) -> None:
    browser.open(pages[case], width, scheme)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask(OVERFLOWS) == []
    assert browser.ask(CLIPPED) == []
    assert browser.ask(TOUCHING) == []
    if case != "no output" and width >= 390:
        assert browser.ask(SMALLEST) >= 9.5  # pixels of a chart's text
    assert browser.requests() == [pages[case].as_uri()]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_drawn_in_its_scheme(
    browser: Browser, pages: dict[str, Path], width: int, scheme: str
) -> None:
    browser.open(pages["full"], width, scheme)
    shot = browser.shot()
    keep(f"{scheme}-{width}.png", shot)
    grey = np.asarray(shot.convert("L"), float)
    assert np.median(grey) > 240 if scheme == "light" else np.median(grey) < 40
    parts = np.array_split(grey, 12)  # something is drawn all the way down
    assert min(part.std() for part in parts) > 5
    colours = np.asarray(shot).reshape(-1, 3)
    for wanted in ((255, 0, 0), (0, 0, 255), (0, 128, 0)):  # expression, reference, output
        assert (np.abs(colours - np.array(wanted)).max(axis=1) < 12).sum() > 5000


@pytest.mark.parametrize("case", CASES)
def test_print_is_light_and_fits_the_paper(
    browser: Browser, pages: dict[str, Path], case: str
) -> None:
    width = 688  # A4 less its margins, in pixels of 1/96 inch
    browser.open(pages[case], width, "dark", medium="print")
    assert browser.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.ask("document.documentElement.scrollWidth") <= width
    assert browser.ask(CLIPPED) == []
    wide = f"""[...document.querySelectorAll("table")]
        .filter(t => t.getBoundingClientRect().right > {width} + 1).map(t => t.className)"""
    assert browser.ask(wide) == []
    paper = browser.pdf()
    keep(f"print-{case}.pdf", paper)
    assert paper.startswith(b"%PDF") and len(paper) > 10_000


def keep(name: str, made: Image.Image | bytes) -> None:
    """Leave a picture where someone wants to look at it."""
    folder = os.environ.get("EVAL_REPORT_SHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        if isinstance(made, Image.Image):
            made.save(data, "png")
        (Path(folder) / name).write_bytes(made if isinstance(made, bytes) else data.getvalue())
