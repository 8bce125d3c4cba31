"""The verb `convert`: a model from a checkpoint of another implementation."""

import argparse
import dataclasses
from pathlib import Path

from glow_jax.cli.facts import config_lines, facts_of
from glow_jax.cli.options import add_compile_cache_option, start_jax, whole_number
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

# Names of parameters in messages of the library -> options of this verb.
FLAGS = {
    "`image_size` (H, W)": "--image-size H (or HxW)",
    "`image_size`": "--image-size",
    "`bits`": "--bits",
    "`settings`": "--set",
    "`format`": "--from",
    "`ema`": "--ema",
    "`key`": "--key",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `convert`."""
    parser.description = (
        "Converts a Glow checkpoint of OpenAI's TensorFlow code or of one of nine PyTorch "
        "implementations, from disk or from the Hugging Face hub. docs/guides/converting.md lists "
        "the formats."
    )
    parser.add_argument(
        "source", metavar="CHECKPOINT", help="checkpoint: a file, a folder, or hf:OWNER/NAME[/FILE]"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the converted model; it must not exist yet",
    )
    parser.add_argument(
        "--from",
        dest="format",
        metavar="FORMAT",
        help="implementation that wrote the checkpoint (default: found from the names of its "
        "arrays)",
    )
    parser.add_argument(
        "--image-size",
        type=_size,
        metavar="H[xW]",
        help="height and width of the model's images in pixels, if the checkpoint does not record "
        "them",
    )
    parser.add_argument(
        "--bits",
        type=whole_number(1, 8),
        help="bits per channel that the model was trained at, if the checkpoint does not record "
        "them",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="argument of the constructor in the source code that the checkpoint does not record; "
        "repeat the option for several",
    )
    parser.add_argument(
        "--ema",
        action="store_true",
        help="convert the moving averages of the weights (default: the weights themselves)",
    )
    parser.add_argument(
        "--key",
        metavar="NAME",
        help="which of several sets of weights in the file to convert: its keys, joined by dots",
    )
    parser.add_argument(
        "--licence", metavar="TEXT", help="licence of the weights, for the model's card"
    )
    add_compile_cache_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def _size(text: str) -> tuple[int, int]:
    height, x, width = text.lower().partition("x")
    parse = whole_number(2, 4096)
    return parse(height), parse(width if x else height)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{one_line(text)}: use NAME=VALUE")
    return name, value


def _with_flags(text: str) -> str:
    """A message of the library, with options in place of parameters."""
    for parameter, flag in FLAGS.items():
        text = text.replace(parameter, flag)
    return text


def run(args: argparse.Namespace) -> int:
    """Convert the checkpoint and print a description of the model; returns the exit code."""
    from glow_jax.convert import convert

    names = [name for name, _ in args.settings]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--set {one_line(twice[0])}: given twice")
    start_jax(args.compile_cache)
    try:
        made = convert(
            args.source,
            args.out,
            format=args.format,
            image_size=args.image_size,
            bits=args.bits,
            settings=dict(args.settings),
            ema=args.ema,
            key=args.key,
            licence=args.licence,
        )
    except InputError as error:
        raise InputError(_with_flags(str(error))) from None
    output, notes = Output.of(args), [_with_flags(note) for note in made.notes]
    for warning in made.check.warnings():
        output.warn(f"warning: {warning}")
    lines = [f"format        {made.format}", *config_lines(made.config), *made.check.lines()]
    lines += [*(f"note: {note}" for note in notes), f"model: {one_line(made.path)}"]
    figures = {"out": made.path, "format": made.format, "config": facts_of(made.config)}
    figures |= {"check": dataclasses.asdict(made.check), "notes": notes}
    return output.summary(lines, figures)
