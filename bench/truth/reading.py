"""How well faces are read: `python -m bench.truth.reading --photoreal DIR... --renders FACES`.

Prints, for people whom nothing was fitted on (the test split of folders that `glow-jax generate`
made, and renders of `glow-jax render --setting truth`):

- landmarks: median distance to MediaPipe's, put at the renders' points, and of renders to the
  truth, in per cent of the distance between the eyes;
- Action Units: correlation r of readings with MediaPipe's, absolute over the people of a single
  picture each, and of the change from a person's neutral picture over pairs, as estimated from
  features and then corrected by how far landmarks moved; of renders with the true activations.

MediaPipe is also the teacher of the model under test: the figures say how well it was imitated.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glow_jax.io.landmarks68 import BROWS, LIP_PAIRS, LOWER_EDGES, MOUTH_CORNERS, UPPER_EDGES

PARTS = {
    "all": slice(0, 68),
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "lips": slice(48, 68),
}
SIZES_PX = (64, 128)
MOVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gap of the lips": lambda m: gaps(m)[:, LIP_PAIRS].mean(1),
    "width of the mouth": lambda m: m[:, MOUTH_CORNERS[1], 0] - m[:, MOUTH_CORNERS[0], 0],
    "its corners, down": lambda m: m[:, MOUTH_CORNERS, 1].mean(1),
    "brows, down": lambda m: m[:, BROWS, 1].mean(1),
    "gap of the lids": lambda m: gaps(m)[:, : LIP_PAIRS.start].mean(1),
}


def gaps(moves: np.ndarray) -> np.ndarray:
    """(N, 7) how far the edges of lids, then of lips, moved apart downwards."""
    apart: np.ndarray = moves[:, LOWER_EDGES, 1] - moves[:, UPPER_EDGES, 1]
    return apart


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.truth.reading")
    parser.add_argument("--photoreal", type=Path, nargs="*", default=[], metavar="DIR")
    parser.add_argument("--renders", type=Path, metavar="FACES")
    parser.add_argument("--expressions", type=Path, metavar="FILE", help="(default: faces64's)")
    args = parser.parse_args(argv)
    from glow_jax.checkpoints import find
    from glow_jax.io.errors import InputError
    from transfer.expression.file import NAME, load_expression_model

    try:
        model = load_expression_model(args.expressions or find("faces64") / NAME)
        if args.photoreal:
            photoreal(model, args.photoreal)
        if args.renders:
            renders(model, args.renders)
    except (InputError, OSError) as error:
        print(f"bench.truth.reading: error: {error}", file=sys.stderr)
        return 2
    return 0


def photoreal(model: Any, folders: Sequence[Path]) -> None:
    """Print the figures of photoreal people."""
    from glow_jax.data.photoreal_faces.shards import read_made
    from transfer.expression.movement import agreeing
    from transfer.expression.teacher import FULL_READING, UNREAD, at_renders_points

    rows = [(f, r) for f in folders for r in read_made(f) if r["split"] == "test"]
    labels = [row for _, row in rows]
    points = np.array([row["landmarks"] for row in labels]).reshape(-1, 68, 2)
    for side in SIZES_PX:
        images = pictures([folder / str(side) / row["file"] for folder, row in rows], side)
        landmarks, raw = read(model, images)
        for name, true in (("", at_renders_points(points)), (", as they are", points)):
            print_landmarks(f"photoreal {side} px, to MediaPipe's{name}", landmarks, true)
        wanted = np.array([[row["aus"][au] for au in model.aus] for row in labels]) / FULL_READING
        single = np.array(["neutral" not in row for row in labels])
        found = absolute(model, raw, landmarks)[single]
        print_units(f"absolute, {side} px", model.aus, found, wanted[single], UNREAD)
        after, before = pairs_of(labels)
        if after:
            found = change(model, raw[after] - raw[before])
            true = wanted[after] - wanted[before]
            print_units(f"change, {side} px", model.aus, found, true, UNREAD)
            if model.smoothing is not None:
                moved = movements(landmarks[after], landmarks[before])
                better = agreeing(model, found, moved)
                print_units(f"the same, corrected, {side} px", model.aus, better, true, UNREAD)
                wanted_moves = movements(points[after], points[before])
                print_movements(f"activations, {side} px", by(model, found), wanted_moves)
                print_movements(f"landmarks, {side} px", moved, wanted_moves)
                print_movements(f"corrected, {side} px", by(model, better), wanted_moves)


def movements(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(N, 68, 2) of `transfer.expression.movement`."""
    from transfer.expression.movement import movement

    return np.stack([movement(*both) for both in zip(after, before, strict=True)])


def by(model: Any, activations: np.ndarray) -> np.ndarray:
    """(N, 68, 2) movements that follow from activations (N, A)."""
    return np.einsum("na,akc->nkc", activations, np.asarray(model.displacements))


def print_movements(title: str, found: np.ndarray, true: np.ndarray) -> None:
    """Print r and slope of how far parts of the face moved, against MediaPipe's landmarks."""
    cells = []
    for name, of in MOVES.items():
        x, y = of(true).ravel(), of(found).ravel()
        cells.append(f"{name} {np.corrcoef(x, y)[0, 1]:.2f} ({(x @ y) / (x @ x):.2f})")
    print(f"movement by {title}, r (slope): {', '.join(cells)}")


def renders(model: Any, folder: Path) -> None:
    """Print the figures of renders."""
    from bench.truth.__main__ import read_faces

    images, labels = read_faces(folder)
    names = sorted(images)
    stack = np.stack([images[name] for name in names])
    points = np.array([labels[n]["landmarks"] for n in names]).reshape(-1, 68, 2) / stack.shape[1]
    landmarks, raw = read(model, stack)
    print_landmarks(f"renders {stack.shape[1]} px, to the truth", landmarks, points)
    true = np.array([[labels[n]["aus"].get(au, 0.0) for au in model.aus] for n in names])
    print_units("absolute, renders", model.aus, absolute(model, raw, landmarks), true)
    people = np.array([labels[n]["identity"] for n in names])
    shown = np.flatnonzero(true.any(1))
    base = np.stack([raw[(people == people[i]) & ~true.any(1)].mean(0) for i in shown])
    print_units("change, renders", model.aus, change(model, raw[shown] - base), true[shown])


def pairs_of(labels: Sequence[dict[str, Any]]) -> tuple[list[int], list[int]]:
    """Indices of the pictures with an expression, and of their neutral pictures."""
    index = {row["file"]: i for i, row in enumerate(labels)}
    found = [
        (i, index[row["neutral"]])
        for i, row in enumerate(labels)
        if row.get("neutral", row["file"]) != row["file"]
    ]
    return [after for after, _ in found], [before for _, before in found]


def read(model: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (N, 68, 2) and raw activations (N, A)."""
    import jax

    from transfer.expression.batches import in_batches
    from transfer.expression.model import read_faces

    activations, landmarks = in_batches(partial(jax.jit(read_faces), model), images)
    return landmarks, activations


def absolute(model: Any, raw: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    from transfer.expression.estimate import Read, absolute_activations

    return absolute_activations(model, Read(raw, landmarks))


def change(model: Any, difference: np.ndarray) -> np.ndarray:
    import jax.numpy as jnp

    from transfer.expression.model import denoise

    return np.asarray(denoise(model, jnp.asarray(difference)))


def pictures(paths: Sequence[Path], side: int) -> np.ndarray:
    from glow_jax.io.pictures import read_image

    return np.stack([read_image(path, (side, side)) for path in paths])


def print_landmarks(title: str, found: np.ndarray, true: np.ndarray) -> None:
    """Print median errors in per cent of the distance between the eyes, and of each part."""
    across = true[:, 42:48].mean(1) - true[:, 36:42].mean(1)
    error = np.linalg.norm(found - true, axis=-1) / np.linalg.norm(across, axis=-1)[:, None]
    cells = [f"{name} {100 * np.median(error[:, part]):.2f}" for name, part in PARTS.items()]
    print(f"{title} ({len(found)} pictures), median error in %: {', '.join(cells)}")


def print_units(
    title: str,
    aus: Sequence[str],
    found: np.ndarray,
    true: np.ndarray,
    unread: Sequence[str] = (),
) -> None:
    """Print r, and the slope of the readings on the truth, of all units together and of each.

    If the teacher leaves some units `unread`, a second line has all the other units together.
    """
    print(f"{title} ({len(found)} readings): r (slope; deviation of the truth)")
    columns = [("all", found, true)]
    if unread:
        kept = [i for i, au in enumerate(aus) if au not in unread]
        columns.append(("read", found[:, kept], true[:, kept]))
    columns += [(au, found[:, [i]], true[:, [i]]) for i, au in enumerate(aus)]
    for name, x, y in columns:
        x, y = x.ravel(), y.ravel()
        if y.std() < 1e-3 or x.std() == 0:
            print(f"  {name:5s}    – (the truth does not vary)")
            continue
        slope = np.cov(x, y)[0, 1] / y.var(ddof=1)
        print(f"  {name:5s} {np.corrcoef(x, y)[0, 1]:5.2f} ({slope:5.2f}; {y.std():.3f})")


if __name__ == "__main__":
    sys.exit(main())
