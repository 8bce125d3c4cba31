"""A model as a `Codec`: what two of one structure share."""

from pathlib import Path

import jax
import numpy as np
import pytest

from glow_jax import checkpoints
from glow_jax.config import GlowConfig
from tests.support.linear import linear_codec
from tests.support.models import glow, random_images
from transfer.codec import in_batches
from transfer.models import codec_of, load_models


def test_a_second_model_of_one_structure_compiles_nothing(
    tiny: GlowConfig, caplog: pytest.LogCaptureFixture
) -> None:
    images = random_images(tiny)

    def encoded(seed: int) -> tuple[list[np.ndarray], list[str]]:
        codec = codec_of(glow(tiny, seed=seed).fold("exact"), "exact")
        caplog.clear()
        with jax.log_compiles():
            eps = codec.encode(images)
        compiled = [r.message for r in caplog.records if "Compiling" in r.message]
        return [np.asarray(a) for a in jax.tree.leaves(eps)], compiled

    first, compiled = encoded(0)
    assert compiled
    second, compiled = encoded(1)
    assert not compiled
    assert all((a != b).any() for a, b in zip(first, second, strict=True))


def test_three_passes_are_certified_on_a_tpu_and_absent_elsewhere(
    tiny: GlowConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a TPU, "exact" is three passes with a bound of 0.01 and full products behind it."""
    checkpoints.save(glow(tiny), tmp_path / "model", {})
    here = load_models(tmp_path / "model").codec
    assert here.exact is None
    assert here.round_trip_bound == 0.5
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    there = load_models(tmp_path / "model").codec
    assert there.precision == "exact"
    assert there.exact is not None
    assert there.exact.exact is None
    assert there.round_trip_bound == 0.01
    images = np.asarray(random_images(tiny))
    program = str(jax.make_jaxpr(there.encode)(images))
    assert "Precision.HIGH," in program
    assert "Precision.HIGH," not in str(jax.make_jaxpr(there.exact.encode)(images))
    fast = load_models(tmp_path / "model", "fast").codec
    assert fast.round_trip_bound == 0.5
    assert fast.exact is not None


@pytest.mark.parametrize(
    ("n", "sizes"), [(1, [4]), (5, [4, 4]), (8, [8]), (19, [8, 8, 4]), (24, [8, 8, 8])]
)
def test_whole_batches_are_computed_at_once_and_the_rest_in_small_parts(
    n: int, sizes: list[int]
) -> None:
    computed: list[int] = []

    def encode(images: np.ndarray) -> tuple[np.ndarray]:
        computed.append(len(images))
        return (np.asarray(images, np.float32),)

    images = np.random.default_rng(n).integers(0, 256, (n, 8, 8, 3), np.uint8)
    (found,) = in_batches(linear_codec(encode=encode), 8).encode(images)
    assert computed == sizes
    np.testing.assert_array_equal(found, images)


def test_copies_that_fill_a_batch_are_not_computed() -> None:
    computed: list[int] = []

    def encode(images: np.ndarray) -> tuple[np.ndarray]:
        computed.append(len(images))
        return (np.asarray(images, np.float32),)

    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    filled = np.concatenate([images, np.repeat(images[:1], 5, 0)])
    (found,) = in_batches(linear_codec(encode=encode), 8).encode(filled)
    assert computed == [4]
    np.testing.assert_array_equal(found, filled)
