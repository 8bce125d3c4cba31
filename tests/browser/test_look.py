"""Every tab at a desktop's and a phone's width, light and dark."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.page import actions
from bench.page.driver import DESKTOP, PHONE

pytestmark = pytest.mark.slow
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
    for tab in actions.TABS:
        actions.at_work(page, tab, edited=1)
        page.wait_for_timeout(400)
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= viewport["width"], f"{tab} is {width} pixels wide"
        assert page.evaluate(FAINT) == [], tab
        consent = page.locator(".consent:visible")
        assert consent.count() == (tab in UPLOADS)
        if tab in UPLOADS:
            assert "people who agreed to it" in consent.inner_text()
