"""Method "glow": as "warp", and a mouth that opens shows the source's own mouth, lit by the flow.

    base   = the output of method "warp"
    output = base + w (g mouth + b - base)
    g      = exp E[ log g | b = 0 ],   p(g) ~ p_flow( part of output ) N( log g; 0, 0.06 )
    b      = E[ b | g ],               p(b) ~ p_flow( part of output ) N( b; 0, 8 )

mouth is the inside of the source's mouth, warped between the target's lips, in the light of the
target's face (as far as the colours of the two faces tell it), and w its share of a pixel
(`transfer.expression.mouth`). The light inside two mouths may differ further, by a factor g and an
offset b in grey levels. The flow's likelihood of the part of the picture around the mouth tells
which ones suit the target's face: the logarithm at three values of each gives a parabola, and the
posterior means between the outer two are used. The prior is narrow, because the likelihood prefers
dark teeth in dark faces. Where both faces shut their eyes, a photograph also
shows the source's lids (`transfer.photos.lids`); pictures of the flow's size have drawn ones. What
this changes, with figures, is in docs/results/truth.md.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import N_LANDMARKS
from transfer.codec import PARTS, Codec, FloatImages, Images, n_without_copies, padded, to_bytes
from transfer.expression.model import smoothing_of
from transfer.expression.paint import (
    EDIT_PX,
    displaced,
    landmarks_of,
    mouths,
    moved_to,
    with_mouths,
)
from transfer.grey import as_grey_as
from transfer.methods.base import Decoded, Models, Photograph, Rows
from transfer.methods.warp import PreparedPictures, Warp
from transfer.photos.crop import crop
from transfer.photos.lids import lids_mask, shuts_an_eye
from transfer.photos.paste import paste_lids, paste_warp

# The prior's standard deviations, and the steps: the flow compares 0 and one step to either side.
LOG_GAIN_DEVIATION, LOG_GAIN_STEP = 0.06, 0.2
OFFSET_DEVIATION, OFFSET_STEP = 8.0, 12.0  # grey levels
IN_STEPS = np.linspace(-1, 1, 41)  # values over which the posterior mean is taken, in steps
MOUTHS = "4"  # version; increased whenever the same mouths look otherwise
# Side of the mouth's crop for a photograph. It is resampled three times: at the face's own size
# that leaves half of the finest details.
MIN_PASTE_PX, MAX_PASTE_PX = 512, 1024


@dataclasses.dataclass(frozen=True)
class PreparedMouths(PreparedPictures):
    """The inputs of a batch of edits.

    Attributes:
        expressions: the sources' pictures with the expressions, uint8 (B, H, W, 3).
        shown: landmarks of `expressions`, float32 (B, 68, 2), in sides of the picture.
    """

    expressions: Images
    shown: np.ndarray


class Light(NamedTuple):
    """The light of B mouths: grey levels are multiplied by `gain`, and `offset` is added."""

    gain: np.ndarray
    offset: np.ndarray


class Glow(Warp):
    """See the module."""

    name: ClassVar[str] = "glow"
    shows_source: ClassVar[bool] = True

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """As `Warp.recipe`, and how mouths are lit."""
        return super().recipe(models) | {"mouths": MOUTHS}

    def prepare(self, rows: Rows) -> PreparedMouths:
        """See `Method`."""
        prepared = vars(super().prepare(rows))
        expressions = self._faces.pixels(rows.expressions)
        shown = self._people.landmarks(rows.expressions)
        return PreparedMouths(**prepared, expressions=expressions, shown=shown)

    def edit(self, prepared: Any, alphas: np.ndarray) -> Decoded:
        """See `Method`."""
        activations = prepared.activations * alphas[:, None]
        images, own, devices = prepared.pictures, prepared.own, self._codec.devices
        expressions, shown = prepared.expressions, prepared.shown
        base, mouth = with_mouths(
            self._model, images, prepared.landmarks, activations, own, expressions, shown, devices
        )
        n = n_without_copies((images, activations, own, expressions))  # others fill the batch
        light = light_of(self._codec, base[:n], mouth[:n], len(images))
        values = with_mouth(base, mouth, Light(*(padded(part, len(images)) for part in light)))
        values = as_grey_as(images, values)
        return Decoded(values, np.ones(len(values)), np.zeros(len(values), int))

    def of_activations(self, target: int, activations: np.ndarray, shown: Images) -> PreparedMouths:
        """See `Warp.of_activations`."""
        prepared = vars(super().of_activations(target, activations, shown))
        return PreparedMouths(**prepared, expressions=shown, shown=landmarks_of(self._model, shown))

    def pasted(
        self,
        photograph: Photograph,
        activations: np.ndarray,
        shown: Images,
        details: Callable[[], Photograph],
    ) -> np.ndarray:
        """As `Warp.pasted`; a mouth that opens and lids that shut are the source's photograph's.

        The mouth has the output's light, and the lids have its colours.
        """
        picture, added = self._faces.pixels([photograph.picture]), activations[None]
        fine = self._as_read(photograph, picture)
        own = self._own(photograph.picture)[None]
        landmarks = self._people.landmarks([photograph.picture])
        others = landmarks_of(self._model, shown)
        base, small = with_mouths(self._model, picture, landmarks, added, own, shown, others)
        transform, smoothing = photograph.face.transform, float(smoothing_of(self._model))
        opens, side = small[..., 3].any(), paste_side(photograph.face.side_px)
        points, moves, edit = displaced(self._model, fine, added - own, side if opens else EDIT_PX)
        before = points[:N_LANDMARKS]
        after = before + moves[:N_LANDMARKS]
        shuts = shuts_an_eye(before, after)
        if not (opens or shuts):
            return paste_warp(photograph.pixels, transform, points, moves, edit, smoothing)
        other = details()
        other_fine = self._as_read(other, shown)
        large_shown = crop(other.pixels, other.face.transform, side)[None]
        marks = landmarks_of(self._model, other_fine)
        if opens:
            light = light_of(self._codec, base, small)
            of_source = other_fine, marks, large_shown
            large = mouths(self._model, fine, before[None], added, own, *of_source)
            edit = edit_with_mouth(edit, lit(large, light)[0], large[0, ..., 3:])
        result = paste_warp(photograph.pixels, transform, points, moves, edit, smoothing)
        if not shuts:
            return result
        mask = lids_mask(before, after, marks[0])
        if not mask.any():
            return result
        lids = moved_to(self._model, large_shown, marks, after[None])[0]
        return paste_lids(result, transform, mask, lids)


def lit(mouth: np.ndarray, light: Light) -> FloatImages:
    """(B, H, W, 3) grey levels 0-255 of mouths (B, H, W, 4) of `source_mouth`, in a light."""
    gain, offset = (part[:, None, None, None] for part in light)
    return np.clip(gain * mouth[..., :3] + offset, 0, 255)


def with_mouth(base: FloatImages, mouth: np.ndarray, light: Light) -> FloatImages:
    """(B, H, W, 3): `base` with the mouth in a light; where w is 0, `base` exactly.

    Args:
        base: (B, H, W, 3) grey levels of method "warp", a byte b being b + 0.5.
        mouth: (B, H, W, 4) of `source_mouth`.
        light: of the mouths.
    """
    return (base + mouth[..., 3:] * (lit(mouth, light) + 0.5 - base)).astype(np.float32)


def edit_with_mouth(edit: np.ndarray, mouth: np.ndarray, share: np.ndarray) -> np.ndarray:
    """An edit (S, S, 4) of `paste_warp`, followed by a mouth (S, S, 3) with a share (S, S, 1)."""
    added = edit[..., :3] + share * (mouth - edit[..., :3])
    removed = edit[..., 3:] + share * (1 - edit[..., 3:])
    return np.concatenate([added, removed], -1)


def light_of(codec: Codec, base: FloatImages, mouth: np.ndarray, size: int = 1) -> Light:
    """The posterior mean of the light of each mouth, under the flow; float32.

    The flow is asked only about mouths that open, six times each.

    Args:
        codec: the flow.
        base: (B, H, W, 3) grey levels of method "warp".
        mouth: (B, H, W, 4) of `source_mouth`.
        size: pictures that the flow gets at once, so that one shape is compiled.

    Raises:
        InputError: the model has no likelihood.
    """
    gain, offset = np.ones(len(base), np.float32), np.zeros(len(base), np.float32)
    opens = np.flatnonzero(mouth[..., 3].any((1, 2)))
    if len(opens):
        gain[opens], offset[opens] = _likely_light(codec, base[opens], mouth[opens], size)
    return Light(gain, offset)


def _likely_light(codec: Codec, base: FloatImages, mouth: np.ndarray, size: int) -> Light:
    """As `light_of`, for mouths that all open."""
    n = len(base)
    light = Light(np.ones(n, np.float32), np.zeros(n, np.float32))
    part = codec.size if codec.part_bits is None else codec.part_size
    corners = [_corner(share, part) for share in mouth[..., 3]]
    base, mouth = _parts(base, corners, part), _parts(mouth, corners, part)

    def nats(lights: list[Light]) -> np.ndarray:
        pictures = np.concatenate([to_bytes(with_mouth(base, mouth, light)) for light in lights])
        bits = _bits(codec, pictures, size).reshape(len(lights), n)
        return -bits * np.log(2) * base[0].size

    lights = [light._replace(gain=light.gain * np.exp(d * LOG_GAIN_STEP)) for d in (-1, 0, 1)]
    step = _mean(codec, nats(lights), LOG_GAIN_STEP, LOG_GAIN_DEVIATION)
    light = light._replace(gain=(light.gain * np.exp(step)).astype(np.float32))
    lights = [light._replace(offset=light.offset + d * OFFSET_STEP) for d in (-1, 0, 1)]
    step = _mean(codec, nats(lights), OFFSET_STEP, OFFSET_DEVIATION)
    return light._replace(offset=step.astype(np.float32))


def _corner(share: np.ndarray, part: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the part of a picture around the pixels whose share (H, W) is not 0."""
    found = []
    for axis, length in enumerate(part):
        places = np.flatnonzero(share.any(1 - axis))
        start = (places[0] + places[-1] + 1 - length) // 2
        found.append(int(np.clip(start, 0, share.shape[axis] - length)))
    return found[0], found[1]


def _parts(
    pictures: np.ndarray, corners: list[tuple[int, int]], part: tuple[int, int]
) -> np.ndarray:
    """(B, h, w, C): a part of each picture (H, W, C), from its corner."""
    cut = zip(pictures, corners, strict=True)
    return np.stack([picture[y : y + part[0], x : x + part[1]] for picture, (y, x) in cut])


def _bits(codec: Codec, pictures: Images, size: int) -> np.ndarray:
    """Bits/dim of parts of pictures, float64, computed PARTS times `size` at once."""
    bits_of = codec.bits_per_dim if codec.part_bits is None else codec.part_bits
    size *= PARTS
    parts = [pictures[start : start + size] for start in range(0, len(pictures), size)]
    found = [np.asarray(bits_of(padded(part, size)), np.float64) for part in parts]
    return np.concatenate(found)[: len(pictures)]


def _mean(codec: Codec, nats: np.ndarray, step: float, sd: float) -> np.ndarray:
    """(B,) posterior means of values within one step of 0, whose prior is N(0, sd²).

    Args:
        codec: the flow, for the error.
        nats: (3, B) log-likelihoods at minus one step, 0 and one step; between these they are taken
            as a parabola.
        step, sd: in units of the value.

    Raises:
        InputError: a log-likelihood is NaN.
    """
    if np.isnan(nats).any():
        raise InputError(
            f"model {codec.name!r} has no likelihood, which method glow needs; use `method` warp"
        )
    below, middle, above = nats
    slope, bend = (above - below) / 2, (above + below) / 2 - middle
    at = IN_STEPS[:, None]
    logs = slope * at + bend * at**2 - (at * step / sd) ** 2 / 2
    weights = np.exp(logs - logs.max(0))
    return step * (IN_STEPS @ (weights / weights.sum(0)))


def paste_side(side_px: float) -> int:
    """Side of a crop for a photograph, at least twice that of the face where the limit allows.

    It is a power of two, so that few shapes are compiled.
    """
    side = 1 << max(0, 2 * int(np.ceil(side_px)) - 1).bit_length()
    return int(np.clip(side, MIN_PASTE_PX, MAX_PASTE_PX))
