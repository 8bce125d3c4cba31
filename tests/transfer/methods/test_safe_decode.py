"""Decoding that never returns a number that is not finite."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from transfer.methods.safe_decode import MAX_VALUE, decode_safely


def latents(n: int = 4, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(50, 200, (n, *s)).astype(np.float32) for s in ((4, 4, 3), (2, 2, 3)))


def failing_beyond(limit: float, how: float = np.nan) -> Callable[[Any], np.ndarray]:
    """A decoder of the first level that fails where a picture's mean is over a limit."""

    def decode(z: Any) -> np.ndarray:
        values = np.array(z[0], np.float32)
        values[values.mean((1, 2, 3)) > limit, 1, 2, 0] = how
        return values

    return decode


def edit(base: Any, sizes: list[float]) -> Any:
    by = np.array(sizes, np.float32)[:, None, None, None]
    return tuple(z + by for z in base)


@pytest.mark.parametrize("how", [np.nan, np.inf, -np.inf, 5000.0])
def test_what_fails_is_tried_with_half_of_the_edit_and_half_again(how: float) -> None:
    base = tuple(np.full((5, *s), 100, np.float32) for s in ((4, 4, 3), (2, 2, 3)))
    edited = edit(base, [5, 15, 30, 300, 1e6])
    values, kept, lost, _ = decode_safely(failing_beyond(111, how), base, edited)
    np.testing.assert_array_equal(kept, [1, 0.5, 0.25, 1 / 32, 0])
    wanted = [105, 107.5, 107.5, 100 + 300 / 32, 100]
    np.testing.assert_allclose(
        values, np.broadcast_to(np.reshape(wanted, (5, 1, 1, 1)), values.shape)
    )
    assert (lost == 0).all()


def test_pictures_that_decode_are_left_alone() -> None:
    base = latents()
    edited = edit(base, [1, -2, 3, -4])
    values, kept, lost, _ = decode_safely(failing_beyond(1e9), base, edited)
    np.testing.assert_array_equal(values, edited[0])
    assert (kept == 1).all() and (lost == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_edit_that_is_not_finite_leaves_the_base(value: float) -> None:
    """0 times infinity is no number, so the base is taken itself."""
    base = latents(2)
    edited = edit(base, [1, value])
    values, kept, lost, _ = decode_safely(failing_beyond(1e9), base, edited)
    np.testing.assert_array_equal(kept, [1, 0])
    np.testing.assert_array_equal(values[1], base[0][1])
    assert (lost == 0).all()


def test_a_base_that_fails_is_mid_grey_and_counted() -> None:
    base = latents(3)
    values, kept, lost, _ = decode_safely(failing_beyond(-np.inf), base, base)
    assert (kept == 0).all() and (lost == 1).all()
    assert (values[:, 1, 2, 0] == 127.5).all()
    np.testing.assert_array_equal(values[:, 0], base[0][:, 0])


@pytest.mark.parametrize("seed", range(8))
def test_nothing_a_decoder_returns_gets_through_unless_finite(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def chaos(z: Any) -> np.ndarray:
        values = rng.normal(100, 50, z[0].shape).astype(np.float32)
        bad = rng.uniform(size=values.shape) < rng.choice([0, 0.001, 0.1, 1])
        values[bad] = rng.choice([np.nan, np.inf, -np.inf, 1e30, -1e30], int(bad.sum()))
        return values

    base = latents(6)
    values, kept, lost, _ = decode_safely(chaos, base, edit(base, [1] * 6))
    assert np.isfinite(values).all() and values.dtype == np.float32
    assert set(kept) <= {1, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0}
    assert ((kept == 0) | (lost == 0)).all()
    assert (np.abs(values[kept > 0]) < MAX_VALUE).all()


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
        values = np.array(z[0])
        values[0] = np.nan
        values.flags.writeable = False
        return values

    base = latents(2)
    values, kept, *_ = decode_safely(decode, base, edit(base, [1, 1]))
    assert np.isfinite(values).all() and kept.tolist() == [0, 1]
