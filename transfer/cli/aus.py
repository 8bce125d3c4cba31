"""The verb `aus`: the Action Units that an edit may state, as a list and as pictures."""

import argparse

from glow_jax.cli.checks import check_new_file
from glow_jax.cli.options import (
    add_compile_cache_option,
    add_model_option,
    add_overwrite_option,
    file_ending,
    refuse_given,
    start_jax,
)
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.messages import one_line
from transfer.expression.action_units import ACTION_UNITS, COMBINATIONS


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `aus`."""
    parser.description = (
        "Lists the Action Units that `edit` knows: name, plain word, the activations between which "
        "a face still looks like one (0 is neutral, 1 full strength), and what moves; then the "
        "combinations. With --out, also draws a sheet of them on a person who does not exist."
    )
    parser.add_argument(
        "-o",
        "--out",
        type=file_ending(".png", ".webp"),
        metavar="SHEET.png",
        help="output file: each unit at its lowest activation, 0.5 and 1 (default: none is drawn)",
    )
    add_overwrite_option(parser)
    add_model_option(parser)
    add_compile_cache_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list and draw the sheet; returns the exit code."""
    if args.out is None:
        refuse_given(args, ("overwrite", "model", "compile_cache"), "has no meaning without --out")
    else:
        check_new_file(args.out, args.overwrite)
        start_jax(args.compile_cache)
        _draw(args)
    width = max(len(unit.word) for unit in ACTION_UNITS.values())
    lines = [
        f"{name:4}  {unit.word:{width}}  {unit.low:4g} to {unit.high:3g}  {unit.moves}"
        for name, unit in ACTION_UNITS.items()
    ]
    width = max(map(len, COMBINATIONS))
    lines += [f"{word:{width}}  {' '.join(names)}" for word, names in COMBINATIONS.items()]
    if args.out is not None:
        lines.append(f"sheet: {one_line(args.out)}")
    units = [{"name": name, **unit._asdict()} for name, unit in ACTION_UNITS.items()]
    figures = {"units": units, "combinations": COMBINATIONS, "out": args.out}
    return Output.of(args).summary(lines, figures)


def _draw(args: argparse.Namespace) -> None:
    from glow_jax.checkpoints import find
    from glow_jax.io.pictures import read_image, write_image
    from glow_jax.io.provenance import Provenance
    from transfer.au_sheet import PERSON, au_sheet
    from transfer.models import load_expressions

    folder = find(args.model)
    sheet = au_sheet(load_expressions(args.model), read_image(PERSON))
    provenance = Provenance("compositeSynthetic", folder.name, {"sheet": True})
    write_image(args.out, sheet, provenance)
