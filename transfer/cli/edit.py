"""The verb `edit`: Action Units by number, or a direction of the latent space, on pictures."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from glow_jax.cli.options import add_model_options, refuse_given
from glow_jax.cli.output import Output, add_output_options
from glow_jax.cli.parser import Once
from glow_jax.io.errors import InputError
from transfer.cli.photographs import (
    add_align_option,
    add_paste_options,
    add_photograph_options,
    paste_format_of,
    photographs_if_aligned,
)
from transfer.cli.transfer import add_animate_option, add_folder_option, make
from transfer.expression.action_units import ACTION_UNITS, COMBINATIONS, WORDS

if TYPE_CHECKING:
    from transfer.expression.edits import Edit

SIGNS = "+-\u2212"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `edit`."""
    parser.description = (
        "Edits faces by numbers: Action Units, movements of the face whose activation is 0 in a "
        "neutral face and 1 at full strength, are set, added to what the face shows, or taken off; "
        "or a direction of the flow's latent space is added. Pictures are aligned faces of the "
        "model's size, or photographs of any size (--align). `glow-jax aus` lists the Action "
        "Units. The output folder is that of `transfer`; an interrupted run continues when the "
        "same command is run again."
    )
    parser.add_argument(
        "pictures", nargs="+", type=Path, metavar="PHOTO", help="pictures, or folders of them"
    )
    parser.add_argument(
        "--au",
        dest="stated",
        action="append",
        default=[],
        metavar="NAME=A",
        help="set an Action Unit to an activation (AU12=0.8, smile=0.8), whatever the face shows, "
        "or add to what it shows (AU12+0.3, AU4-0.2); may be repeated",
    )
    parser.add_argument(
        "--neutral",
        action="store_true",
        help="take the expression off first: what the face shows is read, and subtracted",
    )
    parser.add_argument(
        "--direction",
        type=Path,
        metavar="FILE.npz",
        help="add a direction of `glow-jax direction`, times alpha, in place of Action Units",
    )
    parser.add_argument(
        "--reference",
        action=Once,
        type=Path,
        metavar="DIR",
        help="neutral pictures of the person in the photographs, against which the expression is "
        "read (default: against the neutral faces of many people, which is less exact)",
    )
    parser.add_argument(
        "--alpha",
        dest="alphas",
        action="extend",
        nargs="+",
        type=_alpha,
        metavar="A",
        help="how much of the edit is made: 0 none, 1 all of it; numbers, FIRST:LAST:STEP (whose "
        "steps must end at LAST), or auto (the largest alpha whose result the flow finds about as "
        "likely as the unedited picture). A range that begins below 0 is --alpha=-1:1:0.5 "
        "(default: 1)",
    )
    _add_words(parser)
    add_align_option(parser)
    add_paste_options(parser)
    add_animate_option(parser)
    add_photograph_options(parser)
    add_folder_option(parser)
    add_model_options(parser, photographs=True)
    add_output_options(parser)
    parser.set_defaults(run=run)


def _add_words(parser: argparse.ArgumentParser) -> None:
    """An option for each plain word, which says the same as --au."""
    group = parser.add_argument_group(
        "Action Units in plain words",
        "A number sets the activation (--smile 0.6), a number with a sign is added to what the "
        "face shows (--smile +0.3).",
    )
    for name, unit in ACTION_UNITS.items():
        help_ = f"{name}: {unit.moves} (looks like a face from {unit.low:g} to {unit.high:g})"
        group.add_argument(f"--{unit.word}", dest=f"word_{unit.word}", metavar="A", help=help_)
    for word, names in COMBINATIONS.items():
        help_ = f"{', '.join(names)}, each at this activation"
        group.add_argument(f"--{word}", dest=f"word_{word}", metavar="A", help=help_)


def _alpha(text: str) -> str:
    """A word of --alpha, which is no path: PHOTO stands before it."""
    from transfer.jobs.alphas import parse_alphas

    try:
        parse_alphas([text])
    except InputError as error:
        raise argparse.ArgumentTypeError(
            f"{error}; name the photographs before this option"
        ) from None
    return text


def run(args: argparse.Namespace) -> int:
    """Make the edit that the options describe; returns the exit code."""
    from transfer.api import edit
    from transfer.requests import EditRequest

    if args.direction is not None:
        stated = [name for name in vars(args) if name.startswith("word_")]
        refuse_given(
            args, ["stated", "neutral", *stated], "is another kind of edit than --direction"
        )
    request = EditRequest(
        pictures=args.pictures,
        out=args.out,
        edit=_edit_of(args),
        direction=args.direction,
        reference=args.reference,
        model=args.model,
        precision=args.precision,
        alphas=args.alphas,
        batch_size=args.batch_size,
        photographs=photographs_if_aligned(args),
        paste_back=args.paste_back,
        paste_format=paste_format_of(args),
        animate=args.animate,
    )
    output = Output.of(args)
    return output.summary(*make(edit, request, output, compile_cache=args.compile_cache))


def _edit_of(args: argparse.Namespace) -> "Edit":
    from transfer.expression.edits import edit_of

    words = list(args.stated)
    for word in WORDS:
        value = getattr(args, f"word_{word}")
        if value is not None:
            words.append(f"{word}{'' if value[:1] in SIGNS else '='}{value}")
    return edit_of(words, args.neutral)
