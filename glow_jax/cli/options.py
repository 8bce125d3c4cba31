"""Options that several verbs share, and argparse types for the values of options."""

import argparse
import gc
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

# Errors that a command reports in one line; any other error is a fault of the program.
TOLD = (InputError, OSError, UnicodeEncodeError)

OF_PHOTOGRAPHS = "faces64, with --align photo64"


def add_model_options(
    parser: argparse.ArgumentParser,
    batch: bool = True,
    photographs: bool = False,
    said: str = OF_PHOTOGRAPHS,
) -> None:
    """Add the options of a verb that runs a model; with `batch`, --batch-size too.

    With `photographs`, the default model depends on the pictures, as `said`.
    """
    add_model_option(parser, photographs, said)
    parser.add_argument(
        "--precision",
        choices=("exact", "fast"),
        default="exact",
        help="exact: float32; fast: coupling networks in bfloat16 (default: %(default)s)",
    )
    add_compile_cache_option(parser)
    if not batch:
        return
    parser.add_argument(
        "--batch-size",
        type=whole_number(1, 65536),
        default=8,
        metavar="N",
        help="images that are computed at once (default: %(default)s)",
    )


def add_model_option(
    parser: argparse.ArgumentParser, photographs: bool = False, said: str = OF_PHOTOGRAPHS
) -> None:
    """Add the option that names a model; `photographs` and `said` as in `add_model_options`."""
    parser.add_argument(
        "--model",
        default=None if photographs else "faces64",
        metavar="NAME|DIR",
        help="a bundled model or a checkpoint directory "
        f"(default: {said if photographs else 'faces64'})",
    )


def add_compile_cache_option(parser: Any) -> None:
    """Add the option of a verb that compiles programs."""
    parser.add_argument(
        "--compile-cache",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep compiled programs for later runs, in a private folder in GLOW_JAX_CACHE or else "
        "in the user's cache folder (default: yes)",
    )


def add_overwrite_option(parser: Any) -> None:
    """Add the option that lets a verb replace what is at --out: `checks.check_new_file`."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace what --out holds already (default: end with an error, and change nothing)",
    )


def start_jax(compile_cache: bool) -> None:
    """Check that JAX has devices, and turn the cache of compiled programs on.

    A line on standard error reports a cache that cannot be used. JAX_ENABLE_COMPILATION_CACHE=false
    turns the cache off too.

    Args:
        compile_cache: the option --compile-cache.

    Raises:
        InputError: JAX has no device of the platform that JAX_PLATFORMS names.
    """
    import jax

    from glow_jax.compile_cache import use_compile_cache
    from glow_jax.devices import check_platform
    from glow_jax.kept_programs import keep_in

    check_platform()
    collect_garbage()
    if not compile_cache or not jax.config.jax_enable_compilation_cache:  # type: ignore[attr-defined]
        return
    try:
        keep_in(use_compile_cache())
    except InputError as error:
        print(f"compiled programs are not kept: {error}", file=sys.stderr)


def collect_garbage() -> None:
    """Turn on the garbage collector, which `launcher` turned off; it skips present objects."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def whole_number(low: int, high: int) -> Any:
    """An argparse type: an integer from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{one_line(text)}: use a whole number from {low} to {high}"
            )
        return value

    return parse


def number(low: float, high: float) -> Any:
    """An argparse type: a finite number from `low` to `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{one_line(text)}: use a number from {low} to {high}")
        return value

    return parse


def file_ending(*suffixes: str) -> Any:
    """An argparse type: a path with one of the suffixes."""

    def parse(text: str) -> Path:
        if Path(text).suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"{one_line(text)}: use {' or '.join(suffixes)}")
        return Path(text)

    return parse


def flags_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """The longest flag of each option, by the name of the parameter that the option sets.

    Of a flag and its negation (`--align`, `--no-align`) the flag is taken.
    """
    return {
        action.dest: max(action.option_strings, key=lambda f: (not f.startswith("--no-"), len(f)))
        for action in parser._actions
        if action.option_strings
    }


def refuse_given(args: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """Raise InputError if the command line has one of the options, which would do nothing.

    Args:
        args: with the names of the options on the command line, `given`, and `flags_of` them.
        names: of the parameters that the options set.
        why: the end of the message, such as "has no meaning without --align".
    """
    for name in names:
        if name in args.given:
            raise InputError(f"{args.flags[name]} {why}")


def with_flags(message: str, flags: Mapping[str, str]) -> str:
    """A message of the library for the command line: a parameter in backticks becomes its flag.

    For example, "give a smaller `batch_size`" becomes "give a smaller --batch-size".
    """
    return re.sub(r"`(\w+)`", lambda match: flags.get(match[1], match[0]), message)


def error_line(error: Exception, flags: Mapping[str, str]) -> str:
    """The line that reports an error of `TOLD`, with flags in place of parameters.

    Args:
        error: of a verb.
        flags: of the verb, from `flags_of`.
    """
    if isinstance(error, InputError):
        return with_flags(one_line(error), flags)
    if isinstance(error, UnicodeEncodeError):  # of a path, as in "\ud800" of a table
        why = f"{error.object!a}: a name that this system's {error.encoding} cannot encode"
        return one_line(why)
    name = getattr(error, "filename", None)
    return f"{one_line(name)}: {reason(error)}" if name else reason(error)


def memory_line(error: MemoryError, flags: Mapping[str, str]) -> str:
    """The line that reports too little memory, with the option that needs less where there is one.

    Args:
        error: of a verb.
        flags: of the verb, from `flags_of`.
    """
    why = f"out of memory ({reason(error)})" if str(error) else "out of memory"
    return f"{why}; a smaller --batch-size needs less" if "batch_size" in flags else why
