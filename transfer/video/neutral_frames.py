"""Choose the frames of a clip in which the driver's face is neutral."""

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

# A frame is neutral whose distance from neutral exceeds the clip's least one by at most this: less
# than `transfer.expression.estimate.MAX_ABOVE_NEUTRAL`, because frames on the way to an expression
# show some of it, and a clip has enough others.
MAX_ABOVE_NEUTRAL = 0.02
# This quantile of a unit's raw activations in a clip is what a face without that movement reads. It
# is below the median, because a driver may smile in most frames of a clip.
QUANTILE = 0.25
MAX_NEUTRAL = 24  # frames: the most neutral ones; more do not lower the noise of their mean


class NeutralFrames(NamedTuple):
    """What `--source-neutral` says.

    Attributes:
        kind: "auto", "absolute", or "frames".
        first, last: numbers of frames, counted from 0; of kind "frames".
    """

    kind: str
    first: int = 0
    last: int = 0


def parse_neutral(word: str) -> NeutralFrames:
    """Neutral frames from text: "auto", "absolute", a number of a frame, or "FIRST:LAST".

    Raises:
        InputError: the text is something else.
    """
    if word in ("auto", "absolute"):
        return NeutralFrames(word)
    found = re.fullmatch(r"(\d{1,7})(?::(\d{1,7}))?", word, re.ASCII)
    if found:
        first = int(found[1])
        last = first if found[2] is None else int(found[2])
        if first <= last:
            return NeutralFrames("frames", first, last)
    raise InputError(
        f"`source_neutral` is {one_line(word)}: use auto, absolute, the number of a frame, counted "
        "from 0, or FIRST:LAST"
    )


def most_neutral_frames(
    raw: Float[np.ndarray, "T A"], known: Bool[np.ndarray, " T"]
) -> Bool[np.ndarray, " T"]:
    """Which frames are neutral, at least one of those that are known.

    The distance of a frame is the squared excess of its raw activations over the clip's
    `QUANTILE`, summed over the units.

    Args:
        raw: raw activations; those of unknown frames are not used.
        known: at least one.
    """
    seen = raw[known].astype(np.float64)
    excess = np.maximum(seen - np.quantile(seen, QUANTILE, axis=0), 0)
    distance = (excess**2).sum(1)
    limit = distance.min() + MAX_ABOVE_NEUTRAL
    limit = min(limit, np.sort(distance)[:MAX_NEUTRAL][-1])
    result = np.zeros(len(raw), bool)
    result[np.flatnonzero(known)[distance <= limit]] = True
    return result


def neutral_frames(
    wanted: NeutralFrames, raw: Float[np.ndarray, "T A"], known: Bool[np.ndarray, " T"]
) -> Bool[np.ndarray, " T"]:
    """Which frames are the driver's neutral ones; none of kind "absolute".

    Raises:
        InputError: the clip has no such frame, or no face was found in any of them.
    """
    if wanted.kind == "absolute":
        return np.zeros(len(raw), bool)
    if wanted.kind == "auto":
        return most_neutral_frames(raw, known)
    if wanted.last >= len(raw):
        raise InputError(
            f"`source_neutral` names frame {wanted.last}, but the clip has {len(raw)} frames, "
            f"0 to {len(raw) - 1}"
        )
    result = np.zeros(len(raw), bool)
    result[wanted.first : wanted.last + 1] = True
    if not (result & known).any():
        raise InputError(
            f"`source_neutral`: no face was found in frames {wanted.first} to {wanted.last}"
        )
    return result & known
