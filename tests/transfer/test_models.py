"""A model as a `Codec`: what two of one structure share."""

import jax
import numpy as np
import pytest

from glow_jax.config import GlowConfig
from tests.support.models import glow, random_images
from transfer.models import codec_of


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
