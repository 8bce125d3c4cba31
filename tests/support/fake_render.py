"""A renderer for tests of the data set's writer: fast, deterministic, and able to go wrong.

Run as a program, it renders a folder as `test_synthetic_dataset` does, to be killed:

    python -m tests.support.fake_render OUT LOG SECONDS
"""

import functools
import os
import signal
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glow_jax.data.synthetic_faces.dataset import Render, render_dataset
from glow_jax.data.synthetic_faces.people import PictureSpec, specs

FACTS = {"config": {"people": "98:104", "seed": 3}, "versions": {"mitsuba": "0"}, "facekit": "ab"}


class Made(NamedTuple):
    image: np.ndarray
    mask: np.ndarray
    landmarks: np.ndarray


def pictures(people: range = range(98, 104), size_px: int = 64) -> list[PictureSpec]:
    return specs(people, 3, size_px, "free", 3)


def draw(spec: PictureSpec) -> Made:
    """Noise over a ramp, by the picture's name."""
    rng = np.random.default_rng(zlib.crc32(spec.name.encode()))
    n = spec.size_px
    image = np.arange(n, dtype=np.uint8)[:, None, None] + rng.integers(0, 99, (n, n, 3), np.uint8)
    mask = np.where(rng.uniform(size=(n, n)) < 0.5, 255, 0).astype(np.uint8)
    return Made(image, mask, rng.uniform(-3, n, (68, 2)).astype(np.float32))


def faulty(
    log: Path | None = None,
    seconds: float = 0.0,
    dies: tuple[str, ...] = (),
    dies_once: tuple[str, ...] = (),
    raises: tuple[str, ...] = (),
    odd: tuple[str, ...] = (),
) -> Render:
    """A renderer that notes what it renders in a file, and goes wrong at the pictures named."""

    def render(spec: PictureSpec) -> Made:
        if log is not None:
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{spec.name}\n")
        time.sleep(seconds)
        first = log is None or log.read_text().split().count(spec.name) == 1
        if spec.name in dies or (spec.name in dies_once and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if spec.name in raises:
            raise FloatingPointError(f"no light reaches {spec.name}\nand more")
        made = draw(spec)
        return made._replace(mask=made.mask[1:]) if spec.name in odd else made

    return render


def unable() -> Render:
    raise ModuleNotFoundError("No module named 'mitsuba'")


def maker(**how: Any) -> Callable[[], Render]:
    return functools.partial(faulty, **how)


if __name__ == "__main__":
    from tests.support.fake_render import maker as imported  # workers cannot import __main__'s

    out, log, seconds = sys.argv[1:]
    make = imported(log=Path(log), seconds=float(seconds))
    render_dataset(out, pictures(), make, FACTS, workers=2)
