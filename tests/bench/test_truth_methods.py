"""The benchmark's methods: what each does at alpha 0 and 1, and what they are made of."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from bench.truth import methods
from bench.truth.methods import LATENT, Case, Material, make_material
from transfer import arithmetic
from transfer.expression.pairs import Pairs

SHAPES = ((8, 8, 3), (4, 4, 6))
D = sum(h * w * c for h, w, c in SHAPES)
A, N = 3, 80


@pytest.fixture(scope="module")
def material() -> Material:
    rng = np.random.default_rng(0)
    neutral = rng.integers(0, 200, (N, 8, 8, 3), np.uint8)
    aus = rng.uniform(0, 1, (N, A))
    effect = rng.normal(0, 20, (A, 8, 8, 3))
    expressive = (neutral + np.tensordot(aus, effect, 1)).clip(0, 255).astype(np.uint8)
    pairs = Pairs(neutral, expressive, aus, np.zeros((N, 68, 2)), np.zeros((N, 68, 2)))
    z = rng.normal(size=(N, D)).astype(np.float32)
    change = (aus @ rng.normal(size=(A, D)) + 0.1 * rng.normal(size=(N, D))).astype(np.float32)
    warped = neutral.astype(np.float32)
    terms = np.concatenate([aus, aus**2], 1)
    aligned = (terms, z, z + terms @ np.ones((2 * A, D), np.float32))
    return make_material(pairs, z, z + change, SHAPES, warped, aligned, penalty=1.0)


def test_what_is_left_in_aligned_latents_is_regressed_on_terms(material: Material) -> None:
    residual = material.latent_residual
    assert residual.shape == (2 * A, D) and residual.dtype == np.float32
    assert 0.5 < residual.mean() < 1.0 and residual.std(1).max() < 1e-3


@pytest.fixture(scope="module")
def case() -> Case:
    rng = np.random.default_rng(1)

    def pictures(k: int) -> np.ndarray:
        return rng.integers(0, 256, (k, 8, 8, 3), np.uint8)

    def vectors(k: int) -> np.ndarray:
        return rng.normal(size=(k, D)).astype(np.float32)

    return Case(
        expression=pictures(1)[0],
        z_expression=vectors(1)[0],
        source=pictures(4),
        target=pictures(4),
        z_source=vectors(4),
        z_target=vectors(4),
        source_neutral=np.array([True, False, True, False]),
        target_neutral=np.array([False, True, True, True]),
        base=2,
        others=vectors(3),
        activations=np.array([0.5, 0.0, -0.2], np.float32),
        raw_vector=vectors(1)[0],
        raw_target=vectors(1)[0],
    )


def test_material_has_the_shapes_it_says(material: Material) -> None:
    assert [(s.start, s.stop) for s in material.levels] == [(0, 192), (192, 288)]
    assert material.modes.shape == (methods.PCA, D)
    assert material.identity.shape == (methods.IDENTITY, D)
    assert material.masks.shape == (D,)
    assert material.read.shape == material.write.shape == (A, D)
    assert material.pixel_write.shape == material.pixel_residual.shape == (A, 8, 8, 3)
    assert material.pictures.shape == (N, 8, 8, 3) and material.vectors.shape == (N, D)
    for field in dataclasses.fields(material):
        value = getattr(material, field.name)
        assert not isinstance(value, np.ndarray) or np.isfinite(value).all()


@pytest.mark.parametrize("name", ["modes", "identity"])
def test_modes_are_orthonormal_and_projections_idempotent(material: Material, name: str) -> None:
    modes = getattr(material, name)
    np.testing.assert_allclose(modes @ modes.T, np.eye(len(modes)), atol=1e-3)
    vector = np.random.default_rng(2).normal(size=D)
    once = (modes @ vector) @ modes
    np.testing.assert_allclose((modes @ once) @ modes, once, atol=1e-2)
    assert 0 < np.linalg.norm(once) < np.linalg.norm(vector)


def test_masks_are_soft_ellipses_at_every_level(material: Material) -> None:
    start = 0
    for h, w, c in SHAPES:
        mask = material.masks[start : start + h * w * c].reshape(h, w, c)
        assert (mask == mask[..., :1]).all()
        assert mask.min() == 0 and mask.max() == 1
        assert mask[0].max() == 0 and mask[h // 2, w // 2, 0] == 1
        np.testing.assert_allclose(mask, mask[:, ::-1], atol=1e-6)
        start += h * w * c


def test_reading_and_writing_are_regressions(material: Material) -> None:
    """What is written is read again, as training pairs teach; a ridge makes less of it."""
    aus = np.random.default_rng(4).uniform(0, 1, (20, A))
    again = aus @ material.write @ material.read.T
    assert np.corrcoef(again.ravel(), aus.ravel())[0, 1] > 0.6
    # Here the warp moved nothing, so all that pixels change by is left.
    np.testing.assert_allclose(material.pixel_residual, material.pixel_write, atol=1e-3)


MEANS = ("paper", "neutral means", "variance restored")


@pytest.mark.parametrize("name", LATENT)
def test_alpha_0_is_the_target(case: Case, material: Material, name: str) -> None:
    got = LATENT[name](case, material, 0.0)
    wanted = {
        "paper": case.z_target.mean(0),
        "neutral means": case.z_target[1:].mean(0),
        "variance restored": case.z_target.mean(0) * 2,  # √4 times as far from 0
    }.get(name, case.z_target[2])
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in LATENT if n != "variance restored"])
def test_methods_are_linear_in_alpha(case: Case, material: Material, name: str) -> None:
    at = {a: LATENT[name](case, material, a) for a in (0.0, 0.5, 1.0, -1.0)}
    assert at[1.0].shape == (D,)
    np.testing.assert_allclose(at[0.5], (at[0.0] + at[1.0]) / 2, atol=1e-4)
    np.testing.assert_allclose(at[0.0], (at[-1.0] + at[1.0]) / 2, atol=1e-4)
    assert np.abs(at[1.0] - at[0.0]).max() > 1e-3


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_paper_is_the_library_s_transfer(case: Case, material: Material, alpha: float) -> None:
    means = (arithmetic.mean(z) for z in (case.z_target, case.z_source))
    target, source = means
    wanted = arithmetic.transfer(target, case.z_expression, source, alpha)
    got = methods.paper(case, material, alpha)
    np.testing.assert_allclose(got, np.asarray(wanted), atol=1e-5)
    restored = arithmetic.variance_restored_transfer(
        target, case.z_expression, source, alpha, n_tgt=4, n_src=4, src_in_mean=False
    )
    got = methods.restored(case, material, alpha)
    np.testing.assert_allclose(got, np.asarray(restored), atol=1e-4)


def vector_of(name: str, case: Case, material: Material) -> np.ndarray:
    return LATENT[name](case, material, 1.0) - case.z_base


def test_directions_are_as_said(case: Case, material: Material) -> None:
    plain = vector_of("on a picture", case, material)
    np.testing.assert_allclose(plain, case.z_expression - case.z_source[[0, 2]].mean(0), atol=1e-5)
    per_level = vector_of("per-level alpha", case, material)
    for part, by in zip(material.levels, (0.5, 0.9), strict=True):
        np.testing.assert_allclose(per_level[part], by * plain[part], atol=1e-4)
    mean = (plain + case.others.sum(0)) / 4
    np.testing.assert_allclose(vector_of("averaged direction", case, material), mean, atol=1e-5)
    within = vector_of("pca subspace", case, material)
    np.testing.assert_allclose((material.modes @ within) @ material.modes, within, atol=2e-2)
    orthogonal = vector_of("identity-orthogonal", case, material)
    np.testing.assert_allclose(material.identity @ orthogonal, 0, atol=2e-2)
    masked = vector_of("face mask", case, material)
    assert (masked[material.masks == 0] == 0).all()
    inside = material.masks == 1
    np.testing.assert_allclose(masked[inside], plain[inside], atol=1e-5)
    spanned = vector_of("regression subspace", case, material)
    fit = np.linalg.lstsq(material.write.T, spanned, rcond=None)[0]
    np.testing.assert_allclose(fit @ material.write, spanned, atol=1e-3)
    written = vector_of("network code", case, material)
    np.testing.assert_allclose(written, case.activations @ material.write, atol=1e-5)


def test_without_neutral_pictures_marked_all_are(case: Case, material: Material) -> None:
    everybody = np.ones(4, bool)
    case = dataclasses.replace(case, source_neutral=everybody, target_neutral=everybody)
    one, other = (LATENT[n](case, material, 0.7) for n in ("paper", "neutral means"))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_pixels_are_added(case: Case, material: Material) -> None:
    np.testing.assert_array_equal(methods.pixel(case, 0.0), case.target[2])
    step = methods.pixel(case, 1.0) - case.target[2]
    wanted = case.expression - case.source[[0, 2]].astype(float).mean(0)
    np.testing.assert_allclose(step, wanted)
    np.testing.assert_array_equal(methods.pixel_code(case, material, 0.0), case.target[2])
    coded = methods.pixel_code(case, material, 2.0) - case.target[2]
    wanted = 2 * np.tensordot(case.activations, material.pixel_write, 1)
    np.testing.assert_allclose(coded, wanted, atol=1e-3)


def test_the_nearest_training_picture_is_found(case: Case, material: Material) -> None:
    wanted = methods.on_picture(case, material, 1.0)
    vectors = material.vectors.copy()
    vectors[17, material.levels[1]] = wanted[
        material.levels[1]
    ]  # the finest level is not looked at
    there = dataclasses.replace(material, vectors=vectors)
    np.testing.assert_array_equal(methods.nearest(case, there), material.pictures[17])


def test_methods_change_nothing_they_are_given(case: Case, material: Material) -> None:
    def copies(of: Any) -> list[np.ndarray]:
        arrays = [getattr(of, f.name) for f in dataclasses.fields(of)]
        return [a.copy() for a in arrays if isinstance(a, np.ndarray)]

    before = copies(case) + copies(material)
    for method in LATENT.values():
        method(case, material, 0.8)
    methods.nearest(case, material)
    for one, other in zip(before, copies(case) + copies(material), strict=True):
        np.testing.assert_array_equal(one, other)
