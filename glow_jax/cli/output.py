"""What a verb prints: notices while it works, and its summary as words or as a JSON object.

stdout holds the summary alone; notices, warnings and progress bars go to standard error.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any


def add_output_options(parser: Any) -> None:
    """Add --json and --quiet, which every verb has that does work."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the summary as one JSON object on standard output, in place of words",
    )
    parser.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="print no progress, notices or summary: only errors, what could not be used, and the "
        "object of --json",
    )


@dataclasses.dataclass(frozen=True)
class Output:
    """How a verb prints.

    Attributes:
        verb: its name.
        json: whether the summary is a JSON object.
        quiet: whether notices, progress and the summary's words are left out.
    """

    verb: str
    json: bool = False
    quiet: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Output":
        """What the options of `add_output_options` ask for."""
        return cls(args.verb, args.json, args.quiet)

    def notice(self, line: str) -> None:
        """Print a line about the work on standard error, unless quiet."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def warn(self, line: str) -> None:
        """Print a line about something that could not be used, or is wrong, on standard error."""
        print(line, file=sys.stderr, flush=True)

    def summary(self, lines: Iterable[str], figures: Mapping[str, Any], code: int = 0) -> int:
        """Print what was done; returns `code`.

        Args:
            lines: the summary in words.
            figures: the same figures by name: what JSON holds, paths, and numpy's numbers.
            code: the exit code, which the object holds too.
        """
        if self.json:
            found = {"verb": self.verb, "exit_code": code, **figures}
            print(json.dumps(plain(found), allow_nan=False))
        elif not self.quiet:
            for line in lines:
                print(line)
        return code


def plain(value: Any) -> Any:
    """A value for JSON: paths as text, Python's own numbers, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):  # of numpy
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
