"""The keyboard alone: every control is reached in order, shows that it has the focus, and acts."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.page import actions

pytestmark = pytest.mark.slow
NUMBERED = (Path(actions.__file__).parent / "controls.js").read_text()
# Of the control with the focus: its number, and where it is; a picture's label and the handle of a
# result stand for inputs that cannot be seen.
FOCUSED = """() => {
  const e = document.activeElement;
  const box = (e.closest('label, .wipe') ?? e).getBoundingClientRect();
  return [Number(e.dataset.number ?? -1), box.x, box.y, box.width, box.height, e.outerHTML];
}"""
AROUND = 6  # pixels
CHANGED, AT_LEAST = 40, 40  # of 255, of a pixel that shows the focus; number of such pixels


def pixels_of_focus(page: Any, box: tuple[float, ...]) -> int:
    """Pixels in and around a control that change when it loses the focus."""
    x, y, width, height = box
    size = page.viewport_size
    left, top = max(0, x - AROUND), max(0, y - AROUND)
    clip = {
        "x": left,
        "y": top,
        "width": min(x + width + AROUND, size["width"]) - left,
        "height": min(y + height + AROUND, size["height"]) - top,
    }
    shots = []
    for step in ("() => 0", "() => document.activeElement.blur()"):
        page.evaluate(step)
        image = Image.open(io.BytesIO(page.screenshot(clip=clip, animations="disabled")))
        shots.append(np.asarray(image.convert("RGB")).astype(int))
    return int((np.abs(shots[0] - shots[1]).max(-1) > CHANGED).sum())


@pytest.mark.parametrize("tab", actions.TABS)
def test_every_control_is_reached_in_order_and_shows_it(page: Any, tab: str) -> None:
    actions.at_work(page, tab, edited=6)
    for opener in page.locator(".label-wrap:visible").all():
        opener.press("Enter")
    page.wait_for_timeout(700)
    count = page.evaluate(NUMBERED)
    assert count >= 9
    page.get_by_role("tab", name="Transfer").focus()
    reached, unseen = [0], []
    while len(reached) < count:
        page.keyboard.press("Tab")
        number, *box, html = page.evaluate(FOCUSED)
        reached.append(number)
        if pixels_of_focus(page, tuple(box)) < AT_LEAST:
            unseen.append(html[:100])
    assert reached == list(range(count))
    assert not unseen, unseen


def tab_to(page: Any, inside: str) -> None:
    """Press the tabulator until what has the focus is inside an element."""
    at = f"() => document.activeElement.closest({inside!r}) != null"
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(at):
            return
    raise AssertionError(f"{inside} is not reached with the tabulator")


def test_a_result_without_the_mouse(page: Any) -> None:
    """From the top of the page to a result, its slider, the handle, and another tab."""
    tab_to(page, "#expression-bundled")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    tab_to(page, "#target-bundled")
    page.keyboard.press("Space")
    tab_to(page, "#go")
    page.keyboard.press("Enter")
    page.locator("#transfer-result img.after").wait_for(timeout=actions.FIRST_MS)
    tab_to(page, "#transfer-result")
    page.keyboard.press("ArrowRight")
    cut = "document.querySelector('#transfer-result').style.getPropertyValue('--cut')"
    assert page.evaluate(cut) == "51%"
    tab_to(page, "#alpha")
    before = page.locator("#transfer-result img.after").get_attribute("src")
    while page.evaluate("document.activeElement.type") != "range":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        actions.DIFFERS, arg=["#transfer-result img.after", before], timeout=actions.SOON_MS
    )
    page.locator("#transfer-figures .figures").wait_for(timeout=actions.FIRST_MS)
    tab_to(page, "#transfer-file-1")
    page.get_by_role("tab", name="Transfer").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#edit-go").wait_for()
    page.keyboard.press("Home")
    page.locator("#go").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#edit-go").wait_for()
    tab_to(page, "#edit-picture-bundled")
    page.keyboard.press("Space")
    tab_to(page, "#edit-go")
    page.keyboard.press("Enter")
    tab_to_slider = page.locator("#AU12 input[type=range]")
    tab_to_slider.wait_for(timeout=actions.FIRST_MS)
    tab_to(page, "#AU12")
    while page.evaluate("document.activeElement.type") != "range":
        page.keyboard.press("Tab")
    page.keyboard.press("End")
    page.locator("#edit-command pre").filter(has_text="AU12+1.2").wait_for()
