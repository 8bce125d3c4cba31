"""Painting an expression on a picture, and decoding that never fails."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.errors import InputError
from tests.support.expressions import SIDE, UNITS, painting_codec, portraits, random_expressions
from transfer.codec import Codec
from transfer.expression import model as ex
from transfer.expression.landmark_detector import detect_landmarks
from transfer.methods import apply
from transfer.methods.apply import (
    Decoded,
    alphas_of_faces,
    code_of,
    decode_safely,
    largest_alphas,
    most_neutral,
    neutral_of,
    paint,
)


@pytest.fixture(scope="module")
def known() -> Any:
    return random_expressions()


@pytest.fixture(scope="module")
def bases() -> np.ndarray:
    return portraits(2)


CODES = np.array([[0.6, -0.3, 0.2], [0.1, 0.9, 0.4]], np.float32)


# -- painting


def test_without_a_code_the_pictures_come_back(known: Any, bases: np.ndarray) -> None:
    np.testing.assert_allclose(paint(known, bases, 0 * CODES), bases + 0.5, atol=1e-3)


def test_an_expression_is_a_warp_and_what_is_added(known: Any, bases: np.ndarray) -> None:
    both = paint(known, bases, CODES)
    moved = apply.warped(known, bases, CODES) + 0.5
    assert np.abs(moved - bases).mean() > 1
    plain = dataclasses.replace(known, residual=0 * known.residual, mouth_mask=0 * known.mouth_mask)
    np.testing.assert_allclose(paint(plain, bases, CODES), moved, atol=1e-3)
    images, codes = jnp.asarray(bases), jnp.asarray(CODES)
    marks = detect_landmarks(known.landmark_detector, images)
    moves = ex.displace(known, codes, marks)
    change = ex.residual_edit(known, images, marks, moves, codes)
    change = ex.from_mean_shape(known, change, marks + moves, (SIDE, SIDE))
    wanted = ex.apply_edit(change, jnp.asarray(moved - 0.5)) + 0.5
    np.testing.assert_allclose(both, wanted, atol=1e-2)
    assert np.abs(both - moved).mean() > 1


def test_a_picture_does_not_depend_on_its_neighbours(known: Any, bases: np.ndarray) -> None:
    both = paint(known, bases, CODES)
    turned = paint(known, bases[::-1], CODES[::-1])
    np.testing.assert_allclose(both, turned[::-1], atol=1e-2)


def test_nothing_given_is_changed(known: Any, bases: np.ndarray) -> None:
    before, codes = bases.copy(), CODES.copy()
    paint(known, bases, codes)
    np.testing.assert_array_equal(bases, before)
    np.testing.assert_array_equal(codes, CODES)


# -- decoding safely


def latents(n: int = 4, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(50, 200, (n, *s)).astype(np.float32) for s in ((4, 4, 3), (2, 2, 3)))


def failing_beyond(limit: float, how: float = np.nan) -> Callable[[Any], np.ndarray]:
    """A decoder of the first level that fails where a picture's mean is over a limit."""

    def decode(z: Any) -> np.ndarray:
        grey = np.array(z[0], np.float32)
        grey[grey.mean((1, 2, 3)) > limit, 1, 2, 0] = how
        return grey

    return decode


def edit(base: Any, sizes: list[float]) -> Any:
    by = np.array(sizes, np.float32)[:, None, None, None]
    return tuple(z + by for z in base)


@pytest.mark.parametrize("how", [np.nan, np.inf, -np.inf, 5000.0])
def test_what_fails_is_tried_with_half_of_the_edit_and_half_again(how: float) -> None:
    base = tuple(np.full((5, *s), 100, np.float32) for s in ((4, 4, 3), (2, 2, 3)))
    edited = edit(base, [5, 15, 30, 300, 1e6])
    grey, kept, lost = decode_safely(failing_beyond(111, how), base, edited)
    np.testing.assert_array_equal(kept, [1, 0.5, 0.25, 1 / 32, 0])
    wanted = [105, 107.5, 107.5, 100 + 300 / 32, 100]
    np.testing.assert_allclose(grey, np.broadcast_to(np.reshape(wanted, (5, 1, 1, 1)), grey.shape))
    assert (lost == 0).all()


def test_pictures_that_decode_are_left_alone() -> None:
    base = latents()
    edited = edit(base, [1, -2, 3, -4])
    grey, kept, lost = decode_safely(failing_beyond(1e9), base, edited)
    np.testing.assert_array_equal(grey, edited[0])
    assert (kept == 1).all() and (lost == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_edit_that_is_not_finite_leaves_the_base(value: float) -> None:
    """0 times infinity is no number, so the base is taken itself."""
    base = latents(2)
    edited = edit(base, [1, value])
    grey, kept, lost = decode_safely(failing_beyond(1e9), base, edited)
    np.testing.assert_array_equal(kept, [1, 0])
    np.testing.assert_array_equal(grey[1], base[0][1])
    assert (lost == 0).all()


def test_a_base_that_fails_is_mid_grey_and_counted() -> None:
    base = latents(3)
    grey, kept, lost = decode_safely(failing_beyond(-np.inf), base, base)
    assert (kept == 0).all() and (lost == 1).all()
    assert (grey[:, 1, 2, 0] == 127.5).all()
    np.testing.assert_array_equal(grey[:, 0], base[0][:, 0])


@pytest.mark.parametrize("seed", range(8))
def test_nothing_a_decoder_returns_gets_through_unless_finite(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def chaos(z: Any) -> np.ndarray:
        grey = rng.normal(100, 50, z[0].shape).astype(np.float32)
        bad = rng.uniform(size=grey.shape) < rng.choice([0, 0.001, 0.1, 1])
        grey[bad] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e30], int(bad.sum()))
        return grey

    base = latents(6)
    grey, kept, lost = decode_safely(chaos, base, edit(base, [1] * 6))
    assert np.isfinite(grey).all() and grey.dtype == np.float32
    assert set(kept) <= {1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0}
    assert ((kept == 0) | (lost == 0)).all()
    assert (np.abs(grey[kept > 0]) < apply.WILD).all()


def test_what_is_given_to_be_decoded_is_not_changed() -> None:
    base = latents(3)
    edited = edit(base, [500, 1, 500])
    copies = [tuple(a.copy() for a in z) for z in (base, edited)]
    decode_safely(failing_beyond(200), base, edited)
    for one, other in zip((base, edited), copies, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_read_only_output_is_no_hindrance() -> None:
    def decode(z: Any) -> np.ndarray:
        grey = np.array(z[0])
        grey[0] = np.nan
        grey.flags.writeable = False
        return grey

    base = latents(2)
    grey, kept, _ = decode_safely(decode, base, edit(base, [1, 1]))
    assert np.isfinite(grey).all() and kept.tolist() == [0, 1]


# -- which pictures are neutral


@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_most_neutral_picture_is_one_of_the_neutral(known: Any, n: int) -> None:
    images = portraits(n, seed=n)  # padded to 8, whatever there are
    neutral, best = neutral_of(known, images), most_neutral(known, images)
    assert neutral.shape == (n,) and neutral.dtype == bool
    assert 0 <= best < n and neutral[best]


def test_neutral_is_what_is_near_the_most_neutral(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a person's own offset is, those with the least excess are neutral."""
    excess = np.array([0.0, 0.1, 0.9, 0.0, 0.5, 0.05, 0.0])
    readings = np.stack([excess, 0 * excess, 0 * excess], 1) + np.array([3.0, -2.0, 0.4])
    monkeypatch.setattr(apply, "read", lambda known, images: readings)
    images = portraits(7)
    assert most_neutral(random_expressions(), images) in (0, 3, 6)
    wanted = [True, True, False, True, False, True, True]
    assert neutral_of(random_expressions(), images).tolist() == wanted


def test_a_picture_has_no_expression_against_itself(known: Any) -> None:
    picture = portraits(1)
    np.testing.assert_allclose(code_of(known, picture[0], picture), 0, atol=1e-5)
    others = portraits(7, seed=2)
    code = code_of(known, picture[0], others)
    assert code.shape == (len(UNITS),) and np.abs(code).max() <= 1.2 + 1e-6
    np.testing.assert_allclose(code, code_of(known, picture[0], others[::-1]), atol=1e-4)


# -- alpha from a trust region


def chosen(codec: Codec, bases: np.ndarray, codes: np.ndarray, **most: np.ndarray) -> np.ndarray:
    """Alphas of painted codes."""
    known = codec.expressions
    assert known is not None

    def at(alphas: np.ndarray) -> Decoded:
        grey = paint(known, bases, codes * alphas[:, None])
        return Decoded(grey, np.ones(len(grey)), np.zeros(len(grey), int))

    return largest_alphas(at, codec, bases, **most)


@pytest.mark.parametrize("bound", ["AUTO_BITS", "AUTO_CLIPPED"])
def test_a_wider_trust_region_never_lowers_alpha(
    known: Any, bases: np.ndarray, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    codec = painting_codec(known, bits_per_dim=lambda x: x.astype(float).std((1, 2, 3)) / 10)
    monkeypatch.setattr(apply, "AUTO_BITS", 1e9)
    monkeypatch.setattr(apply, "AUTO_CLIPPED", 1.0)
    codes = np.repeat(CODES[:1], 2, 0) * np.array([[1], [4]], np.float32)
    found = []
    for width in (-1e9, 0.0, 0.01, 0.05, 0.3, 1e9):
        monkeypatch.setattr(apply, bound, width)
        found.append(chosen(codec, bases, codes))
    assert (np.diff(found, axis=0) >= 0).all(), found
    assert (found[0] == min(apply.AUTO_ALPHAS)).all()
    assert (found[-1] == max(apply.AUTO_ALPHAS)).all()
    assert set(np.ravel(found)) <= set(apply.AUTO_ALPHAS)


def test_each_picture_has_its_own_alpha(known: Any, bases: np.ndarray) -> None:
    """One keeps its picture, whatever alpha; the other leaves the range at once."""

    def bits(images: np.ndarray) -> np.ndarray:
        return (np.abs(images.astype(float) - 128).max((1, 2, 3)) > 120).astype(float)

    codec = painting_codec(known, bits_per_dim=bits)
    codes = np.stack([0 * CODES[0], 500 * CODES[0]])
    assert chosen(codec, bases, codes).tolist() == [1.5, 0.25]
    assert chosen(codec, bases[::-1], codes[::-1]).tolist() == [0.25, 1.5]


def test_no_activation_grows_beyond_a_faces(known: Any, bases: np.ndarray) -> None:
    codec = painting_codec(known, bits_per_dim=lambda images: np.zeros(len(images)))
    codes = np.array([[0.2, -1.0, 0.1], [0, 0, 0]], np.float32)
    most = alphas_of_faces(codes)
    np.testing.assert_allclose(most[0], ex.MAX_ACTIVATION)
    assert chosen(codec, bases, codes, most=most).tolist() == [1, 1.5]
    assert chosen(codec, bases, codes).tolist() == [1.5, 1.5]
    assert chosen(codec, bases, 9 * codes, most=alphas_of_faces(9 * codes)).tolist() == [0.25, 1.5]
    nan = painting_codec(known, bits_per_dim=lambda images: np.full(len(images), np.nan))
    with pytest.raises(InputError, match="has no likelihood"):
        chosen(nan, bases, codes)
