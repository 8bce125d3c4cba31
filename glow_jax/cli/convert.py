"""The verb `convert`: another implementation's checkpoint to a model."""

import argparse
import sys
from pathlib import Path

from glow_jax.cli.facts import print_config
from glow_jax.cli.options import add_compile_cache_option, start_jax, whole_number
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

# What the library calls its parameters, and this verb its options.
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
        "Convert a Glow checkpoint of OpenAI's TensorFlow code, of one of nine PyTorch "
        "implementations or from the Hugging Face hub. README.md lists what is read."
    )
    parser.add_argument(
        "source", metavar="CHECKPOINT", help="a file, a folder, or hf:OWNER/NAME[/FILE]"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="must not exist"
    )
    parser.add_argument(
        "--from", dest="format", metavar="FORMAT", help="(default: told by the names)"
    )
    parser.add_argument(
        "--image-size", type=_size, metavar="H[xW]", help="if the file does not tell"
    )
    parser.add_argument(
        "--bits", type=whole_number(1, 8), help="trained at; if the file does not tell"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="an argument of the source's own constructor that no file records; repeatable",
    )
    parser.add_argument("--ema", action="store_true", help="averaged weights, not the raw ones")
    parser.add_argument(
        "--key", metavar="NAME", help="which of several sets of weights: the keys that lead to it"
    )
    parser.add_argument("--licence", metavar="TEXT", help="of the weights, for the model's card")
    add_compile_cache_option(parser)
    parser.set_defaults(run=run)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    parse = whole_number(2, 4096)
    return parse(height), parse(width or height)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{one_line(text)}: use NAME=VALUE")
    return name, value


def _with_flags(text: str) -> str:
    """A message of the library's, in this verb's words."""
    for parameter, flag in FLAGS.items():
        text = text.replace(parameter, flag)
    return text


def run(args: argparse.Namespace) -> int:
    """Convert the checkpoint and print what was made; the exit code."""
    from glow_jax.convert import convert

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
    print(f"format        {made.format}")
    print_config(made.config)
    for line in made.check.lines():
        print(line)
    for note in made.notes:
        print(f"note: {_with_flags(note)}")
    for warning in made.check.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    print(f"model: {one_line(made.path)}")
    return 0
