"""Method "glow": as "warp", and a mouth that opens shows the source's own mouth, lit by the flow.

    base   = the output of method "warp"
    output = base + w (g mouth - base)
    g      = exp E[ log g | p ],   p(g) ~ p_flow( base + w (g mouth - base) ) p_prior(g)

mouth is the inside of the source's mouth, warped between the target's lips, and w its share of a
pixel (`transfer.expression.mouth`). The lights of two photographs differ by an unknown factor g.
The flow's likelihood of the whole picture, over a few values of g, tells which one fits the
target's face; the posterior mean of log g is used. What this changes, with figures, is in
docs/results/truth.md.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from glow_jax.io.errors import InputError
from transfer.codec import Codec, FloatImages, Images, to_bytes
from transfer.expression.paint import displaced, mouths, with_expression
from transfer.methods.base import Decoded, Photograph, Rows
from transfer.methods.warp import PreparedPictures, Warp
from transfer.photos.crop import crop
from transfer.photos.paste import paste_warp

# log g: the values that the flow compares, and the normal prior.
LOG_GAINS = np.log(0.9) + np.array([-0.6, -0.4, -0.2, 0.0, 0.2, 0.4])
PRIOR_MEAN, PRIOR_DEVIATION = np.log(0.9), 0.3
MIN_PASTE_PX, MAX_PASTE_PX = 256, 1024  # side of the mouth's crop for a photograph


@dataclasses.dataclass(frozen=True)
class PreparedMouths(PreparedPictures):
    """The inputs of a batch of edits.

    Attributes:
        expressions: the sources' pictures with the expressions, uint8 (B, H, W, 3).
    """

    expressions: Images


class Glow(Warp):
    """See the module."""

    name: ClassVar[str] = "glow"

    def prepare(self, rows: Rows) -> PreparedMouths:
        """See `Method`."""
        prepared = vars(super().prepare(rows))
        return PreparedMouths(**prepared, expressions=self._faces.pixels(rows.expressions))

    def edit(self, prepared: Any, alphas: np.ndarray) -> Decoded:
        """See `Method`."""
        activations = prepared.activations * alphas[:, None]
        images, own, devices = prepared.pictures, prepared.own, self._codec.devices
        base = with_expression(self._model, images, activations - own, devices)
        shown = prepared.expressions
        mouth = mouths(self._model, images, activations, own, shown, shown, devices)
        values = with_mouth(base, mouth, gains_of(self._codec, base, mouth))
        return Decoded(values, np.ones(len(values)), np.zeros(len(values), int))

    def paste(
        self, expression: int, source: int, photograph: Photograph, alpha: float, result: Images
    ) -> np.ndarray:
        """As `Warp.paste`; the mouth comes from the source's photograph, with the output's gain."""
        picture, shown = self._faces.pixels([photograph.picture]), self._faces.pixels([expression])
        added = alpha * self._people.expression(expression, source).activations[None]
        own = self._own(photograph.picture)[None]
        base = with_expression(self._model, picture, added - own)
        small = mouths(self._model, picture, added, own, shown, shown)
        transform = photograph.face.transform
        if not small[..., 3].any():
            change = displaced(self._model, picture, added - own)
            return paste_warp(photograph.pixels, transform, *change)
        gain = gains_of(self._codec, base, small)[0]
        side = paste_side(photograph.face.side_px)
        other = self._faces.photograph(expression)
        details = crop(other.pixels, other.face.transform, side)[None]
        large = mouths(self._model, picture, added, own, shown, details)[0]
        landmarks, displacements, edit = displaced(self._model, picture, added - own, side)
        edit = edit_with_mouth(edit, large, gain)
        return paste_warp(photograph.pixels, transform, landmarks, displacements, edit)


def with_mouth(base: FloatImages, mouth: np.ndarray, gains: np.ndarray) -> FloatImages:
    """(B, H, W, 3): base + w (gain * mouth - base); where w is 0, `base` exactly.

    Args:
        base: (B, H, W, 3) grey levels.
        mouth: (B, H, W, 4) of `source_mouth`.
        gains: (B,) factors of the mouths.
    """
    lit = np.clip(gains[:, None, None, None] * mouth[..., :3], 0, 255)
    return (base + mouth[..., 3:] * (lit + 0.5 - base)).astype(np.float32)


def edit_with_mouth(edit: np.ndarray, mouth: np.ndarray, gain: float) -> np.ndarray:
    """(S, S, 4): an edit of `paste_warp`, followed by the mouth (S, S, 4) of `source_mouth`."""
    share, lit = mouth[..., 3:], np.clip(gain * mouth[..., :3], 0, 255)
    added = edit[..., :3] + share * (lit - edit[..., :3])
    removed = edit[..., 3:] + share * (1 - edit[..., 3:])
    return np.concatenate([added, removed], -1)


def gains_of(codec: Codec, base: FloatImages, mouth: np.ndarray) -> np.ndarray:
    """(B,) float32: the posterior mean gain of each mouth, under the flow.

    Where no mouth opens, 1 without asking the flow.

    Args:
        codec: the flow.
        base: (B, H, W, 3) grey levels.
        mouth: (B, H, W, 4) of `source_mouth`.

    Raises:
        InputError: the model has no likelihood.
    """
    if not mouth[..., 3].any():
        return np.ones(len(base), np.float32)
    nats = []
    for log_gain in LOG_GAINS:
        gains = np.full(len(base), np.exp(log_gain), np.float32)
        picture = to_bytes(with_mouth(base, mouth, gains))
        bits = np.asarray(codec.bits_per_dim(picture), np.float64)
        nats.append(-bits * np.log(2) * picture[0].size)
    if np.isnan(nats).any():
        raise InputError(
            f"model {codec.name!r} has no likelihood, which method glow needs; use `method` warp"
        )
    logs = np.stack(nats) - ((LOG_GAINS - PRIOR_MEAN)[:, None] / PRIOR_DEVIATION) ** 2 / 2
    weights = np.exp(logs - logs.max(0))
    return np.exp(LOG_GAINS @ (weights / weights.sum(0))).astype(np.float32)


def paste_side(side_px: float) -> int:
    """Side of a crop for a photograph: a power of two, so that few shapes are compiled."""
    side = 1 << max(0, int(np.ceil(side_px)) - 1).bit_length()
    return int(np.clip(side, MIN_PASTE_PX, MAX_PASTE_PX))
