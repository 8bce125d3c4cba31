"""The benchmark on photoreal pairs: its cases, its album, and its figures of a mouth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import plots
from bench.truth import mouths, photoreal_pairs
from bench.truth.photoreal_pairs import (
    SIDE,
    Album,
    Case,
    cases_of,
    drawn,
    lips_mask,
    mouth_figures,
    opens,
)
from bench.truth.spoiled import KINDS
from bench.truth.varied import varied
from glow_jax.io.landmarks68 import INNER_LIPS
from tests.support.linear import linear_codec


def lips(height: float) -> list[list[float]]:
    """Landmarks in pixels whose inner lips span 60 pixels, and `height` pixels at most."""
    marks = np.full((68, 2), 100.0)
    turn = np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
    marks[INNER_LIPS] = 128 + np.stack([30 * np.cos(turn), height / 2 * np.sin(turn)], 1)
    return marks.tolist()


def labels() -> dict[str, Any]:
    """Three people, of whom two smile and one frowns."""
    rows = {}
    for person, expression in (("a", "smile"), ("b", "smile"), ("c", "frown")):
        neutral = f"{person}_neutral"
        common = {"neutral": f"{neutral}.webp"}
        rows[neutral] = {"expression": "neutral", "landmarks": lips(1), **common}
        rows[f"{person}_{expression}"] = {"expression": expression, "landmarks": lips(20), **common}
    return rows


def test_each_expression_goes_to_the_next_person_who_has_it() -> None:
    first = Case("a_neutral", "a_smile", "b_neutral", "b_smile")
    second = Case("b_neutral", "b_smile", "a_neutral", "a_smile")
    assert cases_of(labels()) == [first, second]
    assert drawn([first, second], None, 0) == [first, second]
    assert drawn([first, second], 1, 0) in ([first], [second])
    alone = {name: row for name, row in labels().items() if not name.startswith("b")}
    assert cases_of(alone) == []


def test_a_mouth_that_opens_is_known_by_the_area_between_its_lips() -> None:
    mask = lips_mask(lips(20))
    assert mask.shape == (SIDE, SIDE) and mask.sum() == pytest.approx(60 * 20 / np.sqrt(2), rel=0.1)
    assert lips_mask(lips(20), 64).sum() == pytest.approx(mask.sum() / 16, rel=0.25)
    case, rows = Case("a_neutral", "a_smile", "b_neutral", "b_smile"), labels()
    assert opens(rows, case)
    rows["b_neutral"]["landmarks"] = lips(15)
    assert not opens(rows, case)


def test_figures_inside_a_mouth() -> None:
    truth = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    inside = lips_mask(lips(40))
    assert mouth_figures(truth, truth, inside) == pytest.approx((0, 1, 1))
    mae, ssim, sharpness = mouth_figures(np.full_like(truth, 128), truth, inside)
    assert mae == pytest.approx(64, abs=4) and abs(ssim) < 0.1 and sharpness == 0
    outside = np.where(inside[..., None], truth, 0).astype(np.uint8)
    assert mouth_figures(outside, truth, inside)[0] == 0


def test_the_album_gives_pictures_and_latents_by_number(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(1), labels()
    for side in (8, SIDE):
        (tmp_path / str(side)).mkdir()
        for name in rows:
            pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / str(side) / f"{name}.webp", lossless=True)
    album = Album(tmp_path, linear_codec(), rows)
    numbers = [album.number["a_smile"], album.number["c_neutral"]]
    pixels, vectors = album.pixels(numbers), album.latents(numbers)
    assert pixels.shape == (2, 8, 8, 3) and album.large("a_smile").shape == (SIDE, SIDE, 3)
    np.testing.assert_array_equal(album.tree(vectors)[0], pixels + np.float32(0.5))
    np.testing.assert_array_equal(album.mean(numbers[1]), vectors[1])


def test_a_person_named_by_an_expression_has_the_other_pictures(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(1), labels()
    rows["a_blink"] = rows["a_smile"] | {"expression": "blink"}
    (tmp_path / "8").mkdir()
    for name in rows:
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "8" / f"{name}.webp", lossless=True)
    album = Album(tmp_path, linear_codec(), rows)
    number = album.number
    assert album.usable(number["a_neutral"]) == [number["a_neutral"]]
    assert album.usable(number["a_smile"]) == [number["a_neutral"], number["a_blink"]]
    both = album.latents([number["a_neutral"], number["a_blink"]])
    np.testing.assert_allclose(album.mean(number["a_smile"]), both.mean(0), rtol=1e-6)
    case = Case("a_neutral", "a_smile", "b_neutral", "b_smile")
    assert case.from_all == Case("a_smile", "a_smile", "b_smile", "b_smile")
    assert case.seen("all") == case.seen("many") == case.from_all and case.seen("neutral") == case
    alone = Album(tmp_path, linear_codec(), rows, alone=True)
    one = case.seen("one")
    assert one == Case("a_smile", "a_smile", "b_neutral", "b_smile")
    assert alone.usable(number[one.source]) == [number["a_smile"]]


def test_means_of_many_pictures_add_copies(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(1), labels()
    for side in (8, SIDE):
        (tmp_path / str(side)).mkdir()
        for name in rows:
            smooth = rng.integers(60, 200, (4, 4, 3), np.uint8)
            picture = Image.fromarray(smooth).resize((side, side), Image.Resampling.BICUBIC)
            picture.save(tmp_path / str(side) / f"{name}.webp", lossless=True)
    album, of_many = (Album(tmp_path, linear_codec(), rows, least) for least in (1, 6))
    number = album.number["a_neutral"]
    own, mean = album.mean(number), of_many.mean(number)
    np.testing.assert_array_equal(mean, of_many.mean(number))
    assert np.abs(mean - own).max() > 1
    # The copies are of the same picture: on average they differ little from it.
    assert abs(float(mean.mean() - own.mean())) < 25


@pytest.mark.parametrize("kind", KINDS)
def test_an_album_of_spoiled_pictures_shows_the_same_worse_copy_at_every_size(
    tmp_path: Path, kind: str
) -> None:
    rng, rows = np.random.default_rng(1), labels()
    (tmp_path / str(SIDE)).mkdir()
    for name in rows:
        coarse = Image.fromarray(rng.integers(40, 200, (32, 32, 3), np.uint8))
        picture = coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(tmp_path / str(SIDE) / f"{name}.webp", lossless=True)
    plain = Album(tmp_path, linear_codec(), rows)
    album = Album(tmp_path, linear_codec(), rows, kind=kind)
    worse, original = album.large("a_smile").astype(int), plain.large("a_smile").astype(int)
    assert worse.shape == (SIDE, SIDE, 3)
    assert 1 < np.abs(worse - original).mean() < 60
    np.testing.assert_array_equal(worse, album.large("a_smile"))
    small = worse.reshape(8, SIDE // 8, 8, SIDE // 8, 3).mean((1, 3))
    np.testing.assert_allclose(album.pixels([album.number["a_smile"]])[0], small, atol=1)


def test_varied_copies_keep_the_picture() -> None:
    across = np.linspace(0, 255, SIDE).astype(np.uint8)
    picture = np.repeat(np.tile(across, (SIDE, 1))[..., None], 3, 2)
    copies = [varied(np.random.default_rng(seed), picture, 64) for seed in range(8)]
    assert {copy.shape for copy in copies} == {(64, 64, 3)}
    assert len({copy.tobytes() for copy in copies}) == 8
    slopes = [np.diff(copy[16:48, 16:48].astype(float).mean((0, 2))).mean() for copy in copies]
    # Mirrored or not, the ramp stays a ramp.
    assert {np.sign(slope) for slope in slopes} == {-1.0, 1.0}
    assert all(2 < abs(slope) < 6 for slope in slopes)


@pytest.mark.parametrize("module", [photoreal_pairs, mouths])
def test_a_folder_without_pairs_is_one_line(module: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"kind": "people"}))
    (tmp_path / str(SIDE)).mkdir()
    (tmp_path / str(SIDE) / "labels.jsonl").write_text("")
    assert module.main([str(tmp_path), "-o", str(tmp_path / "out.json")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "pairs are needed" in said
    assert not (tmp_path / "out.json").exists()


def test_the_frontier_has_a_curve_for_each_method_over_alpha(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: dict[str, list[plots.Interval]] = {}
    monkeypatch.setattr(plots, "frontier", lambda *texts, ends: drawn.update(texts[3]) or ends)
    row = {"to_target": 0.3, "gain": 0.7, "gain_95": [0.6, 0.8]}
    names = ("the truth", "glow, alpha 0.5", "glow, alpha 1", "glow, alpha 1, all pictures")
    ends = photoreal_pairs.frontier(dict.fromkeys(names, row))
    assert set(drawn) == {"the truth", "glow"} and "the truth" in ends
    assert drawn["glow"] == [plots.Interval(0.3, 0.7, 0.6, 0.8, a) for a in ("0.5", "1")]
