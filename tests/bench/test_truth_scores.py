"""The truth benchmark's scoring: what each figure must say of outputs whose answer is known."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import plots
from bench.truth import pictures as truth_pictures
from bench.truth import scores as truth_scores
from bench.truth import tables as truth_tables
from bench.truth.scores import Output, PixelFigures, Reference, Scores, pixel_figures

SIDE = 64
NAN = float("nan")
PERFECT = PixelFigures(0, np.inf, 1, 0, 0, 0, 0, 0, 0)


def drawn(brow: float, *, side: int = SIDE, mouth: float = 44, spot: float | None = None):
    """A head with two brows at a height, a mouth, and a spot where none belongs."""
    y, x = (np.mgrid[:side, :side] + 0.5) * SIDE / side - 0.5

    def bar(top: float, left: float, right: float, thick: float = 3) -> np.ndarray:
        soft = [np.clip((v + 0.5), 0, 1) for v in (y - top, top + thick - y, x - left, right - x)]
        return np.prod(soft, axis=0)

    head = 1 / (1 + np.exp((((x - 31.5) / 24) ** 2 + ((y - 32) / 29) ** 2 - 1) * 12))
    ink = bar(brow, 15, 26) + bar(brow, 37, 48) + bar(mouth, 24, 39)
    if spot is not None:
        ink = ink + bar(spot, 26, 37)
    grey = 90 + 110 * head - 90 * np.clip(ink, 0, 1)
    return np.repeat((grey + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def reference(base: np.ndarray, truth: np.ndarray, **fields: Any) -> Reference:
    side = len(base)
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    given: dict[str, Any] = {
        "setting": "matched",
        "source": 1,
        "target": 2,
        "expression": "brows",
        "base": base,
        "truth": truth,
        "mask": (x / 0.36) ** 2 + (y / 0.44) ** 2 < 1,
        "activations": {"AU1": 1.0},
        "target_photos": [base],
        "source_photos": [truth],
        "source_expression": truth,
        "source_neutral": base,
    }
    return Reference(**{**given, **fields})


def output(image: np.ndarray, method: str = "m", alpha: float = 1.0) -> Output:
    return Output(method, "matched", 1, alpha, "brows", 1, 2, image)


def faded(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    return (share * one + (1 - share) * other.astype(float) + 0.5).astype(np.uint8)


BASE, TRUTH = drawn(22), drawn(17)


# ---- pixels


def test_the_truth_is_perfect() -> None:
    assert pixel_figures(TRUTH.copy(), reference(BASE, TRUTH)) == PERFECT


def test_no_transfer_has_edges_in_the_wrong_place_and_no_ghosts() -> None:
    found = pixel_figures(BASE, reference(BASE, TRUTH))
    assert found.surplus > 0.1 and found.missing > 0.1 and found.mae > 3 and found.ssim < 0.9
    assert (found.ghosts, found.crossfade, found.blur) == (0, 0, 0)


@pytest.mark.parametrize("side", [64, 128])
def test_a_crossfade_is_told_from_a_movement(side: int) -> None:
    base, truth, half = (drawn(h, side=side) for h in (22, 17, 19.5))
    fade = faded(truth, base, 0.5)
    to = reference(base, truth)
    of_fade, of_half = pixel_figures(fade, to), pixel_figures(half, to)
    assert of_fade.mae < of_half.mae and of_fade.ssim > of_half.ssim  # which errors do not tell
    assert of_fade.crossfade > 0.9 and of_half.crossfade < 0.2
    assert of_fade.blur > 3 * of_half.blur


def test_a_crossfade_is_worse_than_a_movement_of_equal_error() -> None:
    to, fade = reference(BASE, TRUTH), faded(TRUTH, BASE, 0.5)
    error = pixel_figures(fade, to).mae
    moves = [pixel_figures(drawn(h), to) for h in np.linspace(17, 22, 41)]
    nearest = min(moves, key=lambda f: abs(f.mae - error))
    assert abs(nearest.mae - error) < 0.15 * error
    found = pixel_figures(fade, to)
    assert found.crossfade > 5 * nearest.crossfade and found.surplus > nearest.surplus


def test_foreign_edges_are_ghosts() -> None:
    to = reference(BASE, TRUTH)
    assert pixel_figures(drawn(17, spot=30), to).ghosts > 0.1
    for clean in (faded(TRUTH, BASE, 0.5), np.roll(TRUTH, 1, 0), drawn(18), drawn(19.5)):
        assert pixel_figures(clean, to).ghosts < 0.01  # a movement half done is none


def test_blur_is_blur_and_little_noise_is_nothing() -> None:
    from scipy import ndimage

    to, rng = reference(BASE, TRUTH), np.random.default_rng(0)
    soft = ndimage.gaussian_filter(TRUTH.astype(float), (1.5, 1.5, 0)).astype(np.uint8)
    noisy = np.clip(TRUTH + rng.normal(0, 2, TRUTH.shape), 0, 255).astype(np.uint8)
    assert pixel_figures(soft, to).blur > 0.3
    found = pixel_figures(noisy, to)
    assert max(found.blur, found.ghosts, found.crossfade, found.surplus) < 0.03


def test_only_the_mask_counts() -> None:
    outside = TRUTH.copy()
    outside[:3], outside[:, :3] = 255, 0
    found = pixel_figures(outside, reference(BASE, TRUTH))
    assert (found.mae, found.surplus, found.ghosts) == (0, 0, 0)


def test_ssim_agrees_with_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    one, other = BASE[..., 0], faded(TRUTH, BASE, 0.7)[..., 0]
    _, found = cv2.quality.QualitySSIM_compute(one, other)
    ours = truth_scores.ssim_map(one, other)
    np.testing.assert_allclose(ours[8:-8, 8:-8], found[8:-8, 8:-8], atol=5e-4)  # float32 there


def test_ssim_of_constants_is_the_luminance_term() -> None:
    found = truth_scores.ssim_map(np.full((20, 20), 100), np.full((20, 20), 120))
    c1 = 2.55**2
    np.testing.assert_allclose(found, (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1))


def test_fhog_distance_grows_with_the_change_and_ignores_light() -> None:
    mask = reference(BASE, TRUTH).mask
    near, far = (truth_scores.fhog_distance(x, TRUTH, mask) for x in (drawn(18), BASE))
    assert 0 < near < far < 1
    assert truth_scores.fhog_distance(TRUTH * 0.8, TRUTH, mask) < 1e-4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"truth": TRUTH[:32]}, "the base is"),
        ({"truth": TRUTH.astype(float)}, "use uint8"),
        ({"mask": np.ones((64, 64))}, "use bool"),
        ({"mask": np.zeros((64, 64), bool)}, "needs a pixel"),
    ],
)
def test_a_bad_reference_is_refused(change: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        reference(**{"base": BASE, "truth": TRUTH, **change})


def test_an_output_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="output for"):
        pixel_figures(TRUTH[:32], reference(BASE, TRUTH))


# ---- the judge, without its models


class Face:
    """Stands for eval.scoring.Scored: levels and embedding are functions of the pixels."""

    def __init__(self, path: Path):
        from PIL import Image

        from eval.identity import Embedding
        from eval.reading import Reading

        pixels = np.asarray(Image.open(path), float)
        if pixels.min() == pixels.max():  # no face
            self.reading, self.embedding = Reading(0), Embedding(0)
            return
        level = np.full(17, 0.5)
        level[0], level[9] = pixels[18:20, 18:22].mean() / 50, np.nan
        self.reading = Reading(1, level, 2 * level)
        self.embedding = Embedding(1, np.array([pixels.mean(), 0.0]))


def test_outputs_are_scored_with_the_judge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    monkeypatch.setattr(
        truth_scores, "_judge", lambda paths, *_: {path: Face(path) for path in paths}
    )
    blank = np.full_like(BASE, 7)
    outputs = [output(TRUTH, "oracle"), output(BASE, "none"), output(blank, "blank")]
    oracle, none, faceless = truth_scores.score_outputs(
        iter(outputs), [reference(BASE, TRUTH)], tmp_path
    )
    np.testing.assert_array_equal(oracle.au_output, oracle.au_truth)
    np.testing.assert_array_equal(oracle.au_source, oracle.au_truth)
    assert np.isnan(oracle.au_truth[9]) and abs(oracle.au_truth[0]) > 0.5
    assert oracle.au_true[0] == 5 and oracle.au_true.sum() == 5
    assert np.nansum(np.abs(none.au_output)) == 0 and none.to_target == 0
    assert oracle.to_source == 0 and oracle.to_target > 0
    assert not faceless.face and np.isnan(faceless.to_target) and np.isnan(faceless.au_output).all()
    assert len(list((tmp_path / "pictures").iterdir())) == 3  # each picture once


def test_an_output_without_a_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no reference for"):
        truth_scores.score_outputs([output(TRUTH)], [], tmp_path)


# ---- tables


def scored(
    method: str, share: float, noise: float = 0, *, alpha: float = 1.0, people: int = 6
) -> list[Scores]:
    """Outputs with a share of the true change, and noise; AU14 is not read."""
    rng = np.random.default_rng(1)
    found = []
    for target in range(people):
        for source in (10, 11):
            for expression in ("smile", "frown"):
                truth = rng.normal(0, 1, 17)
                truth[9] = NAN
                made = share * truth + noise * np.random.default_rng(target).normal(0, 1, 17)
                found.append(
                    Scores(
                        *(method, "matched", 1, alpha, expression, source, target),
                        *(made, truth, truth * 2, np.nan_to_num(truth) * 0.5),
                        *(0.3, 0.5, True, PERFECT, 0.0, 0.01, NAN),
                    )
                )
    return found


def test_a_perfect_method_and_none() -> None:
    perfect = truth_tables.aggregate(scored("oracle", 1))
    found = perfect["vs_truth"]
    assert found["gain"] == pytest.approx(1) and found["r"] == pytest.approx(1)
    assert found["error"] == found["error_shown"] == 0 and perfect["error_ratio"] == 0
    assert perfect["vs_true"]["gain"] == pytest.approx(2)
    assert perfect["vs_source"]["gain"] == pytest.approx(0.5)
    assert found["n"] == 24 * 16 and perfect["pairs"] == 12 and perfect["nearer_target"] == 1
    none = truth_tables.aggregate(scored("none", 0))
    assert none["vs_truth"]["gain"] == 0 and np.isnan(none["vs_truth"]["r"])
    assert none["error_ratio"] == pytest.approx(1)


def test_intervals_hold_the_figure_and_are_repeatable() -> None:
    group = scored("m", 0.6, 0.4)
    found = truth_tables.aggregate(group)["vs_truth"]
    for name in ("gain", "r", "error"):
        low, high = found[f"{name}_95"]
        assert low < found[name] < high and high - low < 0.6
    assert truth_tables.aggregate(group)["vs_truth"] == found
    alone = truth_tables.aggregate([s for s in group if (s.source, s.target) == (10, 0)])
    assert np.isnan(alone["vs_truth"]["gain_95"]).all()


def test_outputs_without_a_face_are_counted_and_gain_nothing() -> None:
    group = scored("m", 1)
    lost = [
        dataclasses.replace(s, au_output=np.full(17, NAN), to_target=NAN, to_source=NAN, face=False)
        for s in group[:12]
    ]
    row = truth_tables.aggregate(lost + group[12:])
    assert row["no_face"] == 12 and row["face"] == 0.5 and row["no_embedding"] == 12
    assert row["vs_truth"]["error"] == 0 and row["error_faceless_idle"] > 0.1
    assert row["nearer_target"] == 1
    nothing = truth_tables.aggregate(lost)
    assert np.isnan(
        [nothing["vs_truth"]["gain"], nothing["error_ratio"], nothing["to_target"]]
    ).all()
    assert truth_tables.paired(lost, group)["difference"] > 0


def test_the_paired_test_tells_better_from_equal() -> None:
    better, worse = scored("m", 0.9), scored("pixel", 0.3)
    found = truth_tables.paired(better, worse)
    assert found["difference"] < 0 and found["targets"] == 6 and found["outputs"] == 24
    assert found["p"] == pytest.approx(2 / 2**6)  # every target agrees
    assert truth_tables.paired(worse, worse)["p"] == 1
    rng = np.random.default_rng(0)
    assert truth_tables.sign_flip_p(np.ones(40), rng, 1000) == pytest.approx(1 / 1001)
    assert np.isnan(truth_tables.sign_flip_p(np.ones(1), rng, 10))


def test_rows_in_order_with_their_rivals() -> None:
    scores = [
        *(s for a in (0.5, 1.0) for s in scored("paper", 0.5 * a, alpha=a)),
        *(s for a in (0.5, 1.0) for s in scored("pixel", 0.4 * a, alpha=a)),
        *scored("none", 0, alpha=NAN),
    ]
    rows = truth_tables.table(scores, resamples=50)
    assert [(r["method"], r["alpha"]) for r in rows[1:]] == [
        *(("pixel", 0.5), ("pixel", 1.0), ("paper", 0.5), ("paper", 1.0)),
    ]
    assert rows[0]["method"] == "none" and rows[0]["paired"] is None
    assert rows[3]["paired"]["rival"] == {"method": "pixel", "k": 1, "alpha": 0.5}
    text = truth_tables.markdown(rows, truth_tables.SHORT)
    assert text.splitlines()[2].startswith("| matched | no transfer | 1 | – | 0.00 | – |")
    assert len(text.splitlines()) == 7 and "nan" not in text
    assert truth_tables.markdown(rows).count("|") == 7 * (len(truth_tables.COLUMNS) + 1)
    with pytest.raises(ValueError, match="use setting"):
        truth_tables.markdown(rows, ["gain"])


def test_json_has_intervals_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "new" / "truth.json"
    rows = truth_tables.table(scored("none", 0, alpha=NAN), resamples=50)
    truth_tables.write_json(rows, path, seed=0)
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    (row,) = found["rows"]
    assert found["seed"] == 0 and row["alpha"] is None and row["vs_truth"]["r"] is None
    assert len(row["vs_truth"]["error_95"]) == 2


# ---- pictures


def test_a_contact_sheet_has_a_tile_for_everything() -> None:
    to = reference(BASE, TRUTH)
    sheet = truth_pictures.contact_sheet([to, to], [output(TRUTH), output(BASE, "none", NAN)], None)
    assert sheet.dtype == np.uint8 and sheet.shape[1] > 5 * 128 and sheet.shape[0] > 2 * 128
    with pytest.raises(ValueError, match="at least one"):
        truth_pictures.contact_sheet([], [], None)


def test_the_frontier_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    scores = [*scored("none", 0, alpha=NAN), *scored("m", 0.4, alpha=0.5), *scored("m", 0.8)]
    rows = truth_tables.table(scores, resamples=50)
    picture = truth_pictures.frontier(rows, "matched")
    blue = [int(plots.COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)]
    assert picture.shape == (1000, 1500, 3) and (picture == blue).all(-1).sum() > 500
    truth_pictures.write_png(picture, tmp_path / "a" / "frontier.png")
    assert (tmp_path / "a" / "frontier.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="no row"):
        truth_pictures.frontier(rows, "free")
