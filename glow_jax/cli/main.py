"""The command `glow-jax`: run a verb, and print one line if it fails.

Exit codes: 0 all done; 1 done, but some inputs could not be used, or out of memory; 2 bad input,
nothing done; 130 interrupted, and 143 terminated, by `glow_jax.cli.launcher`, where the process
begins.
"""

import argparse
import importlib
import os
import sys
from typing import NoReturn

import glow_jax
from glow_jax.cli.options import TOLD, collect_garbage, error_line, flags_of, memory_line
from glow_jax.cli.parser import Parser, meant
from glow_jax.io.messages import one_line
from glow_jax.io.terminal import STANDARD_OUTPUT, printable_output

# Verb -> its module, which has `add_options(parser)`, and its line in the list of verbs. A module
# is imported only when its verb is on the command line, so that `--help` is fast.
VERBS = {
    "demo": (
        "transfer.cli.demo",
        "transfer four expressions between bundled people who do not exist, and score the results",
    ),
    "transfer": ("transfer.cli.transfer", "transfer expressions from one person to others"),
    "animate": (
        "transfer.cli.animate",
        "animate a photograph: with the expressions of a video",
    ),
    "edit": ("transfer.cli.edit", "edit faces by Action Units in numbers or plain words"),
    "aus": ("transfer.cli.aus", "list the Action Units that `edit` knows"),
    "direction": (
        "transfer.cli.direction",
        "make a direction of the latent space, for `edit`, from two folders of pictures",
    ),
    "interpolate": ("transfer.cli.interpolate", "go from one face to another in equal steps"),
    "align": (
        "transfer.cli.align",
        "find faces in photographs and write crops aligned as in CelebA-HQ",
    ),
    "batch": (
        "transfer.cli.batch",
        "transfer expressions by a table with any number of rows",
    ),
    "merge": ("transfer.cli.merge", "join the output folders of `batch --shard`"),
    "fit-expressions": (
        "transfer.cli.fit_expressions",
        "fit an expression model, which method warp needs, on rendered people",
    ),
    "eval": (
        "eval.cli.judge",
        "score outputs: identity of the target, and expression of the source",
    ),
    "render": (
        "glow_jax.data.synthetic_faces.cli.render",
        "render pictures of people who do not exist, with known identity and expression",
    ),
    "facekit": (
        "glow_jax.data.synthetic_faces.cli.facekit",
        "pack a checkout of ICT FaceKit into one file for `render`",
    ),
    "generate": (
        "glow_jax.data.photoreal_faces.cli",
        "generate photoreal pictures of people who do not exist, with labels",
    ),
    "encode": ("glow_jax.cli.encode", "encode images as latents (.npz)"),
    "decode": ("glow_jax.cli.decode", "decode latents (.npz) to images"),
    "sample": ("glow_jax.cli.sample", "draw samples of a model, on one sheet"),
    "convert": (
        "glow_jax.cli.convert",
        "convert a checkpoint of another implementation to a model",
    ),
    "export": (
        "glow_jax.cli.export",
        "write a model's encode and decode as programs that JAX runs without glow-jax",
    ),
    "info": ("glow_jax.cli.info", "print the properties of a model: shape, size, origin, licence"),
    "ui": (
        "glow_jax.cli.ui.verb",
        "serve a page on which expressions are transferred with the mouse",
    ),
    "train": ("glow_jax.cli.train", "train a model; the same command continues an interrupted run"),
    "completion": (
        "glow_jax.cli.completion",
        "print a script that lets a shell complete verbs, options and paths",
    ),
}
EPILOG = "The metadata of every image that glow-jax writes state that it is generated or edited."


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments after the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    _keep_own_permissions()
    with printable_output():
        return _run(sys.argv[1:] if argv is None else argv)


def _keep_own_permissions() -> None:
    """Let this process use what it makes: an umask such as 0777 takes the user's permissions."""
    mask = os.umask(0o077)
    os.umask(mask & 0o077)


def _run(words: list[str]) -> int:
    args = _parsed(words)
    if not hasattr(args, "compile_cache"):  # others call `start_jax`
        collect_garbage()
    try:
        code = args.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()  # so that a full disk is reported here
        return code
    except BrokenPipeError:  # `glow-jax info MODEL | head`
        _discard_output()
        return 1
    except TOLD as error:
        if getattr(error, "filename", None) == STANDARD_OUTPUT:
            _discard_output()
        print(f"glow-jax {args.verb}: error: {error_line(error, args.flags)}", file=sys.stderr)
    except MemoryError as error:
        print(f"glow-jax {args.verb}: error: {memory_line(error, args.flags)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("glow-jax: interrupted", file=sys.stderr)
        return 130
    return 2


def _discard_output() -> None:
    """Let the end of the process not fail again at what cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parsed(words: list[str]) -> argparse.Namespace:
    """What the words say: the verb's options, and `verb`, `given` and `flags` for its module."""
    if not words or words[0] not in VERBS:
        _end_without_verb(words)
    parser = parser_of(words[0])
    args = parser.parse_args(words[1:])
    args.verb, args.given, args.flags = words[0], frozenset(parser.given), flags_of(parser)
    return args


def parser_of(verb: str) -> Parser:
    """The parser of a verb, whose module is imported."""
    module, line = VERBS[verb]
    parser = Parser(prog=f"glow-jax {verb}")
    importlib.import_module(module).add_options(parser)
    parser.description = parser.description or f"{line[0].upper()}{line[1:]}."
    return parser


def parser_of_verbs(with_options: bool = False) -> Parser:
    """The parser whose help lists the verbs; with their options, it imports all their modules."""
    parser = Parser(
        prog="glow-jax",
        description="Expression transfer with invertible flows (Glow) in JAX.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"glow-jax {glow_jax.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, (module, line) in VERBS.items():
        options = verbs.add_parser(verb, help=line)
        if with_options:
            importlib.import_module(module).add_options(options)
    return parser


def _end_without_verb(words: list[str]) -> NoReturn:
    """End the process with the list of verbs, the version, or why the first word is no verb."""
    parser = parser_of_verbs()
    if not words:
        parser.print_help(sys.stderr)
        parser.exit(2, "\nglow-jax: error: a verb is required, such as `glow-jax demo`\n")
    if words[0].startswith("-"):
        known = parser._option_string_actions
        if words[0] in known:
            parser.parse_args(words[:1])  # ends the process
        near = meant(words[0], known)
        parser.error(f"{one_line(words[0])}: a verb stands before its options{near}")
    parser.error(f"unknown verb {one_line(words[0])}{meant(words[0], VERBS)}")


if __name__ == "__main__":
    sys.exit(main())
