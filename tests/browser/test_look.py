"""Every tab at a desktop's and a phone's width, light and dark, and with the keyboard alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.page import actions
from bench.page.driver import DESKTOP, PHONE

pytestmark = pytest.mark.slow
TABS = ("Transfer", "Edit", "Animate", "Batch", "Sample")
FAINT = (Path(actions.__file__).parent / "contrast.js").read_text()
UPLOADS = ("Transfer", "Edit", "Animate", "Batch")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_tab_can_be_read(
    open_page: Callable[..., Any], scheme: str, viewport: dict[str, int]
) -> None:
    page = open_page(viewport=viewport, color_scheme=scheme)
    light = "getComputedStyle(document.body).backgroundColor"
    assert (page.evaluate(light) == "rgb(255, 255, 255)") == (scheme == "light")
    for tab in TABS:
        actions.go_to(page, tab)
        if tab == "Transfer":
            actions.choose(page, "expression", 2)
            actions.choose(page, "target", 0)
            actions.transferred(page)
            page.locator("#transfer-figures .figures").wait_for(timeout=actions.FIRST_MS)
        if tab == "Edit":
            actions.choose(page, "edit-picture", 1)
            actions.opened_for_edit(page)
        page.wait_for_timeout(400)
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= viewport["width"], f"{tab} is {width} pixels wide"
        assert page.evaluate(FAINT) == [], tab
        consent = page.locator(".consent:visible")
        assert consent.count() == (tab in UPLOADS)
        if tab in UPLOADS:
            assert "people who agreed to it" in consent.inner_text()


def tab_to(page: Any, inside: str) -> None:
    """Press the tabulator until what has the focus is inside an element."""
    at = f"() => document.activeElement.closest({inside!r}) != null"
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(at):
            return
    raise AssertionError(f"{inside} is not reached with the tabulator")


def test_the_keyboard_is_enough(page: Any) -> None:
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
