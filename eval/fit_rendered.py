"""Train the `rendered` AU models on a folder of rendered people.

The folder holds pictures and `labels.jsonl`: one object per picture, `file`, `identity`, `aus`
(activations 0-1 by name, as `AU12` or `AU4`; missing is 0). The first picture of a person is
neutral. People 0-99 are held out for the table of quality; the others are for training.

The models are ridge regressions. Every picture is also used at 64 pixels, the size of a small flow.
"""

import functools
import io
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from eval.faces import find_face, working_size
from eval.files import read_picture
from eval.rendered import FACE_SIZE, FEATURES, QUALITY, WORST_R, features
from eval.table import AUS
from eval.warp import similarity, transform_points
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_bytes
from glow_jax.io.landmarks68 import MIRROR, STEADY
from glow_jax.io.messages import counted, one_line, reason

HELD_OUT = 100
SMALL = 64
RIDGE_LEVEL = 20.0
RIDGE_CHANGE = 30.0
# Size and position of the mean face in an aligned one; brows and an open jaw fit in.
WIDTH, MIDDLE = 0.78, 0.41


def fit_models(faces: Path, report: Callable[[str], None] = lambda line: None) -> bytes:
    """Train on a folder as described in the module, and measure on the held-out people.

    Args:
        faces: the folder.
        report: called with each line of progress, and of the table of quality.

    Returns:
        The bytes of `rendered.npz`.

    Raises:
        InputError: `labels.jsonl` is not as described, or a picture cannot be read.
    """
    try:
        lines = read_bytes(faces / "labels.jsonl").decode("utf-8-sig").split("\n")
        rows = [json.loads(line) for line in lines if line.strip()]
        people = np.array([row["identity"] for row in rows])
        truth = np.array([[5 * row["aus"].get(plain(au), 0) for au in AUS] for row in rows], float)
        paths = [faces / row["file"] for row in rows]
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{one_line(faces / 'labels.jsonl')}: {reason(error)}") from None
    template = make_template(paths[:: max(1, len(paths) // 500)])
    seen = {}
    for size in (0, SMALL):
        seen[size] = extract(paths, size, template)
        without = int(np.isnan(seen[size][:, 0]).sum())
        report(f"{counted(without, 'picture')} without a face at {size or 'full'} pixels")
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **fit(seen, truth, people, template, report))
    return out.getvalue()


def plain(au: str) -> str:
    """AU04 as AU4."""
    return f"AU{int(au[2:])}"


def landmarks_of(path: Path) -> np.ndarray:
    """(68, 2) in the picture's working size."""
    face = find_face(working_size(read_picture(path).pixels))
    return np.full((68, 2), np.nan) if face is None else face.landmarks


def make_template(paths: list[Path]) -> np.ndarray:
    """The mean of aligned landmarks, made symmetric, in pixels of an aligned face."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = [p for p in pool.map(landmarks_of, paths, chunksize=20) if np.isfinite(p).all()]
    template = found[0]
    for _ in range(5):
        template = np.mean(
            [transform_points(p, similarity(p[STEADY], template[STEADY])) for p in found], 0
        )
    height, width = FACE_SIZE
    template = template * WIDTH * width / np.ptp(template[:17, 0])
    template += np.array([(width - 1) / 2, MIDDLE * height]) - template[STEADY].mean(0)
    turned = template[MIRROR] * (-1, 1)
    turned[:, 0] += width - 1
    return (template + turned) / 2


def features_of(path: Path, size: int, template: np.ndarray) -> np.ndarray | None:
    """Features of a picture, which is first resized to `size` if that is not 0.

    None if there is no face, or if the picture is not larger than `size`.
    """
    pixels = read_picture(path).pixels
    if size and min(pixels.shape[:2]) <= size:
        return None
    if size:
        small = Image.fromarray(pixels).resize((size, size), Image.Resampling.BOX)
        pixels = np.asarray(small)
    pixels = working_size(pixels)
    face = find_face(pixels)
    return None if face is None else features(pixels, face, template)


def extract(paths: list[Path], size: int, template: np.ndarray) -> np.ndarray:
    """(N, features); NaN where no face is found."""
    read = functools.partial(features_of, size=size, template=template)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(read, paths, chunksize=50))
    missing = np.full(FEATURES, np.nan, np.float32)
    return np.stack([missing if f is None else f for f in found])


def fit(
    seen: dict[int, np.ndarray],
    truth: np.ndarray,
    people: np.ndarray,
    template: np.ndarray,
    report: Callable[[str], None],
) -> dict[str, np.ndarray]:
    """The arrays of `rendered.npz`."""
    train = people >= HELD_OUT
    first = {person: i for i, person in reversed(list(enumerate(people)))}
    neutral = np.array([first[person] for person in people])
    ok = {size: np.isfinite(x[:, 0]) for size, x in seen.items()}
    levels = [(x[train & ok[s]], truth[train & ok[s]]) for s, x in seen.items()]
    changes = []
    for size, x in seen.items():
        rows = train & ok[size] & ok[size][neutral] & (neutral != np.arange(len(people)))
        changes.append((x[rows] - x[neutral[rows]], (truth - truth[neutral])[rows]))
    x, y = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    mean, offset = x.mean(0), y.mean(0)
    level = ridge(x - mean, y - offset, RIDGE_LEVEL)
    moves, by = (np.concatenate(parts) for parts in zip(*changes, strict=True))
    change = ridge(moves, by, RIDGE_CHANGE)
    known = truth[train].std(0) > 0
    level, change = (np.where(known, w, 0).astype(np.float16) for w in (level, change))
    bias = offset - mean @ level.astype(np.float64)
    arrays = {"template": template, "level": level, "change": change, "bias": bias}
    for size, x in seen.items():
        tested = ~train & ok[size] & ok[size][neutral]
        if not tested.any():
            continue
        figures = quality(x, neutral, truth, tested, arrays)
        for line in quality_lines(size, int(tested.sum()), figures):
            report(line)
        arrays |= {} if size else figures
    return arrays


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Weights W of least |x W - y|^2 + penalty |W|^2: (features, outputs)."""
    n, width = x.shape
    x = x.astype(np.float64)
    if n < width:
        return x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(n), y)
    return np.linalg.solve(x.T @ x + penalty * np.eye(width), x.T @ y)


def quality(
    x: np.ndarray, neutral: np.ndarray, truth: np.ndarray, rows: np.ndarray, arrays: dict
) -> dict[str, np.ndarray]:
    """r, mean absolute error and slope of the readings on the true intensities.

    For the level, on all pictures; and for readings relative to the person's neutral picture, as
    in a report (`eval.reading.relative`), on the other pictures.
    """
    level = np.clip(x @ arrays["level"].astype(np.float64) + arrays["bias"], 0, 5)
    coordinate = x @ arrays["change"].astype(np.float64)
    others = rows & (neutral != np.arange(len(x)))
    from_neutral = np.clip(level[neutral] + coordinate - coordinate[neutral], 0, 5)
    return compare("", level[rows], truth[rows]) | compare(
        "change_", from_neutral[others], truth[others]
    )


def compare(prefix: str, read: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of each column; NaN where the truth or the readings do not vary."""
    error = np.abs(read - truth).mean(0)
    read, wanted = read - read.mean(0), truth - truth.mean(0)
    product, energy = (read * wanted).sum(0), (wanted**2).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = product / np.sqrt((read**2).sum(0) * energy)
        slope = product / energy
    return {f"{prefix}r": r, f"{prefix}mae": error, f"{prefix}slope": slope}


def quality_lines(size: int, n: int, figures: dict[str, np.ndarray]) -> list[str]:
    """The table of quality, a line per AU."""
    lines = [f"{counted(n, 'picture')} of people not trained on, {size or 'full'} pixels"]
    lines.append("AU     level r   MAE slope  change r   MAE slope")
    for i, au in enumerate(AUS):
        numbers = " ".join(f"{figures[kind][i]:5.2f}" for kind in QUALITY)
        lines.append(f"{au}        {numbers} {'' if figures['r'][i] >= WORST_R else '  not read'}")
    return lines
