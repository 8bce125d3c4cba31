"""Where the expression is lost between driver and result: `python -m bench.video.limits FACES OUT`.

FACES is a folder of `python -m bench.video.clips`, OUT one of `python -m bench.video FACES -o OUT`.
Writes OUT/video_limits.json: gain and r of what the judge reads, on what it reads of the truth, in
which one step after the other is replaced by a perfect one:

reader      the truth itself, with sensor noise, out of a video
method      the photograph, edited with the true activations; frames that were not encoded
readings    the photograph, edited with the activations that were read; frames that were not encoded
encoder     the same frames out of the video, in which colours have half the resolution
larger      the same frames out of a video of twice the size, reduced again
alpha 1.15  as `larger`, with 1.15 times the activations
"""

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.video import clips
from bench.video.__main__ import SENSOR_NOISE, about, figures, target_of

Pictures = list[np.ndarray]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.video.limits", description=__doc__.splitlines()[0]
    )
    parser.add_argument("faces", type=Path, help="folder of `python -m bench.video.clips`")
    parser.add_argument("out", type=Path, help="folder of `python -m bench.video`")
    parser.add_argument("--model", default="faces64", help="(default: %(default)s)")
    args = parser.parse_args(argv)
    args.method, args.smooth = "warp", 0.06  # of the readings in OUT
    from glow_jax.io.errors import InputError

    try:
        found = {**about(args), "limits": limits(args)}
    except (InputError, OSError) as error:
        print(f"bench.video.limits: error: {error}", file=sys.stderr)
        return 2
    text = json.dumps(found, indent=1)
    (args.out / "video_limits.json").write_text(text + "\n")
    print(text)
    return 0


def limits(args: argparse.Namespace) -> dict[str, Any]:
    """Gain and r of each row, of all clips together."""
    from eval.rendered import RenderedReader
    from glow_jax.io.pictures import read_image
    from transfer.models import load_models

    models, reader = load_models(args.model), RenderedReader()
    rows: dict[str, list[np.ndarray]] = {}
    for clip in clips.PEOPLE:
        folder = args.faces / clip
        truth = [read_image(path) for path in sorted(folder.glob("*_t[0-9]*.webp"))]
        edited = editor(models, target_of(folder))
        known = clips.true_activations(clip, models.expression_model.aus)  # type: ignore[union-attr]
        read = activations_in(args.out / f"{clip}-warp.csv")[:: clips.TRUTH_EVERY]
        frames = edited(read)
        shown = {
            "truth": truth,
            "reader": encoded(noisy(truth)),
            "method": edited(known[:: clips.TRUTH_EVERY]),
            "readings": frames,
            "encoder": encoded(frames),
            "larger": encoded_larger(frames),
            "alpha 1.15": encoded_larger(edited(1.15 * read)),
        }
        first = changes(reader, [read_image(target_of(folder))])
        for name, pictures in shown.items():
            rows.setdefault(name, []).append((changes(reader, pictures) - first).ravel())
    true = np.concatenate(rows.pop("truth"))
    return {name: figures(np.concatenate(parts), true) for name, parts in rows.items()}


def editor(models: Any, photograph: Path) -> Callable[[np.ndarray], Pictures]:
    """A function from activations (N, A) to the photograph with each of them."""
    from glow_jax.io.pictures import read_image
    from transfer.methods.base import Photograph
    from transfer.methods.warp import Warp
    from transfer.photos.aligned_faces import AlignedFaces, Photographs
    from transfer.photos.judge_adapter import face_detector
    from transfer.video.making import TARGET, Target

    settings = Photographs(size=models.codec.size[0])
    face = AlignedFaces(face_detector(settings.detector), settings).face(str(photograph))
    taken = Photograph(TARGET, read_image(photograph), face)
    target = Target(face.pixels[None], taken)
    method = Warp(models, target)
    return lambda activations: [
        method.pasted(taken, one.astype(np.float32), target.face, lambda: taken)
        for one in activations
    ]


def activations_in(path: Path) -> np.ndarray:
    """(T, A) of a table that `animate` wrote."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[au]) for au in row if au.startswith("AU")] for row in rows])


def noisy(pictures: Pictures) -> Pictures:
    """Pictures with sensor noise."""
    rng = np.random.default_rng(clips.SEED)
    found = [np.rint(pixels + rng.normal(0, SENSOR_NOISE, pixels.shape)) for pixels in pictures]
    return [np.clip(pixels, 0, 255).astype(np.uint8) for pixels in found]


def encoded(pictures: Pictures) -> Pictures:
    """Pictures out of a video that `animate`'s encoder wrote."""
    from glow_jax.io.video_reader import frames_of, read_clip
    from glow_jax.io.video_writer import write_part

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.mp4")
        write_part(path, pictures, pictures[0].shape[:2])
        return [frame.pixels for frame in frames_of(read_clip(path))]


def encoded_larger(pictures: Pictures) -> Pictures:
    """Pictures out of a video of twice the size, reduced again."""
    from PIL import Image

    size, rule = pictures[0].shape[1::-1], Image.Resampling.BICUBIC
    larger = [Image.fromarray(p).resize((2 * size[0], 2 * size[1]), rule) for p in pictures]
    return [
        np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
        for pixels in encoded([np.asarray(picture) for picture in larger])
    ]


def changes(reader: Any, pictures: Pictures) -> np.ndarray:
    """(N, A) what the judge reads, of the units that it can read."""
    from eval.files import Picture

    found = reader.read([Picture(Path("frame"), "", pixels) for pixels in pictures])
    return np.array([reading.change for reading in found])[:, reader.readable]


if __name__ == "__main__":
    sys.exit(main())
