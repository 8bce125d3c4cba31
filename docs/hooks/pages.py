"""MkDocs hooks: options from the parsers, fields from `GlowConfig`, two pages from the root folder.

`docs/reference/command-line.md` and `config.md` hold markers, which are replaced by what
`command_line` makes of the argparse parsers, and `config_fields` of the class, so that the pages
cannot differ from the code.
"""

import argparse
import dataclasses
import inspect
import os
import re
import types
import typing
from pathlib import Path
from typing import Any

from glow_jax.cli.main import VERBS, parser_of
from glow_jax.config import GlowConfig

ROOT = Path(__file__).parents[2]
MARKER = "<!-- the verbs' options: docs/hooks/pages.py writes them here at build time -->"
FIELDS = "<!-- the fields of config.json: docs/hooks/pages.py writes them here at build time -->"
FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
USAGE_COLUMNS = 90


def on_files(files: Any, config: Any) -> Any:
    """Add the pages whose text lies in the repository's root folder."""
    from mkdocs.structure.files import File  # the tests need argparse only

    for page, name in FROM_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, source in FROM_ROOT.items():
            text = text.replace(f"]({source})", f"]({other})")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the command-line reference, and the fields of a model's config."""
    for marker, text in ((MARKER, command_line), (FIELDS, config_fields)):
        markdown = markdown.replace(marker, text()) if marker in markdown else markdown
    return markdown


def command_line() -> str:
    """Markdown of every verb: what it is for, its usage, and a table of its arguments."""
    return "\n".join(map(_verb, VERBS))


def config_fields() -> str:
    """Markdown of a table with a row for each line of attributes in the docstring of GlowConfig."""
    hints = typing.get_type_hints(GlowConfig)
    defaults = {field.name: field.default for field in dataclasses.fields(GlowConfig)}
    about = inspect.getdoc(GlowConfig) or ""
    section = about.partition("Attributes:\n")[2].partition("\n\n")[0]
    lines = ["| field | value | default | meaning |", "| --- | --- | --- | --- |"]
    for names, meaning in re.findall(
        r"^    (\w[\w, ]*): ((?:.*\n?(?:     .*\n?)*))", section, re.M
    ):
        first = names.split(", ")[0]
        default = defaults[first]
        shown = "required" if default is dataclasses.MISSING else f"`{_json(default)}`"
        name = ", ".join(f"`{one}`" for one in names.split(", "))
        lines.append(f"| {name} | {_words_of(hints[first])} | {shown} | {_text(meaning)} |")
    return "\n".join([*lines, ""])


def _json(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _words_of(hint: Any) -> str:
    """A type in plain words."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(map(_words_of, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return "a list of them"
    return {int: "whole number", float: "number", bool: "true or false"}[hint]


def _verb(verb: str) -> str:
    parser = parser_of(verb)
    shown = [a for a in parser._actions if a.help != argparse.SUPPRESS and a.dest != "help"]
    parts = [f"## glow-jax {verb}\n", f"{_text(parser.description or '')}\n", _usage(parser)]
    parts += ["| argument | meaning | default |", "| --- | --- | --- |"]
    return "\n".join([*parts, *map(_row, shown), ""])


def _usage(parser: argparse.ArgumentParser) -> str:
    """The usage lines, of the same width on every machine."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(USAGE_COLUMNS)
    try:
        text = parser.format_usage().removeprefix("usage: ")
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
    return f"```text\n{text.strip()}\n```\n"


def _row(action: argparse.Action) -> str:
    value = _value(action)
    name = ", ".join(f"`{n}`" for n in action.option_strings or [value])
    if action.option_strings and value:
        name += f" `{value}`"
    meaning, default = _help(action)
    return f"| {name} | {_text(meaning)} | {default} |"


def _value(action: argparse.Action) -> str:
    """What stands behind an option: its metavar or its choices."""
    if action.nargs == 0:
        return ""
    if action.metavar is None and action.choices is not None:
        return " | ".join(map(str, action.choices))
    word = str(action.metavar or action.dest.upper())
    return f"{word} …" if action.nargs in ("+", "*") else word


def _help(action: argparse.Action) -> tuple[str, str]:
    """An argument's help, and its default, the same on every machine."""
    text = action.help or ""
    told = re.search(r"\s*\((?:[Dd]efault: (.*)|(required))\)\s*$", text)
    if told:
        text = text[: told.start()]
    if action.required or (told and told[2]):
        return text, "required"
    if not told:
        return text, "`no`" if action.nargs == 0 and action.default is False else ""
    # "one a core, %(default)s": the number differs by machine, the words do not.
    words = re.sub(r"(?<=\w),( here)? %\(default\)\w$", "", told[1])
    return text, _text(re.sub(r"%\(default\)\w", lambda _: _default(action), words))


def _default(action: argparse.Action) -> str:
    value = action.default
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"`{shown.replace(str(Path.home()), '~')}`"


def _text(text: str) -> str:
    """Words in one line, in which Markdown finds no markup but code."""
    words = " ".join(text.replace("%%", "%").split())
    parts = re.split(r"(`[^`]*`)", words)  # every other one is code
    return "".join(
        p if i % 2 else re.sub(r"([|<>*_\[\]])", r"\\\1", p) for i, p in enumerate(parts)
    )
