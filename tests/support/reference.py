"""Glow again, in float64 NumPy and loops, from openai/glow's formulas and nothing of ours.

Slow and plain on purpose: the edge channel is appended to the activations, convolutions are
sums over windows, matrices are inverted outright, steps and levels are loops. It knows the
names of our parameters and the fields of `GlowConfig`, and shares no code with the package.

Source: openai/glow at 91b2c57, `model.py` and `tfops.py`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

Arrays = Mapping[Any, Any]


class Encoded(NamedTuple):
    """All that an image becomes; tuples are finest level first, numbers one a sample."""

    z: tuple[np.ndarray, ...]
    eps: tuple[np.ndarray, ...]
    logdet: np.ndarray
    log_prob: np.ndarray


class Reference:
    """A Glow from a config and its parameters: nested dicts of arrays, steps stacked."""

    def __init__(self, config: Any, parameters: Arrays):
        self.config = config
        self.parameters = _float64(parameters)

    def encode(self, x: np.ndarray, label: np.ndarray | None = None) -> Encoded:
        """x in [-0.5, 0.5), (B, H, W, C), to latents and likelihood."""
        h = np.asarray(x, np.float64)
        logdet, log_prior = np.zeros(len(h)), np.zeros(len(h))
        z, eps = [], []
        for level in range(self.config.n_levels):
            h = squeeze(h)
            for step in range(self.config.n_steps):
                h, step_logdet = self._step(h, level, step)
                logdet = logdet + step_logdet
            if level == self.config.n_levels - 1:
                mean, logs = self._top(len(h), label)
                z2 = h
            else:
                h, z2 = _halves(h)
                mean, logs = self._split(h, level)
            z.append(z2)
            eps.append((z2 - mean) / np.exp(logs))
            density = -0.5 * (np.log(2 * np.pi) + 2 * logs + (z2 - mean) ** 2 / np.exp(2 * logs))
            log_prior = log_prior + density.sum(axis=(1, 2, 3))
        return Encoded(tuple(z), tuple(eps), logdet, logdet + log_prior)

    def decode(self, eps: tuple[np.ndarray, ...], label: np.ndarray | None = None) -> np.ndarray:
        """Standardised latents to x."""
        mean, logs = self._top(len(eps[-1]), label)
        h = mean + np.exp(logs) * np.asarray(eps[-1], np.float64)
        for level in reversed(range(self.config.n_levels)):
            if level < self.config.n_levels - 1:
                mean, logs = self._split(h, level)
                h = np.concatenate([h, mean + np.exp(logs) * eps[level]], axis=-1)
            h = self._unlevel(h, level)
        return h

    def inverse(self, z: tuple[np.ndarray, ...]) -> np.ndarray:
        """Raw latents to x."""
        h = np.asarray(z[-1], np.float64)
        for level in reversed(range(self.config.n_levels)):
            if level < self.config.n_levels - 1:
                h = np.concatenate([h, z[level]], axis=-1)
            h = self._unlevel(h, level)
        return h

    def bits_per_dim(
        self, images: np.ndarray, n_bits: int, label: np.ndarray | None = None
    ) -> np.ndarray:
        """Of uint8 images, every byte at its bin's centre."""
        log_prob = self.encode(preprocess(images, n_bits), label).log_prob
        n_dims = images[0].size
        objective = log_prob - np.log(2.0**n_bits) * n_dims
        return -objective / (np.log(2.0) * n_dims)

    # -- a step of flow

    def _of_step(self, level: int, step: int) -> Arrays:
        return _taken(self.parameters["levels"][level]["steps"], step)

    def _step(self, h: np.ndarray, level: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        p = self._of_step(level, step)
        n_pixels = h.shape[1] * h.shape[2]
        logs = 3.0 * p["norm"]["logs"]
        h = (h + p["norm"]["bias"]) * np.exp(logs)
        logdet = n_pixels * logs.sum()
        matrix = self._matrix(p["inv_conv"])
        h = h @ matrix
        logdet += n_pixels * np.log(np.abs(np.linalg.det(matrix)))
        z1, z2 = _halves(h)
        out = network(z1, p["coupling"]["network"])
        if self.config.coupling == "additive":
            return np.concatenate([z1, z2 + out], axis=-1), np.full(len(h), logdet)
        shift, scale = out[..., 0::2], sigmoid(out[..., 1::2] + 2.0)
        z2 = (z2 + shift) * scale
        return np.concatenate([z1, z2], axis=-1), logdet + np.log(scale).sum(axis=(1, 2, 3))

    def _unlevel(self, h: np.ndarray, level: int) -> np.ndarray:
        for step in reversed(range(self.config.n_steps)):
            h = self._unstep(h, level, step)
        return unsqueeze(h)

    def _unstep(self, h: np.ndarray, level: int, step: int) -> np.ndarray:
        p = self._of_step(level, step)
        z1, z2 = _halves(h)
        out = network(z1, p["coupling"]["network"])
        if self.config.coupling == "additive":
            z2 = z2 - out
        else:
            z2 = z2 / sigmoid(out[..., 1::2] + 2.0) - out[..., 0::2]
        h = np.concatenate([z1, z2], axis=-1) @ np.linalg.inv(self._matrix(p["inv_conv"]))
        return h * np.exp(-3.0 * p["norm"]["logs"]) - p["norm"]["bias"]

    def _matrix(self, p: Arrays) -> np.ndarray:
        """W of y = x @ W."""
        kind = self.config.permutation
        if kind == "dense":
            return p["kernel"]
        indices = p["indices"].astype(int)
        size = len(indices)
        matrix = np.zeros((size, size))
        if kind == "lu":  # W = P L (U + diag(sign exp(log_s))), P[i, indices[i]] = 1
            lower, upper = np.eye(size), np.diag(p["sign_s"] * np.exp(p["log_s"]))
            for i in range(size):
                lower[i, :i] = p["lower"][i, :i]
                upper[i, i + 1 :] = p["upper"][i, i + 1 :]
                matrix[i, indices[i]] = 1.0
            return matrix @ lower @ upper
        for j in range(size):  # y[j] = x[indices[j]]
            matrix[indices[j], j] = 1.0
        return matrix

    # -- priors

    def _split(self, z1: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
        out = zero_conv(z1, self.parameters["splits"][level]["conv"])
        return out[..., 0::2], out[..., 1::2]

    def _top(self, batch: int, label: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        scale = 2**self.config.n_levels
        channels = self.config.n_channels * 2 ** (self.config.n_levels + 1)
        shape = (self.config.image_height // scale, self.config.image_width // scale)
        h = np.zeros((batch, *shape, 2 * channels))
        p = self.parameters.get("top", {})
        if self.config.learned_top_prior:  # of zeros: the kernel holds the edge channel alone
            h = zero_conv(h[..., :0], p["conv"])
        if self.config.n_classes:
            one_hot = np.zeros((batch, self.config.n_classes))
            for i in range(batch):
                one_hot[i, label[i]] = 1.0
            y = (one_hot @ p["class_kernel"] + p["class_bias"]) * np.exp(3.0 * p["class_logs"])
            h = h + y[:, None, None, :]
        return h[..., :channels], h[..., channels:]


def network(x: np.ndarray, p: Arrays) -> np.ndarray:
    """The coupling's f: 3x3, 1x1, 3x3, an actnorm and ReLU after the first two."""
    h = np.maximum(actnorm(conv3x3(x, p["in_kernel"]), p["in_norm"]), 0.0)
    h = np.maximum(actnorm(h @ p["hidden_kernel"], p["hidden_norm"]), 0.0)
    return zero_conv(h, p["out"])


def actnorm(h: np.ndarray, p: Arrays) -> np.ndarray:
    """(h + b) * exp(3 logs)."""
    return (h + p["bias"]) * np.exp(3.0 * p["logs"])


def zero_conv(h: np.ndarray, p: Arrays) -> np.ndarray:
    """(conv(h) + b) * exp(3 logs)."""
    return (conv3x3(h, p["kernel"]) + p["bias"]) * np.exp(3.0 * p["logs"])


def conv3x3(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Pad by 1, append a channel that is 1 on the padding and 0 inside, convolve, VALID."""
    batch, height, width, channels = x.shape
    padded = np.zeros((batch, height + 2, width + 2, channels + 1))
    padded[..., -1] = 1.0
    padded[:, 1:-1, 1:-1, :-1] = x
    padded[:, 1:-1, 1:-1, -1] = 0.0
    out = np.zeros((batch, height, width, kernel.shape[-1]))
    for y in range(height):
        for x_ in range(width):
            window = padded[:, y : y + 3, x_ : x_ + 3]
            out[:, y, x_] = np.einsum("bijc,ijcd->bd", window, kernel)
    return out


def squeeze(x: np.ndarray) -> np.ndarray:
    """out[y, x, 4 c + 2 dy + dx] = in[2 y + dy, 2 x + dx, c]."""
    batch, height, width, channels = x.shape
    out = np.zeros((batch, height // 2, width // 2, 4 * channels))
    for c in range(channels):
        for dy in range(2):
            for dx in range(2):
                out[..., 4 * c + 2 * dy + dx] = x[:, dy::2, dx::2, c]
    return out


def unsqueeze(x: np.ndarray) -> np.ndarray:
    """Inverse of `squeeze`."""
    batch, height, width, channels = x.shape
    out = np.zeros((batch, 2 * height, 2 * width, channels // 4))
    for c in range(channels // 4):
        for dy in range(2):
            for dx in range(2):
                out[:, dy::2, dx::2, c] = x[..., 4 * c + 2 * dy + dx]
    return out


def preprocess(images: np.ndarray, n_bits: int) -> np.ndarray:
    """Bytes to the centres of their bins in [-0.5, 0.5)."""
    n_bins = 2.0**n_bits
    return np.floor(images / 2.0 ** (8 - n_bits)) / n_bins - 0.5 + 0.5 / n_bins


def postprocess(x: np.ndarray, n_bits: int) -> np.ndarray:
    """x to bytes: clip(floor((x + 0.5) n_bins) * (256 / n_bins), 0, 255)."""
    n_bins = 2.0**n_bits
    return np.clip(np.floor((x + 0.5) * n_bins) * (256 / n_bins), 0, 255).astype(np.uint8)


def flatten(latents: tuple[np.ndarray, ...]) -> np.ndarray:
    """openai/glow's `feps`: level after level, each row-major over (H, W, C)."""
    return np.stack(
        [np.concatenate([a[i].ravel() for a in latents]) for i in range(len(latents[0]))]
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def _halves(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = h.shape[-1] // 2
    return h[..., :half], h[..., half:]


def _taken(tree: Any, step: int) -> Any:
    if isinstance(tree, Mapping):
        return {name: _taken(value, step) for name, value in tree.items()}
    return tree[step]


def _float64(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _float64(value) for name, value in tree.items()}
    return np.asarray(tree, np.float64)
