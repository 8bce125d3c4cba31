"""Words of the command line that are nearly right, and the options that are the same everywhere."""

import argparse

import pytest

from glow_jax.cli.main import VERBS, main, parser_of
from glow_jax.cli.parser import Parser, meant
from tests.support.command_line import fails

SILENT = {"completion", "ui"}  # without a summary: a script, and a server


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trasnfer"], "unknown verb trasnfer; did you mean transfer"),
        (["fit"], "unknown verb fit; did you mean fit-expressions?"),
        (["evaluate"], "unknown verb evaluate; did you mean eval?"),
        (["xyzzy"], "unknown verb xyzzy (see `glow-jax --help`)"),
        ([""], "unknown verb ''"),
        (["--json", "info"], "--json: a verb stands before its options (see"),
        (["--versoin"], "--versoin: a verb stands before its options; did you mean --version?"),
        (["-q", "info", "faces64"], "-q: a verb stands before its options"),
        (["info", "faces64", "--jsn"], "unknown option --jsn; did you mean --json?"),
        (["sample", "--temp", "1", "-o", "a.png"], "--temp; did you mean --temperature?"),
        (["sample", "--temp=1", "-o", "a.png"], "--temp; did you mean --temperature?"),
        (["align", "--min", "3"], "--min; did you mean --min-face or --min-sharpness?"),
        (["sample", "--xyzzy"], "unknown option --xyzzy (see `glow-jax sample --help`)"),
        (["sample", "-o", "a.png", "more"], "unrecognized arguments: more"),
        (
            ["transfer", "--expression", "e", "--target", "a", "-o", "o", "--quiet", "b"],
            "unrecognized arguments: b; for several values repeat the option: --target",
        ),
        (["sample", "-o", "a.png", "--", "--temp"], "unrecognized arguments: -- --temp"),
        (["eval", "OUT", "--report", "DIR"], "unknown option --report"),
        (
            ["sample"],
            "are required: -o/--out (see `glow-jax sample --help`)",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_named_with_what_may_be_meant(words, said: str, capsys) -> None:
    assert said in fails(capsys, words)


def test_a_word_with_a_space_is_no_option(capsys) -> None:
    assert "no such file" in fails(capsys, ["decode", "-- a b.npz", "-o", "out"])


def test_the_nearest_are_proposed() -> None:
    known = ["--alpha", "--align", "--out"]
    assert meant("--aplha", known) == "; did you mean --alpha?"
    assert meant("--al", known) == "; did you mean --alpha or --align?"
    assert meant("--", known) == meant("-", known) == meant("--zzzz", known) == ""
    assert meant("--" + "a" * 10**6, known) == ""


def test_the_options_on_the_command_line_are_known() -> None:
    parser = Parser(prog="a")
    parser.add_argument("place", nargs="?")
    parser.add_argument("-n", "--number", type=int, default=3)
    parser.add_argument("--more", nargs="*", default=[])
    parser.add_argument("--list", action="append", default=[])
    parser.add_argument("--yes", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args([])
    assert parser.given == set() and (args.number, args.yes) == (3, True)
    args = parser.parse_args(["-n3", "--list=a", "--list", "b", "--no-yes", "--more"])
    assert parser.given == {"number", "list", "yes", "more"}
    assert (args.number, args.list, args.yes, args.more) == (3, ["a", "b"], False, [])
    parser.parse_args(["here"])
    assert "place" in parser.given


def test_no_picture_on_the_command_line_is_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse keeps the last value of an option that is repeated, and says nothing."""
    words = ["--expression", "a", "b", "--target", "c", "-o", "d", "--expression", "e"]
    args = parser_of("transfer").parse_args([*words, "--target", "f", "--source", "g"])
    assert [str(path) for path in args.expressions] == ["a", "b", "e"]
    assert [str(path) for path in args.targets] == ["c", "f"] and str(args.source) == "g"
    with pytest.raises(SystemExit) as stopped:
        parser_of("transfer").parse_args([*words, "--source", "g", "--source", "h"])
    assert stopped.value.code == 2
    assert "error: --source is given twice; put the pictures" in capsys.readouterr().err


@pytest.mark.parametrize("verb", sorted(set(VERBS) - SILENT))
def test_options_of_several_values_may_be_repeated(verb: str) -> None:
    """But where the default is a list, to which argparse would add."""
    for action in parser_of(verb)._actions:
        if action.option_strings and action.nargs in ("+", "*") and action.default is None:
            assert isinstance(action, argparse._AppendAction), action.dest


@pytest.mark.parametrize("verb", sorted(set(VERBS) - SILENT))
def test_the_same_option_has_the_same_name_everywhere(verb: str) -> None:
    flags = {flag: action for action in parser_of(verb)._actions for flag in action.option_strings}
    assert {"--json", "-q", "--quiet"} <= flags.keys()
    assert flags["-q"] is flags["--quiet"]
    if verb != "info":  # which writes nothing but the card of a model
        assert flags["-o"] is flags["--out"] and flags["-o"].dest == "out"
    assert not {"--output", "--report", "--force-overwrite", "--verbose"} & flags.keys()


def test_a_verb_is_parsed_once(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    parsed: list[str] = []
    parse = Parser.parse_args
    monkeypatch.setattr(
        Parser, "parse_args", lambda self, *a, **k: parsed.append(self.prog) or parse(self, *a, **k)
    )
    assert main(["info", "nowhere"]) == 2
    assert parsed == ["glow-jax info"]
