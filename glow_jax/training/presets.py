"""Named configs, with the bits/dim to expect and the source of that figure."""

import dataclasses
from typing import Any

from glow_jax.config import GlowConfig
from glow_jax.model_card import BUNDLED, HELD_OUT_BITS, read_card


@dataclasses.dataclass(frozen=True)
class Preset:
    """A config and the bits/dim to expect of it.

    Attributes:
        config: the model.
        published_bits_per_dim: published figure on held-out images, at `config.n_bits`; None if
            there is none.
        source: source of that figure, or the reason why there is none.
        batch_size: images per step.
        data: the data that the preset is for, in the format of `glow_jax.data.open_data`.
        bundled: name of the bundled model that was trained with this preset, whose card has the
            figure.
    """

    config: GlowConfig
    published_bits_per_dim: float | None
    source: str
    batch_size: int = 32
    data: str = ""
    bundled: str = ""

    @property
    def bits_per_dim(self) -> float | None:
        """The published figure, or that of the bundled model's card; None if there is neither."""
        if not self.bundled:
            return self.published_bits_per_dim
        value = self._card().get(HELD_OUT_BITS)
        return None if value is None else float(value)

    def expectation(self) -> str:
        """The figure and its source, as text."""
        bits_per_dim, source = self.bits_per_dim, self.source
        if bits_per_dim is None:
            return f"expected: no figure ({source})"
        if self.bundled:
            source = f"{source}, after {self._card().get('steps', '?')} steps"
        return f"expected: {bits_per_dim:g} bits/dim held out ({source})"

    def _card(self) -> dict[str, Any]:
        return read_card(BUNDLED / self.bundled)


PRESETS = {
    "celebahq256": Preset(
        GlowConfig(256, 256, n_levels=6, n_steps=32, hidden_width=512, n_bits=5),
        published_bits_per_dim=1.03,
        source="Kingma & Dhariwal 2018, table 2 (CelebA-HQ 256x256, 5 bits)",
        batch_size=40,  # ibid., table 4
        data="tfds:celeb_a_hq/256",
    ),
    "celeba64": Preset(
        GlowConfig(64, 64, n_levels=4, n_steps=18, hidden_width=512, coupling="affine", n_bits=5),
        published_bits_per_dim=None,
        source="the shape is CACTuS-AI/GlowIP's for CelebA 64x64, 5 bits, published without a "
        "figure; RealNVP's 3.02 (Dinh et al. 2017, table 1) is at 8 bits and no measure of it",
        batch_size=128,  # Kingma & Dhariwal 2018, table 4, for 64x64
        data="tfds:celeb_a",
    ),
    "cifar10": Preset(
        GlowConfig(32, 32, n_levels=3, n_steps=32, hidden_width=512, coupling="affine"),
        published_bits_per_dim=3.35,
        source="Kingma & Dhariwal 2018, table 2 (CIFAR-10)",
        batch_size=512,  # ibid., table 4
        data="tfds:cifar10",
    ),
    "faces64": Preset(
        GlowConfig(64, 64, n_levels=4, n_steps=10, hidden_width=128, permutation="lu", n_bits=5),
        published_bits_per_dim=None,
        source="the bundled model faces64, on its own renders of held-out people",
        data="synthetic_faces",
        bundled="faces64",
    ),
    "photo64": Preset(
        GlowConfig(
            64,
            64,
            n_levels=4,
            n_steps=(10, 14, 20, 24),
            hidden_width=128,
            permutation="lu",
            n_bits=5,
        ),
        published_bits_per_dim=None,
        source="the bundled model photo64, on photoreal pictures of held-out people",
        batch_size=16,
        data="photoreal_faces",
        bundled="photo64",
    ),
    "photo128": Preset(
        GlowConfig(
            128,
            128,
            n_levels=5,
            n_steps=(6, 10, 14, 20, 24),
            hidden_width=128,
            permutation="lu",
            n_bits=5,
        ),
        published_bits_per_dim=None,
        source="the bundled model photo128, on photoreal pictures of held-out people",
        batch_size=16,
        data="photoreal_faces",
        bundled="photo128",
    ),
    "photo256": Preset(
        GlowConfig(
            256,
            256,
            n_levels=6,
            n_steps=(6, 6, 10, 14, 20, 24),
            hidden_width=128,
            permutation="lu",
            n_bits=5,
            n_detail_levels=1,
        ),
        published_bits_per_dim=None,
        source="the bundled model photo256, on photoreal pictures of held-out people",
        batch_size=4,
        data="photoreal_faces",
        bundled="photo256",
    ),
    "debug": Preset(
        GlowConfig(16, 16, n_levels=2, n_steps=2, hidden_width=16, n_bits=5),
        published_bits_per_dim=None,
        source="a one-minute check that training runs; no figure is claimed",
    ),
}


def debug_size(config: GlowConfig) -> GlowConfig:
    """A config of the same structure that is small enough to train for a minute on a CPU.

    Levels, coupling, permutation, priors and bits are unchanged. K is at most 2, the width at most
    32, and the image is the smallest, of 16 pixels or more, that the levels allow.
    """
    side = max(16, 2**config.n_levels)
    return dataclasses.replace(
        config,
        image_height=side,
        image_width=side,
        n_steps=min(2, *config.steps),
        hidden_width=min(32, config.hidden_width),
    )


DEBUG_STEPS = 60
DEBUG_BATCH = 16
