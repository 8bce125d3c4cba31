"""A parser of one verb's words: one line for an error, with what may have been meant."""

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from glow_jax.io.messages import one_line

LIKENESS = 0.7  # of two words, 0-1 (difflib), from which one is proposed for the other
MAX_PROPOSED = 3


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated options, and notes which are on the command line.

    Attributes:
        given: names of the parameters that the words set.
    """

    def __init__(self, **settings: Any):
        """The arguments are those of `argparse.ArgumentParser`."""
        super().__init__(allow_abbrev=False, **settings)
        self.given: set[str] = set()

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2, and one line however long a word is."""
        if message.startswith("unrecognized arguments"):
            message += self._repeatable()
        self.exit(2, f"{self.prog}: error: {one_line(message)} (see `{self.prog} --help`)\n")

    def _repeatable(self) -> str:
        """What to do about words that no option takes, where options can be repeated."""
        once = [a for a in self._actions if a.option_strings and a.nargs is None]
        names = [a.option_strings[-1] for a in once if isinstance(a, argparse._AppendAction)]
        return f"; for several values repeat the option: {', '.join(names)}" if names else ""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, but an unknown option is the first error that is reported."""
        options = self._option_string_actions
        for word in args or ():
            name = word.partition("=")[0]
            if word == "--":
                break
            if name.startswith("--") and name not in options and " " not in name:
                self.error(f"unknown option {one_line(name)}{meant(name, options)}")
        return super().parse_known_args(args, namespace)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As argparse's, which calls it for every argument that it finds among the words."""
        if action.option_strings or arg_strings:
            self.given.add(action.dest)
        return super()._get_values(action, arg_strings)


class Once(argparse.Action):
    """An option of one picture or folder: given twice it is an error, where argparse keeps one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Store the value."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice; put the pictures into one folder")
        setattr(namespace, self.dest, values)


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: "; did you mean --alpha?", or nothing.

    Args:
        word: what was given.
        known: what is accepted. Those that begin with `word` are proposed, or else like ones, or
            else those with which `word` begins.
    """
    names = list(known)
    longer = [name for name in names if name.startswith(word)] if word.strip("-") else []
    near = longer or difflib.get_close_matches(word[:80], names, MAX_PROPOSED, LIKENESS)
    near = near or [name for name in names if word.startswith(name)]
    return f"; did you mean {' or '.join(near[:MAX_PROPOSED])}?" if near else ""
