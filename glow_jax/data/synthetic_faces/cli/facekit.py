"""The verb `facekit`: pack a checkout of ICT FaceKit into one file."""

import argparse
from pathlib import Path

from glow_jax.cli.checks import check_new_file
from glow_jax.cli.options import add_overwrite_option, file_ending
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.messages import one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `facekit`."""
    parser.description = (
        "Packs the shapes of ICT FaceKit, from a checkout of github.com/ICT-VGL/ICT-FaceKit, into "
        "one file, which `glow-jax render --facekit` loads faster."
    )
    parser.add_argument("checkout", type=Path, help="the checkout, or its folder FaceXModel")
    parser.add_argument(
        "-o",
        "--out",
        type=file_ending(".npz"),
        default=Path("facekit.npz"),
        metavar="FILE.npz",
        help="output file (default: %(default)s)",
    )
    add_overwrite_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pack the checkout; returns the exit code."""
    from glow_jax.data.synthetic_faces.facekit import pack

    check_new_file(args.out, args.overwrite)
    kit = pack(args.checkout, args.out)
    figures = {
        "vertices": len(kit.neutral),
        "identity_modes": len(kit.identity),
        "expressions": len(kit.expression),
    }
    words = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in figures.items())
    line = f"{one_line(args.out)}: {words}"
    return Output.of(args).summary([line], {"out": args.out, **figures})
