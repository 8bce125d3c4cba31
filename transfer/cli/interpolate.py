"""The verb `interpolate`: the way from one picture to another through the latent space."""

import argparse
from pathlib import Path

from glow_jax.cli.options import add_model_options, whole_number
from glow_jax.cli.output import Output, add_output_options
from transfer.cli.photographs import add_photograph_options, photographs_if_aligned
from transfer.cli.transfer import add_animate_option, make


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `interpolate`."""
    parser.description = (
        "Goes from one picture to another through the flow's latent space, in equal steps. The "
        "first output has the pixels of the first picture, the last output those of the second. "
        "Pictures are aligned faces of the model's size, or photographs of any size (--align)."
    )
    parser.add_argument("first", type=Path, metavar="A", help="the picture at alpha 0")
    parser.add_argument("second", type=Path, metavar="B", help="the picture at alpha 1")
    parser.add_argument(
        "--steps",
        type=whole_number(2, 1000),
        default=9,
        metavar="N",
        help="number of outputs, A and B among them (default: %(default)s)",
    )
    parser.add_argument(
        "--rule",
        choices=("linear", "spherical"),
        default="linear",
        help="linear: the mean of both latents, weighted; spherical: along the sphere, so that the "
        "norm of the latents does not fall between the pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--align",
        dest="photographs",
        action="store_true",
        help="the pictures are photographs of any size: find the faces in them and cut these out",
    )
    add_animate_option(parser)
    add_photograph_options(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="output folder: a new one, or one of an interrupted run of the same request",
    )
    add_model_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the steps; returns the exit code."""
    from transfer.api import interpolate
    from transfer.requests import InterpolateRequest

    request = InterpolateRequest(
        first=args.first,
        second=args.second,
        out=args.out,
        steps=args.steps,
        rule=args.rule,
        model=args.model,
        precision=args.precision,
        batch_size=args.batch_size,
        photographs=photographs_if_aligned(args),
        animate=args.animate,
    )
    output = Output.of(args)
    return output.summary(*make(interpolate, request, output, compile_cache=args.compile_cache))
