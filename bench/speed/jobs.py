"""Cost of a job by its size: `python -m bench.speed.jobs --out bench/results/jobs.json`.

First, time and memory to validate, hash and order a million rows (1,000 people with 10 pictures
each). Then the cost per output at 1,000, 10,000 and 100,000 rows: with a substitute for the flow
whose latents are the pixels, which shows the cost of the job itself, and with faces64. Every case
has its own process, whose peak memory is recorded.
"""

import argparse
import csv
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.speed import measure
from bench.speed.soak import DEMO, METHODS, resident_mb, write_table

SIZES = (1_000, 10_000, 100_000)
REAL_SIZES = (1_000, 20_000)
PLANNED, PEOPLE, PICTURES = 1_000_000, 1_000, 10
SEEN = 128  # outputs between measurements of memory
ALPHAS = np.arange(1, 101) / 100
Row = dict[str, Any]


# -- in the case's own process


def plan(case: Row) -> Row:
    """Read, check and order a table, without making outputs."""
    from transfer.jobs.batch import prepare
    from transfer.jobs.plan_file import read_plan
    from transfer.requests import BatchRequest

    times = [time.perf_counter()]
    asked = read_plan(case["table"])
    times.append(time.perf_counter())
    job = prepare(BatchRequest(case["table"], case["table"] + ".out"), asked).job
    times.append(time.perf_counter())
    job.digest, job.first_use, job.item(int(job.order[-1]))
    times.append(time.perf_counter())
    read, named, ordered = np.diff(times).tolist()
    return {
        "outputs": len(job.order),
        "pictures": len(job.plan.files),
        "people": len(job.plan.names),
        "read_s": read,
        "model_and_ids_s": named,
        "order_s": ordered,
        "seconds": times[-1] - times[0],
    }


def stand_in() -> Any:
    """A model whose latents are the pixels, so that only the cost of the job is measured."""
    from transfer.codec import Codec

    return Codec(
        name="stand-in",
        fingerprint="0" * 64,
        size=(64, 64),
        channels=3,
        precision="exact",
        encode=lambda images: (np.asarray(images, np.float32) + 0.5,),
        encode_float=lambda grey: (np.asarray(grey, np.float32),),
        decode=lambda latents: np.asarray(latents[0]),
        bits_per_dim=lambda images: np.zeros(len(images), np.float32),
    )


def made(case: Row) -> Row:
    """Make the outputs of a table after compilation; wall seconds and core-seconds per output."""
    import jax

    from transfer.jobs.batch import versions
    from transfer.jobs.job import make_job
    from transfer.jobs.plan_file import read_plan
    from transfer.jobs.run import run
    from transfer.methods.base import Models
    from transfer.models import load_models

    if case["stand_in"]:
        models = Models(stand_in())
    else:
        models = load_models("faces64", "exact", jax.local_devices())
    options: Row = {"batch_size": 16, "versions": versions(), "likelihood": False}
    with tempfile.TemporaryDirectory(dir=case["scratch"]) as name:
        write_table(Path(name) / "job.csv", 64, case["methods"])
        job = make_job(read_plan(f"{name}/job.csv"), models)
        run(job, models, Path(name) / "out", **options)
    seen: list[tuple[float, float, int, float]] = []

    def progress(stage: str, done: int, total: int) -> None:
        if done % SEEN == 0 or done == total:
            memory = resident_mb(os.getpid()) or 0.0
            seen.append((time.perf_counter(), time.process_time(), done, memory))

    with tempfile.TemporaryDirectory(dir=case["scratch"]) as name:
        out = Path(name) / "out"
        wall, cpu = time.perf_counter(), time.process_time()
        job = make_job(read_plan(case["table"]), models)
        summary = run(job, models, out, progress=progress, **options)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    n, first, last = summary.made, seen[0], seen[-1]
    steady = [(b - a) / (last[2] - first[2]) for a, b in zip(first[:2], last[:2], strict=True)]
    half = next(s for s in seen if 2 * s[2] >= last[2])
    return {
        "made": n,
        "seconds": wall,
        "ms_an_output": 1e3 * wall / n,
        "core_ms_an_output": 1e3 * cpu / n,
        # From the first outputs on, when the pictures have been read and encoded.
        "steady_ms": 1e3 * steady[0],
        "steady_core_ms": 1e3 * steady[1],
        # Half-way and at the last output; the peak includes the tables, which are written at the
        # end.
        "half_mb": half[3],
        "last_mb": last[3],
    }


DO: dict[str, Callable[[Row], Row]] = {"plan": plan, "made": made}


# -- the parent


def measured(what: str, **case: Any) -> Row:
    """A case in a process of its own, with its peak memory."""
    print(time.strftime("%H:%M:%S"), what, case, file=sys.stderr, flush=True)
    row = measure.in_a_process("bench.speed.jobs", {"do": what} | case, {})
    print(row, file=sys.stderr, flush=True)
    return row


def write_large_table(folder: Path, rows: int, seed: int) -> Path:
    """`rows` outputs among PEOPLE of PICTURES each, all of them different files."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    faces = [np.asarray(Image.open(p)) for p in sorted(DEMO.glob("people/*/*.png"))]
    for person, i in itertools.product(range(PEOPLE), range(PICTURES)):
        pixels = faces[int(rng.integers(len(faces)))].copy()
        pixels[0, 0] = person % 256, person // 256, i
        path = folder / "people" / f"{person:04d}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=1)
    people = rng.integers(PEOPLE, size=(rows, 2))
    shots, alphas = rng.integers(PICTURES, size=rows), rng.choice(ALPHAS, rows)
    table = folder / "large.csv"
    with table.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["expression", "source", "target", "alpha", "id"])
        for i, ((source, target), shot, alpha) in enumerate(
            zip(people.tolist(), shots.tolist(), alphas.tolist(), strict=True)
        ):
            who = f"people/{source:04d}"
            lines.writerow([f"{who}/{shot}.png", who, f"people/{target:04d}", alpha, f"row-{i}"])
    return table


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed.jobs", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--planned", type=int, default=PLANNED, help="rows of the case that is only planned"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=SIZES, help="rows of the cases with the substitute"
    )
    parser.add_argument(
        "--real-sizes", type=int, nargs="*", default=REAL_SIZES, help="rows with faces64"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the table")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    args = parser.parse_args(argv)
    if args.case:
        case = json.loads(args.case)
        print(json.dumps(DO[case["do"]](case) | {"peak_mb": measure.peak_memory_mb()}))
        return 0
    result: Row = {"machine": measure.machine(), "seed": args.seed}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        if args.planned:
            table = write_large_table(scratch, args.planned, args.seed)
            result["plan"] = measured("plan", table=str(table))
        for kind, sizes, stand, methods in (
            ("stand_in", args.sizes, True, ["paper"]),
            *((f"faces64_{m}", args.real_sizes, False, [m]) for m in METHODS),
        ):
            result[kind] = []
            for rows in sizes:
                write_table(scratch / "job.csv", rows, methods)
                case = {"table": str(scratch / "job.csv"), "scratch": name, "methods": methods}
                row = measured("made", stand_in=stand, **case)
                result[kind].append({"rows": rows} | row)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
