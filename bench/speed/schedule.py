"""Rows of a measurement in a limited time: in order, and none that could not end.

Nothing here knows what a row measures.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
MARGIN = 1.3  # times what an alike row took
OTHER_MODEL = 2.0  # times what a row of the same kind, of another model, took at most


def estimate(case: Row, done: Sequence[Row]) -> float:
    """Seconds that a row will take, by earlier ones of its kind; compiling included.

    A row that failed counts too. Where no row of the kind was measured, the longest of all stands
    for it, as often as the case's "programs" says (default: 1), the number of programs to compile.
    """
    alike = [row for row in done if row["kind"] == case["kind"]]
    same = [row["seconds"] for row in alike if row["model"] == case["model"]]
    if same:
        return MARGIN * max(same)
    if alike:
        return OTHER_MODEL * max(row["seconds"] for row in alike)
    longest = max((row["seconds"] for row in done), default=0.0)
    return MARGIN * case.get("programs", 1) * longest


def in_time(
    cases: Sequence[Row],
    measured: Callable[[Row, float], Row],
    seconds: float,
    written: Callable[[list[Row], list[Row]], None],
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Row], list[Row]]:
    """Measure rows in order until the time is over.

    Args:
        cases: what to measure; each has a "kind" and a "model".
        measured: function from a case, and the seconds that are left, to its figures; a case under
            "retry" of them is measured next.
        seconds: that all rows may take.
        written: called with the rows and those left out, after every row.
        clock: seconds that pass.

    Returns:
        rows: cases with their figures and "seconds".
        skipped: cases for which the time did not suffice, with their "estimate".
    """
    begin = clock()
    waiting, rows, skipped = list(cases), list[Row](), list[Row]()
    while waiting:
        case = waiting.pop(0)
        left = seconds - (clock() - begin)
        expected = estimate(case, rows)
        if left <= 0 or expected > left:
            skipped.append(case | {"estimate": round(expected, 1)})
            written(rows, skipped)
            continue
        said = " ".join(str(value) for name, value in case.items() if name != "programs")
        print(f"{time.strftime('%H:%M:%S')} {said}, {left:.0f} s left", file=sys.stderr, flush=True)
        started = clock()
        figures = measured(case, left)
        again = figures.pop("retry", None)
        rows.append(case | figures | {"seconds": round(clock() - started, 2)})
        written(rows, skipped)
        if again is not None:
            waiting.insert(0, again)
    return rows, skipped
