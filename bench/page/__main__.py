"""Command line: `python -m bench.page`: how fast the page answers, and what it keeps in memory."""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.page import actions, driver
from bench.page.requests import Row, requests_in_a_row
from bench.speed import measure

OUT = Path(__file__).parents[1] / "results" / "page.json"
MOVES = 20  # of each slider


def summary(seconds: list[float]) -> dict[str, Any]:
    """Number, median, 95th percentile and largest of durations, s."""
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        "median_s": round(statistics.median(ordered), 3),
        "p95_s": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 3),
        "worst_s": round(ordered[-1], 3),
    }


def sliders(page: Any) -> dict[str, dict[str, Any]]:
    """From each slider to the time from a key press to the new picture in the browser."""
    actions.choose(page, "expression", 2)
    actions.choose(page, "target", 0)
    actions.transferred(page)
    found = {"alpha": summary(_moves(page, "transfer", "alpha"))}
    actions.go_to(page, "Edit")
    actions.choose(page, "edit-picture", 6)
    actions.opened_for_edit(page)
    found["AU12"] = summary(_moves(page, "edit", "AU12"))
    page.locator("#take-off input").check()
    page.wait_for_timeout(2000)
    return found | {"AU4, neutral": summary(_moves(page, "edit", "AU4"))}


def _moves(page: Any, tab: str, slider: str) -> list[float]:
    """Seconds of MOVES moves, without the first, which may compile a program."""
    keys = ["ArrowLeft"] + ["ArrowLeft", "ArrowRight"] * (MOVES // 2)
    return [actions.moved(page, tab, slider, key) for key in keys][1:]


def by_kind(row: Row) -> dict[str, dict[str, Any]]:
    """`summary` of each kind of request."""
    kinds = dict.fromkeys(kind for kind, _ in row.seconds)
    return {kind: summary([s for name, s in row.seconds if name == kind]) for kind in kinds}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.page")
    parser.add_argument("--requests", type=int, default=200, help="in a row (default: 200)")
    parser.add_argument("--out", type=Path, default=OUT, help="a JSON file")
    args = parser.parse_args(argv)
    if why := driver.missing():
        parser.error(why)
    with (
        tempfile.TemporaryDirectory() as folder,
        driver.served(Path(folder), Path(folder) / "log") as server,
        driver.chromium() as browser,
        driver.opened(browser, server.url) as (page, seen),
    ):
        moves = sliders(page)
        print(json.dumps(moves), flush=True)
        row = requests_in_a_row(page, server, args.requests)
        foreign = len(driver.foreign(seen, server.url))
    result = {
        "machine": measure.machine(),
        "sliders": moves,
        "requests": by_kind(row),
        "rss_mb": [round(mb) for mb in row.rss_mb],
        "requests_to_other_hosts": foreign,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["rss_mb"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
