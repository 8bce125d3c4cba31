"""A model as a `Codec`: what two of one structure share."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from glow_jax import checkpoints
from glow_jax.config import GlowConfig
from tests.support.models import glow, random_images
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


def test_parts_of_images_have_bits_of_their_own(tiny: GlowConfig) -> None:
    """A part is a quarter of the sides, or the least multiple of 2 ** n_levels above that."""
    large = dataclasses.replace(tiny, image_height=4 * tiny.image_height)
    model = glow(large).fold()
    codec = codec_of(model, "exact")
    least = 2**tiny.n_levels
    assert codec.part_size == (tiny.image_height, max(least, tiny.image_width // 4))
    parts = np.random.default_rng(0).integers(0, 256, (3, *codec.part_size, 3), np.uint8)
    assert codec.part_bits is not None
    want = model.at_size(*codec.part_size).bits_per_dim(parts)
    np.testing.assert_allclose(codec.part_bits(parts), want, rtol=1e-5)
    whole = codec_of(glow(dataclasses.replace(tiny, prior="position")), "exact")
    assert whole.part_bits is None


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
