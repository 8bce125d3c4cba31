"""The verb `batch`."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_jax.cli.options import add_model_options, number, start_jax, whole_number
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from transfer.cli.photographs import (
    add_neutralise_option,
    add_photograph_options,
    photographs_of,
)

if TYPE_CHECKING:
    from transfer.jobs.batch import Prepared
    from transfer.requests import BatchRequest

FORMATS = ("png", "webp", "tfrecord", "array_record", "webdataset")  # `transfer.requests.Format`
CACHE_GB = "4"  # `transfer.requests.CACHE_BYTES`
BYTES_A_VALUE = 5  # of a picture and its latents, in the cache
SHORT_S, LONG_S = 120, 7200  # durations below are printed in seconds, above in hours


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `batch`."""
    parser.description = (
        "JOB.csv has the columns expression, source (may be empty), target, alpha, and may have "
        "method and id; a .toml or .yaml file holds a cross product (sources, targets, alphas). "
        "The whole file is checked before a model is loaded. Kill it at any moment and run it "
        "again: it goes on, and ends with the same files."
    )
    parser.add_argument("job", type=Path, metavar="JOB", help="a .csv, .toml or .yaml file")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="a new folder, or an interrupted job's",
    )
    add_model_options(parser, batch=False)
    _add_size_options(parser)
    _add_part_options(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be made, and what it would take, measured on the first outputs",
    )
    parser.add_argument(
        "--likelihood",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="bits/dim of the outputs, which cost another encode (default: yes)",
    )
    parser.add_argument(
        "--cache-gb",
        dest="cache_bytes",
        type=_gigabytes,
        default=CACHE_GB,
        metavar="GB",
        help="of disk in OUT, for latents that are needed again (default: %(default)s)",
    )
    parser.add_argument(
        "--align",
        dest="photographs",
        action="store_true",
        help="the pictures are photographs of any size: find the faces, and cut them out",
    )
    add_neutralise_option(parser)
    add_photograph_options(parser)
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="this machine's devices, or a Ray cluster's (extra ray; RAY_ADDRESS names it, else "
        "one is started here) (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1, 65536),
        metavar="N",
        help="processes of the Ray cluster (default: one a GPU, or one a machine)",
    )
    parser.set_defaults(run=run)


def _add_size_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch-size",
        type=_auto_or(whole_number(1, 65536)),
        metavar="N|auto",
        help="images that each device computes at once (default: by its memory)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="png",
        help="of the outputs; the last three put many into a file (default: %(default)s)",
    )
    parser.add_argument(
        "--chunk-size",
        type=whole_number(1, 2**20),
        metavar="N",
        help="outputs that are begun and finished together (default: 64)",
    )
    parser.add_argument(
        "--shard-size",
        type=whole_number(1, 2**20),
        metavar="N",
        help="outputs in a file, for the formats that have many (default: 1024)",
    )


def _add_part_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shard",
        type=_share,
        default=(1, 1),
        metavar="I/N",
        help="do only every N-th chunk, from the I-th; `glow-jax merge` joins the folders",
    )
    parser.add_argument(
        "--limit",
        type=whole_number(1, 2**31 - 1),
        metavar="N",
        help="stop after about N outputs, at the end of a chunk",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="do chunks again in which an output failed"
    )


def _auto_or(parse: Any) -> Any:
    return lambda text: None if text == "auto" else parse(text)


def _gigabytes(text: str) -> int:
    return int(number(0.001, 1e6)(text) * 1e9)


def _share(text: str) -> tuple[int, int]:
    try:
        i, n = map(int, text.split("/"))
    except ValueError:
        i, n = 0, 0
    if not 1 <= i <= n:
        raise argparse.ArgumentTypeError(f"{one_line(text)}: use I/N, such as 1/4, I from 1 to N")
    return i, n


def run(args: argparse.Namespace) -> int:
    """Make what the job's file asks for; returns the exit code."""
    from transfer.jobs.plan_file import JobErrors, read_plan

    started = time.perf_counter()
    request = _request_of(args)
    try:
        plan = read_plan(request.job)
    except JobErrors as errors:
        for line in errors.lines if errors.count > 1 else ():
            print(line, file=sys.stderr)
        raise
    for note in plan.notes:
        print(note, file=sys.stderr)
    _choose_engine(args)
    from transfer.cli.progress import Bars
    from transfer.cli.report import report
    from transfer.jobs.batch import prepare, run_batch
    from transfer.jobs.ray_engine import run_on_ray

    start_jax(args.compile_cache)
    prepared = prepare(request, plan)
    _describe(prepared, time.perf_counter() - started)
    if args.dry_run:
        return _dry_run(request, prepared)
    with Bars() as bars:
        if args.engine == "ray":
            done = run_on_ray(
                request,
                prepared,
                workers=args.workers,
                compile_cache=args.compile_cache,
                progress=bars.update,
            )
        else:
            done = run_batch(request, prepared, bars.update)
    return report(done, args.out)


def _request_of(args: argparse.Namespace) -> "BatchRequest":
    from transfer.requests import BatchRequest

    return BatchRequest(
        job=args.job,
        out=args.out,
        model=args.model,
        precision=args.precision,
        format=args.format,
        batch_size=args.batch_size,
        chunk_size=args.shard_size or args.chunk_size,
        likelihood=args.likelihood,
        cache_bytes=args.cache_bytes,
        photographs=photographs_of(args) if args.photographs else None,
        shard=args.shard,
        limit=args.limit,
        retry_failed=args.retry_failed,
        neutralise=args.neutralise,
    )


def _choose_engine(args: argparse.Namespace) -> None:
    """Join Ray's cluster, where it is asked for, before JAX starts."""
    if args.engine != "ray":
        if args.workers:
            raise InputError("--workers are those of --engine ray")
        return
    if args.shard != (1, 1):
        raise InputError("--shard and --engine ray are two ways to share work; use one")
    import jax

    from transfer.jobs.ray_engine import connect

    connect()
    jax.config.update("jax_platforms", "cpu")  # the workers' devices are left to them


def _describe(prepared: "Prepared", seconds: float) -> None:
    import numpy as np

    from transfer.methods import method_names

    job, codec = prepared.job, prepared.models.codec
    plan = job.plan
    numbers, counts = np.unique(plan.method[job.order], return_counts=True)
    methods = ", ".join(f"{n} {method_names()[k]}" for k, n in zip(numbers, counts, strict=True))
    people = len(np.union1d(plan.source, plan.target))
    used = int((job.first_use[1] >= 0).sum())
    twice = f" ({job.duplicates} rows ask for what others do)" if job.duplicates else ""
    print(f"{len(job.order)} outputs{twice}: {methods}", file=sys.stderr)
    print(f"{used} pictures, {people} people; planned in {seconds:.1f} s", file=sys.stderr)
    devices = f"{codec.n_devices} devices" if codec.n_devices > 1 else "1 device"
    print(
        f"{codec.name}, {codec.precision}; {job.n_chunks} chunks of {job.chunk_size}, "
        f"{prepared.batch_size} images at once on {devices}",
        file=sys.stderr,
    )


def _dry_run(request: "BatchRequest", prepared: "Prepared") -> int:
    from transfer.jobs.estimate import estimate

    found, codec = estimate(prepared, likelihood=request.likelihood), prepared.models.codec
    each = codec.size[0] * codec.size[1] * codec.channels * BYTES_A_VALUE
    cache = float(min(request.cache_bytes, found.pictures * each))
    print(
        f"measured here on {found.measured} outputs: {1e3 * found.seconds_a_picture:.1f} ms a "
        f"picture, {1e3 * found.seconds_an_output:.1f} ms an output, "
        f"{found.bytes_an_output:.0f} bytes each"
    )
    print(f"estimate: {_duration(found.seconds)}, and the compiling before; one process, as now")
    print(f"on disk: {_size(found.bytes)}; {_size(cache)} more during the run")
    return 0


def _duration(seconds: float) -> str:
    if seconds < SHORT_S:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < LONG_S else f"{seconds / 3600:.1f} h"


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"
