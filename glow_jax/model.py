"""Glow: levels of steps of flow, with a split and a prior between levels.

Kingma & Dhariwal 2018, figure 2. Latents are tuples of arrays, finest level first: `z` are raw,
`eps` are standardised by the learned priors. No function accepts both.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, UInt8

from glow_jax import lanes, pixels
from glow_jax.config import GlowConfig
from glow_jax.coupling_network import Form
from glow_jax.flow_step import FoldedStep, Step, parts_of
from glow_jax.graph_model import GraphGlow
from glow_jax.kept_programs import kept
from glow_jax.layers import Randomness, squeeze, unsqueeze
from glow_jax.prior import (
    PositionPrior,
    SplitPrior,
    TopPrior,
    draw_eps,
    log_density,
    standardise,
    unstandardise,
)
from glow_jax.products import Products

BHWC = Float[Array, "B H W C"]
PerSample = Float[Array, " B"]
Images = UInt8[Array, "B H W C"]
Labels = Int[Array, " B"] | Float[Array, "B Y"]
OfLevel = Float[Array, "B _ _ _"]
Latents = tuple[OfLevel, ...]
ImagesIn = UInt8[Array | np.ndarray, "B H W C"]  # methods accept NumPy arrays too
XIn = Float[Array | np.ndarray, "B H W C"]
LatentsIn = tuple[Float[Array | np.ndarray, "B _ _ _"], ...]
P = ParamSpec("P")
R = TypeVar("R")


def _jitted(*static: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a method once per structure of the model, shapes and values of `static`."""

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(method)

        def pure(graph: Any, state: Any, **kwargs: Any) -> R:
            function: Callable[..., R] = method
            return function(nnx.merge(graph, state), **kwargs)

        pure.__qualname__ = method.__qualname__  # by which the program is kept
        compiled = kept(pure, static=(0, *static))

        @functools.wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            arguments = signature.bind(*args, **kwargs).arguments
            result: R = compiled(*nnx.split(arguments.pop("self")), **arguments)
            return result

        return call

    return decorate


class Level(nnx.Module):
    """K steps of flow with stacked parameters, run under a scan.

    One step is traced and compiled, for any K. Every array of `steps` has a leading axis K.

    Attributes:
        steps: the steps of flow.
        unroll: steps compiled into one iteration of the scan.
        recompute: whether a gradient recomputes each step from its input instead of storing what
            the step computed.
    """

    def __init__(self, steps: Step | FoldedStep, unroll: int = 1):
        self.steps = steps
        self.unroll = unroll
        self.recompute = False

    def _scan(self, method: str, h: BHWC, reverse: bool) -> tuple[BHWC, PerSample]:
        if isinstance(self.steps, FoldedStep):
            form = self.steps.form(*h.shape)
            if form in ("lanes", "fused"):
                return self._scan_lanes(self.steps, form, method, h, reverse)
        graph, state = nnx.split(self.steps)

        def body(h: BHWC, state: Any) -> tuple[BHWC, PerSample]:
            step: Any = nnx.merge(graph, state)
            result: tuple[BHWC, PerSample] = getattr(step, method)(h)
            return result

        if self.recompute:
            body = jax.checkpoint(body, prevent_cse=False)
        h, logdets = jax.lax.scan(body, h, state, reverse=reverse, unroll=self.unroll)
        return h, logdets.sum(0)

    def _scan_lanes(
        self, steps: FoldedStep, form: Form, method: str, h: BHWC, reverse: bool
    ) -> tuple[BHWC, PerSample]:
        """As `_scan`, group of images after group, each a batch of columns (`glow_jax.lanes`)."""
        graph, state = nnx.split(steps)
        batch, height, width, _ = h.shape
        weights = steps.lane_weights(form)
        n_images = steps.group_size(form, batch, height, width)
        borders = lanes.borders(height, width, n_images, weights.ring.shape[2], h.dtype)

        def body(h: BHWC, xs: Any) -> tuple[BHWC, PerSample]:
            step: Any = nnx.merge(graph, xs[0])
            network = step.lane_network(form, xs[1], borders, width)
            result: tuple[BHWC, PerSample] = getattr(step, method)(h, network, lanes.matmul_lanes)
            return result

        def of_group(h: BHWC) -> tuple[BHWC, PerSample]:
            h, logdets = jax.lax.scan(body, h, (state, weights), None, reverse, self.unroll)
            return h, logdets.sum(0)

        h, logdets = jax.lax.map(of_group, lanes.to_lanes(h, n_images))
        return lanes.from_lanes(h, width), logdets.reshape(batch, width).sum(1)

    def forward(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return self._scan("forward", h, reverse=False)

    def inverse(self, h: BHWC) -> tuple[BHWC, PerSample]:
        return self._scan("inverse", h, reverse=True)

    def initialise(self, h: BHWC) -> BHWC:
        """Data-dependent initialisation of every step, in order; returns the output."""
        graph, state = nnx.split(self.steps)

        def body(h: BHWC, state: Any) -> tuple[BHWC, Any]:
            step: Any = nnx.merge(graph, state)
            h = step.initialise(h)
            return h, nnx.state(step)

        h, state = jax.lax.scan(body, h, state)
        nnx.update(self.steps, state)
        return h


class Glow(nnx.Module):
    """A Glow in training form; `fold` gives its faster inference form, with the same methods.

    Every method is jitted, and may be used under jax.jit, jax.vmap and jax.grad.

    Attributes:
        config: the shape and function class.
        levels: finest first.
        splits: the priors of all latents but the top one.
        top: the prior of the top latent.
        folded: whether this is the inference form.
        name, fingerprint: of the checkpoint from which the model was loaded.
    """

    def __init__(self, config: GlowConfig, *, rngs: Randomness, dtype: DTypeLike = jnp.float32):
        """Random weights: orthogonal 1x1 convolutions, zero last convolutions.

        Args:
            config: what to build.
            rngs: a `params` stream of random keys; None gives zeros in place of random numbers,
                where only shapes are needed, which are traced sooner.
            dtype: of the parameters and of every activation, float32 or float64.
        """
        self.config = config
        self.dtype = jnp.dtype(dtype)
        self.folded = False
        self.name = "unsaved"
        self.fingerprint = ""
        channels = [config.level_shape(level)[2] for level in range(config.n_levels)]

        def stacked(n_channels: int, n_steps: int) -> Step:
            if rngs is None:
                return nnx.vmap(
                    lambda: Step(config, n_channels, rngs=None, dtype=self.dtype),
                    in_axes=(),
                    axis_size=n_steps,
                )()

            @nnx.split_rngs(splits=n_steps)
            @nnx.vmap(in_axes=0, out_axes=0)
            def build(rngs: nnx.Rngs) -> Step:
                return Step(config, n_channels, rngs=rngs, dtype=self.dtype)

            return build(rngs)

        per_level = zip(channels, config.steps, strict=True)
        self.levels = nnx.List([Level(stacked(c, k)) for c, k in per_level])
        splits: list[SplitPrior | PositionPrior]
        if config.prior == "position":
            last = config.n_levels - 1
            splits = [PositionPrior(config, i, dtype=self.dtype) for i in range(last)]
            self.top: TopPrior | PositionPrior = PositionPrior(config, last, dtype=self.dtype)
        else:
            splits = [
                SplitPrior(config.n_passed(i), config.latent_shapes[i][2], dtype=self.dtype)
                for i in range(config.n_levels - 1)
            ]
            self.top = TopPrior(config, dtype=self.dtype)
        self.splits = nnx.List(splits)

    def fold(
        self,
        precision: Products = "exact",
        unroll: int = 1,
        dtype: DTypeLike | None = None,
        platform: str | None = None,
    ) -> "Glow":
        """The inference form: the same function to rounding, fewer and larger operations.

        Args:
            precision: "exact", float32 products; "fast", coupling networks in bfloat16; "high",
                coupling networks in three bfloat16 passes on a TPU (elsewhere by JAX's
                `Precision.HIGH`), for callers that check the round trip of every image.
            unroll: steps of flow compiled into one iteration of the scan.
            dtype: of the result's arrays; this model's by default.
            platform: on which methods will run, such as "cpu" or "tpu", which decides the form
                of the coupling networks (`coupling_network.form_for`); JAX's default backend by
                default. The result is the same to rounding.

        Raises:
            ValueError: the model is already folded.
        """
        if self.folded:
            raise ValueError("the model is already folded; fold its training form instead")
        dtype = self.dtype if dtype is None else jnp.dtype(dtype)
        folded = nnx.clone(self)
        levels: list[Any] = [level.steps for level in self.levels]
        folded.levels = nnx.List(
            [
                Level(FoldedStep(steps, parts, self.config, precision, dtype, platform), unroll)
                for steps, parts in zip(levels, parts_of(levels), strict=True)
            ]
        )
        folded.folded = True
        return folded

    def at_size(self, height: int, width: int) -> "Glow":
        """The same weights for images of another size, such as parts of images.

        The flow is convolutional: only a prior of kind "position" depends on the size. Close to
        the border of a part its surroundings are missing, so its bits/dim are not that part's
        share of the whole image's.

        Args:
            height, width: pixels; each divisible by 2 ** n_levels.

        Returns:
            A model that shares this model's arrays.

        Raises:
            ValueError: the prior is of kind "position", or the size does not suit the levels.
        """
        config = dataclasses.replace(self.config, image_height=height, image_width=width)
        resized = nnx.clone(self)
        if not isinstance(resized.top, TopPrior):
            raise ValueError("the prior of kind 'position' is for one size of images only")
        resized.config = config
        resized.top.shape = config.level_shape(config.n_levels - 1)
        return resized

    def initialise(self, x: BHWC) -> None:
        """Data-dependent initialisation of every actnorm, in place, in one pass over x.

        Source: Kingma & Dhariwal 2018, section 3.1; Salimans & Kingma 2016.
        """
        graph, state = nnx.split(self)
        nnx.update(self, _initialised(graph, state, x))

    # -- the flow: x <-> z

    @_jitted()
    def forward(self, x: XIn) -> tuple[Latents, PerSample]:
        """x in [-0.5, 0.5) to raw latents.

        Returns:
            z: one array a level, `config.latent_shapes`.
            logdet: log |det dz/dx|, nats, summed.

        Raises:
            ValueError: x's shape differs from the config's.
        """
        z, _, logdet = self._forward(jnp.asarray(x))
        return z, logdet

    @_jitted()
    def inverse(self, z: LatentsIn) -> tuple[BHWC, PerSample]:
        """Raw latents to x; logdet is log |det dx/dz|, nats, summed."""
        raw = _as_jax(z)
        x, _, logdet = self._inverse(raw, lambda i, z1: raw[i])
        return x, logdet

    # -- z <-> eps

    @_jitted()
    def eps_from_z(self, z: LatentsIn, label: Labels | None = None) -> Latents:
        """Standardise raw latents by their priors: eps = (z - mu) / exp(logs)."""
        raw = _as_jax(z)
        _, z1, _ = self._inverse(raw, lambda i, z1: raw[i])
        return self._eps(raw, z1, label)

    @_jitted()
    def z_from_eps(self, eps: LatentsIn, label: Labels | None = None) -> Latents:
        """Raw latents of standardised ones: z = mu + exp(logs) eps, coarse to fine."""
        return self._decoded(_as_jax(eps), label)[1]

    # -- images <-> eps

    @_jitted("n_bits")
    def encode(self, images: ImagesIn, label: Labels | None = None, *, n_bits: int = 8) -> Latents:
        """Images to standardised latents, deterministically: every byte is its bin's centre.

        Args:
            images: RGB bytes of `config.image_shape`.
            label: the classes, for a model that has them.
            n_bits: bits of every byte that are used; 8 uses all, also if the weights were trained
                at fewer.

        Returns:
            eps: one array a level, `config.latent_shapes`, finest first.

        Raises:
            ValueError: wrong shape, or not bytes.
        """
        _check_images(images)
        return self._standardised(pixels.centred(jnp.asarray(images), n_bits, self.dtype), label)

    @_jitted()
    def encode_x(self, x: XIn, label: Labels | None = None) -> Latents:
        """x in [-0.5, 0.5) to standardised latents; `encode` before quantisation."""
        return self._standardised(jnp.asarray(x), label)

    @_jitted("n_bits")
    def decode(self, eps: LatentsIn, label: Labels | None = None, *, n_bits: int = 8) -> Images:
        """Standardised latents to images; pixels that come out non-finite are mid-grey."""
        return pixels.to_uint8(self._decoded(_as_jax(eps), label)[0], n_bits)

    @_jitted()
    def decode_x(self, eps: LatentsIn, label: Labels | None = None) -> BHWC:
        """Standardised latents to x, before quantisation; not clipped."""
        return self._decoded(_as_jax(eps), label)[0]

    # -- likelihood and samples

    @_jitted()
    def log_prob(self, x: XIn, label: Labels | None = None) -> PerSample:
        """log p(x) of the density over [-0.5, 0.5), nats, summed over H, W and C."""
        z, z1, logdet = self._forward(jnp.asarray(x))
        statistics = self._statistics(z, z1, label)
        priors = [log_density(a, mu, logs) for a, (mu, logs) in zip(z, statistics, strict=True)]
        return sum(priors, start=logdet)

    @_jitted("n_bits")
    def bits_per_dim(
        self,
        images: ImagesIn,
        label: Labels | None = None,
        *,
        n_bits: int | None = None,
        key: jax.Array | None = None,
    ) -> PerSample:
        """Bits per dimension of each image: -log2 p(bin) / (H W C).

        Args:
            images: bytes.
            label: the classes, for a model that has them.
            n_bits: bits of every byte that are used; by default those of the training.
            key: draws the uniform dequantisation noise of the paper's bound; without one,
                bin centres (deterministic, an estimate rather than a bound).
        """
        _check_images(images)
        n_bits = self.config.n_bits if n_bits is None else n_bits
        if key is None:
            x = pixels.centred(jnp.asarray(images), n_bits, self.dtype)
        else:
            x = pixels.dequantised(key, jnp.asarray(images), n_bits, self.dtype)
        return n_bits - self.log_prob(x, label) / (math.log(2) * self.config.n_dims)

    @_jitted("n", "n_bits")
    def sample(
        self,
        key: jax.Array,
        n: int,
        temperature: float | Array = 1.0,
        label: Labels | None = None,
        *,
        n_bits: int = 8,
    ) -> Images:
        """Draw `n` images; `temperature` multiplies eps at all levels, as in OpenAI's code.

        Pixels that come out non-finite are mid-grey.
        """
        eps = draw_eps(key, self.config.latent_shapes, n, temperature, self.dtype)
        return pixels.to_uint8(self._decoded(eps, label)[0], n_bits)

    @_jitted("n")
    def sample_x(
        self,
        key: jax.Array,
        n: int,
        temperature: float | Array = 1.0,
        label: Labels | None = None,
    ) -> BHWC:
        """The samples of `sample` as x, before quantisation; not clipped; NaN is kept."""
        return self._decoded(
            draw_eps(key, self.config.latent_shapes, n, temperature, self.dtype), label
        )[0]

    # -- both directions of the flow

    def _forward(self, x: BHWC) -> tuple[Latents, list[OfLevel], PerSample]:
        """From fine to coarse.

        Returns:
            z: raw latents, finest first.
            z1: the part of each split that is the next level's input, finest first.
            logdet: log |det dz/dx|, nats.
        """
        if x.shape[1:] != self.config.image_shape:
            takes = ", ".join(map(str, self.config.image_shape))
            raise ValueError(f"x has shape {x.shape}; the model takes (B, {takes})")
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"x is {x.dtype}; it must be floating-point, in [-0.5, 0.5)")
        z, z1 = [], []
        h, logdet = self._enter(x)
        for i, level in enumerate(self.levels):
            h, level_logdet = level.forward(squeeze(h))
            logdet = logdet + level_logdet
            if i < len(self.splits):
                h, z2 = jnp.split(h, [self.config.n_passed(i)], axis=-1)
                z.append(z2)
                z1.append(h)
        return (*z, h), z1, logdet

    def _inverse(
        self, latents: Latents, z2_of: Callable[[int, OfLevel], OfLevel]
    ) -> tuple[BHWC, list[OfLevel], PerSample]:
        """From coarse to fine.

        Args:
            latents: the last one is the raw top latent; of the others only the shapes are used.
            z2_of: function from a level and z1, what it passes on, to the level's raw latent z2.

        Returns:
            x: the images, not clipped.
            z1: what each split passes on, finest first.
            logdet: log |det dx/dz|, nats.
        """
        _check_latents(latents, self.config)
        h = latents[-1]
        z1: list[OfLevel] = []
        logdet = jnp.zeros(h.shape[0], h.dtype)
        for i in reversed(range(len(self.levels))):
            if i < len(self.splits):
                z1.insert(0, h)
                h = jnp.concatenate([h, z2_of(i, h)], axis=-1)
            h, level_logdet = self.levels[i].inverse(h)
            logdet = logdet + level_logdet
            h = unsqueeze(h)
        x, leave_logdet = self._leave(h)
        return x, z1, logdet + leave_logdet

    def _enter(self, x: BHWC) -> tuple[BHWC, PerSample]:
        """From x to the input of the flow: the logit if the config has one, else the identity."""
        if self.config.logit_alpha:
            return pixels.logit(x, self.config.logit_alpha)
        return x, jnp.zeros(x.shape[0], x.dtype)

    def _leave(self, h: BHWC) -> tuple[BHWC, PerSample]:
        if self.config.logit_alpha:
            return pixels.unlogit(h, self.config.logit_alpha)
        return h, jnp.zeros(h.shape[0], h.dtype)

    def _statistics(
        self, z: Latents, z1: list[OfLevel], label: Labels | None
    ) -> list[tuple[OfLevel, OfLevel]]:
        """mu and logs of every latent."""
        given = zip(self.splits, z1, strict=True)
        splits = [split.statistics(h, label) for split, h in given]
        return [*splits, self.top.statistics(z[-1], label)]

    def _eps(self, z: Latents, z1: list[OfLevel], label: Labels | None) -> Latents:
        statistics = self._statistics(z, z1, label)
        return tuple(standardise(a, mu, logs) for a, (mu, logs) in zip(z, statistics, strict=True))

    def _standardised(self, x: BHWC, label: Labels | None) -> Latents:
        z, z1, _ = self._forward(x)
        return self._eps(z, z1, label)

    def _decoded(self, eps: Latents, label: Labels | None) -> tuple[BHWC, Latents]:
        """x and the raw latents of standardised ones."""
        _check_latents(eps, self.config)
        top = unstandardise(eps[-1], *self.top.statistics(eps[-1], label))
        z: list[OfLevel] = [top]

        def z2_of(i: int, z1: OfLevel) -> OfLevel:
            z.insert(0, unstandardise(eps[i], *self.splits[i].statistics(z1, label)))
            return z[0]

        x = self._inverse((*eps[:-1], top), z2_of)[0]
        return x, tuple(z)


@functools.partial(jax.jit, static_argnums=0)
def _initialised(graph: Any, state: Any, h: BHWC) -> Any:
    model = nnx.merge(graph, state)
    h, _ = model._enter(h)
    for i, level in enumerate(model.levels):
        h = level.initialise(squeeze(h))[..., : model.config.n_passed(i)]
    return nnx.state(model)


def flatten(latents: LatentsIn) -> Float[Array, "B D"]:
    """Latents as one vector a sample: finest level first, each row-major over (H, W, C).

    The order of openai/glow's `feps`.
    """
    return jnp.concatenate([a.reshape(a.shape[0], -1) for a in latents], axis=-1)


def unflatten(vector: Float[Array | np.ndarray, "B D"], model: Glow | GraphGlow) -> Latents:
    """Inverse of `flatten`, for `model`'s shapes.

    Raises:
        ValueError: the vector's length is not the model's H * W * C.
    """
    if vector.ndim != 2 or vector.shape[1] != model.config.n_dims:
        raise ValueError(f"vector has shape {vector.shape}; need (B, {model.config.n_dims})")
    latents, start, vector = [], 0, jnp.asarray(vector)
    for shape in model.config.latent_shapes:
        size = math.prod(shape)
        latents.append(vector[:, start : start + size].reshape(-1, *shape))
        start += size
    return tuple(latents)


def _as_jax(latents: LatentsIn) -> Latents:
    return tuple(jnp.asarray(a) for a in latents)


def _check_images(images: ImagesIn) -> None:
    if images.dtype != jnp.uint8 or images.ndim != 4:
        raise ValueError(
            f"images are {images.dtype} of shape {images.shape}; need uint8 (B, H, W, C)"
        )


def _check_latents(latents: Latents, config: GlowConfig) -> None:
    shapes = tuple(a.shape[1:] for a in latents)
    if shapes != config.latent_shapes:
        raise ValueError(f"latents have shapes {shapes}; the model's are {config.latent_shapes}")
