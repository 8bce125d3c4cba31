"""Command line: `python -m bench.robustness --help`."""

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.robustness.kinds import all_kinds
from bench.robustness.pool import Outcome, outcomes
from bench.speed import measure
from glow_jax.io.messages import one_line

OUT = Path(__file__).parents[1] / "results" / "robustness.json"
RESULTS = ("accepted", "refused", "printed", "traceback", "crash", "hang")
MAX_FAULTS = 20  # of a kind, that are kept in words


def summary(name: str, found: Iterable[Outcome]) -> dict[str, Any]:
    """A kind's row: counts of each result, worst memory (MB) and time (s of CPU), its faults."""
    counts: Counter[str] = Counter()
    mb = s = 0.0
    faults: list[Any] = []
    for outcome in found:
        counts[outcome.result] += 1
        mb, s = max(mb, outcome.mb), max(s, outcome.s)
        if outcome.result not in ("accepted", "refused") and len(faults) < MAX_FAULTS:
            faults.append([outcome.number, outcome.result, outcome.message])
    return {
        "kind": name,
        "inputs": sum(counts.values()),
        **{r: counts[r] for r in RESULTS},
        "peak_mb": round(mb, 1),
        "worst_s": round(s, 2),
        "faults": faults,
    }


def _together(before: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the order of the kinds; of two of a kind the new one."""
    found = {row["kind"]: row for row in [*before, *rows]}
    return [found[kind.name] for kind in all_kinds() if kind.name in found]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.robustness", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="of the inputs")
    parser.add_argument("--scale", type=float, default=1.0, help="times the inputs of a whole run")
    parser.add_argument("--only", action="append", metavar="TEXT", help="kinds with it; repeatable")
    parser.add_argument("--workers", type=int, default=2, help="processes at once")
    parser.add_argument("--out", type=Path, default=OUT, help="a JSON file")
    parser.add_argument(
        "--add",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="keep the file's rows of other kinds",
    )
    args = parser.parse_args(argv)
    begun, lock = time.perf_counter(), threading.Lock()
    before = _read(args.out) if args.add else {}
    rows: list[dict[str, Any]] = before.get("rows", [])

    def run(kind: Any) -> None:
        count = max(1, round(kind.n_inputs * args.scale))
        row = summary(kind.name, outcomes(kind.name, args.seed, count))
        print(one_line({k: v for k, v in row.items() if k != "faults"}), file=sys.stderr)
        for fault in row["faults"]:
            print(f"    {one_line(fault)}", file=sys.stderr)
        machine = measure.machine()
        seconds = before.get("seconds", 0) + time.perf_counter() - begun
        about = {"machine": machine, "seed": args.seed, "seconds": round(seconds)}
        with lock:  # what is measured is kept, whatever ends this process
            rows[:] = _together(rows, [row | {"commit": machine["commit"], "seed": args.seed}])
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")

    kinds = [k for k in all_kinds() if not args.only or any(t in k.name for t in args.only)]
    with ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(run, kinds))  # raises the first error
    faults = sum(row[result] for row in rows for result in RESULTS[2:])
    print(f"{sum(row['inputs'] for row in rows)} inputs, {faults} faults: {args.out}")
    return 1 if faults else 0


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


if __name__ == "__main__":
    sys.exit(main())
