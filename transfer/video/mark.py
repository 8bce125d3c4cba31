"""A visible mark on frames: a line of text at the lower left."""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from transfer.photos.crop import Pixels

SHARE = 1 / 22  # height of the text, of the frame's height
MIN_PX = 8
MAX_CHARACTERS = 60


def marked(pixels: Pixels, text: str) -> Pixels:
    """A frame, uint8 (H, W, 3), with a text in white on a dark ground, reduced until it fits."""
    ground, left, top = _label(text, pixels.shape[0], pixels.shape[1])
    result = pixels.copy()
    height, width = ground.shape[:2]
    below = result[top : top + height, left : left + width]
    share = ground[..., 3:].astype(np.float32) / 255
    result[top : top + height, left : left + width] = np.rint(
        below + share * (ground[..., :3].astype(np.float32) - below)
    )
    return result


@functools.lru_cache(8)
def _label(text: str, height: int, width: int) -> tuple[np.ndarray, int, int]:
    """The label RGBA, and its left and top in a frame."""
    size = max(MIN_PX, round(height * SHARE))
    while True:
        font = ImageFont.load_default(size)
        box = font.getbbox(text)
        pad = max(1, size // 4)
        wide, high = round(box[2] - box[0]) + 2 * pad, round(box[3] - box[1]) + 2 * pad
        if (wide <= width and high <= height) or size <= 4:
            break
        size -= 1
    label = Image.new("RGBA", (min(wide, width), min(high, height)), (0, 0, 0, 150))
    ImageDraw.Draw(label).text((pad - box[0], pad - box[1]), text, (255, 255, 255, 255), font)
    margin = min(pad, height - label.height, width - label.width)
    return np.asarray(label), margin, height - label.height - margin
