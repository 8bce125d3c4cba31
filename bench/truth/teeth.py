"""How teeth follow the light of a face: `python -m bench.truth.teeth PEOPLE`.

PEOPLE is a folder of `glow-jax generate`, at 256 pixels. Of each person of the split `train` whose
mouth is open, the colour of the face (at the nose) is compared with that of the teeth (the lighter
half of what is seen between the lips, unless it is as red as the face). Prints the slopes of the
logarithms of teeth on those of faces: `transfer.expression.mouth.LIGHT`, `WARMTH` and `GREEN`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from bench.truth.photoreal_pairs import SIDE, lips_mask
from transfer.grey import LUMA

MIN_PIXELS = 150  # of the mouth, without its border
MIN_WHITER = 0.05  # log of red to green, below the face's


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.teeth", description=__doc__.splitlines()[0]
    )
    parser.add_argument("people", type=Path, help="folder of glow-jax generate")
    parser.add_argument("--pictures", type=int, default=6000, help="at most (default: 6000)")
    args = parser.parse_args(argv)
    from glow_jax.data.photoreal_faces.shards import read_made
    from glow_jax.io.errors import InputError
    from transfer.expression.mouth import COMPONENTS

    try:
        rows = [row for row in read_made(args.people) if row["split"] == "train"][: args.pictures]
        found = [
            colours(args.people / str(SIDE) / row["file"], np.array(row["landmarks"]))
            for row in rows
        ]
    except (InputError, OSError) as error:
        print(f"bench.truth.teeth: error: {error}", file=sys.stderr)
        return 2
    both = np.array([one for one in found if one is not None])
    if len(both) < 10:
        said = f"{args.people}: {len(both)} people show teeth; 10 are needed"
        print(f"bench.truth.teeth: error: {said}", file=sys.stderr)
        return 2
    faces, teeth = np.moveaxis(np.log(both) @ COMPONENTS, 1, 0)
    print(f"{len(rows)} pictures, {len(both)} show teeth")
    for i, name in enumerate(("luma", "red to blue", "green to both")):
        slope, left = slope_of(faces[:, i], teeth[:, i])
        print(f"{name:14s} slope {slope:.2f}, standard deviation left {left:.3f}")
    return 0


def slope_of(faces: np.ndarray, teeth: np.ndarray) -> tuple[float, float]:
    """The slope of (N,) values, and the standard deviation of what it leaves."""
    x, y = faces - faces.mean(), teeth - teeth.mean()
    slope = (x * y).sum() / (x * x).sum()
    return float(slope), float((y - slope * x).std())


def colours(file: Path, landmarks: np.ndarray) -> np.ndarray | None:
    """(2, 3) colours of the face and of the teeth plus MIN_COLOUR; None if no teeth are seen."""
    from transfer.expression.mouth import MIN_COLOUR

    inside = ndimage.binary_erosion(lips_mask(landmarks * SIDE))
    if inside.sum() < MIN_PIXELS:
        return None
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    mouth = pixels[inside].astype(float)
    luma = mouth @ LUMA
    both = np.stack([face_colour(pixels, landmarks), mouth[luma >= np.median(luma)].mean(0)])
    both += MIN_COLOUR
    red = np.log(both[:, 0] / both[:, 1])
    return both if red[1] < red[0] - MIN_WHITER else None


def face_colour(pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """`transfer.expression.model.face_colour` of one picture."""
    import jax.numpy as jnp

    from transfer.expression import model as em

    return np.asarray(em.face_colour(jnp.asarray(pixels[None]), jnp.float32(landmarks[None])))[0]


if __name__ == "__main__":
    sys.exit(main())
