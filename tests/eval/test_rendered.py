"""The bundled AU models on renders that they were not trained on, and damaged model files."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eval.reading import Reading, relative
from eval.rendered import BUNDLED, RenderedReader
from eval.table import AUS
from glow_jax.io.errors import InputError
from tests.support.judged import FACES, face, picture, truth

NAMES = sorted(p.stem.removeprefix("id000") for p in FACES.glob("*.webp"))


@pytest.fixture(scope="module")
def reader() -> RenderedReader:
    return RenderedReader()


@pytest.fixture(scope="module")
def readings(reader: RenderedReader) -> dict[str, Reading]:
    return dict(zip(NAMES, reader.read([face(n) for n in NAMES]), strict=True))


def change(readings: dict[str, Reading], name: str, au: str) -> float:
    """An intensity, read as the change from the person's neutral picture."""
    return relative(readings[name], readings[f"{name[:2]}_0"])[AUS.index(au)]


def test_every_picture_has_its_face(readings: dict[str, Reading]) -> None:
    assert {r.faces for r in readings.values()} == {1}
    assert not any(r.problem for r in readings.values())


STRONG = [(n, au) for n in NAMES for au, v in truth(n).items() if v >= 0.6]


@pytest.mark.parametrize(("name", "au"), STRONG)
def test_strong_expressions_are_read_well_above_neutral(
    readings: dict[str, Reading], name: str, au: str
) -> None:
    assert change(readings, name, au) > change(readings, f"{name[:2]}_0", au) + 1.0
    assert change(readings, name, au) == pytest.approx(5 * truth(name)[au], abs=2)


def test_neutral_faces_are_read_as_neutral(readings: dict[str, Reading]) -> None:
    for name in NAMES:
        if name.endswith("_0"):
            assert np.nanmax(readings[name].level) < 1.5
            assert not np.nansum(readings[name].present) > 1


def test_readings_follow_the_truth(readings: dict[str, Reading]) -> None:
    expressions = [n for n in NAMES if not n.endswith("_0")]
    read = [[change(readings, n, au) for au in AUS] for n in expressions]
    wanted = [[5 * v for v in truth(n).values()] for n in expressions]
    known = np.isfinite(read)
    assert np.corrcoef(np.array(read)[known], np.array(wanted)[known])[0, 1] > 0.9


def test_levels_presence_and_abstention(reader: RenderedReader, readings) -> None:
    for reading in readings.values():
        known = np.isfinite(reading.level)
        np.testing.assert_array_equal(known, reader.readable)
        np.testing.assert_array_equal(known, np.isfinite(reading.change))
        level = reading.level[known]
        assert ((level >= 0) & (level <= 5)).all()
        np.testing.assert_array_equal(reading.present[known], level >= 1)
    assert {q["au"] for q in reader.quality} == set(np.array(AUS)[reader.readable])
    assert reader.readable.sum() >= 14


@pytest.mark.parametrize("name", ["20_2", "29_1", "36_3"])
def test_a_mirrored_picture_reads_the_same(
    reader: RenderedReader, readings: dict[str, Reading], name: str
) -> None:
    # Not to the last digit: the detector's boxes are not quite mirrored.
    (other,) = reader.read([picture(np.ascontiguousarray(face(name).pixels[:, ::-1]))])
    difference = np.abs(other.level - readings[name].level)
    assert np.nanmax(difference) < 0.5 and np.nanmean(difference) < 0.15


def test_reading_alone_or_in_a_batch_is_the_same(
    reader: RenderedReader, readings: dict[str, Reading]
) -> None:
    (alone,) = reader.read([face("20_2")])
    np.testing.assert_array_equal(alone.level, readings["20_2"].level)


def test_odd_pictures_have_no_face(reader: RenderedReader) -> None:
    shapes = [(64, 64), (1, 1), (1, 300), (300, 1), (2, 2), (1, 5000)]
    black = [picture(np.zeros((*shape, 3), np.uint8)) for shape in shapes]
    for reading in reader.read(black):
        assert (reading.faces, reading.problem) == (0, "no face found")
        assert np.isnan([reading.level, reading.change, reading.present]).all()


def test_of_two_faces_the_larger_counts(reader: RenderedReader, readings) -> None:
    pixels = np.full((192, 320, 3), 90, np.uint8)
    pixels[:128, :128] = face("36_2").pixels
    pixels[:, 128:] = np.kron(face("20_2").pixels[16:112], np.ones((2, 2, 1), np.uint8))[:, :192]
    (reading,) = reader.read([picture(pixels)])
    assert reading.faces == 2
    blink, smile = (reading.level[AUS.index(au)] for au in ("AU45", "AU12"))
    assert smile > 3 and blink < 1


def test_the_file_is_small_and_needs_no_pickle() -> None:
    assert BUNDLED.stat().st_size < 2**20
    with np.load(BUNDLED, allow_pickle=False) as file:
        assert all(np.isfinite(file[name]).all() for name in ("template", "level", "change"))


def changed(**arrays: np.ndarray | None) -> bytes:
    """The bundled file with arrays replaced, or without them."""
    with np.load(BUNDLED) as file:
        kept = {name: file[name] for name in file.files} | arrays
    out = io.BytesIO()
    np.savez(out, **{name: array for name, array in kept.items() if array is not None})
    return out.getvalue()


def pickled() -> bytes:
    out = io.BytesIO()
    np.savez(out, level=np.array([{"a": 1}], object), allow_pickle=True)
    return out.getvalue()


def damaged_member() -> bytes:
    data = bytearray(BUNDLED.read_bytes())
    with zipfile.ZipFile(BUNDLED) as file:
        start = file.infolist()[-1].header_offset
    data[start + 60 : start + 90] = bytes(30)
    return bytes(data)


WRONG: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"not arrays",
    "cut": lambda: BUNDLED.read_bytes()[:-1000],
    "damaged": damaged_member,
    "a pickle": lambda: pickle.dumps({"level": 1}),
    "pickled arrays": pickled,
    "no level": lambda: changed(level=None),
    "no quality": lambda: changed(change_r=None),
    "a level of words": lambda: changed(level=np.array(["a"])),
    "other template": lambda: changed(template=np.zeros((5, 2))),
    "other AUs": lambda: changed(bias=np.zeros(16)),
    "unlike lengths": lambda: changed(level=np.zeros((8319, 17))),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, make: Callable[[], bytes]) -> None:
    path = tmp_path / "models.npz"
    path.write_bytes(make())
    with pytest.raises(InputError, match=r"models.npz: not AU models \(") as error:
        RenderedReader(path)
    assert str(error.value).isprintable()


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.npz: cannot be read"):
        RenderedReader(tmp_path / "none.npz")
