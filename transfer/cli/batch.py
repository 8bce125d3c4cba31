"""The verb `batch`: the outputs that a job file lists."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_jax.cli.options import (
    add_model_options,
    number,
    refuse_given,
    start_jax,
    whole_number,
)
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.messages import counted, one_line
from transfer.cli.photographs import (
    add_align_option,
    add_neutral_option,
    add_neutralise_option,
    add_paste_options,
    add_photograph_options,
    paste_format_of,
    photographs_if_aligned,
)

if TYPE_CHECKING:
    from transfer.jobs.batch import Prepared
    from transfer.jobs.run import Progress, Run
    from transfer.requests import BatchRequest

FORMATS = ("png", "webp", "tfrecord", "array_record", "webdataset")  # `transfer.requests.Format`
ONE_EACH = ("png", "webp")  # of these, with a file for each output
CACHE_GB = "4"  # `transfer.requests.CACHE_BYTES`


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `batch`."""
    parser.description = (
        "Makes the outputs that a job file lists. A .csv file has one row per output, with the "
        "columns expression, source (may be empty), target and alpha, and optionally method and "
        "id; a .toml or .yaml file lists sources, targets and alphas, and stands for every "
        "combination. The whole file is checked before a model is loaded. An interrupted run "
        "continues when the same command is run again, and ends with the same files."
    )
    parser.add_argument("job", type=Path, metavar="JOB", help="job file: .csv, .toml or .yaml")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="output folder: a new one, or one of an interrupted run of the same job",
    )
    add_model_options(parser, batch=False, photographs=True)
    _add_size_options(parser)
    _add_part_options(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="make nothing; print what would be made, and an estimate of time and disk space from "
        "the first outputs",
    )
    parser.add_argument(
        "--likelihood",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compute bits/dim of the outputs, which takes one more encode each (default: yes)",
    )
    parser.add_argument(
        "--cache-gb",
        dest="cache_bytes",
        type=_gigabytes,
        default=CACHE_GB,
        metavar="GB",
        help="disk space in OUT for pictures and latents that are needed again, in GB (default: "
        "%(default)s)",
    )
    add_align_option(parser)
    add_method_option(parser)
    add_neutral_option(parser)
    add_neutralise_option(parser)
    add_paste_options(parser)
    add_photograph_options(parser)
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="compute on this machine's devices (local) or on a Ray cluster (ray, which needs the "
        "extra ray): the cluster at RAY_ADDRESS, or else one that is started on this machine "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1, 65536),
        metavar="N",
        help="worker processes of the Ray cluster (default: one per GPU; without GPUs, one per "
        "machine)",
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def add_method_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --method."""
    from transfer.methods import METHODS

    parser.add_argument(
        "--method",
        type=str.lower,
        choices=list(METHODS),
        help="transfer method of the rows that name none (default: warp, with --align glow; paper "
        "if the model has no expression model)",
    )


def _add_size_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch-size",
        type=_auto_or(whole_number(1, 65536)),
        metavar="N|auto",
        help="images that each device computes at once (default: auto, from the device's memory)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="png",
        help="file format of the outputs; the last three put many outputs into one file (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--chunk-size",
        type=whole_number(1, 2**20),
        metavar="N",
        help="outputs per chunk; an interrupted run repeats at most the chunks it was working on "
        "(default: 64, or --shard-size)",
    )
    parser.add_argument(
        "--shard-size",
        type=whole_number(1, 2**20),
        metavar="N",
        help="outputs per file, for the formats that put many into one file (default: 1024)",
    )


def _add_part_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shard",
        type=_share,
        default=(1, 1),
        metavar="I/N",
        help="make only every N-th chunk, from the I-th on; `glow-jax merge` joins the folders "
        "(default: all chunks)",
    )
    parser.add_argument(
        "--limit",
        type=whole_number(1, 2**31 - 1),
        metavar="N",
        help="stop after about N outputs, at the end of a chunk (default: no limit)",
    )
    parser.add_argument(
        "--retry-failed",
        action="store_true",
        help="make chunks again in which an output failed or an input picture could not be used",
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
        raise argparse.ArgumentTypeError(
            f"{one_line(text)}: use I/N with I from 1 to N, such as 1/4"
        )
    return i, n


def run(args: argparse.Namespace) -> int:
    """Make the outputs that the job file lists; returns the exit code."""
    from transfer.jobs.plan_file import JobErrors, read_plan

    started = time.perf_counter()
    if args.dry_run:
        why = "has no meaning with --dry-run, which estimates the whole job on this machine"
        names = ("limit", "retry_failed", "shard", *(("engine",) if args.engine == "ray" else ()))
        refuse_given(args, names, why)
    output, request = Output.of(args), _request_of(args)
    try:
        plan = read_plan(request.job)
    except JobErrors as errors:
        for line in errors.lines if errors.count > 1 else ():
            output.warn(line)
        raise
    for note in plan.notes:
        output.notice(note)
    _choose_engine(args)
    from glow_jax.cli.progress import Bars
    from transfer.cli.report import (
        exit_code,
        figures_of,
        figures_of_pasted,
        lines_of,
        lines_of_pasted,
        warn_of_pasted,
    )
    from transfer.complete import notify_of_unchosen
    from transfer.jobs.batch import paste, prepare
    from transfer.photos.aligned_faces import AlignedFaces

    start_jax(args.compile_cache)
    prepared = prepare(request, plan, notify=output.notice)
    for line in _description(prepared, time.perf_counter() - started):
        output.notice(line)
    if args.dry_run:
        from transfer.cli.dry_run import dry_run

        cache_bytes = request.cache_bytes
        return dry_run(prepared, output, likelihood=args.likelihood, cache_bytes=cache_bytes)
    with Bars(quiet=args.quiet) as bars:
        done = _made(args, request, prepared, bars.update)
        pasted = paste(request, prepared, bars.update)
    if isinstance(prepared.load, AlignedFaces):
        notify_of_unchosen(prepared.load, output.notice)
    lines, figures = lines_of(done, args.out), figures_of(done, args.out)
    figures["pasted"] = figures_of_pasted(pasted, args.out)
    lines += lines_of_pasted(pasted, args.out)
    code = max(exit_code(done.totals), warn_of_pasted(pasted, output))
    return output.summary(lines, figures, code)


def _made(
    args: argparse.Namespace, request: "BatchRequest", prepared: "Prepared", progress: "Progress"
) -> "Run":
    """Run the job with the engine that the options name; a full disk names the cache's option."""
    from transfer.jobs.batch import run_batch
    from transfer.jobs.disk_cache import CacheFull
    from transfer.jobs.ray_engine import run_on_ray

    try:
        if args.engine != "ray":
            return run_batch(request, prepared, progress)
        cached = args.compile_cache
        return run_on_ray(
            request, prepared, workers=args.workers, compile_cache=cached, progress=progress
        )
    except CacheFull as error:
        raise OutputError(f"{error}; a smaller `cache_bytes` needs less") from None


def _request_of(args: argparse.Namespace) -> "BatchRequest":
    from transfer.requests import BatchRequest

    return BatchRequest(
        job=args.job,
        out=args.out,
        model=args.model,
        precision=args.precision,
        format=args.format,
        batch_size=args.batch_size,
        chunk_size=_chunk_size(args),
        likelihood=args.likelihood,
        cache_bytes=args.cache_bytes,
        photographs=photographs_if_aligned(args),
        shard=args.shard,
        limit=args.limit,
        retry_failed=args.retry_failed,
        neutralise=args.neutralise,
        method=args.method,
        n_neutral=args.n_neutral,
        paste_back=args.paste_back,
        paste_format=paste_format_of(args),
    )


def _chunk_size(args: argparse.Namespace) -> int | None:
    """Outputs per chunk, which is a file in the formats that put many into one."""
    if args.shard_size is None:
        return args.chunk_size
    if args.chunk_size is not None:
        raise InputError("--shard-size and --chunk-size are one number; give one of them")
    if args.format in ONE_EACH:
        raise InputError(f"--shard-size has no meaning for --format {args.format}: one file each")
    return args.shard_size


def _choose_engine(args: argparse.Namespace) -> None:
    """With --engine ray: connect to the cluster, which must be done before JAX starts."""
    if args.engine != "ray":
        if args.workers:
            raise InputError("--workers needs --engine ray")
        return
    if args.shard != (1, 1):
        raise InputError("--shard and --engine ray both distribute the work; use one of them")
    import jax

    from transfer.jobs.ray_engine import connect

    connect()
    # This process computes nothing: the devices are for the workers.
    jax.config.update("jax_platforms", "cpu")


def _description(prepared: "Prepared", seconds: float) -> list[str]:
    """What is going to be made, in words."""
    import numpy as np

    from transfer.methods import method_names

    job, codec = prepared.job, prepared.models.codec
    plan = job.plan
    numbers, counts = np.unique(plan.method[job.order], return_counts=True)
    methods = ", ".join(f"{n} {method_names()[k]}" for k, n in zip(numbers, counts, strict=True))
    people = len(np.union1d(plan.source, plan.target))
    used = int((job.first_use[1] >= 0).sum())
    twice = f" ({counted(job.duplicates, 'duplicate row')} left out)" if job.duplicates else ""
    inputs = f"{counted(used, 'picture')}, {counted(people, 'person', 'people')}"
    chunks, at_once = counted(job.n_chunks, "chunk"), counted(prepared.batch_size, "image")
    return [
        f"{counted(len(job.order), 'output')}{twice}: {methods}",
        f"{inputs}; planned in {seconds:.1f} s",
        f"{codec.name}, {codec.precision}; {chunks} of {job.chunk_size}, {at_once} at once on "
        f"{counted(codec.n_devices, 'device')}",
    ]
