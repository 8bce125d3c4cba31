"""The page's sentences, its pieces of HTML and its error lines; who computes when."""

import base64
import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_jax.cli.ui import words
from glow_jax.cli.ui.figures import Figures, movements_of
from glow_jax.cli.ui.parts import error_line
from glow_jax.cli.ui.turns import Turns
from glow_jax.io.errors import InputError
from glow_jax.io.output_schema import ABSOLUTE, NOTHING


def test_a_picture_is_shown_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    kind, _, data = words.picture_uri(image).partition(",")
    assert kind == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), image)
    large = np.zeros((300, 200, 3), np.uint8)
    assert words.picture_uri(large).startswith("data:image/jpeg")


def test_text_of_users_is_no_html() -> None:
    evil = "<img src=x onerror=alert(1)>.png"
    assert "<img" not in words.lines(words.unlikely({evil: 9.0}, 1.0), "warn")
    assert "<b>" not in words.placeholder("<b>")


def test_unlikely_pictures_are_named_with_the_limit() -> None:
    bits = {"a.png": 1.0, "b.png": 2.5, "c.png": float("nan")}
    (line,) = words.unlikely(bits, 1.5)
    assert "b.png (2.50 bits/dim)" in line and "c.png" in line and "a.png" not in line
    assert "1.50 bits/dim" in line
    assert not words.unlikely({"a.png": 1.5}, 1.5) and not words.unlikely(bits, None)
    (many,) = words.unlikely({f"{i}.png": 5.0 + i for i in range(5)}, 1.0)
    assert "4.png" in many and "and 2 more" in many


def test_notes_of_results_are_said_in_words() -> None:
    assert words.remarks("", 1.0) == []
    assert "one picture" in words.remarks(ABSOLUTE, 1.0)[0]
    assert "nothing is changed" in words.remarks(NOTHING, 1.0)[0]
    assert "exaggerated" in words.remarks("", 1.2)[0]
    assert words.remarks("", 1.0, 0.25)[0].startswith("Only 25 %")


def test_identity_is_a_sentence() -> None:
    assert "still counts" in words.identity_sentence(Figures(0.3, 0.7, 0.6, ()))
    assert "no longer counts" in words.identity_sentence(Figures(0.7, 0.2, 0.6, ()))
    assert "no face" in words.identity_sentence(Figures(float("nan"), 0.2, 0.6, ()))


def test_the_action_units_that_move_most_are_listed() -> None:
    row = {"AU12": 2.0, "AU12_target": 0.5, "AU12_expression": 3.0, "AU12_source": 0.0}
    row |= {"AU04": 0.0, "AU04_target": 1.0, "AU04_expression": 0.0, "AU04_source": 1.5}
    row |= {"AU45": 0.0, "AU45_target": 0.0, "AU45_expression": 0.4, "AU45_source": 0.0}
    row |= {"AU25": float("nan"), "AU25_expression": 4.0, "AU25_source": 0.0}
    found = movements_of(row)
    assert [(one.au, one.asked, one.made) for one in found] == [
        ("AU12", 3.0, 1.5),
        ("AU04", -1.5, -1.0),
    ]
    html = words.figures_html(Figures(0.3, 0.7, 0.6, found), "at 50 %", "asked for")
    assert (
        "50 %" in html
        and "asked for" in html
        and "lip corner puller" in html
        and "+3.0" in html
        and "-1.0" in html
    )
    assert "No Action Unit" in words.figures_html(Figures(0.3, 0.7, 0.6, ()), "", "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("give `source`"), "give --source"),
        (
            InputError("/tmp/glow-jax-ui-a1b_/staged/0f3a/ann.png: damaged"),
            "ann.png: damaged",
        ),
        (
            FileNotFoundError(2, "No such file", "/tmp/glow-jax-ui-x/results/1a/r"),
            "r: No such file",
        ),
        (
            UnicodeEncodeError("utf-8", "\ud800.png", 0, 1, "no"),
            r"'\ud800.png': a name that this system's utf-8 cannot encode",
        ),
        (ValueError("odd\nmore"), "ValueError: odd"),
    ],
)
def test_errors_are_the_command_lines(error: Exception, line: str) -> None:
    assert error_line(error, {"source": "--source"}) == line


def test_turns_are_taken_in_order() -> None:
    turns, order, threads = Turns(), list[int](), list[threading.Thread]()

    def work(i: int) -> None:
        with turns.mine():
            order.append(i)

    with turns.mine():
        for i in range(5):
            threads.append(threading.Thread(target=work, args=(i,)))
            threads[-1].start()
            while len(turns._waiting) <= i:
                time.sleep(0.001)
        assert order == []
        turns.pause()
        assert order == [0, 1, 2, 3, 4]  # all that waited went first
        turns.pause()  # nobody waits
    for thread in threads:
        thread.join()


def test_a_turn_ends_when_its_work_fails() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="x"), turns.mine():
        raise ValueError("x")
    with turns.mine():
        pass


def test_thumbnails_are_in_the_style(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"png")
    style = words.thumbnails("x", [path, path])
    assert "#x label:nth-of-type(2)" in style and base64.b64encode(b"png").decode() in style
