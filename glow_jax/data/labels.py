"""What the data sets of faces share: lines of labels, and pictures as bytes."""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line


def parse_labels(path: Path, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The labels of a file's lines, a JSON object with a "file" each; empty lines do not count.

    Raises:
        InputError: a line is damaged.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label = json.loads(line)
            known = isinstance(label, dict) and isinstance(label["file"], str)
        except (ValueError, KeyError, RecursionError):
            known = False
        if not known:
            raise InputError(f"{one_line(path)}: line {number} is not a picture's label")
        yield label


def png_buffer(pixels: np.ndarray) -> io.BytesIO:
    """A PNG of uint8 pixels, (H, W, 3) or (H, W), as TFDS takes it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    buffer.seek(0)
    return buffer
