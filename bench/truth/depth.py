"""How far landmarks move to the camera: `python -m bench.truth.depth --facekit PATH`.

Fits, over the expressions of ICT FaceKit, the movement of landmarks to the camera by their movement
outwards times their distance from the middle of the face, and by their movement upwards. The
factors of jaw, brows and lips are `transfer.expression.turned.DEPTHS`; those of eyes and nose are
printed, but not used. The last number is the explained share: 1 - squared error / squared movement.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from glow_jax.io.landmarks68 import BROWS, EYES, JAW, LIPS, NOSE, eye_distance

PARTS = {"jaw": JAW, "brows": BROWS, "lips": LIPS, "eyes": EYES, "nose": NOSE}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.depth", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--facekit", type=Path, help="as for `glow-jax render`")
    args = parser.parse_args(argv)
    from glow_jax.data.synthetic_faces.facekit import find_facekit, load_facekit
    from glow_jax.io.errors import InputError

    try:
        shapes = load_facekit(find_facekit(args.facekit))
    except InputError as error:
        print(f"bench.truth.depth: error: {error}", file=sys.stderr)
        return 2
    points = shapes.neutral[shapes.landmarks68].astype(float)
    moves = shapes.expression[:, shapes.landmarks68].astype(float)
    for name, part in PARTS.items():
        factors, explained = fitted(points, moves, part)
        print(
            f"{name:6s} outwards {factors[0]:.2f}, upwards {factors[1]:.2f}, "
            f"explained {explained:.2f}"
        )
    return 0


def fitted(points: np.ndarray, moves: np.ndarray, part: slice) -> tuple[np.ndarray, float]:
    """The factors (outwards, upwards) of a part of the face, and the explained share.

    Args:
        points: (68, 3) landmarks of the neutral head: right, up, to the camera, in any unit.
        moves: (E, 68, 3) their movements, in the same unit.
        part: landmarks.
    """
    eyes = eye_distance(points)
    right, up, towards = np.moveaxis(moves[:, part], -1, 0)
    outwards = points[None, part, 0] / eyes * right
    causes = np.stack([outwards.ravel(), up.ravel()], 1)
    factors, *_ = np.linalg.lstsq(causes, towards.ravel(), rcond=None)
    missing = towards.ravel() - causes @ factors
    return factors, float(1 - (missing**2).sum() / (towards**2).sum())


if __name__ == "__main__":
    sys.exit(main())
