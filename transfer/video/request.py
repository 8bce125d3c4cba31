"""The request of `transfer.animate`: plain data, checked when created."""

import dataclasses
import os
from fractions import Fraction
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from transfer.photos.aligned_faces import Photographs
from transfer.requests import Precision, StrPath, check_shared
from transfer.values import check_flag, check_path, check_type, is_number
from transfer.video.mark import MAX_CHARACTERS
from transfer.video.neutral_frames import parse_neutral

MAX_SMOOTHING_S = 2.0
# Frames a second. MP4 holds a frame's duration in 32 bits, of 1/90,000 s.
MIN_RATE, MAX_RATE = Fraction(1, 1000), 1000
DEFAULT_PHOTOGRAPHS = Photographs()
METHODS = ("warp", "glow")  # of `transfer.methods.METHODS`: those that estimate activations


@dataclasses.dataclass(frozen=True)
class AnimateRequest:
    """A clip of a driver's face, and the photograph that gets its expressions.

    Attributes:
        driving: a video file, or a folder of frames, in the order of their names.
        target: a photograph.
        out: the .mp4 file to write; beside it a table of the frames, with the ending .csv.
        source_neutral: the driver's neutral frames, against which expressions are read: "auto"
            (the most neutral ones of the clip), the number of a frame, counted from 0,
            "FIRST:LAST", or "absolute" (neutral faces of many people, which is less exact).
        smooth_s: width of the filter over time, seconds (`transfer.video.smoothing`); it has no
            delay. 0 does not smooth.
        rate: frames a second of a folder of frames, 0.001 to 1000; None is 25.
        model: a bundled name, or a checkpoint directory; None means `model_of` of
            `transfer.requests`: photo64 for photographs.
        precision: "exact", or "fast": coupling networks in bfloat16.
        method: "warp" or "glow"; None means `transfer.methods.default_method`, which is glow for
            photographs.
        alpha: how much of the expression is added.
        photographs: settings by which the faces are found in the frames and in the photograph;
            None if all are aligned faces of the model's size.
        paste_back: whether the frames are the photograph with the result in it, at its size;
            otherwise they are the aligned face at the model's size.
        neutralise: whether the target's own expression is removed first.
        mark: text that is drawn on every frame; "" for none.
        batch_size: frames that are computed at once.
        overwrite: whether files that are at `out` already are replaced.

    Raises:
        InputError: a field has a value that it cannot have.
    """

    driving: StrPath
    target: StrPath
    out: StrPath
    source_neutral: str = "auto"
    smooth_s: float = 0.06
    rate: Fraction | None = None
    model: StrPath | None = None
    precision: Precision = "exact"
    method: str | None = None
    alpha: float = 1.0
    photographs: Photographs | None = DEFAULT_PHOTOGRAPHS
    paste_back: bool = False
    neutralise: bool = False
    mark: str = ""
    batch_size: int = 16
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_path("driving", self.driving)
        check_path("target", self.target)
        if self.method not in (None, *METHODS):
            raise InputError(
                f"`method` is {self.method!r}; use {' or '.join(METHODS)}: expressions of frames "
                "are smoothed as Action Unit activations, which method paper does not estimate"
            )
        check_shared(self)
        check_flag("overwrite", self.overwrite)
        for name in ("source_neutral", "mark"):
            check_type(name, getattr(self, name), str)
        parse_neutral(self.source_neutral)
        if Path(self.out).suffix.lower() != ".mp4":
            raise InputError(
                f"`out` is {one_line(os.fspath(self.out))}: use a name that ends in .mp4"
            )
        if not is_number(self.smooth_s) or not 0 <= self.smooth_s <= MAX_SMOOTHING_S:
            raise InputError(f"`smooth_s` is {self.smooth_s}; use 0 to {MAX_SMOOTHING_S:g} seconds")
        rate = self.rate
        if rate is not None and not (is_number(rate) and MIN_RATE <= rate <= MAX_RATE):
            raise InputError(
                f"`rate` is {rate}; use a number from {float(MIN_RATE):g} to {MAX_RATE}"
            )
        if not is_number(self.alpha) or not abs(self.alpha) <= 10:
            raise InputError(f"`alpha` is {self.alpha}; use a number from -10 to 10")
        if self.photographs is not None and self.photographs.which == "all":
            raise InputError("face all: one face is followed; use largest or a number")
        if len(self.mark) > MAX_CHARACTERS or not (self.mark.isprintable() and self.mark.isascii()):
            raise InputError(
                f"`mark` has at most {MAX_CHARACTERS} printable characters of ASCII: the font of "
                "the mark has no others"
            )
