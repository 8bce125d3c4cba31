"""What is printed where: notices, progress, and the summary in words or as JSON."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from glow_jax.cli.output import Output
from glow_jax.cli.progress import Bars

FIGURES = {
    "out": Path("a/b"),
    "share": np.float32(0.5),
    "n": np.int64(3),
    "worst": math.nan,
    "each": [math.inf, 1.5, True, None],
    "inner": {"path": (Path("c"), "\udcff\x1b")},
}


@pytest.mark.parametrize("quiet", [False, True])
def test_a_summary_is_words_or_one_object(quiet: bool, capsys) -> None:
    assert Output("sample", quiet=quiet).summary(["one", "two"], FIGURES, 1) == 1
    assert capsys.readouterr().out == ("" if quiet else "one\ntwo\n")
    assert Output("sample", json=True, quiet=quiet).summary(["one"], FIGURES, 1) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isprintable() and line.isascii()
    assert json.loads(line, parse_constant=lambda name: pytest.fail(name)) == {
        "verb": "sample",
        "exit_code": 1,
        "out": "a/b",
        "share": 0.5,
        "n": 3,
        "worst": None,
        "each": [None, 1.5, True, None],
        "inner": {"path": ["c", "\udcff\x1b"]},
    }


def test_quiet_leaves_notices_out_and_warnings_in(capsys) -> None:
    for quiet in (False, True):
        output = Output("sample", quiet=quiet)
        output.notice("a notice")
        output.warn("a warning")
        printed = capsys.readouterr()
        assert printed.err == ("" if quiet else "a notice\n") + "a warning\n" and not printed.out


def fail_after_an_update() -> None:
    with Bars() as bars:
        bars.update("read", 1, 2)
        raise KeyError


def test_progress_in_a_pipe_is_one_line_at_the_end(capsys) -> None:
    with Bars() as bars:
        for n in range(1, 4):
            bars.update("read", n, 3)
        bars.print("a notice")
        bars.update("paste back", 1, 2)
        assert capsys.readouterr().err == "a notice\n"
    said = capsys.readouterr().err
    assert said.startswith("read 3/3, paste back 1/2 in ") and said.count("\n") == 1
    with Bars():
        pass
    with Bars(quiet=True) as bars:
        bars.update("read", 1, 1)
        bars.print("a notice")
    with pytest.raises(KeyError):
        fail_after_an_update()
    assert capsys.readouterr().err == ""


class Terminal:
    """A stream that says it is a terminal, and keeps what is written."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "bars_drawn"), [("xterm", True), ("dumb", False)])
def test_bars_are_drawn_on_a_terminal(
    term: str, bars_drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for quiet in (False, True):
        stream = Terminal()
        monkeypatch.setattr("sys.stderr", stream)
        with Bars(quiet=quiet) as bars:
            bars.update("read", 2, 3)
        assert ("\u2501" in stream.text or "\u2578" in stream.text) == (bars_drawn and not quiet)
        assert ("read 2/3 in " in stream.text) == (not bars_drawn and not quiet)
        assert bool(stream.text) != quiet
