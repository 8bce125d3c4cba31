"""The verb `completion`: a script that lets a shell complete verbs, options and paths."""

import argparse
from pathlib import Path

from glow_jax.io.packages import need

SHELLS = ("bash", "zsh", "fish")
FOLDERS = ("DIR", "OUT", "NAME|DIR")  # metavars of arguments whose value is a folder


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `completion`."""
    parser.description = (
        "Prints a script that lets a shell complete verbs, options and paths after the Tab key. "
        'For bash: `eval "$(glow-jax completion bash)"` in ~/.bashrc, or the script as a file in '
        "~/.local/share/bash-completion/completions/glow-jax, which starts faster. For zsh: the "
        "script as the file _glow-jax in a folder of $fpath. For fish: the script as "
        "~/.config/fish/completions/glow-jax.fish. The script is made for the installed version: "
        "make it again after an update. Needs the extra `completion`."
    )
    parser.add_argument("shell", choices=SHELLS, help="shell that is to read the script")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script; returns the exit code."""
    need("completion", "shtab")
    import shtab

    from glow_jax.cli.main import parser_of_verbs

    parser = parser_of_verbs(with_options=True)
    (verbs,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for options in verbs.choices.values():
        for action in options._actions:
            if what := _completed_as(action):
                action.complete = getattr(shtab, what)
    print(shtab.complete(parser, shell=args.shell))
    return 0


def _completed_as(action: argparse.Action) -> str:
    """What the value of an argument names: "DIRECTORY", "FILE", or "" for neither."""
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if metavar in FOLDERS:
        return "DIRECTORY"
    is_path = action.type is Path or "." in metavar or metavar in ("FILE", "PHOTO", "CHECKPOINT")
    return "FILE" if is_path else ""
