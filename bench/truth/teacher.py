"""What MediaPipe reads of renders, against the truth: `python -m bench.truth.teacher FACES...`.

FACES are folders of `glow-jax render`. Prints the constants of `transfer/expression/teacher.py`:
where MediaPipe's 68 points lie beside the renders', and what it reads of each Action Unit (r and
slope of the change from the person's neutral pictures, on the true activations). Needs the extra
`mediapipe`; each picture is read at 256 pixels, as `glow-jax generate` does.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

READ_AT_PX = 256


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.truth.teacher")
    parser.add_argument("faces", type=Path, nargs="+", metavar="FACES")
    args = parser.parse_args(argv)
    from glow_jax.data.photoreal_faces.labels import Labeller
    from glow_jax.data.synthetic_faces.dataset import read_labels
    from glow_jax.io.errors import InputError
    from glow_jax.io.pictures import read_image

    try:
        labeller = Labeller()
        rows, found = [], []
        for number, folder in enumerate(args.faces):
            for row in read_labels(folder):
                picture = read_image(folder / row["file"], (READ_AT_PX, READ_AT_PX))
                label = labeller(picture)
                if label is not None:
                    side = read_image(folder / row["file"]).shape[0]
                    row["landmarks"] = np.array(row["landmarks"]).reshape(68, 2) / side
                    rows.append({**row, "person": (number, row["identity"])})
                    found.append(label)
        labeller.close()
    except (InputError, OSError) as error:
        print(f"bench.truth.teacher: error: {error}", file=sys.stderr)
        return 2
    print(f"{len(rows)} renders of {len({row['person'] for row in rows})} people")
    true = np.array([row["landmarks"] for row in rows])
    offsets = offset_of(np.array([label.landmarks for label in found]), true)
    for name, column in zip(("RIGHT", "DOWN"), np.round(1000 * offsets).astype(int).T, strict=True):
        print(name, column.tolist())
    print_units(rows, [label.aus() for label in found])
    return 0


def offset_of(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(68, 2): the median of the found landmarks less the true ones, made symmetric.

    In the frame of the found eyes, in distances between them.

    Args:
        found, true: (N, 68, 2) in sides of the picture.
    """
    from glow_jax.io.landmarks68 import LEFT_EYE, MIRROR, RIGHT_EYE

    across = found[:, LEFT_EYE].mean(1) - found[:, RIGHT_EYE].mean(1)
    x, y = across[:, :1], across[:, 1:]
    apart, square = found - true, (across**2).sum(1)[:, None]
    right = (apart[..., 0] * x + apart[..., 1] * y) / square
    down = (apart[..., 1] * x - apart[..., 0] * y) / square
    offset = np.median(np.stack([right, down], -1), 0)
    return (offset + offset[MIRROR] * (-1, 1)) / 2


def print_units(rows: Sequence[dict], readings: Sequence[dict[str, float]]) -> None:
    """Print r and slope of the change of each unit's reading on the true activation."""
    aus = sorted(readings[0], key=lambda au: int(au[2:]))
    true = np.array([[row["aus"].get(au, 0.0) for au in aus] for row in rows])
    read = np.array([[reading[au] for au in aus] for reading in readings])
    neutral, people = true.sum(1) == 0, [row["person"] for row in rows]
    own = [
        [k for k, person in enumerate(people) if person == people[i] and neutral[k]]
        for i in range(len(rows))
    ]
    shown = [i for i in range(len(rows)) if not neutral[i] and own[i]]
    change = np.array([read[i] - read[own[i]].mean(0) for i in shown])
    for k, au in enumerate(aus):
        x, y = change[:, k], true[shown, k]
        if x.std() == 0 or y.std() == 0:
            print(f"{au}: never changes")
            continue
        slope = (x * y).sum() / (y**2).sum()
        print(f"{au}: r {np.corrcoef(x, y)[0, 1]:.2f}, slope {slope:.2f}")


if __name__ == "__main__":
    sys.exit(main())
