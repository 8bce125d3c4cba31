"""py-feat behind its adaptor, with a module in its place: no weights, no network."""

import sys
import types
from collections.abc import Callable

import numpy as np
import pytest

from eval.action_units import make_reader
from eval.table import AUS
from glow_jax.io.errors import InputError
from tests.support.judged import picture

FACE = {"FaceScore": 0.9, "FaceRectWidth": 10.0, "FaceRectHeight": 20.0}
FACE |= {au: i / 20 for i, au in enumerate(AUS) if au != "AU45"}  # not one that it has


class Fex(list):
    """py-feat's table, as far as it is used."""

    def to_dict(self, kind: str) -> list[dict]:
        assert kind == "records"
        return list(self)


@pytest.fixture
def feat(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A `feat` whose detector answers with `rows(pixels)`; `torch` only carries arrays."""
    made = types.SimpleNamespace(rows=lambda pixels: [FACE], words={})

    class Detectorv1:
        def __init__(self, **words: object) -> None:
            made.words = words

        def detect(self, pixels: np.ndarray, **words: object) -> Fex:
            assert words == {"data_type": "tensor", "progress_bar": False}
            return Fex(made.rows(pixels))

    module = types.ModuleType("feat")
    module.__dict__.update(Detectorv1=Detectorv1, __version__="2.1.0")
    torch = types.ModuleType("torch")
    torch.__dict__.update(from_numpy=lambda array: array)
    monkeypatch.setitem(sys.modules, "feat", module)
    monkeypatch.setitem(sys.modules, "torch", torch)
    made.module = module
    return made


def reading_of(feat: types.SimpleNamespace, rows: Callable[[np.ndarray], list]):
    feat.rows = rows
    reader = make_reader("py-feat")
    assert reader is not None
    return reader.read([picture(np.zeros((4, 6, 3), np.uint8))])[0]


def test_probabilities_are_shown_times_five(feat: types.SimpleNamespace) -> None:
    reading = reading_of(feat, lambda pixels: [FACE])
    np.testing.assert_allclose(reading.level[:16], np.arange(16) / 4)
    assert np.isnan(reading.level[16]) and np.isnan(reading.present).all()
    assert (reading.faces, reading.problem) == (1, "")
    assert set(feat.words.values()) == {None}, "models that are not needed are not loaded"


def test_pictures_go_in_as_channels_first_and_are_not_written_to(
    feat: types.SimpleNamespace,
) -> None:
    seen = []

    def rows(pixels: np.ndarray) -> list[dict]:
        seen.append(pixels.copy())
        pixels[:] = 7
        return [FACE]

    feat.rows = rows
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    before = image.copy()
    reader = make_reader("py-feat")
    assert reader is not None and (reader.name, reader.key) == ("py-feat 2.1.0",) * 2
    reader.read([picture(image)])
    np.testing.assert_array_equal(seen[0], before.transpose(2, 0, 1)[None])
    np.testing.assert_array_equal(image, before)


def test_the_largest_face_counts_and_all_are_counted(feat: types.SimpleNamespace) -> None:
    large = FACE | {"FaceRectWidth": 30.0, "AU12": 1.0}
    nothing = {"FaceScore": np.nan, "FaceRectWidth": np.nan, "FaceRectHeight": np.nan}
    reading = reading_of(feat, lambda pixels: [FACE, nothing, large])
    assert (reading.faces, reading.level[AUS.index("AU12")]) == (2, 5)


def test_what_goes_wrong_is_a_reading_without_numbers(feat: types.SimpleNamespace) -> None:
    def fails(pixels: np.ndarray) -> list:
        raise RuntimeError("no faces\nat all")

    answers: dict[str, Callable] = {
        "no face found": lambda pixels: [],
        "py-feat failed (no faces)": fails,
        "py-feat failed ('FaceRectWidth')": lambda pixels: [{"FaceScore": 0.5}],
        "py-feat failed": lambda pixels: [FACE | {"AU12": "much"}],
    }
    for problem, rows in answers.items():
        reading = reading_of(feat, rows)
        assert reading.faces == 0 and np.isnan(reading.level).all()
        assert reading.problem.startswith(problem)


def test_weights_that_cannot_be_fetched_are_said(feat: types.SimpleNamespace) -> None:
    def offline(**words: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'\nand more")

    feat.module.Detectorv1 = offline
    with pytest.raises(InputError, match=r"weights cannot be fetched \(We couldn't connect"):
        make_reader("py-feat")


@pytest.mark.parametrize("error", [ImportError("no lib"), AttributeError("numpy has no bool")])
def test_without_py_feat_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Finder:
        def find_spec(self, name: str, path: object, target: object = None) -> None:
            if name == "feat":
                raise error

    monkeypatch.delitem(sys.modules, "feat", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(InputError, match=r"cannot be imported \(.*: install the extra `py-feat`"):
        make_reader("py-feat")
