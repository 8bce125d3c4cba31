"""MkDocs hooks: the command-line reference from the parsers, and two pages from the root folder.

`docs/reference/command-line.md` holds a marker, which is replaced by what `command_line` makes of
the argparse parsers, so that the page cannot differ from `glow-jax VERB --help`.
"""

import argparse
import importlib
import os
from pathlib import Path
from typing import Any

from glow_jax.cli.main import VERBS

ROOT = Path(__file__).parents[2]
MARKER = "<!-- the verbs' options: docs/hooks/pages.py writes them here at build time -->"
FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
CORES = "the number of cores"


def on_files(files: Any, config: Any) -> Any:
    """Add the pages whose text lies in the repository's root folder."""
    from mkdocs.structure.files import File  # argparse alone is enough for the tests

    for page, name in FROM_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the command-line reference in."""
    return markdown.replace(MARKER, command_line()) if MARKER in markdown else markdown


def command_line() -> str:
    """Markdown of every verb: what it is for, its usage, and a table of its options."""
    return "\n".join(_verb(verb, line) for verb, (_, line) in VERBS.items())


def parser_of(verb: str) -> argparse.ArgumentParser:
    """The parser of a verb's own options."""
    parser = argparse.ArgumentParser(prog=f"glow-jax {verb}")
    importlib.import_module(VERBS[verb][0]).add_options(parser)
    return parser


def _verb(verb: str, line: str) -> str:
    parser = parser_of(verb)
    shown = [a for a in parser._actions if a.help != argparse.SUPPRESS and a.dest != "help"]
    about = parser.description or f"{line[0].upper()}{line[1:]}."
    parts = [f"## glow-jax {verb}\n", f"{about.replace('%%', '%')}\n", _usage(parser)]
    parts += ["| argument | meaning | default |", "| --- | --- | --- |"]
    return "\n".join([*parts, *map(_row, shown), ""])


def _usage(parser: argparse.ArgumentParser) -> str:
    """The usage lines, as wide on every machine."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "90"
    try:
        text = parser.format_usage().removeprefix("usage: ")
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
    return f"```text\n{text.strip()}\n```\n"


def _row(action: argparse.Action) -> str:
    value = _value(action)
    names = action.option_strings or [value]
    name = ", ".join(f"`{n}`" for n in names)
    if action.option_strings and value:
        name += f" `{value}`"
    return f"| {name} | {_cell(_help(action))} | {_cell(_default(action))} |"


def _value(action: argparse.Action) -> str:
    """What stands behind an option: its metavar or its choices."""
    if action.nargs == 0:
        return ""
    if action.metavar is None and action.choices is not None:
        return " | ".join(map(str, action.choices))
    word = str(action.metavar or action.dest.upper())
    return f"{word} …" if action.nargs in ("+", "*") else word


def _help(action: argparse.Action) -> str:
    """The help text without the default, which has a column of its own."""
    text = action.help or ""
    return text.split("(default: %(default)")[0].split("(default: one a")[0].strip()


def _default(action: argparse.Action) -> str:
    """The default, the same on every machine; empty where the help text tells it."""
    value = action.default
    if action.required or not action.option_strings:
        return "" if action.nargs == "?" else "required"
    if value is None or value == [] or "(default: " in _help(action):
        return ""
    if value is True or value is False:
        return "yes" if value else "no"
    if action.dest == "workers" and value in (os.cpu_count(), _processors()):
        return CORES
    home = str(Path.home())
    return f"`{str(value).replace(home, '~')}`"


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cell(text: str) -> str:
    return " ".join(text.replace("%%", "%").split()).replace("|", "\\|").replace("<", "&lt;")
