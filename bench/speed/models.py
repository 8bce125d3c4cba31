"""The models that are measured: presets, and random weights that keep values finite."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from glow_jax.config import GlowConfig
from glow_jax.model import Glow

SCALE = 0.005  # of the perturbation: small enough that values stay finite through 192 steps


def preset(name: str) -> GlowConfig:
    """A named configuration: "256" (the paper's CelebA-HQ model), "128", "64", or the tiny "quick".

    Raises:
        KeyError: no such preset.
    """
    sizes = {"256": (256, 6, 32, 512), "128": (128, 5, 32, 512), "64": (64, 4, 32, 512)}
    sizes["quick"] = (32, 3, 4, 64)
    size, n_levels, n_steps, width = sizes[name]
    return GlowConfig(size, size, n_levels=n_levels, n_steps=n_steps, hidden_width=width)


def random_model(config: GlowConfig, seed: int) -> Glow:
    """A Glow whose every parameter is random and non-zero, well-conditioned.

    The same distribution as building one and perturbing it, without waiting for the
    initialisers: orthogonal 1x1 convolutions, hidden kernels of deviation 0.05, everything
    else of deviation `SCALE`.
    """
    rng = np.random.default_rng(seed)
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Glow(config, rngs=nnx.Rngs(0))))

    def filled(path: tuple, shape: tuple[int, ...]) -> jnp.ndarray:
        value = SCALE * rng.standard_normal(shape, dtype=np.float32)
        if path[-2:] == ("inv_conv", "kernel"):
            value += np.linalg.qr(rng.standard_normal(shape, dtype=np.float32))[0]
        elif path[-1] in ("in_kernel", "hidden_kernel"):
            value *= 0.05 / SCALE
        return jnp.asarray(value)

    flat = nnx.to_flat_state(shapes)
    state = nnx.from_flat_state([(path, v.replace(filled(path, v.shape))) for path, v in flat])
    return nnx.merge(graph, state)


def random_images(config: GlowConfig, batch: int, seed: int) -> jnp.ndarray:
    """Random bytes, (batch, H, W, C): the images with the largest round-trip error."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.integers(0, 256, (batch, *config.image_shape), dtype=np.uint8))
