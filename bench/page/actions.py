"""What a person does on the page: choose, press, move a slider, wait."""

import time
from pathlib import Path
from typing import Any

TABS = ("Transfer", "Edit", "Animate", "Batch", "Sample")
FIRST_MS = 240_000  # a program may be compiled
SOON_MS = 60_000
# Sources of the picture that a slider changes: its new value shows that the page has answered.
EDITED = "#{}-result img.after"
DIFFERS = "([where, before]) => document.querySelector(where)?.src != before"


def go_to(page: Any, tab: str) -> None:
    """Open a tab by its name."""
    page.get_by_role("tab", name=tab, exact=True).click()


def choose(page: Any, key: str, number: int) -> None:
    """Choose one of the bundled pictures below the box `key`, counted from 0."""
    page.locator(f"#{key}-bundled label").nth(number).click()


def at_work(page: Any, tab: str, edited: int) -> None:
    """Open a tab; in Transfer and Edit with a result, of which Edit's is of picture `edited`."""
    go_to(page, tab)
    if tab == "Transfer":
        choose(page, "expression", 2)
        choose(page, "target", 0)
        transferred(page)
        page.locator("#transfer-figures .figures").wait_for(timeout=FIRST_MS)
    if tab == "Edit":
        choose(page, "edit-picture", edited)
        opened_for_edit(page)


def upload(page: Any, key: str, *paths: Path) -> None:
    """Put files into the box `key`, and wait until they are sent."""
    with page.expect_response(lambda answer: "/upload" in answer.url):
        page.locator(f"#{key} input[type=file]").first.set_input_files([str(p) for p in paths])
    page.wait_for_timeout(300)


def transferred(page: Any) -> float:
    """Press Transfer; returns the seconds until the result is shown."""
    return _pressed(page, "#go", "transfer")


def opened_for_edit(page: Any) -> float:
    """Press Edit; returns the seconds until the sliders are there."""
    return _pressed(page, "#edit-go", "edit")


def _pressed(page: Any, button: str, tab: str) -> float:
    where = EDITED.format(tab)
    before = page.evaluate("where => document.querySelector(where)?.src", where)
    start = time.perf_counter()
    page.locator(button).click()
    page.wait_for_function(DIFFERS, arg=[where, before], timeout=FIRST_MS)
    return time.perf_counter() - start


def moved(page: Any, tab: str, slider: str, key: str = "ArrowRight") -> float:
    """Move a slider by a key; returns the seconds until the picture of the tab changes."""
    where = EDITED.format(tab)
    before = page.locator(where).get_attribute("src")
    page.locator(f"#{slider} input[type=range]").focus()
    start = time.perf_counter()
    page.keyboard.press(key)
    page.wait_for_function(DIFFERS, arg=[where, before], timeout=SOON_MS)
    return time.perf_counter() - start


def drawn(page: Any) -> float:
    """Press Draw; returns the seconds until the new sheet of samples is shown."""
    where = "#sample-sheet img"
    before = page.evaluate("where => document.querySelector(where)?.src", where)
    start = time.perf_counter()
    page.locator("#draw").click()
    page.wait_for_function(DIFFERS, arg=[where, before], timeout=FIRST_MS)
    return time.perf_counter() - start


def downloaded(page: Any, button: str, folder: Path) -> Path:
    """Press a download button once it is on; returns the file."""
    where = page.locator(f"#{button}")
    page.wait_for_function(
        "id => { const e = document.getElementById(id); return e && !e.disabled"
        " && !e.classList.contains('disabled') && !e.querySelector('[disabled]') }",
        arg=button,
        timeout=FIRST_MS,
    )
    with page.expect_download(timeout=SOON_MS) as found:
        where.click()
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def refused(page: Any) -> str:
    """The line of an error; closes it."""
    toast = page.locator(".toast-body.error").first
    toast.wait_for(timeout=FIRST_MS)
    line = toast.inner_text()
    toast.locator("button").first.click()
    page.locator(".toast-body.error").first.wait_for(state="detached")
    return line
