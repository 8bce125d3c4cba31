"""Render the clips of the benchmark: `python -m bench.video.clips --facekit PATH -o FACES`.

Three drivers, each with 100 frames (25 a second) of 128 pixels: the head sways, and the activations
of Action Units follow known curves. Of each driver's target: a photograph without an expression,
and the truth at every fourth frame, in the photograph's pose and light. The same command continues
an interrupted run. People of seed 22 are in no data set that anything was fitted on.
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from glow_jax.data.synthetic_faces.people import (
    AUS,
    PictureSpec,
    free_condition,
    picture,
)

SEED = 22
FRAMES, RATE = 100, 25  # of each clip; frames a second
SIZE_PX = 128
TRUTH_EVERY = 4  # frames
SWAY_DEG = (5.0, 2.0, 1.5)  # largest turn of the head: yaw, pitch, roll
SWAY_FRAMES = (80.0, 55.0, 95.0)  # periods
FIRST = 10  # frames without an expression at the beginning

# Clip -> its driver's and its target's number.
PEOPLE = {"smile": (3, 11), "talk": (5, 12), "frown": (8, 13)}


def bump(start: float, rise: float, hold: float, fall: float) -> np.ndarray:
    """(FRAMES,) 0-1: rises from `start` on, stays at 1 and falls, along cosines; in frames."""
    t = np.arange(FRAMES, dtype=float)
    up = np.clip((t - start) / rise, 0, 1)
    down = np.clip((t - start - rise - hold) / fall, 0, 1)
    return (np.cos(np.pi * down) - np.cos(np.pi * up)) / 2


def curves(clip: str) -> dict[str, np.ndarray]:
    """The true activations (FRAMES,) of a clip's units; the others are 0."""
    blinks = bump(30, 3, 1, 3) + bump(72, 3, 1, 3)  # a blink takes about a quarter of a second
    if clip == "smile":
        first, second = bump(FIRST, 12, 10, 12), bump(52, 10, 16, 14)
        return {
            "AU6": 0.6 * first + 0.9 * second,
            "AU12": 0.7 * first + 1.0 * second,
            "AU25": 0.6 * second,
            "AU45": 0.9 * bump(47, 3, 1, 3),
        }
    if clip == "talk":
        t = np.arange(FRAMES)
        speech = bump(FIRST, 6, 70, 8)
        return {
            "AU1": 0.8 * bump(34, 8, 14, 12),
            "AU2": 0.8 * bump(34, 8, 14, 12),
            "AU25": speech * (0.25 - 0.25 * np.cos(2 * np.pi * (t - FIRST) / 10)),
            "AU26": speech * (0.25 - 0.25 * np.cos(2 * np.pi * (t - FIRST) / 20)),
            "AU45": 0.9 * blinks,
        }
    return {
        "AU4": 0.9 * bump(FIRST, 10, 25, 10),
        "AU7": 0.5 * bump(FIRST, 10, 25, 10),
        "AU9": 0.8 * bump(20, 8, 8, 8),
        "AU15": 0.8 * bump(62, 10, 14, 8),
        "AU17": 0.4 * bump(62, 10, 14, 8),
        "AU1": 0.6 * bump(62, 10, 14, 8),
    }


def true_activations(clip: str, aus: Sequence[str] = AUS) -> np.ndarray:
    """(FRAMES, A) true activations of a clip's frames."""
    known = curves(clip)
    return np.stack([known.get(au, np.zeros(FRAMES)) for au in aus], 1)


def sway(frame: int, pose_deg: tuple[float, float, float]) -> tuple[float, float, float]:
    """The pose at a frame; at frame 0, `pose_deg`."""
    angles = (2 * np.pi * frame / period for period in SWAY_FRAMES)
    a, b, c = (
        p + s * float(np.sin(angle)) for p, s, angle in zip(pose_deg, SWAY_DEG, angles, strict=True)
    )
    return a, b, c


def specs(clip: str) -> list[PictureSpec]:
    """The pictures of a clip: frames `f000`…, the target's `target`, and its truth `t000`…."""
    driver, target = PEOPLE[clip]
    start = free_condition(SEED, driver, 0)
    yaw, pitch, roll = start.pose_deg
    start = dataclasses.replace(start, pose_deg=(0.4 * yaw, 0.4 * pitch, 0.4 * roll))
    taken = free_condition(SEED, target, 0)
    values = true_activations(clip)
    found = []
    for frame in range(FRAMES):
        aus = dict(zip(AUS, values[frame].tolist(), strict=True))
        moved = dataclasses.replace(start, pose_deg=sway(frame, start.pose_deg))
        found.append(_even(picture(SEED, driver, moved, f"f{frame:03d}", **_as_clip(aus))))
    found.append(_even(picture(SEED, target, taken, "target", **_as_clip({}))))
    for frame in range(0, FRAMES, TRUTH_EVERY):
        aus = dict(zip(AUS, values[frame].tolist(), strict=True))
        found.append(_even(picture(SEED, target, taken, f"t{frame:03d}", **_as_clip(aus))))
    return found


def _as_clip(aus: Mapping[str, float]) -> dict:
    return {"expression": "clip", "aus": aus, "crop": "neutral", "size_px": SIZE_PX}


def _even(spec: PictureSpec) -> PictureSpec:
    """Without the asymmetry that `picture` draws, which would differ from frame to frame."""
    return dataclasses.replace(spec, asymmetry=(0.0,) * len(AUS))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.video.clips", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--facekit", type=Path, help="(default: $GLOW_JAX_FACEKIT)")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the renders")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    args = parser.parse_args(argv)
    from glow_jax.data.synthetic_faces.cli.render import make_render
    from glow_jax.data.synthetic_faces.dataset import describe, render_dataset
    from glow_jax.data.synthetic_faces.facekit import find_facekit, fingerprint, load_facekit
    from glow_jax.io.errors import InputError

    try:
        facekit = find_facekit(args.facekit)
        facts = describe({"clips": list(PEOPLE), "seed": SEED}, fingerprint(load_facekit(facekit)))
        for clip in PEOPLE:
            summary = render_dataset(
                args.out / clip,
                specs(clip),
                functools.partial(make_render, facekit.absolute()),
                facts,
                workers=args.workers,
            )
            print(f"{clip}: {summary.n_pictures} pictures, {len(summary.failures)} failed")
    except (InputError, OSError) as error:
        print(f"bench.video.clips: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
