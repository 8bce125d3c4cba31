"""One photograph raises what nobody expects: it is listed with its cause, the others aligned."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.tables import read_rows
from tests.support import photographs
from tests.support.photographs import face_of
from transfer.photos import folder
from transfer.photos.aligned_faces import Photographs
from transfer.photos.folder import Summary, align_folder
from transfer.photos.listing import list_photographs

EXCEPTIONS = [
    ValueError("odd"),
    OSError(5, "Input/output error"),
    MemoryError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    RuntimeError("of the detector"),
]
IDS = [type(e).__name__ for e in EXCEPTIONS]


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs of one head, the second one column wider."""
    root = tmp_path_factory.mktemp("album")
    pixels = photographs.photograph("36_1", width=900, height=700, scale=1.3).pixels
    for i in range(3):
        wide = np.concatenate([pixels, pixels[:, -1:]], axis=1) if i == 1 else pixels
        Image.fromarray(wide).save(root / f"{i}.png")
    return root


def detector(raising: Exception | None) -> Callable:
    def detect(pixels: np.ndarray) -> list:
        if raising is not None and pixels.shape[1] == 901:
            raise raising
        marks = np.array(photographs.labels()["36_1"]["landmarks"]) * 1.3
        return [face_of(marks - marks[30] + (450, 350))]

    return detect


def align(album: Path, out: Path, error: Exception | None = None, **options: object) -> Summary:
    found, _ = list_photographs([album])
    return align_folder(found, out, Photographs(64), detector(error), **options)  # type: ignore[arg-type]


def listed(out: Path) -> dict[str, str]:
    return {Path(r["photograph"]).name: r["reason"] for r in read_rows(out / "failures.csv")}


@pytest.mark.parametrize("error", EXCEPTIONS, ids=IDS)
def test_a_detector_that_raises(album: Path, tmp_path: Path, error: Exception) -> None:
    done = align(album, tmp_path / "out", error)
    assert (done.made, len(done.failures)) == (2, 1)
    words = {MemoryError: "MemoryError", OSError: "Input/output error"}
    assert words.get(type(error), str(error)) in listed(tmp_path / "out")["1.png"]
    assert len(list(read_rows(tmp_path / "out" / "align.csv"))) == 2
    assert align(album, tmp_path / "out").made == 1  # the others are kept


@pytest.mark.parametrize("error", EXCEPTIONS, ids=IDS)
def test_a_reader_that_raises(
    album: Path, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = folder.read_image

    def raising(path: Path) -> np.ndarray:
        if path.name == "1.png":
            raise error
        return read(path)

    monkeypatch.setattr(folder, "read_image", raising)
    assert align(album, tmp_path / "out").made == 2
    assert list(listed(tmp_path / "out")) == ["1.png"]


def test_a_measurement_that_raises_and_a_crop_that_is_damaged(album: Path, tmp_path: Path) -> None:
    out, calls = tmp_path / "out", iter(range(9))

    def measure(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if next(calls) == 0:
            raise FloatingPointError("odd")
        return np.zeros(17), np.zeros(17)

    assert align(album, out, measure_aus=measure).made == 2
    assert list(listed(out).values()) == ["FloatingPointError: odd"]
    next((out / "faces").rglob("2_*.png")).write_bytes(b"damaged")
    seen: list[int] = []

    def bits(crops: np.ndarray) -> np.ndarray:
        seen.append(len(crops))
        return np.ones(len(crops))

    done = align(album, out, bits=bits)
    assert seen == [2] and [Path(f.photograph).name for f in done.failures] == ["2.png"]


def test_a_folder_that_cannot_be_written_to_ends_the_run(
    album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("out: the disk is full")

    monkeypatch.setattr(folder, "write_image", full)
    with pytest.raises(InputError, match="the disk is full"):
        align(album, tmp_path / "out")
