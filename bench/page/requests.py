"""Many requests in a row, as one person makes them: how long each takes, and the memory."""

from typing import Any, NamedTuple

from bench.page import actions
from bench.page.driver import Server

ROUND, EDIT_AT, SAMPLE_AT = 20, 10, 19  # numbers of requests
EVERY = 10  # requests between two readings of the memory
N_EXPRESSIONS, N_PEOPLE, N_PICTURES = 4, 4, 8


class Row(NamedTuple):
    """What was measured.

    Attributes:
        seconds: of each request, with its kind.
        rss_mb: resident memory of the server before the first request, and after each tenth.
    """

    seconds: list[tuple[str, float]]
    rss_mb: list[float]


def requests_in_a_row(page: Any, server: Server, n: int) -> Row:
    """Make `n` requests: in each 20 a transfer, an edit and a sample, else moves of sliders."""
    found = Row([], [server.rss_mb])
    for number in range(n):
        round_, place = divmod(number, ROUND)
        step = STEPS.get(place, _alpha if place < EDIT_AT else _unit)
        count = number if place not in STEPS else round_
        found.seconds.append((step.__name__.strip("_"), step(page, count)))
        if (number + 1) % EVERY == 0:
            found.rss_mb.append(server.rss_mb)
    return found


def _transfer(page: Any, number: int) -> float:
    actions.go_to(page, "Transfer")
    actions.choose(page, "expression", number % N_EXPRESSIONS)
    actions.choose(page, "target", number // N_EXPRESSIONS % N_PEOPLE)
    return actions.transferred(page)


def _alpha(page: Any, number: int) -> float:
    return actions.moved(page, "transfer", "alpha", "ArrowLeft" if number % 2 else "ArrowRight")


def _edit(page: Any, number: int) -> float:
    actions.go_to(page, "Edit")
    actions.choose(page, "edit-picture", number % N_PICTURES)
    return actions.opened_for_edit(page)


def _unit(page: Any, number: int) -> float:
    return actions.moved(page, "edit", "AU12", "ArrowLeft" if number % 2 else "ArrowRight")


def _sample(page: Any, number: int) -> float:
    actions.go_to(page, "Sample")
    page.locator("#seed input").fill(str(number + 1))
    return actions.drawn(page)


STEPS = {0: _transfer, EDIT_AT: _edit, SAMPLE_AT: _sample}
