"""Make the clip that the page's tab Animate offers: `python -m bench.page.clip`.

A bundled person who does not exist smiles, and blinks twice: 2 s, 25 frames a second, 64 x 64
pixels. The frames are one render, edited with `transfer.editing`.
"""

import sys

import numpy as np

from glow_jax.cli.ui import bundled
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import Provenance
from glow_jax.io.video_writer import write_clip
from transfer import editing
from transfer.models import load_models

FRAMES, RATE = 50, 25
PERSON, PICTURE = bundled.WEARER, "neutral-3.png"
MODEL = "faces64"


def bump(start: float, rise: float, hold: float, fall: float) -> np.ndarray:
    """(FRAMES,) 0-1: rises from frame `start` on, stays at 1 and falls, along cosines."""
    t = np.arange(FRAMES, dtype=float)
    up = np.clip((t - start) / rise, 0, 1)
    down = np.clip((t - start - rise - hold) / fall, 0, 1)
    return (np.cos(np.pi * down) - np.cos(np.pi * up)) / 2


def activations(units: tuple[str, ...]) -> np.ndarray:
    """(FRAMES, A) float32: neutral for half a second, then a smile; two blinks."""
    smile, blinks = bump(14, 9, 10, 10), bump(6, 3, 1, 3) + bump(40, 3, 1, 3)
    curves = {"AU12": smile, "AU6": 0.7 * smile, "AU25": 0.5 * smile, "AU45": blinks}
    none = np.zeros(FRAMES)
    return np.stack([curves.get(unit, none) for unit in units], 1).astype(np.float32)


def main() -> int:
    models = load_models(MODEL)
    face = read_image(bundled.people()[PERSON] / PICTURE)
    levels = activations(editing.units(models))
    frames = editing.apply(models, np.repeat(face[None], FRAMES, 0), levels)
    bundled.CLIP.parent.mkdir(exist_ok=True)
    record = Provenance("compositeSynthetic", MODEL, {"clip": bundled.CLIP.stem})
    write_clip(bundled.CLIP, list(frames), 1 / RATE, record)
    print(bundled.CLIP)
    return 0


if __name__ == "__main__":
    sys.exit(main())
