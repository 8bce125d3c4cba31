"""What the page shows of a finished result."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.finish import Finished
from glow_jax.cli.ui.forms import Person, TransferForm
from glow_jax.cli.ui.outcome import photograph_html, reduced
from transfer.preview import PHOTOGRAPH_PX


class Seen:
    """A preview that has shown the photograph, or has not."""

    def __init__(self, photograph: Any) -> None:
        self.photograph = photograph


@pytest.fixture
def form(tmp_path: Path) -> TransferForm:
    for name in ("target", "pasted"):
        Image.new("RGB", (1000, 500), "gray").save(tmp_path / f"{name}.png")
    person = Person(tmp_path / "target.png", "target.png")
    return TransferForm(person, person, method="glow", photographs=True, paste_back=True)


def finished(folder: Path, pasted: Path | None) -> Finished:
    return Finished(folder, {}, folder / "face.png", pasted, [], ())


def test_the_photograph_follows_where_the_slider_shows_the_face_alone(
    form: TransferForm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, made = Engine(tmp_path), finished(tmp_path, tmp_path / "pasted.png")
    monkeypatch.setattr(engine, "preview", lambda form: Seen(None))
    html = photograph_html(engine, form, made, "after, 70 %")
    assert html is not None and f"aspect-ratio:{PHOTOGRAPH_PX}/{PHOTOGRAPH_PX // 2}" in html
    assert "after, 70 %" in html
    assert photograph_html(engine, form, finished(tmp_path, None), "after") is None
    monkeypatch.setattr(engine, "preview", lambda form: Seen(np.zeros((2, 2, 3), np.uint8)))
    assert photograph_html(engine, form, made, "after") is None


def test_photographs_are_reduced_and_never_enlarged() -> None:
    assert reduced(np.zeros((2000, 1000, 3), np.uint8)).shape == (PHOTOGRAPH_PX, 320, 3)
    assert reduced(np.zeros((60, 90, 3), np.uint8)).shape == (60, 90, 3)
