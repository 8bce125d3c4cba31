"""What is printed, and what reports show: nothing in it controls a terminal."""

import io
import sys
import unicodedata
from pathlib import Path

import pytest

from eval.report.page import _environment
from eval.report.view import Cell
from glow_jax.cli.main import VERBS, main
from glow_jax.cli.progress import Bars
from glow_jax.io.errors import InputError
from glow_jax.io.terminal import PrintableStream, printable, printable_output, unfiltered

CONTROLS = [chr(i) for i in (*range(32), *range(127, 160)) if chr(i) not in "\n\t"]
OVERRIDES = [chr(i) for i in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
HOSTILE = "a" + "".join(CONTROLS + OVERRIDES) + "\udcff\ud800\u2028b"


def assert_harmless(text: str) -> None:
    bad = [c for c in text if c in CONTROLS + OVERRIDES or unicodedata.category(c) == "Cs"]
    assert not bad, bad


def test_what_controls_a_terminal_is_escaped_and_the_rest_stays() -> None:
    assert_harmless(printable(HOSTILE))
    assert printable("\x1b[31m\x9b\u202e\udcff\r") == r"\x1b[31m\x9b\u202e\udcff\r"
    for text in (
        "one\ttwo\n",
        "caf\u00e9 \u0627\u0644\u0648\u062c\u0647 \u65e5\u672c \U0001f600",
        "a\u200fb",
    ):
        assert printable(text) == text


def test_the_commands_streams_print_no_control(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with printable_output():
        print(HOSTILE)
        sys.stdout.writelines([HOSTILE, "\n"])
        print(HOSTILE, file=sys.stderr, flush=True)
        assert unfiltered(sys.stdout) is before and sys.stdout.isatty() == before.isatty()
    assert sys.stdout is before
    printed = capsys.readouterr()
    assert_harmless(printed.out + printed.err)
    assert printed.out == 2 * (printable(HOSTILE) + "\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("buffering", [1, -1])
def test_a_full_disk_is_one_of_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, buffering: int
) -> None:
    full = open("/dev/full", "w", buffering)  # noqa: SIM115 - closed below
    monkeypatch.setattr(sys, "stdout", full)
    assert main(["aus"]) == 2
    full.close()  # nothing is left that cannot be written
    line = "glow-jax aus: error: standard output: No space left on device\n"
    assert capsys.readouterr().err == line


def test_what_an_encoding_lacks_is_escaped() -> None:
    raw = io.BytesIO()
    stream = PrintableStream(io.TextIOWrapper(raw, "latin-1"))
    stream.write("\u03b1 \u00e9 \udcff")
    stream.flush()
    assert raw.getvalue() == b"\\u03b1 \xe9 \\udcff"
    stream.close()
    assert not raw.closed  # else the interpreter's end would find sys.stderr closed


@pytest.mark.parametrize("verb", [None, *sorted(VERBS)])
def test_no_verb_echoes_what_it_was_given(
    verb: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = HOSTILE.replace("\0", "")
    words = [f"--{hostile}", hostile] if verb is None else [verb, hostile, f"--{hostile}={hostile}"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert_harmless(printed.out + printed.err)
    assert printed.err


def test_lines_above_progress_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with printable_output(), Bars() as bars:
        bars.print(HOSTILE)
    assert_harmless(capsys.readouterr().err)


def test_templates_of_the_report_show_no_control() -> None:
    template = (
        "{{ text }} {{ cell.text }} <i title='{{ text }}'>"
        "{% for c in [text] %}{{ c|upper }}{% endfor %}</i>"
    )
    shown = _environment().from_string(template).render(text=HOSTILE + "<b>", cell=Cell(HOSTILE))
    assert_harmless(shown)
    assert "<b>" not in shown and "&lt;b&gt;" in shown


def test_the_text_of_an_input_error_is_printable() -> None:
    assert str(InputError("a\ud800b\x1b[2J")) == r"a\ud800b\x1b[2J"
    two = str(InputError("one\n" + "a" * 10**6)).split("\n")
    assert two[0] == "one" and len(two) == 2 and len(two[1]) < 2000


def test_a_long_word_of_the_command_line_is_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["info", "x", "--" + "a" * 5000])
    assert len(capsys.readouterr().err.splitlines()[-1]) < 2000


def test_a_name_that_the_system_cannot_encode_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["align", str(tmp_path), "-o", "\ud801"]) == 2
    assert capsys.readouterr().err.endswith(
        "error: '\\ud801': a name that this system's utf-8 cannot encode\n"
    )
