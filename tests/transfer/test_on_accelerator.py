"""Quantisation and round trips measured where the model computes: as on the host."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.config import GlowConfig
from tests.support.models import glow
from transfer.codec import Codec, in_batches, on_accelerator, to_bytes
from transfer.methods.safe_decode import decode_safely
from transfer.models import codec_of


@pytest.fixture(scope="module")
def codecs() -> tuple[Codec, Codec]:
    """Measured on the host, and where the model computes."""
    model = glow(GlowConfig(8, 8, 2, 1, 8)).fold()
    host = codec_of(model, "exact")
    assert host.decode_there is None and host.round_trip_there is None  # on a CPU
    return host, dataclasses.replace(host, **on_accelerator(host.encode, model.decode_x))


@pytest.mark.parametrize("size", [None, 4], ids=["any size", "batches of 4"])
def test_round_trips_are_those_of_the_host(codecs: tuple[Codec, Codec], size: int | None) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    host, there = ((c if size is None else in_batches(c, size)).round_trip(images) for c in codecs)
    for a, b in zip(host.latents, there.latents, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(host.largest, there.largest)
    np.testing.assert_allclose(host.mean, there.mean, rtol=1e-5)
    assert (host.largest > 0).all() and isinstance(there.largest, np.ndarray)


def test_a_value_that_is_not_finite_is_an_infinite_error() -> None:
    def decode_x(latents: Any) -> jax.Array:
        return jnp.asarray(latents[0]).at[0, 0, 0, 0].set(jnp.nan)

    def encode(images: Any) -> Any:
        return ((images.astype(jnp.float32) + 0.5) / 256 - 0.5,)

    measure = on_accelerator(encode, decode_x)["round_trip_there"]
    found = measure(np.full((2, 4, 4, 3), 7, np.uint8))
    assert found.largest.tolist() == [np.inf, 0] and found.mean.tolist() == [np.inf, 0]


@pytest.mark.parametrize("worst", [1.0, 1e6, np.inf, np.nan], ids=str)
def test_outputs_are_those_of_the_host(codecs: tuple[Codec, Codec], worst: float) -> None:
    """One picture of four far out of the range of bytes, or not finite."""
    host, there = codecs
    latents = host.encode(np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), np.uint8))
    base = jax.tree.map(np.asarray, latents)
    edited = jax.tree.map(lambda z: z.copy(), base)
    for z in edited:
        z[1] += np.float32(worst)
    wanted = decode_safely(host.decode, base, edited)
    found = decode_safely(there.decode, base, edited, there.decode_there)
    np.testing.assert_array_equal(found.images, wanted.images)
    np.testing.assert_array_equal(found.images, to_bytes(np.asarray(found.values)))
    np.testing.assert_array_equal(found.clipped, wanted.clipped)
    np.testing.assert_array_equal(found.kept, wanted.kept)
    np.testing.assert_array_equal(found.lost, wanted.lost)
    assert (found.quantised is None) == bool((wanted.kept < 1).any())
    assert bool((wanted.kept < 1).any()) == (not worst < 100)
    if worst < 100:
        assert wanted.clipped[1] > 0
