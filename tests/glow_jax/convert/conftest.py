"""Converting without looking at the result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glow_jax.convert
from glow_jax.convert import convert
from glow_jax.convert.build import Source
from glow_jax.convert.options import Options
from glow_jax.convert.pytorch import FAMILIES
from tests.support.converted import UNCHECKED, Converted


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Converted:
    """A converter of y0ast's state_dicts that gives the weights."""
    kept: list[Any] = []
    monkeypatch.setattr(glow_jax.convert, "self_check", lambda *_: UNCHECKED)
    monkeypatch.setattr(glow_jax.convert, "save_weights", lambda c, w, out, card: kept.append(w))

    def run(path: Path, **options: Any) -> tuple[Any, list[str]]:
        made = convert(path, tmp_path / "out", **options)
        return kept.pop(), made.notes

    def expected(state: Mapping[str, np.ndarray]) -> Any:
        return FAMILIES["y0ast"].read(Source(state), Options()).weights()

    return Converted(tmp_path, run, expected)
