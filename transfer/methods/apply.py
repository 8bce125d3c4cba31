"""Using `ExpressionModel`: read a code from the source's pictures, paint it on the target's.

    code   = activations(expression) - mean over the source's neutral pictures of activations
    x'     = the target's most neutral picture, warped by alpha * code
    output = x' + A⁻¹( alpha * code * rest )

A⁻¹ carries what lies over a mean shape to the face. No flow computes it: what flows add to it was
measured, and is less than nothing (README, "Against the truth").

`decode_safely` is for every method: it never returns a number that is not finite, and says where
it had to take less of an edit.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax.io.errors import InputError
from transfer.codec import Codec, FloatImages, Images, Latents, to_bytes
from transfer.expression import model as ex
from transfer.expression.model import ExpressionModel

NEUTRAL = 0.15  # pictures within this of the most neutral one (`neutrality`) count as neutral
WILD = 1024.0  # grey levels: a decoded picture beyond this has left what the flow knows
HALVINGS = 5  # of an edit, before the unedited picture stands in
AUTO_ALPHAS = tuple(np.arange(1.5, 0.24, -0.125).tolist())
AUTO_BITS = 0.05  # bits/dim that an output may be less likely than the picture it edits
AUTO_CLIPPED = 0.02  # share of pixels that may leave the range


class Decoded(NamedTuple):
    """Pictures, and how much of each edit they hold.

    Attributes:
        grey: (B, H, W, C) finite grey levels.
        kept: (B,) 1 where the whole edit decoded; a half, a quarter, ... where less did; 0 where
            only the base did.
        lost: (B,) pixels that even then are not finite; they are mid-grey.
    """

    grey: FloatImages
    kept: np.ndarray
    lost: np.ndarray


def decode_safely(
    decode: Callable[[Latents], FloatImages], base: Latents, edited: Latents
) -> Decoded:
    """Decode edited latents; where that is not finite, take half of the edit, and half again.

    Args:
        decode: of the flow.
        base: latents (B, ...) of pictures that exist, to which an edit is taken back.
        edited: what is wanted, of the same shapes.
    """
    grey = np.array(decode(edited))
    kept, lost = np.ones(len(grey)), np.zeros(len(grey), int)
    for i in np.flatnonzero(_wild(grey)).tolist():
        one, other = (jax.tree.map(lambda a, i=i: a[i : i + 1], z) for z in (base, edited))
        for share in [*(0.5**n for n in range(1, HALVINGS + 1)), 0.0]:
            # Of an edit that is not finite, 0 times is not nothing.
            some = jax.tree.map(lambda b, e, s=share: b + s * (e - b) if s else b, one, other)
            grey[i], kept[i] = np.asarray(decode(some))[0], share
            if not _wild(grey[i : i + 1])[0]:
                break
        finite = np.isfinite(grey[i])
        lost[i] = (~finite).any(-1).sum()
        grey[i][~finite] = 127.5
    return Decoded(grey, kept, lost)


def _wild(grey: FloatImages) -> np.ndarray:
    """(B,) bool: pictures with numbers that are not finite, or far out of any picture's range."""
    return ~(np.abs(grey).max((1, 2, 3)) < WILD)  # with a NaN in it, the largest is NaN


_activations, _denoised = jax.jit(ex.raw_activations), jax.jit(ex.denoise)


def read(known: ExpressionModel, images: Images) -> np.ndarray:
    """(N, A) readings of pictures; only differences within a person mean something."""
    return np.asarray(_activations(known, _padded(images)))[: len(images)]


def neutral_of(known: ExpressionModel, images: Images) -> np.ndarray:
    """(N,) bool: which pictures of a person are neutral; the most neutral one always is."""
    return _are_neutral(read(known, images))


def _are_neutral(readings: np.ndarray) -> np.ndarray:
    how_far = ex.neutrality(readings)
    return how_far <= how_far.min() + NEUTRAL


def most_neutral(known: ExpressionModel, images: Images) -> int:
    """Index of the most neutral of a person's pictures."""
    return int(ex.neutrality(read(known, images)).argmin())


def code_of(known: ExpressionModel, expression: np.ndarray, source: Images) -> np.ndarray:
    """(A,) activations of one picture (H, W, 3), against the neutral ones of its person."""
    return code_from(known, read(known, expression[None])[0], read(known, source))


def code_from(known: ExpressionModel, shown: np.ndarray, source: np.ndarray) -> np.ndarray:
    """`code_of`, of readings (A,) and (N, A)."""
    change = shown - source[_are_neutral(source)].mean(0)
    return np.asarray(_denoised(known, jnp.asarray(change[None])))[0]


def paint(
    known: ExpressionModel, bases: Images, codes: np.ndarray, devices: Sequence[jax.Device] = ()
) -> FloatImages:
    """Pictures with an expression on them: warped, and completed.

    Args:
        known: what is known of expressions.
        bases: uint8 (B, H, W, 3), one picture a row.
        codes: (B, A) activations, alpha already in them.
        devices: to share rows out over, a multiple of them; none is JAX's default. Each runs the
            program that one alone would run on its rows.

    Returns:
        (B, H, W, 3) finite grey levels. Where a code is 0 the picture comes back.
    """
    n = max(1, len(devices))
    parts = zip(
        np.split(np.asarray(bases), n), np.split(np.asarray(codes, np.float32), n), strict=True
    )
    made = []
    for i, part in enumerate(parts):
        there = jax.device_put((known, *part), devices[i]) if devices else (known, *part)
        made.append(_painted(*there))
        if jax.default_backend() == "cpu":  # where two programs with `solve` wait for each other
            made[-1].block_until_ready()
    return np.concatenate([np.asarray(m) for m in made]) + np.float32(0.5)


def warped(known: ExpressionModel, bases: Images, codes: np.ndarray) -> np.ndarray:
    """(B, H, W, 3) grey levels of pictures whose features have moved, nothing added."""
    return np.asarray(_warped(known, jnp.asarray(bases), jnp.asarray(codes, jnp.float32))[0])


_warped, _painted = jax.jit(ex.warped), jax.jit(ex.with_expression)


def alphas_of_faces(codes: np.ndarray) -> np.ndarray:
    """(B,) alphas beyond which some activation would be larger than a face's can be."""
    return ex.MAX_ACTIVATION / np.maximum(np.abs(codes).max(1), 1e-6)


def largest_alphas(
    at: Callable[[np.ndarray], Decoded],
    codec: Codec,
    pictures: Images,
    most: np.ndarray | None = None,
) -> np.ndarray:
    """(B,) float32: of each edit, the largest alpha whose output stays inside a trust region.

    An output is trusted while it is at most AUTO_BITS bits/dim less likely than the picture it
    edits, and at most AUTO_CLIPPED of its pixels leave the range. AUTO_ALPHAS are tried, of the
    whole batch; the smallest is taken where none is trusted.

    Args:
        at: outputs at alphas (B,).
        codec: the model.
        pictures: uint8 (B, H, W, C) that are edited.
        most: (B,) alphas above which none is tried.

    Raises:
        InputError: the model has no likelihood.
    """
    allowed = np.asarray(codec.bits_per_dim(pictures)) + AUTO_BITS
    if np.isnan(allowed).all():
        raise InputError(f"model {codec.name!r} has no likelihood, which alpha auto needs")
    found = np.full(len(pictures), AUTO_ALPHAS[-1], np.float32)
    open_ = np.ones(len(pictures), bool)
    for alpha in AUTO_ALPHAS:
        grey = at(np.full(len(pictures), alpha, np.float32)).grey
        clipped = ((grey < 0) | (grey >= 256)).mean((1, 2, 3))
        bits = np.asarray(codec.bits_per_dim(to_bytes(grey)))
        fine = open_ & (bits <= allowed) & (clipped <= AUTO_CLIPPED)
        fine &= True if most is None else alpha <= most
        found[fine] = alpha
        open_ &= ~fine
        if not open_.any():
            break
    return found


def _padded(images: np.ndarray) -> jax.Array:
    """Repeat the first of several up to a multiple of 8, so that few shapes are compiled."""
    missing = -len(images) % 8 if len(images) > 1 else 0
    return jnp.asarray(np.concatenate([images, np.repeat(images[:1], missing, axis=0)]))
