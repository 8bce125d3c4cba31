"""The verb `generate`: photoreal pictures of people who do not exist."""

import argparse
import functools
from pathlib import Path

from glow_jax.cli.options import whole_number
from glow_jax.cli.output import Output, add_output_options
from glow_jax.cli.progress import Bars
from glow_jax.data.photoreal_faces.people import SIZES_PX
from glow_jax.io.messages import counted, one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `generate`."""
    parser.description = (
        "Generates photoreal pictures of people with MobileStyleGAN and labels them with MediaPipe "
        "(extra `photoreal`). The same command continues an interrupted run, and a larger --people "
        "adds people; on the same machine the folder ends with the same bytes."
    )
    p = parser.add_argument
    p("-o", "--out", type=Path, required=True, metavar="DIR", help="output folder")
    p(
        "--people",
        type=_people,
        default=range(100),
        metavar="FROM:TO",
        help="numbers of the people, FROM to TO - 1. Of every 20 people, the first is for testing, "
        "the second for validation, the others for training (default: 0:100)",
    )
    p(
        "--sizes",
        type=int,
        nargs="+",
        choices=SIZES_PX,
        default=list(SIZES_PX),
        help="sides of the pictures in pixels; each size gets a folder (default: 64 128 256)",
    )
    p(
        "--setting",
        choices=("people", "pairs"),
        default="people",
        help="people: one picture of each person; pairs: for each person a neutral picture, and up "
        "to six with an expression that pass checks of identity and pose (default: %(default)s)",
    )
    p("--seed", type=whole_number(0, 2**31 - 1), default=0, help="seed of everything (default: 0)")
    p(
        "--workers",
        type=whole_number(1, 512),
        default=1,
        metavar="N",
        help="worker processes; each needs one processor and 0.6 GB of memory (default: "
        "%(default)s)",
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Generate the pictures that are missing; returns the exit code."""
    from glow_jax.data.photoreal_faces.pairs import pairs_plan, start_pairs
    from glow_jax.data.photoreal_faces.shards import LABELS, make_folder
    from glow_jax.data.photoreal_faces.singles import check_installed, people_plan, start_people

    check_installed(pairs=args.setting == "pairs")
    sizes = tuple(sorted(set(args.sizes)))
    make_plan, start = (
        (pairs_plan, start_pairs) if args.setting == "pairs" else (people_plan, start_people)
    )
    plan = make_plan(args.people, sizes, args.seed)
    with Bars(quiet=args.quiet) as bars:
        summary = make_folder(
            args.out,
            plan,
            functools.partial(start, args.seed),
            workers=args.workers,
            progress=functools.partial(bars.update, "people"),
        )
    made, labels = summary.n_people_made, [args.out / str(side) / LABELS for side in sizes]
    kept = len(args.people) - made
    lines = [
        f"{counted(made, 'person', 'people')} made now; already there: {kept}; in all "
        f"{counted(summary.n_pictures, 'picture')}, {summary.n_rejected} rejected",
        *(f"labels: {one_line(path)}" for path in labels),
    ]
    figures = {"out": args.out, "people_made": made, "people_kept": kept, "labels": labels}
    figures |= {"pictures": summary.n_pictures, "rejected": summary.n_rejected}
    return Output.of(args).summary(lines, figures)


def _people(text: str) -> range:
    first, colon, end = text.partition(":")
    numbers = [int(n) if n.isdecimal() and n.isascii() and len(n) < 8 else -1 for n in (first, end)]
    if not colon or not 0 <= numbers[0] < numbers[1] <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{one_line(text)}: use FROM:TO, such as 0:100")
    return range(*numbers)
