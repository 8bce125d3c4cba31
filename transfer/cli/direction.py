"""The verb `direction`: the difference of two groups of pictures in the latent space."""

import argparse
from pathlib import Path

from glow_jax.cli.checks import check_new_file
from glow_jax.cli.options import (
    add_model_options,
    add_overwrite_option,
    file_ending,
    start_jax,
)
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.messages import counted, one_line
from transfer.cli.photographs import add_photograph_options, photographs_if_aligned


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `direction`."""
    parser.description = (
        "Makes a direction of the flow's latent space for `edit --direction`: the mean of the "
        "latents of pictures with an attribute, less the mean of those of pictures without it. The "
        "two groups should differ in the attribute alone; with ten pictures each, a direction "
        "holds much of what these pictures happen to differ in. A direction fits one model."
    )
    parser.add_argument(
        "positives", type=Path, metavar="POSITIVES", help="folder of pictures with the attribute"
    )
    parser.add_argument(
        "negatives", type=Path, metavar="NEGATIVES", help="folder of pictures without it"
    )
    parser.add_argument(
        "--align",
        dest="photographs",
        action="store_true",
        help="the pictures are photographs of any size: find the faces in them and cut these out",
    )
    add_photograph_options(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=file_ending(".npz"),
        required=True,
        metavar="FILE.npz",
        help="output file",
    )
    add_overwrite_option(parser)
    add_model_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the direction; returns the exit code."""
    from glow_jax.cli.progress import Bars
    from transfer.make_direction import make_direction

    check_new_file(args.out, args.overwrite)
    photographs, output = photographs_if_aligned(args), Output.of(args)
    start_jax(args.compile_cache)
    with Bars(quiet=output.quiet) as bars:
        made = make_direction(
            [args.positives],
            [args.negatives],
            args.out,
            model=args.model,
            precision=args.precision,
            batch_size=args.batch_size,
            photographs=photographs,
            progress=bars.update,
            notify=bars.print,
        )
    line = (
        f"{one_line(args.out)}: from {counted(made.n_without, 'picture')} to "
        f"{counted(made.n_with, 'picture')}; on pictures that it was not made of, the two groups "
        f"are {made.separation:.2f} standard deviations apart"
    )
    figures = {"out": args.out, "positives": made.n_with, "negatives": made.n_without}
    figures |= {"separation": made.separation, "model": made.model}
    return output.summary([line], figures)
