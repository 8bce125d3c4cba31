"""† The verb `batch`."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np

from glow_jax.cli.options import add_model_options, number, whole_number
from glow_jax.compile_cache import use_compile_cache
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from transfer.cli.align import add_photograph_options, settings_of
from transfer.cli.progress import Bars
from transfer.codec import Codec
from transfer.jobs import output_folder as folder
from transfer.jobs.batch import Format, Settings, estimate, opened, run_options
from transfer.jobs.inputs import Read
from transfer.jobs.plan import METHODS, Job, Plan
from transfer.jobs.plan_file import JobErrors, read_plan
from transfer.jobs.ray_engine import connect, run_on_ray
from transfer.jobs.run import CACHE_BYTES, Summary, run


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `batch`."""
    parser.description = (
        "JOB.csv has the columns expression, source, target, alpha, and may have "
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
    parser.add_argument(
        "--batch-size",
        type=_auto_or(whole_number(1, 65536)),
        metavar="N|auto",
        help="images that each device computes at once (default: by its memory)",
    )
    parser.add_argument(
        "--format",
        choices=get_args(Format),
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
        type=number(0.001, 1e6),
        default=CACHE_BYTES / 1e9,
        metavar="GB",
        help="of disk in OUT, for latents that are needed again (default: %(default)g)",
    )
    parser.add_argument(
        "--align",
        action="store_true",
        help="the pictures are photographs of any size: find the faces, and cut them out",
    )
    add_photograph_options(parser)
    parser.add_argument(
        "--compile-cache",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep compiled programs in a private folder of ~/.cache (default: yes)",
    )
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
    parser.set_defaults(run=_batch)


def _auto_or(parse: Any) -> Any:
    return lambda text: None if text == "auto" else parse(text)


def _share(text: str) -> tuple[int, int]:
    try:
        i, n = map(int, text.split("/"))
    except ValueError:
        i, n = 0, 0
    if not 1 <= i <= n:
        raise argparse.ArgumentTypeError(f"{one_line(text)}: use I/N, such as 1/4, I from 1 to N")
    return i, n


def _batch(args: argparse.Namespace) -> int:
    started = time.perf_counter()
    try:
        plan = read_plan(args.job)
    except JobErrors as errors:
        for line in errors.lines if errors.count > 1 else ():
            print(line, file=sys.stderr)
        raise
    if args.engine == "ray":
        if args.shard != (1, 1):
            raise InputError("--shard and --engine ray are two ways to share work; use one")
        connect()
        jax.config.update("jax_platforms", "cpu")  # the workers' devices are left to them
    elif args.workers:
        raise InputError("--workers are those of --engine ray")
    if args.compile_cache:
        use_compile_cache()
    settings = Settings(
        str(args.job),
        args.model,
        args.precision,
        args.format,
        args.batch_size,
        args.shard_size or args.chunk_size,
        args.likelihood,
        int(args.cache_gb * 1e9),
        settings_of(args) if args.align else None,
    )
    job, codec, read = opened(settings, plan)
    options = run_options(settings, job, codec, args.out)
    _describe(job, codec, options["batch_size"], time.perf_counter() - started)
    if args.dry_run:
        return _dry_run(job, codec, read, settings, options)
    again = {"limit": args.limit, "retry_failed": args.retry_failed}
    with Bars() as bars:
        again["progress"] = bars.update
        if args.engine == "ray":
            again |= {"workers": args.workers, "compile_cache": args.compile_cache}
            summary = run_on_ray(job, codec, args.out, settings, **again)
        else:
            options |= {"shard": args.shard, "read": read}
            summary = run(job, codec, args.out, **again, **options)
    return report(summary, args.out)


def _describe(job: Job, codec: Codec, batch_size: int, seconds: float) -> None:
    plan: Plan = job.plan
    kinds, counts = np.unique(plan.method[job.order], return_counts=True)
    methods = ", ".join(f"{n} {METHODS[k]}" for k, n in zip(kinds, counts, strict=True))
    people = len(np.union1d(plan.source, plan.target))
    used = int((job.first_use[1] >= 0).sum())
    twice = f" ({job.duplicates} rows ask for what others do)" if job.duplicates else ""
    print(f"{len(job.order)} outputs{twice}: {methods}", file=sys.stderr)
    print(f"{used} pictures, {people} people; planned in {seconds:.1f} s", file=sys.stderr)
    devices = f"{codec.n_devices} devices" if codec.n_devices > 1 else "1 device"
    print(
        f"{codec.name}, {codec.precision}; {job.n_chunks} chunks of {job.chunk_size}, "
        f"{batch_size} images at once on {devices}",
        file=sys.stderr,
    )


def _dry_run(
    job: Job, codec: Codec, read: Read | None, settings: Settings, options: dict[str, Any]
) -> int:
    told = estimate(job, codec, read=read, **options)
    each = codec.size[0] * codec.size[1] * codec.channels * 5
    cache = float(min(settings.cache_bytes, told.pictures * each))
    print(
        f"measured here on {told.probed} outputs: {1e3 * told.seconds_a_picture:.1f} ms a picture, "
        f"{1e3 * told.seconds_an_output:.1f} ms an output, {told.bytes_an_output:.0f} bytes each"
    )
    print(f"estimate: {_duration(told.seconds)}, and the compiling before; one process, as now")
    print(f"on disk: {_size(told.bytes)}; {_size(cache)} more during the run")
    return 0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"


def report(summary: Summary, out: Path) -> int:
    """Say what a run did; the exit code."""
    rate = summary.made / summary.seconds
    print(f"{summary.made} images made, {summary.kept} were there; {rate:.1f} images/s")
    if summary.encoded_again:
        print(f"{summary.encoded_again} encodes were repeated: give a larger --cache-gb")
    return report_totals(summary.totals, out)


def report_totals(totals: folder.Totals, out: Path) -> int:
    """Print what a folder of outputs holds; the exit code."""
    exact = "every byte comes back" if totals.max_error < 0.5 else "some bytes do not come back"
    redone = f"; {totals.redone} redone in exact" if totals.redone else ""
    worst = f"{totals.max_error:.2g} grey levels"
    print(f"round trip of the inputs: off by at most {worst} ({exact}){redone}")
    if totals.non_finite:
        print(f"{totals.non_finite} images have non-finite pixels, drawn mid-grey (results.csv)")
    if totals.failed:
        print(f"{totals.failed} images could not be made: {out / 'failures.csv'}")
    if totals.bad_inputs:
        print(f"{totals.bad_inputs} inputs could not be used: {out / 'failures.csv'}")
    if totals.missing:
        print(f"{totals.missing} images are still to be made: run it again, or its other shards")
    table = "" if totals.parquet else " (and no results.parquet: pyarrow is not installed)"
    print(f"results: {out / 'results.csv'}{table}")
    return 1 if totals.failed or totals.bad_inputs or totals.non_finite else 0
