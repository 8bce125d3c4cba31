"""Named configs, with the bits/dim to expect of them and where that figure is from."""

import dataclasses

from glow_jax.config import GlowConfig


@dataclasses.dataclass(frozen=True)
class Preset:
    """A config and what it reaches.

    Attributes:
        config: the model.
        bits_per_dim: on held-out images, at `config.n_bits`; None where nobody measured it.
        source: of that figure.
    """

    config: GlowConfig
    bits_per_dim: float | None
    source: str


PRESETS = {
    "celebahq256": Preset(
        GlowConfig(256, 256, n_levels=6, n_steps=32, hidden_width=512, n_bits=5),
        bits_per_dim=1.03,
        source="Kingma & Dhariwal 2018, table 2 (CelebA-HQ 256x256, 5 bits)",
    ),
    "cifar10": Preset(
        GlowConfig(32, 32, n_levels=3, n_steps=32, hidden_width=512, coupling="affine"),
        bits_per_dim=3.35,
        source="Kingma & Dhariwal 2018, table 2 (CIFAR-10)",
    ),
    "faces64": Preset(
        GlowConfig(64, 64, n_levels=4, n_steps=10, hidden_width=128, permutation="lu", n_bits=5),
        bits_per_dim=None,
        source="the bundled model's card.json: `glow-jax info faces64`",
    ),
    "debug": Preset(
        GlowConfig(16, 16, n_levels=2, n_steps=2, hidden_width=16, n_bits=5),
        bits_per_dim=None,
        source="a one-minute check that training runs; no figure is claimed",
    ),
}
