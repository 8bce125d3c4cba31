"""The page in a headless Chromium, served once for all tests of this folder."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bench.page import driver


@pytest.fixture(scope="session")
def server(caches: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[driver.Server]:
    if why := driver.missing():
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("page")
    log = folder / "log"
    with driver.served(folder, log) as found:
        yield found
    said = log.read_text()
    assert "Traceback" not in said, said
    assert not list(folder.glob("glow-jax-ui-*")), "the private folder is left behind"


@pytest.fixture(scope="session")
def browser(server: driver.Server) -> Iterator[Any]:
    with driver.chromium() as found:
        yield found


@pytest.fixture
def open_page(browser: Any, server: driver.Server) -> Iterator[Callable[..., Any]]:
    """A function that opens the page as a new user; at the end, what no test may cause is checked:
    a request to another host, or an error of a script."""
    everything: list[driver.Seen] = []
    with ExitStack() as stack:

        def new(**how: Any) -> Any:
            how = {"viewport": driver.DESKTOP, **how}
            page, seen = stack.enter_context(driver.opened(browser, server.url, **how))
            everything.append(seen)
            return page

        yield new
    for seen in everything:
        assert not driver.foreign(seen, server.url)
        # An empty clip is sent to the browser, whose player asks for a part of it (416).
        assert not [error for error in seen.errors if "status of 416" not in error]


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    return open_page()


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder
