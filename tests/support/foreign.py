"""Other codes' Glows as they compute them: random state_dicts, and a float64 NumPy encode of each.

Written from formulas, in loops, sharing nothing with the package: layout NCHW (openai's NHWC),
each code's own padding, order and halves. A family is one function: the walk that encodes an
image with a state_dict also makes that state_dict, when it meets a name for the first time.

Source: openai/glow 91b2c57, rosinality/glow-pytorch 97081ff, chaiyujin/glow-pytorch 487a6b1,
y0ast/Glow-PyTorch 13c7b01, corenel/pytorch-glow dfd6db3, pclucas14/pytorch-glow 6884640,
kamenbliznashki/normalizing_flows 97a73a0, CACTuS-AI/GlowIP 7173408, chrischute/glow faffa5b.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

Make = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Variant:
    """What the original's constructor is told; `n_levels` counts squeezes in every family.

    Attributes:
        permutation: "plain", "lu", "reverse" or "shuffle".
        last_zeros, coupling_bias: CACTuS-AI/GlowIP's.
    """

    family: str
    height: int = 8
    width: int = 8
    channels: int = 3
    n_levels: int = 2
    n_steps: int = 2
    hidden: int = 5
    coupling: str = "affine"
    permutation: str = "plain"
    learn_top: bool = True
    n_classes: int = 0
    last_zeros: bool = True
    coupling_bias: float = 0.0

    @property
    def affine(self) -> bool:
        return self.coupling == "affine"

    @property
    def n_dims(self) -> int:
        return self.height * self.width * self.channels

    def __str__(self) -> str:
        fields = dataclasses.fields(self)
        told = [f for f in fields if f.name != "family" and getattr(self, f.name) != f.default]
        return " ".join([self.family, *(f"{f.name}={getattr(self, f.name)}" for f in told)])


class Encoded(NamedTuple):
    """What an image becomes: latents NHWC, finest first, and log p(x), one number a sample."""

    z: list[np.ndarray]
    eps: list[np.ndarray]
    log_prob: np.ndarray


class Weights:
    """A state_dict that is read in float64, or made float32 by being read."""

    def __init__(self, arrays: Mapping[str, np.ndarray] | None = None, seed: int = 0):
        self.making = arrays is None
        self.arrays: Arrays = dict(arrays or {})
        self._rng = np.random.default_rng(seed)

    def __call__(self, make: Make, name: str, *shape: int) -> np.ndarray:
        if self.making:
            assert name not in self.arrays
            made = np.asarray(make(self._rng, shape))
            self.arrays[name] = made.astype(np.float32) if made.dtype == np.float64 else made
        assert self.arrays[name].shape == shape
        value = self.arrays[name]
        return value.astype(np.float64) if value.dtype == np.float32 else value


class Trace:
    """What one encode adds up: log-determinants, latents and their densities."""

    def __init__(self, x: np.ndarray):
        self.log_prob = np.zeros(len(x))
        self.z: list[np.ndarray] = []
        self.eps: list[np.ndarray] = []

    def add(self, logdet: np.ndarray) -> None:
        """A log-determinant for every activation."""
        self.log_prob = self.log_prob + logdet.reshape(len(self.log_prob), -1).sum(1)

    def add_per_pixel(self, h: np.ndarray, logdet: float) -> None:
        """A log-determinant of a map of channels, for every pixel of h (NCHW)."""
        self.log_prob = self.log_prob + h.shape[2] * h.shape[3] * logdet

    def latent(self, z: np.ndarray, mean: np.ndarray | float, logs: np.ndarray | float) -> None:
        """A latent (NCHW) under a normal distribution."""
        eps = (z - mean) / np.exp(logs)
        self.add(-0.5 * np.log(2 * np.pi) - logs - 0.5 * eps**2)
        self.z.append(z.transpose(0, 2, 3, 1))
        self.eps.append(eps.transpose(0, 2, 3, 1))

    def encoded(self) -> Encoded:
        return Encoded(self.z, self.eps, self.log_prob)


# -- kinds of weights: none is zero, activations and inverses stay of order 1


def kernel(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of a convolution OIHW, or of a linear map OI."""
    return rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))


def last_kernel(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 0.4 * kernel(rng, shape)


def kernel_hwio(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of a convolution HWIO, or of a linear map IO."""
    return rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))


def last_kernel_hwio(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 0.4 * kernel_hwio(rng, shape)


def bias(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 0.3 * rng.standard_normal(shape)


def logs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 0.08 * rng.standard_normal(shape)


def scale(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A factor of any sign, never near zero."""
    return sign(rng, shape) * np.exp(0.2 * rng.standard_normal(shape))


def sign(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.choice([-1.0, 1.0], shape)


def variance(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.exp(0.5 * rng.standard_normal(shape))


def matrix(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Invertible, of either orientation, with singular values near 1."""
    orthogonal = np.linalg.qr(rng.standard_normal(shape[:2]))[0]
    return (orthogonal * np.exp(0.2 * rng.standard_normal(shape[1]))).reshape(shape)


def permutation(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.eye(shape[0])[rng.permutation(shape[0])]


def lower(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Small below the diagonal, garbage on it and above."""
    strict = 0.5 * rng.standard_normal(shape) / np.sqrt(shape[0])
    return np.tril(strict, -1) + np.triu(7 * rng.standard_normal(shape))


def upper(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Small above the diagonal, garbage on it and below."""
    return lower(rng, shape).T


def order(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Indices of a shuffle."""
    return rng.permutation(shape[0])


def constant(value: np.ndarray | float) -> Make:
    """A buffer of known value, in its own type (float64 becomes float32)."""
    return lambda rng, shape: np.broadcast_to(value, shape).copy()


# -- what several families compute


def sigmoid(h: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-h))


def relu(h: np.ndarray) -> np.ndarray:
    return np.maximum(h, 0.0)


def halves(h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The channels of h (NCHW), first half and second."""
    half = h.shape[1] // 2
    return h[:, :half], h[:, half:]


def column(v: np.ndarray) -> np.ndarray:
    """A vector of channels against NCHW."""
    return v.reshape(1, -1, 1, 1)


def padded(h: np.ndarray, value: float = 0.0) -> np.ndarray:
    """One ring of `value` around h (NCHW)."""
    return np.pad(h, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=value)


def conv(h: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Correlation of h (NCHW) with a kernel OIHW, without padding."""
    n_rows, n_columns = weight.shape[2:]
    height, width = h.shape[2] - n_rows + 1, h.shape[3] - n_columns + 1
    out = np.zeros((len(h), len(weight), height, width))
    for dy in range(n_rows):
        for dx in range(n_columns):
            window = h[:, :, dy : dy + height, dx : dx + width]
            out += np.einsum("nihw,oi->nohw", window, weight[:, :, dy, dx])
    return out


def squeeze(h: np.ndarray) -> np.ndarray:
    """Each 2x2 of pixels to channels, NCHW: out[4 c + 2 dy + dx] = in[c, dy::2, dx::2]."""
    out = np.zeros((len(h), 4 * h.shape[1], h.shape[2] // 2, h.shape[3] // 2))
    for c in range(h.shape[1]):
        for dy in range(2):
            for dx in range(2):
                out[:, 4 * c + 2 * dy + dx] = h[:, c, dy::2, dx::2]
    return out


def unsqueeze(h: np.ndarray) -> np.ndarray:
    """Inverse of `squeeze`."""
    out = np.zeros((len(h), h.shape[1] // 4, 2 * h.shape[2], 2 * h.shape[3]))
    for c in range(out.shape[1]):
        for dy in range(2):
            for dx in range(2):
                out[:, c, dy::2, dx::2] = h[:, 4 * c + 2 * dy + dx]
    return out


def mixed(h: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A 1x1 convolution, y_o = sum_i W[o, i] x_i."""
    return np.einsum("oi,nihw->nohw", weight, h)


def lu_product(
    p: np.ndarray, low: np.ndarray, up: np.ndarray, signs: np.ndarray, log_s: np.ndarray
) -> np.ndarray:
    """W = P (strict_lower(L) + I) (strict_upper(U) + diag(sign exp(log_s)))."""
    unit_lower = np.tril(low, -1) + np.eye(len(low))
    return p @ unit_lower @ (np.triu(up, 1) + np.diag(signs * np.exp(log_s)))


def log_abs_det(weight: np.ndarray) -> float:
    return float(np.log(np.abs(np.linalg.det(weight))))


def one_hot(label: np.ndarray, n_classes: int) -> np.ndarray:
    return np.eye(n_classes)[label]


# -- openai/glow


def openai(w: Weights, v: Variant, x: np.ndarray, label: np.ndarray | None) -> Encoded:
    """openai/glow 91b2c57, `model.py`, `tfops.py`; flow_permutation 0, 1 or 2."""
    trace = Trace(x)
    h = _squeeze_nhwc(x)
    for i in range(v.n_levels):
        for k in range(v.n_steps):
            h = _openai_step(w, v, trace, h, f"model/{i}/{k}")
        if i < v.n_levels - 1:
            c = h.shape[-1]
            h, z2 = h[..., : c // 2], h[..., c // 2 :]
            out = _openai_zeros(w, h, f"model/pool{i}/conv", c)
            _latent_nhwc(trace, z2, out[..., 0::2], out[..., 1::2])
            h = _squeeze_nhwc(h)
    c = h.shape[-1]
    prior = np.zeros((*h.shape[:-1], 2 * c))
    if v.learn_top:
        prior = _openai_zeros(w, prior, "model/prior/p", 2 * c)
    if v.n_classes:
        assert label is not None
        weight = w(last_kernel_hwio, "model/prior/y_emb/W", v.n_classes, 2 * c)
        y = one_hot(label, v.n_classes) @ weight + w(bias, "model/prior/y_emb/b", 1, 2 * c)
        y = y * np.exp(3 * w(logs, "model/prior/y_emb/logs", 1, 2 * c))
        prior = prior + y[:, None, None, :]
        w(kernel_hwio, "model/classifier/W", c, v.n_classes)
        w(bias, "model/classifier/b", 1, v.n_classes)
        w(logs, "model/classifier/logs", 1, v.n_classes)
    _latent_nhwc(trace, h, prior[..., :c], prior[..., c:])
    return trace.encoded()


def _openai_step(w: Weights, v: Variant, trace: Trace, h: np.ndarray, p: str) -> np.ndarray:
    c = h.shape[-1]
    n_pixels = h.shape[1] * h.shape[2]
    n_out = c if v.affine else c // 2
    log_scale = 3 * w(logs, f"{p}/actnorm_scale/logs", 1, 1, 1, c)
    h = (h + w(bias, f"{p}/actnorm_center/b", 1, 1, 1, c)) * np.exp(log_scale)
    trace.log_prob = trace.log_prob + n_pixels * log_scale.sum()
    if v.permutation == "plain":
        weight = w(matrix, f"{p}/invconv/W", c, c)
        h = h @ weight
        trace.log_prob = trace.log_prob + n_pixels * log_abs_det(weight)
    elif v.permutation == "shuffle":
        indices = w(order, f"{p}/shuffle/indices", c)
        w(constant(np.argsort(indices)), f"{p}/shuffle/indices_inverse", c)
        h = h[..., indices]
    else:
        assert v.permutation == "reverse"
        h = h[..., ::-1]
    z1, z2 = h[..., : c // 2], h[..., c // 2 :]
    a = _openai_conv(w, _with_edge(z1), f"{p}/f1/l_1", 3, v.hidden)
    a = relu(_openai_conv(w, relu(a), f"{p}/f1/l_2", 1, v.hidden))
    out = _openai_zeros(w, a, f"{p}/f1/l_last", n_out)
    if v.affine:
        s = sigmoid(out[..., 1::2] + 2)
        z2 = (z2 + out[..., 0::2]) * s
        trace.add(np.log(s))
    else:
        z2 = z2 + out
    return np.concatenate([z1, z2], axis=-1)


def _openai_conv(w: Weights, h: np.ndarray, p: str, size: int, n_out: int) -> np.ndarray:
    """conv2d with its actnorm, VALID."""
    h = _conv_nhwc(h, w(kernel_hwio, f"{p}/W", size, size, h.shape[-1], n_out))
    h = h + w(bias, f"{p}/actnorm_center/b", 1, 1, 1, n_out)
    return h * np.exp(3 * w(logs, f"{p}/actnorm_scale/logs", 1, 1, 1, n_out))


def _openai_zeros(w: Weights, h: np.ndarray, p: str, n_out: int) -> np.ndarray:
    """conv2d_zeros."""
    weight = w(last_kernel_hwio, f"{p}/W", 3, 3, h.shape[-1] + 1, n_out)
    h = _conv_nhwc(_with_edge(h), weight) + w(bias, f"{p}/b", 1, 1, 1, n_out)
    return h * np.exp(3 * w(logs, f"{p}/logs", 1, n_out))


def _with_edge(h: np.ndarray) -> np.ndarray:
    """Padded by 1, with one more channel that is 1 on the padding and 0 inside (NHWC)."""
    edge = np.pad(np.zeros((*h.shape[:3], 1)), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1)
    return np.concatenate([np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0))), edge], axis=-1)


def _conv_nhwc(h: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return conv(h.transpose(0, 3, 1, 2), weight.transpose(3, 2, 0, 1)).transpose(0, 2, 3, 1)


def _squeeze_nhwc(h: np.ndarray) -> np.ndarray:
    return squeeze(h.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)


def _latent_nhwc(trace: Trace, *zml: np.ndarray) -> None:
    z, mean, log_sd = (a.transpose(0, 3, 1, 2) for a in zml)
    trace.latent(z, mean, log_sd)


# -- rosinality/glow-pytorch


def rosinality(w: Weights, v: Variant, x: np.ndarray, label: np.ndarray | None) -> Encoded:
    """rosinality/glow-pytorch 97081ff, `model.py`; the last block is LU whatever is asked."""
    trace = Trace(x)
    h = x
    for b in range(v.n_levels):
        last = b == v.n_levels - 1
        h = squeeze(h)
        c = h.shape[1]
        for f in range(v.n_steps):
            lu = v.permutation == "lu" or last
            h = _rosinality_flow(w, v, trace, h, f"blocks.{b}.flows.{f}", lu)
        z = h
        if last:
            prior = _rosinality_zeros(w, np.zeros_like(h), f"blocks.{b}.prior", 2 * c)
        else:
            h, z = halves(h)
            prior = _rosinality_zeros(w, h, f"blocks.{b}.prior", c)
        trace.latent(z, *halves(prior))
    return trace.encoded()


def _rosinality_flow(
    w: Weights, v: Variant, trace: Trace, h: np.ndarray, p: str, lu: bool
) -> np.ndarray:
    c = h.shape[1]
    loc = w(bias, f"{p}.actnorm.loc", 1, c, 1, 1)
    factor = w(scale, f"{p}.actnorm.scale", 1, c, 1, 1)
    w(constant(np.uint8(1)), f"{p}.actnorm.initialized")
    h = factor * (h + loc)
    trace.add_per_pixel(h, np.log(np.abs(factor)).sum())
    q = f"{p}.invconv"
    if lu:
        parts = w(permutation, f"{q}.w_p", c, c), w(lower, f"{q}.w_l", c, c)
        w_u, log_s = w(upper, f"{q}.w_u", c, c), w(logs, f"{q}.w_s", c)
        w(constant(np.triu(np.ones((c, c)), 1)), f"{q}.u_mask", c, c)
        w(constant(np.tril(np.ones((c, c)), -1)), f"{q}.l_mask", c, c)
        w(constant(np.eye(c)), f"{q}.l_eye", c, c)
        weight = lu_product(*parts, w_u, w(sign, f"{q}.s_sign", c), log_s)
        trace.add_per_pixel(h, log_s.sum())
    else:
        weight = w(matrix, f"{q}.weight", c, c, 1, 1)[:, :, 0, 0]
        trace.add_per_pixel(h, log_abs_det(weight))
    a, b = halves(mixed(h, weight))
    q = f"{p}.coupling.net"
    out = padded(a)
    for layer, size in (("0", 3), ("2", 1)):
        weight = w(kernel, f"{q}.{layer}.weight", v.hidden, out.shape[1], size, size)
        out = relu(conv(out, weight) + column(w(bias, f"{q}.{layer}.bias", v.hidden)))
    out = _rosinality_zeros(w, out, f"{q}.4", c if v.affine else c // 2)
    if v.affine:
        raw, t = halves(out)
        s = sigmoid(raw + 2)
        b = (b + t) * s
        trace.add(np.log(s))
    else:
        b = b + out
    return np.concatenate([a, b], axis=1)


def _rosinality_zeros(w: Weights, h: np.ndarray, p: str, n_out: int) -> np.ndarray:
    """ZeroConv2d: padding of ones."""
    h = conv(padded(h, 1.0), w(last_kernel, f"{p}.conv.weight", n_out, h.shape[1], 3, 3))
    h = h + column(w(bias, f"{p}.conv.bias", n_out))
    return h * np.exp(3 * w(logs, f"{p}.scale", 1, n_out, 1, 1))


# -- chaiyujin/glow-pytorch and its relatives


class Dialect(NamedTuple):
    """In what chaiyujin, y0ast and corenel differ: names, and the factor on actnorm's logs."""

    actnorm_factor: float
    network: str
    conv: str
    linear: str
    lu: tuple[str, str]
    split: str
    prior: str
    prior_batch: int
    top: str
    to_prior: str
    to_class: str


CHAIYUJIN = Dialect(
    actnorm_factor=1,
    network="f",
    conv="",
    linear="",
    lu=("l", "u"),
    split="conv",
    prior="prior_h",
    prior_batch=3,
    top="learn_top",
    to_prior="project_ycond",
    to_class="project_class",
)
Y0AST = CHAIYUJIN._replace(
    network="block",
    conv=".conv",
    linear=".linear",
    lu=("lower", "upper"),
    prior_batch=1,
    top="learn_top_fn",
)
CORENEL = CHAIYUJIN._replace(
    actnorm_factor=3,
    split="conv2d_zeros",
    prior="h_top",
    to_prior="y_emb",
    to_class="classifier",
)
DIALECTS = {"chaiyujin": CHAIYUJIN, "y0ast": Y0AST, "corenel": CORENEL}


def chaiyujin(w: Weights, v: Variant, x: np.ndarray, label: np.ndarray | None) -> Encoded:
    """chaiyujin/glow-pytorch 487a6b1, y0ast/Glow-PyTorch 13c7b01, corenel/pytorch-glow dfd6db3."""
    d = DIALECTS[v.family]
    trace = Trace(x)
    h, index = x, 0
    for level in range(v.n_levels):
        h, index = squeeze(h), index + 1
        c = h.shape[1]
        for _ in range(v.n_steps):
            h, index = _chaiyujin_step(w, v, trace, h, f"flow.layers.{index}"), index + 1
        if level < v.n_levels - 1:
            h, z2 = halves(h)
            out = _chaiyujin_zeros(w, d, h, f"flow.layers.{index}.{d.split}", c)
            trace.latent(z2, out[:, 0::2], out[:, 1::2])
            index += 1
    c, height, width = h.shape[1:]
    w(constant(0.0), d.prior, d.prior_batch, 2 * c, height, width)
    prior = np.zeros((len(h), 2 * c, height, width))
    if v.learn_top:
        prior = _chaiyujin_zeros(w, d, prior, d.top, 2 * c)
    if v.n_classes:
        assert label is not None
        y = one_hot(label, v.n_classes)
        y = y @ w(last_kernel, f"{d.to_prior}{d.linear}.weight", 2 * c, v.n_classes).T
        y = y + w(bias, f"{d.to_prior}{d.linear}.bias", 2 * c)
        prior = prior + (y * np.exp(3 * w(logs, f"{d.to_prior}.logs", 2 * c)))[:, :, None, None]
        w(kernel, f"{d.to_class}{d.linear}.weight", v.n_classes, c)
        w(bias, f"{d.to_class}{d.linear}.bias", v.n_classes)
        w(logs, f"{d.to_class}.logs", v.n_classes)
    trace.latent(h, *halves(prior))
    return trace.encoded()


def _chaiyujin_step(w: Weights, v: Variant, trace: Trace, h: np.ndarray, p: str) -> np.ndarray:
    d = DIALECTS[v.family]
    c = h.shape[1]
    log_scale = d.actnorm_factor * w(logs, f"{p}.actnorm.logs", 1, c, 1, 1)
    h = (h + w(bias, f"{p}.actnorm.bias", 1, c, 1, 1)) * np.exp(log_scale)
    trace.add_per_pixel(h, log_scale.sum())
    q = f"{p}.invconv"
    if v.permutation == "lu":
        parts = w(permutation, f"{q}.p", c, c), w(lower, f"{q}.{d.lu[0]}", c, c)
        up, log_s = w(upper, f"{q}.{d.lu[1]}", c, c), w(logs, f"{q}.log_s", c)
        h = mixed(h, lu_product(*parts, up, w(sign, f"{q}.sign_s", c), log_s))
        trace.add_per_pixel(h, log_s.sum())
    elif v.permutation == "plain":
        weight = w(matrix, f"{q}.weight", c, c)
        h = mixed(h, weight)
        trace.add_per_pixel(h, log_abs_det(weight))
    else:
        assert v.permutation == "reverse"
        h = h[:, ::-1]
    z1, z2 = halves(h)
    q = f"{p}.{d.network}"
    out = padded(z1)
    for layer, size in (("0", 3), ("2", 1)):
        name = f"{q}.{layer}{d.conv}.weight"
        out = conv(out, w(kernel, name, v.hidden, out.shape[1], size, size))
        out = out + w(bias, f"{q}.{layer}.actnorm.bias", 1, v.hidden, 1, 1)
        log_scale = d.actnorm_factor * w(logs, f"{q}.{layer}.actnorm.logs", 1, v.hidden, 1, 1)
        out = relu(out * np.exp(log_scale))
    out = _chaiyujin_zeros(w, d, out, f"{q}.4", c if v.affine else c // 2)
    return np.concatenate([z1, _shifted_then_scaled(trace, v, z2, out)], axis=1)


def _shifted_then_scaled(trace: Trace, v: Variant, z2: np.ndarray, out: np.ndarray) -> np.ndarray:
    if not v.affine:
        return z2 + out
    shift, s = out[:, 0::2], sigmoid(out[:, 1::2] + 2)
    trace.add(np.log(s))
    return (z2 + shift) * s


def _chaiyujin_zeros(w: Weights, d: Dialect, h: np.ndarray, p: str, n_out: int) -> np.ndarray:
    """Conv2dZeros."""
    h = conv(padded(h), w(last_kernel, f"{p}{d.conv}.weight", n_out, h.shape[1], 3, 3))
    h = h + column(w(bias, f"{p}{d.conv}.bias", n_out))
    return h * np.exp(3 * w(logs, f"{p}.logs", n_out, 1, 1))


# -- pclucas14/pytorch-glow


def pclucas14(w: Weights, v: Variant, x: np.ndarray, label: np.ndarray | None) -> Encoded:
    """pclucas14/pytorch-glow 6884640: a flat list of layers."""
    trace = Trace(x)
    h, index = x, 0
    for level in range(v.n_levels):
        h, index = squeeze(h), index + 1
        c = h.shape[1]
        for _ in range(v.n_steps):
            h, index = _pclucas14_step(w, v, trace, h, index), index + 3
        if level < v.n_levels - 1:
            h, z2 = halves(h)
            out = _chaiyujin_zeros(w, CHAIYUJIN, h, f"layers.{index}.conv_zero", c)
            trace.latent(z2, out[:, 0::2], out[:, 1::2])
            index += 1
    c = h.shape[1]
    prior = np.zeros((len(h), 2 * c, *h.shape[2:]))
    if v.learn_top:
        prior = _chaiyujin_zeros(w, CHAIYUJIN, prior, f"layers.{index}.conv", 2 * c)
    trace.latent(h, *halves(prior))
    return trace.encoded()


def _pclucas14_step(w: Weights, v: Variant, trace: Trace, h: np.ndarray, index: int) -> np.ndarray:
    c = h.shape[1]
    h, log_scale = _pclucas14_actnorm(w, h, f"layers.{index}")
    trace.add_per_pixel(h, log_scale.sum())
    q = f"layers.{index + 1}"
    if v.permutation == "plain":
        weight = w(matrix, f"{q}.weight", c, c, 1, 1)[:, :, 0, 0]
        h = mixed(h, weight)
        trace.add_per_pixel(h, log_abs_det(weight))
    else:
        reverse = v.permutation == "reverse"
        indices = w(constant(np.arange(c)[::-1]) if reverse else order, f"{q}.indices", c)
        w(constant(np.argsort(indices)), f"{q}.rev_indices", c)
        h = h[:, indices]
    z1, z2 = halves(h)
    q = f"layers.{index + 2}.NN"
    out = padded(z1)
    for layer, size in (("0", 3), ("2", 1)):
        name = f"{q}.{layer}.conv.weight"
        out = conv(out, w(kernel, name, v.hidden, out.shape[1], size, size))
        out = relu(_pclucas14_actnorm(w, out, f"{q}.{layer}.actnorm")[0])
    out = _chaiyujin_zeros(w, CHAIYUJIN, out, f"{q}.4", c if v.affine else c // 2)
    return np.concatenate([z1, _shifted_then_scaled(trace, v, z2, out)], axis=1)


def _pclucas14_actnorm(w: Weights, h: np.ndarray, p: str) -> tuple[np.ndarray, np.ndarray]:
    """The output, and the logs."""
    c = h.shape[1]
    log_scale = w(logs, f"{p}.logs", 1, c, 1)
    return (h + column(w(bias, f"{p}.b", 1, c, 1))) * np.exp(column(log_scale)), log_scale


# -- kamenbliznashki/normalizing_flows


def kamen(w: Weights, v: Variant, x: np.ndarray, label: np.ndarray | None) -> Encoded:
    """kamenbliznashki/normalizing_flows 97a73a0, `glow.py`; its own n_levels counts splits."""
    trace = Trace(x)
    w(constant(0.0), "base_dist_mean", 1)
    w(constant(1.0), "base_dist_var", 1)
    h = x - 0.5
    for level in range(v.n_levels - 1):
        h = squeeze(h)
        for k in range(v.n_steps):
            h = _kamen_step(w, v, trace, h, f"flowlevels.{level}.flowsteps.{k}")
        h, z2 = halves(h)
        _kamen_gaussianize(w, trace, h, z2, f"flowlevels.{level}.split.gaussianize")
    h = squeeze(h)
    for k in range(v.n_steps):
        h = _kamen_step(w, v, trace, h, f"flowstep.{k}")
    _kamen_gaussianize(w, trace, np.zeros_like(h), h, "gaussianize")
    return trace.encoded()


def _kamen_gaussianize(w: Weights, trace: Trace, z1: np.ndarray, z2: np.ndarray, p: str) -> None:
    n_out = 2 * z2.shape[1]
    out = conv(padded(z1), w(last_kernel, f"{p}.net.weight", n_out, z1.shape[1], 3, 3))
    out = out + column(w(bias, f"{p}.net.bias", n_out))
    out = out * np.exp(w(logs, f"{p}.log_scale_factor", n_out, 1, 1))
    trace.latent(z2, out[:, 0::2], out[:, 1::2])


def _kamen_step(w: Weights, v: Variant, trace: Trace, h: np.ndarray, p: str) -> np.ndarray:
    c = h.shape[1]
    h, factor = _kamen_actnorm(w, h, f"{p}.0")
    trace.add_per_pixel(h, -np.log(np.abs(factor)).sum())
    q = f"{p}.1"
    if v.permutation == "lu":
        parts = w(permutation, f"{q}.p", c, c), w(lower, f"{q}.l", c, c), w(upper, f"{q}.u", c, c)
        w(constant(np.tril(np.ones((c, c)), -1)), f"{q}.l_mask", c, c)
        log_s = w(logs, f"{q}.log_s", c)
        h = mixed(h, lu_product(*parts, w(sign, f"{q}.sign_s", c), log_s))
        trace.add_per_pixel(h, log_s.sum())
    else:
        weight = w(matrix, f"{q}.w", c, c)
        h = mixed(h, weight)
        trace.add_per_pixel(h, log_abs_det(weight))
    changed, given = halves(h)
    q = f"{p}.2"
    out = conv(padded(given), w(kernel, f"{q}.conv1.weight", v.hidden, c // 2, 3, 3))
    out = relu(_kamen_actnorm(w, out, f"{q}.actnorm1")[0])
    out = conv(padded(out), w(kernel, f"{q}.conv2.weight", v.hidden, v.hidden, 1, 1))
    out = relu(_kamen_actnorm(w, out, f"{q}.actnorm2")[0])
    out = conv(out, w(last_kernel, f"{q}.conv3.weight", c, v.hidden, 3, 3))
    out = out + column(w(bias, f"{q}.conv3.bias", c))
    out = out * np.exp(w(logs, f"{q}.log_scale_factor", c, 1, 1))
    t, s = out[:, 0::2], sigmoid(out[:, 1::2] + 2)
    trace.add(np.log(s))
    return np.concatenate([changed * s + t, given], axis=1)


def _kamen_actnorm(w: Weights, h: np.ndarray, p: str) -> tuple[np.ndarray, np.ndarray]:
    """The output, and what it was divided by."""
    c = h.shape[1]
    factor = w(scale, f"{p}.scale", 1, c, 1, 1)
    w(constant(np.uint8(1)), f"{p}.initialized")
    return (h - w(bias, f"{p}.bias", 1, c, 1, 1)) / factor, factor


# -- CACTuS-AI/GlowIP


def glowip(w: Weights, v: Variant, x: np.ndarray, label: np.ndarray | None) -> Encoded:
    """CACTuS-AI/GlowIP 7173408: the last level has one flow, whose bias is `last_zeros`."""
    trace = Trace(x)
    h, index = x, 0
    for level in range(v.n_levels):
        last = level == v.n_levels - 1
        h, index = squeeze(h), index + 1
        for _ in range(1 if last else v.n_steps):
            plus = float(v.last_zeros) if last else v.coupling_bias
            h, index = _glowip_flow(w, v, trace, h, f"glow_modules.{index}", plus), index + 1
        if not last:
            h, z2 = halves(h)
            trace.latent(z2, 0.0, 0.0)
            index += 1
    trace.latent(h, 0.0, 0.0)
    return trace.encoded()


def _glowip_flow(
    w: Weights, v: Variant, trace: Trace, h: np.ndarray, p: str, plus: float
) -> np.ndarray:
    c = h.shape[1]
    h, log_scale = _glowip_actnorm(w, h, f"{p}.actnorm")
    trace.add_per_pixel(h, log_scale.sum())
    weight = w(matrix, f"{p}.invconv.W", c, c, 1, 1)[:, :, 0, 0]
    h = mixed(h, weight)
    trace.add_per_pixel(h, log_abs_det(weight))
    changed, given = halves(h)
    q = f"{p}.coupling.net"
    n_out = c if v.affine else c // 2
    out = padded(given)
    for i, size in ((1, 3), (2, 1)):
        out = conv(out, w(kernel, f"{q}.conv{i}.weight", v.hidden, out.shape[1], size, size))
        out = out + column(w(bias, f"{q}.conv{i}.bias", v.hidden))
        out = relu(_glowip_actnorm(w, out, f"{q}.actnorm{i}")[0])
    out = conv(padded(out), w(last_kernel, f"{q}.conv3.weight", n_out, v.hidden, 3, 3))
    out = out + column(w(bias, f"{q}.conv3.bias", n_out))
    out = out * np.exp(3 * w(logs, f"{q}.logs", n_out, 1, 1))
    if v.affine:
        s, t = sigmoid(out[:, 0::2] + 2) + plus, out[:, 1::2]
        changed = changed * s + t
        trace.add(np.log(s))
    else:
        changed = changed + out
    return np.concatenate([changed, given], axis=1)


def _glowip_actnorm(w: Weights, h: np.ndarray, p: str) -> tuple[np.ndarray, np.ndarray]:
    """The output, and the logs."""
    c = h.shape[1]
    log_scale = w(logs, f"{p}.logs", 1, c, 1, 1)
    return (h + w(bias, f"{p}.b", 1, c, 1, 1)) * np.exp(log_scale), log_scale


# -- chrischute/glow


def chrischute(w: Weights, v: Variant, x: np.ndarray, label: np.ndarray | None) -> Encoded:
    """chrischute/glow faffa5b in eval(): a logit, and BatchNorm in the coupling networks."""
    trace = Trace(x)
    bound = w(constant(0.9), "bounds", 1)
    p = (bound * (2 * x - 1) + 1) / 2
    trace.add(np.log(bound) - np.log(p) - np.log(1 - p))
    h = squeeze(np.log(p) - np.log(1 - p))
    for level in range(v.n_levels):
        for k in range(v.n_steps):
            h = _chrischute_step(w, v, trace, h, f"flows.{'next.' * level}steps.{k}")
        if level < v.n_levels - 1:
            h, z2 = halves(squeeze(h))
            trace.latent(unsqueeze(z2), 0.0, 0.0)
    trace.latent(h, 0.0, 0.0)
    return trace.encoded()


def _chrischute_step(w: Weights, v: Variant, trace: Trace, h: np.ndarray, p: str) -> np.ndarray:
    c = h.shape[1]
    log_scale = w(logs, f"{p}.norm.logs", 1, c, 1, 1)
    w(constant(1.0), f"{p}.norm.is_initialized", 1)
    h = (h + w(bias, f"{p}.norm.bias", 1, c, 1, 1)) * np.exp(log_scale)
    trace.add_per_pixel(h, log_scale.sum())
    weight = w(matrix, f"{p}.conv.weight", c, c)
    h = mixed(h, weight)
    trace.add_per_pixel(h, log_abs_det(weight))
    changed, given = halves(h)
    q = f"{p}.coup.nn"
    out = padded(relu(_batch_norm(w, given, f"{q}.in_norm")))
    out = conv(out, w(kernel, f"{q}.in_conv.weight", v.hidden, c // 2, 3, 3))
    out = relu(_batch_norm(w, out, f"{q}.mid_norm"))
    out = conv(out, w(kernel, f"{q}.mid_conv.weight", v.hidden, v.hidden, 1, 1))
    out = padded(relu(_batch_norm(w, out, f"{q}.out_norm")))
    out = conv(out, w(last_kernel, f"{q}.out_conv.weight", c, v.hidden, 3, 3))
    out = out + column(w(bias, f"{q}.out_conv.bias", c))
    s = w(scale, f"{p}.coup.scale", c // 2, 1, 1) * np.tanh(out[:, 0::2])
    trace.add(s)
    return np.concatenate([(changed + out[:, 1::2]) * np.exp(s), given], axis=1)


def _batch_norm(w: Weights, h: np.ndarray, p: str) -> np.ndarray:
    """BatchNorm2d with its running statistics."""
    c = h.shape[1]
    weight, shift = w(scale, f"{p}.weight", c), w(bias, f"{p}.bias", c)
    mean, var = w(bias, f"{p}.running_mean", c), w(variance, f"{p}.running_var", c)
    w(constant(np.int64(17)), f"{p}.num_batches_tracked")
    return (h - column(mean)) / np.sqrt(column(var) + 1e-5) * column(weight) + column(shift)


# -- all of them


class Family(NamedTuple):
    """A walk, and the x that its flow sees: ours is u8 / 256 - 0.5 = `shrink` x_flow - `lower`."""

    walk: Callable[[Weights, Variant, np.ndarray, np.ndarray | None], Encoded]
    lower: float = 0.0
    shrink: float = 1.0
    channels_last: bool = False


FAMILIES = {
    "openai": Family(openai, channels_last=True),
    "rosinality": Family(rosinality),
    "chaiyujin": Family(chaiyujin, lower=0.5, shrink=255 / 256),
    "y0ast": Family(chaiyujin),
    "corenel": Family(chaiyujin, lower=0.5, shrink=255 / 256),
    "pclucas14": Family(pclucas14, lower=0.5, shrink=255 / 256),
    "kamen": Family(kamen, lower=0.5),
    "glowip": Family(glowip),
    "chrischute": Family(chrischute, lower=0.5),
}


def state_dict(v: Variant, seed: int = 0) -> Arrays:
    """Random weights under the original's names."""
    w = Weights(seed=seed)
    image = np.full((1, v.height, v.width, v.channels), 0.25)
    label = np.zeros(1, int) if v.n_classes else None
    FAMILIES[v.family].walk(w, v, _native(v, image), label)
    return w.arrays


def encode(
    v: Variant, arrays: Arrays, x_flow: np.ndarray, label: np.ndarray | None = None
) -> Encoded:
    """What the original computes of x_flow (NHWC), the tensor that it feeds its flow."""
    return FAMILIES[v.family].walk(Weights(arrays), v, _native(v, x_flow), label)


def x_flow_of(v: Variant, x: np.ndarray) -> np.ndarray:
    """The family's x of ours."""
    family = FAMILIES[v.family]
    return (x + family.lower) / family.shrink


def x_of(v: Variant, x_flow: np.ndarray) -> np.ndarray:
    """Our x of the family's."""
    family = FAMILIES[v.family]
    return x_flow * family.shrink - family.lower


def our_log_prob(v: Variant, log_prob: np.ndarray) -> np.ndarray:
    """The density over our x of the family's over its own."""
    return log_prob - v.n_dims * np.log(FAMILIES[v.family].shrink)


def _native(v: Variant, x: np.ndarray) -> np.ndarray:
    return x if FAMILIES[v.family].channels_last else x.transpose(0, 3, 1, 2)


# -- files

SAFETENSORS_TYPES = {"float32": "F32", "int64": "I64", "int32": "I32", "uint8": "U8"}


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays in the safetensors format (huggingface/safetensors, README)."""
    header, blobs, start = {}, [], 0
    for name, array in arrays.items():
        blobs.append(np.ascontiguousarray(array).tobytes())
        offsets = [start, start + len(blobs[-1])]
        header[name] = {
            "dtype": SAFETENSORS_TYPES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": offsets,
        }
        start = offsets[1]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))
