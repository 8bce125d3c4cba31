"""The verb `export`: a model as programs and weights in one file, for serving."""

import argparse
from pathlib import Path

from glow_jax.cli.checks import check_new_file
from glow_jax.cli.options import add_overwrite_option, file_ending
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.messages import one_line

PLATFORMS = ("cpu", "cuda", "tpu")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    parser.description = (
        "Writes encode and decode of a model, for any batch size, and its weights into one file, "
        "which JAX runs without glow-jax. docs/guides/serving.md describes the file."
    )
    parser.add_argument(
        "model", metavar="NAME|DIR", help="a bundled model or a checkpoint directory"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=file_ending(".npz"),
        required=True,
        metavar="FILE.npz",
        help="output file",
    )
    parser.add_argument(
        "--precision",
        choices=("exact", "fast"),
        default="exact",
        help="exact: float32; fast: coupling networks in bfloat16 (default: %(default)s)",
    )
    parser.add_argument(
        "--platforms",
        nargs="+",
        choices=PLATFORMS,
        default=PLATFORMS,
        metavar="PLATFORM",
        help="devices that the file has programs for: cpu, cuda, tpu (default: all three); none "
        "of them needs to be in this machine",
    )
    add_overwrite_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file; returns the exit code."""
    from glow_jax.exporting import export_model

    check_new_file(args.out, args.overwrite)
    platforms = tuple(dict.fromkeys(args.platforms))
    made = export_model(args.model, args.out, precision=args.precision, platforms=platforms)
    size = Path(args.out).stat().st_size
    licence = made.card.get("licence")
    lines = [
        f"{one_line(args.out)}: {one_line(made.name)} for {', '.join(platforms)}, "
        f"{size / 1e6:.1f} MB",
        f"licence       {one_line(licence) if licence else 'not stated by the model'}",
    ]
    figures = {"out": args.out, "model": made.name, "platforms": platforms, "bytes": size}
    return Output.of(args).summary(lines, figures | {"licence": licence or None})
