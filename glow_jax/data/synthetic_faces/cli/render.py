"""The verb `render`: labelled pictures of people who do not exist."""

import argparse
import functools
import os
from pathlib import Path
from typing import get_args

from glow_jax.cli.options import refuse_given, whole_number
from glow_jax.cli.output import Output, add_output_options
from glow_jax.cli.progress import Bars
from glow_jax.data.synthetic_faces.dataset import (
    FAILURES,
    SIZES_PX,
    Render,
    Summary,
    describe,
    render_dataset,
)
from glow_jax.data.synthetic_faces.facekit import find_facekit, fingerprint, load_facekit
from glow_jax.data.synthetic_faces.people import Setting, specs
from glow_jax.io.messages import counted, one_line
from glow_jax.io.packages import need


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `render`."""
    parser.description = (
        "Renders people from ICT FaceKit's shapes with Mitsuba 3, with labels. The same command "
        "continues an interrupted run, and the folder ends with the same bytes."
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="output folder"
    )
    parser.add_argument(
        "--facekit",
        type=Path,
        metavar="PATH",
        help="a checkout of github.com/ICT-VGL/ICT-FaceKit, or a facekit.npz packed from one "
        "(default: $GLOW_JAX_FACEKIT)",
    )
    parser.add_argument(
        "--people",
        type=_people,
        default=range(100),
        metavar="FROM:TO",
        help="identity numbers of the people. In data sets 0-99 are for testing, 100-149 for "
        "validation, the others for training (default: 0:100)",
    )
    parser.add_argument(
        "--pictures",
        type=whole_number(1, 10_000),
        default=5,
        metavar="N",
        help="pictures of each person (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=SIZES_PX,
        default=64,
        help="side of the pictures in pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--setting",
        choices=get_args(Setting),
        default="free",
        help="free: every picture has its own pose and light; pairs: two pictures share pose and "
        "light, and one of them is neutral; matched: every canonical expression, with the same "
        "pose and light for all; truth: the pictures of the benchmark bench.truth (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole_number(0, 2**31 - 1), default=0, help="seed of everything (default: 0)"
    )
    parser.add_argument(
        "--format",
        choices=("webp", "png"),
        default="webp",
        help="file format of the pictures; both are lossless (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1, 512),
        default=_processors(),
        metavar="N",
        help="worker processes (default: one per processor, here %(default)s)",
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def _people(text: str) -> range:
    first, colon, end = text.partition(":")
    numbers = [int(n) if n.isdecimal() and n.isascii() else -1 for n in (first, end)]
    if not colon or not 0 <= numbers[0] < numbers[1] <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{one_line(text)}: use FROM:TO, such as 0:100")
    return range(*numbers)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_render(facekit: Path) -> Render:
    """A renderer with FaceKit's shapes; called in each worker process."""
    from glow_jax.data.synthetic_faces.scene import Renderer

    return Renderer(load_facekit(facekit)).render


def run(args: argparse.Namespace) -> int:
    """Render the pictures that are missing; returns the exit code."""
    if args.setting == "matched":
        why = "has no meaning with --setting matched: every canonical expression is rendered once"
        refuse_given(args, ("pictures",), why)
    need("render", "mitsuba", "drjit")
    # Each worker computes in one thread; more threads of linear algebra would slow it down.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    facekit = find_facekit(args.facekit)
    wanted = specs(args.people, args.pictures, args.size, args.setting, args.seed)
    config = {
        "people": f"{args.people.start}:{args.people.stop}",
        "pictures": args.pictures,
        "size_px": args.size,
        "setting": args.setting,
        "seed": args.seed,
    }
    facts = describe(config, fingerprint(load_facekit(facekit)))
    with Bars(quiet=args.quiet) as bars:
        summary = render_dataset(
            args.out,
            wanted,
            functools.partial(make_render, facekit.absolute()),
            facts,
            workers=args.workers,
            format=args.format,
            progress=functools.partial(bars.update, "rendered"),
        )
    return _report(summary, args.out, Output.of(args))


def _report(summary: Summary, out: Path, output: Output) -> int:
    made, failed = summary.n_rendered, len(summary.failures)
    kept, labels = summary.n_pictures - made - failed, out / "labels.jsonl"
    if failed:
        first, where = summary.failures[0], one_line(out / FAILURES)
        output.warn(
            f"{counted(failed, 'picture')} failed ({where}), the first {first.name}: {first.reason}"
        )
    lines = [f"{counted(made, 'picture')} rendered; already there: {kept}"]
    lines += [f"labels: {one_line(labels)}"]
    figures = {"out": out, "made": made, "kept": kept, "failed": failed, "labels": labels}
    return output.summary(lines, figures, 1 if failed else 0)
