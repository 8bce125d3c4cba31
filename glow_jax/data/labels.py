"""Functions that the data sets of faces share: parse labels, and encode pictures as PNG."""

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes
from glow_jax.io.messages import one_line, reason

MAX_LABELS_BYTES = 2**28


def parse_labels(path: Path, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The labels in the lines of a file, each a JSON object with "file"; empty lines do not count.

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


def read_lines(path: Path) -> list[str]:
    """The lines of a text file of labels.

    Raises:
        InputError: it cannot be read, is no ordinary file, or is larger than `MAX_LABELS_BYTES`.
    """
    try:
        lines = read_bytes(path, MAX_LABELS_BYTES).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{one_line(path)}: cannot be read ({reason(error)})") from None
    return lines if lines[-1] else lines[:-1]


def png_buffer(pixels: np.ndarray) -> io.BytesIO:
    """The bytes of a PNG of uint8 pixels, (H, W, 3) or (H, W), as a buffer for TFDS."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    buffer.seek(0)
    return buffer
