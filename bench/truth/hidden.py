"""How often hidden eyes and mouths are noticed: `python -m bench.truth.hidden PEOPLE`.

PEOPLE is a folder of `glow-jax generate`, at 256 pixels. Of people of the splits `test` and
`validation`, whom nothing was fitted on, `transfer.photos.hidden` looks at the pictures as they
are, and at those of the first people with something drawn over the face: masks, fingers, a
microphone, a scarf, dark glasses. Prints in how many pictures each part is reported as hidden and,
of the pictures as they are, the names of those files.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from bench.truth.photoreal_pairs import SIDE
from glow_jax.io.landmarks68 import LEFT_EYE, LIPS, RIGHT_EYE, eye_distance

MASKS = {"blue mask": (150, 190, 210), "black mask": (25, 25, 28), "white mask": (235, 235, 235)}
DRAWN = (*MASKS, "mask below the nose", "fingers", "scarf", "microphone", "dark glasses")
GREY, BLACK = (120, 120, 125), (12, 12, 14)
SHARES = (0.01, 0.05, 0.5)
Draw = ImageDraw.ImageDraw


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.hidden", description=str(__doc__).splitlines()[0]
    )
    parser.add_argument("people", type=Path, help="folder of glow-jax generate")
    parser.add_argument(
        "--pictures", type=int, default=2000, help="pictures to read, at most (default: 2000)"
    )
    parser.add_argument(
        "--drawn", type=int, default=100, help="pictures to draw over (default: 100)"
    )
    args = parser.parse_args(argv)
    from glow_jax.data.photoreal_faces.shards import read_made
    from glow_jax.io.errors import InputError
    from glow_jax.io.pictures import read_image
    from transfer.models import load_models
    from transfer.photos.judge_adapter import face_detector

    try:
        rows = [r for r in read_made(args.people) if r["split"] in ("test", "validation")]
        rows = rows[: args.pictures]
        paths = [args.people / str(SIDE) / row["file"] for row in rows]
        pictures = [read_image(path, (SIDE, SIDE)) for path in paths]
        look = Looking(load_models("photo64").expression_model, face_detector("dlib"))
    except (InputError, OSError) as error:
        print(f"bench.truth.hidden: error: {error}", file=sys.stderr)
        return 2
    as_they_are = [look(picture) for picture in pictures]
    print_row("as they are", as_they_are)
    print_light(as_they_are)
    for path, found in zip(paths, as_they_are, strict=True):
        if found is not None and found[0]:
            print(f"  {path.name}: {', '.join(found[0])}")
    marks = [SIDE * np.array(row["landmarks"]).reshape(68, 2) for row in rows[: args.drawn]]
    for kind in DRAWN:
        print_row(kind, [look(covered(kind, *both)) for both in zip(pictures, marks, strict=False)])
    return 0


class Looking:
    """A function from a photograph to the parts that may be hidden, and the light of the eyes.

    None where no face is found, or its head is turned too far.
    """

    def __init__(self, model: Any, detector: Any):
        self._model, self._detector = model, detector

    def __call__(self, picture: np.ndarray) -> tuple[tuple[str, ...], float] | None:
        from transfer.expression.estimate import read
        from transfer.photos.align import Limits, faces_in
        from transfer.photos.aligned_faces import READ_PX
        from transfer.photos.crop import transform_points
        from transfer.photos.hidden import hidden_parts, light_of_eyes

        limits = Limits(side_px=0.0, sharpness=0.0)
        faces, _ = faces_in(picture, self._detector, READ_PX, limits=limits)
        if not faces:
            return None
        marks = read(self._model, faces[0].pixels[None]).landmarks[0]
        detected = transform_points(faces[0].landmarks, faces[0].transform)
        light = light_of_eyes(faces[0].pixels, marks)
        return hidden_parts(faces[0].pixels, detected, marks), light


def print_row(name: str, found: Sequence[tuple[tuple[str, ...], float] | None]) -> None:
    """Print how many pictures are used, and in how many each part is reported as hidden."""
    used = [one[0] for one in found if one is not None]
    said = {part: sum(part in one for one in used) for part in ("eyes", "mouth")}
    print(f"{name}: {len(found)} pictures, {len(used)} used; eyes {said['eyes']}, mouth ", end="")
    print(f"{said['mouth']} ({100 * said['mouth'] / max(1, len(used)):.1f} %)")


def print_light(found: Sequence[tuple[tuple[str, ...], float] | None]) -> None:
    """Print quantiles of the light of the eyes."""
    light = [one[1] for one in found if one is not None]
    if light:
        values = zip(SHARES, np.quantile(light, SHARES), strict=True)
        print("light of the eyes: below", ", ".join(f"{100 * s:g} % {v:.2f}" for s, v in values))


def covered(kind: str, picture: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """A picture, uint8 (S, S, 3), with something of DRAWN over the face.

    Args:
        kind: one of DRAWN.
        picture: uint8 (S, S, 3).
        marks: (68, 2) landmarks, pixels.
    """
    image = Image.fromarray(picture).copy()
    draw = ImageDraw.Draw(image)
    unit = eye_distance(marks)
    mouth = marks[LIPS].mean(0)
    if kind in MASKS:
        wider = marks[2:15] + 0.06 * (marks[2:15] - marks[30])
        polygon(draw, [*wider, marks[29]], MASKS[kind])
    elif kind == "mask below the nose":
        polygon(draw, [*marks[3:14], marks[33]], GREY)
    elif kind == "fingers":
        x, y = np.clip(marks[29].astype(int), 0, np.array(picture.shape[1::-1]) - 1)
        for finger in range(4):
            skin = picture[y, x] * (0.95 - 0.05 * finger)
            at = mouth + np.array([-0.05, 0.2 * (finger - 1.5)]) * unit
            ellipse(draw, at, (0.65 * unit, 0.13 * unit), skin, 0.7 * skin)
    elif kind == "scarf":
        top = int(marks[33, 1] + 0.05 * unit)
        height, width = picture.shape[0] - top, picture.shape[1]
        cells = (height // 6 + 1, width // 6 + 1, 3)
        wool = np.random.default_rng(0).integers(60, 200, cells, dtype=np.uint8)
        image.paste(
            Image.fromarray(wool).resize((width, height), Image.Resampling.BICUBIC), (0, top)
        )
    elif kind == "microphone":
        x, y = marks[57]
        ellipse(draw, (x, y), (0.3 * unit, 0.35 * unit), GREY, BLACK)
        draw.rectangle((x - 0.1 * unit, y + 0.3 * unit, x + 0.1 * unit, len(picture)), BLACK)
    else:
        for eye in (RIGHT_EYE, LEFT_EYE):
            ellipse(draw, marks[eye].mean(0), (0.42 * unit, 0.32 * unit), BLACK, BLACK)
        bridge = [tuple(marks[39].tolist()), tuple(marks[42].tolist())]
        draw.line(bridge, fill=BLACK, width=max(2, round(0.08 * unit)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)))


def polygon(draw: Draw, points: Sequence[np.ndarray], colour: tuple[int, int, int]) -> None:
    draw.polygon([(float(x), float(y)) for x, y in points], fill=colour)


def ellipse(draw: Draw, at: Any, half: tuple[float, float], fill: Any, edge: Any) -> None:
    (x, y), (width, height) = at, half
    box = (float(x) - width, float(y) - height, float(x) + width, float(y) + height)
    colours = [tuple(int(v) for v in colour) for colour in (fill, edge)]
    draw.ellipse(box, fill=colours[0], outline=colours[1])


if __name__ == "__main__":
    sys.exit(main())
