"""The file of a direction: what is written is read, and nothing else is."""

import io
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest

from glow_jax.io.errors import InputError
from transfer import directions
from transfer.directions import Direction, load_direction, save_direction, separation

RNG = np.random.default_rng(0)
LEVELS = tuple(RNG.normal(size=shape).astype(np.float32) for shape in ((4, 4, 6), (2, 2, 24)))
ONE = Direction(LEVELS, "faces64", "f" * 64, 3, 2, 1.5, "smile")


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, np.ndarray]:
    """What a file holds."""
    save_direction(tmp_path / "smile.npz", ONE)
    with np.load(tmp_path / "smile.npz", allow_pickle=False) as file:
        return dict(file)


def test_a_direction_comes_back(tmp_path: Path) -> None:
    save_direction(tmp_path / "smile.npz", ONE)
    found = load_direction(tmp_path / "smile.npz")
    assert found.sha256 == ONE.sha256 and found.name == "smile" and not found.is_zero
    assert (found.model, found.fingerprint, found.n_with, found.n_without, found.separation) == (
        "faces64",
        "f" * 64,
        3,
        2,
        1.5,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": np.array(2)}, "version 2; this glow-jax reads version 1"),
        ({"level0": np.zeros((4, 4, 6))}, "level0 is not a float32 array"),
        ({"level1": np.full((2, 2, 24), np.nan, np.float32)}, "of finite numbers"),
        ({"level1": None, "level2": LEVELS[1]}, "it has no 'level1'"),
        ({"fingerprint": None}, "not a direction of `glow-jax direction`"),
        ({"pictures": np.array(3)}, "not a direction"),
        ({"model": np.array("a\x1b[2J")}, "not printable"),
    ],
)
def test_another_file_is_refused_in_one_line(
    tmp_path: Path, arrays: dict, change: dict, message: str
) -> None:
    some = {k: v for k, v in (arrays | change).items() if v is not None}
    np.savez(tmp_path / "other.npz", allow_pickle=False, **some)
    with pytest.raises(InputError, match=message):
        load_direction(tmp_path / "other.npz")


def test_objects_and_bombs_are_never_unpacked(
    tmp_path: Path, arrays: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "a.npz", **(arrays | {"level0": np.array([{}], object)}))
    with pytest.raises(InputError, match="neither of numbers nor of text"):
        load_direction(tmp_path / "a.npz")
    monkeypatch.setattr(directions, "MAX_BYTES", 2**16)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("level0.npy", bytes(2**17))
    (tmp_path / "b.npz").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="unpacks to more than 65536 bytes"):
        load_direction(tmp_path / "b.npz")


def test_separation_is_in_standard_deviations() -> None:
    rng = np.random.default_rng(1)
    found = separation((rng.normal(3, 2, 4000), rng.normal(-1, 2, 4000)))
    assert found == pytest.approx(2, abs=0.06)
    assert math.isnan(separation((np.ones(1), np.zeros(1))))
