"""The CPU run: configurations, order of measurements, and figures."""

import functools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.speed.measure import Timing, median
from bench.speed.worker import Failed, Worker

REPEATS = 5
VARIANTS = ("eager", "channels-last", "compiled", "compiled channels-last")  # of PyTorch
Row = dict[str, Any]


def ours(preset: str, batch: int = 1, **changes: Any) -> dict[str, Any]:
    """The spec of one of our contestants: folded, scanned and exact unless changed."""
    spec = {"code": "glow_jax", "preset": preset, "batch": batch, "folded": True, "unroll": 1}
    spec |= {"precision": "exact", "directions": ["encode", "decode"], "seed": 0}
    return spec | changes


def theirs(preset: str, variant: str, batch: int = 1) -> dict[str, Any]:
    """The spec of one of PyTorch's contestants."""
    spec = {"code": "normflows", "preset": preset, "batch": batch, "variant": variant}
    return spec | {"directions": ["encode", "decode"], "seed": 0}


def compile_rows(quick: bool, cores: int) -> list[Row]:
    """Compile one direction per process, without a cache: seconds, and peak memory."""
    preset = "quick" if quick else "256"
    specs = [ours(preset, directions=[name]) for name in ("encode", "decode")]
    return [row for spec in specs for row in race([spec], cores, repeats=0)]


def speed_rows(quick: bool, cores: int) -> list[Row]:
    """Each configuration alone, as a share of the matmul rate of the same process."""
    if quick:
        specs = [ours("quick"), ours("quick", folded=False), ours("quick", unroll=4)]
    else:
        specs = [ours("64", batch) for batch in (1, 4, 16)]
        specs += [ours("64", folded=False), ours("64", unroll=4), ours("64", precision="fast")]
        specs += [ours("256"), ours("256", folded=False), ours("256", unroll=4), ours("256", 2)]
    return [row for spec in specs for row in race([spec], cores)]


def peer_rows(quick: bool, cores: int, all_variants: bool) -> list[Row]:
    """Ours against PyTorch's variants, one run each in turn.

    All variants are measured at 64 pixels. At 256 pixels, where PyTorch needs ten seconds per
    encode, only "eager" and the fastest other variant of 64 pixels are, unless `all_variants`.
    """
    if quick:
        return race([ours("quick"), *(theirs("quick", v) for v in VARIANTS[:2])], cores)
    rows = race([ours("64"), *(theirs("64", v) for v in VARIANTS)], cores)
    chosen = list(VARIANTS)
    finished = [r for r in rows if r["code"] == "normflows" and "error" not in r]
    others = [r for r in finished if r["variant"] != "eager"]
    if others and not all_variants:
        best = min(others, key=lambda r: r["encode"]["cpu_s"] + r["decode"]["cpu_s"])
        chosen = ["eager", best["variant"]]
    if finished:
        rows += race([ours("256"), *(theirs("256", v) for v in chosen)], cores)
    return rows


def race(specs: Sequence[dict[str, Any]], cores: int, repeats: int = REPEATS) -> list[Row]:
    """Run contestants in turn, `repeats` rounds; one row per contestant, with ratios to the first.

    A contestant that cannot run has the reason under "error" in place of figures.
    """
    rows: list[Row] = [dict(spec) for spec in specs]
    workers: dict[int, Worker] = {}
    timings: dict[int, dict[str, list[Timing]]] = {}

    def attempt(index: int, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Failed as error:
            rows[index]["error"] = str(error)
            workers.pop(index, None)
            return None

    try:
        for index, spec in enumerate(specs):
            _progress(f"preparing {describe(spec)}")
            worker = attempt(index, functools.partial(Worker, spec, cores))
            if worker is not None:
                workers[index] = worker
                timings[index] = {name: [] for name in worker.facts["gflop"]}
        for _ in range(repeats):
            for index, worker in list(workers.items()):
                attempt(index, functools.partial(_run_all, worker, timings[index]))
        for index, worker in list(workers.items()):
            row = rows[index]
            row |= worker.facts | (attempt(index, worker.finish) or {})
            for name, runs in timings[index].items():
                if runs:
                    row[name] = row.get(name, {}) | _figures(runs, row["gflop"][name])
    finally:
        for worker in workers.values():
            worker.kill()
    _compare(rows)
    return rows


def _run_all(worker: Worker, timings: dict[str, list[Timing]]) -> None:
    for name, runs in timings.items():
        runs.append(worker.run(name))


def _figures(timings: list[Timing], gflop: float) -> Row:
    middle = median(timings)
    return {
        "wall_s": middle.wall,
        "cpu_s": middle.cpu,
        "gflop_per_s": gflop / middle.wall,
        "gflop_per_core_s": gflop / middle.cpu,
        "others": middle.others,
        "runs": [[t.wall, t.cpu, t.others] for t in timings],
    }


def _compare(rows: list[Row]) -> None:
    """Add each row's share of the matmul rate, and its time over the first row's.

    Ratios of times are medians of the ratios of rounds, because runs of a round are adjacent.
    """
    first = rows[0]
    products = [v for k, v in first.items() if k.startswith("matmul") and "wall_s" in v]
    for row in rows:
        for name in row["directions"]:
            figures = row.get(name, {})
            if "wall_s" not in figures or not products:
                continue
            for rate in ("gflop_per_s", "gflop_per_core_s"):
                best = max(product[rate] for product in products)
                figures[f"matmul_{rate}"] = best
                figures[rate.replace("gflop", "share_of_matmul")] = figures[rate] / best
            pairs = list(zip(figures["runs"], first[name]["runs"], strict=True))
            figures["wall_over_ours"] = statistics.median(a[0] / b[0] for a, b in pairs)
            figures["cpu_over_ours"] = statistics.median(a[1] / b[1] for a, b in pairs)


def describe(spec: Row) -> str:
    """A short description of a contestant."""
    words = [f"{spec['preset']} px" if spec["preset"] != "quick" else "quick"]
    if spec["code"] == "normflows":
        words.append(f"normflows {spec['variant']}")
    else:
        words.append("folded" if spec["folded"] else "unfolded")
        words.append("scanned" if spec["unroll"] == 1 else f"unrolled by {spec['unroll']}")
        words += [] if spec["precision"] == "exact" else [spec["precision"]]
    return ", ".join([*words, f"batch {spec['batch']}"])


def _progress(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)
