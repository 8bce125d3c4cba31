"""Make the pictures of the page in its guide: `python -m bench.page.screenshots`.

| file of docs/images | what |
| --- | --- |
| page.png | the tab Transfer with a result, 1280 pixels wide |
| page_edit.png | the tab Edit with a smile, 1280 pixels wide |
| page_phone.png | both tabs beside each other, 390 pixels wide each, light and dark |
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from bench.page import actions, driver

OUT = Path(__file__).parents[2] / "docs" / "images"
COLOURS, DITHER = 256, Image.Dither.FLOYDSTEINBERG
SETTLED_MS = 1500  # the last of a result to appear is the command line
GAP = 24  # pixels between two pictures


def transfer(page: Any) -> None:
    """Transfer a photographed smile to a photograph, and wait for what the judge measures."""
    actions.choose(page, "expression", 7)
    actions.choose(page, "target", 4)
    actions.transferred(page)
    _settled(page, "transfer")


def edit(page: Any) -> None:
    """Set the happiness of a rendered person."""
    actions.go_to(page, "Edit")
    actions.choose(page, "edit-picture", 0)
    actions.opened_for_edit(page)
    page.locator("#set-happiness").click()
    page.locator("#edit-command pre").filter(has_text="AU12+0.8").wait_for()
    _settled(page, "edit")


def _settled(page: Any, tab: str) -> None:
    page.locator(f"#{tab}-figures .figures").wait_for(timeout=actions.FIRST_MS)
    page.wait_for_timeout(SETTLED_MS)
    page.mouse.move(0, 0)


def taken(page: Any, below: str = "") -> Image.Image:
    """A screenshot of the whole page, or of one window that begins at the element `below`."""
    if below:
        page.locator(below).evaluate("e => e.scrollIntoView()")
        page.wait_for_timeout(SETTLED_MS)
    return Image.open(io.BytesIO(page.screenshot(full_page=not below)))


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size in a row."""
    width, height = pictures[0].size
    row = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height), "white")
    for number, picture in enumerate(pictures):
        row.paste(picture, (number * (width + GAP), 0))
    return row


def pictures(browser: Any, url: str) -> dict[str, Image.Image]:
    """The pictures by the names of their files."""
    found, phones = {}, []
    with driver.opened(browser, url, viewport=driver.DESKTOP) as (page, _):
        for name, step in (("page.png", transfer), ("page_edit.png", edit)):
            step(page)
            found[name] = taken(page)
    for tab, step, scheme in (("transfer", transfer, "light"), ("edit", edit, "dark")):
        how = {"viewport": driver.PHONE, "color_scheme": scheme}
        with driver.opened(browser, url, **how) as (page, _):
            step(page)
            phones.append(taken(page, f"#{tab}-result"))
    return found | {"page_phone.png": beside(phones)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.page.screenshots", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder (default: docs/images)")
    args = parser.parse_args(argv)
    if why := driver.missing():
        parser.error(why)
    args.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        driver.served(Path(folder), Path(folder) / "log") as server,
        driver.chromium() as browser,
    ):
        for name, picture in pictures(browser, server.url).items():
            few = picture.convert("RGB").quantize(COLOURS)
            dithered = picture.convert("RGB").quantize(palette=few, dither=DITHER)
            dithered.save(args.out / name, optimize=True)
            print(args.out / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
