"""Pictures of a model's card: `python -m bench.truth.card MODEL --train DIR --held-out DIR -o DIR`.

Writes curve.png (bits/dim of training and held-out people; from the model's log.csv, or --log),
samples.jpg (three temperatures), neighbours.jpg (samples beside the nearest training pictures,
which would show copies) and failures.jpg (the least likely pictures and samples).
"""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import plots
from glow_jax.io.jpeg import JpegQuality

TEMPERATURES = (0.5, 0.7, 1.0)
COLUMNS = 8
SAMPLED = 24  # per temperature
QUALITY = 90  # of the JPEGs, as Pillow counts it
PART = 500  # pictures that are averaged at once
COARSE = 16  # pixels a side at which pictures are compared with the training set


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.card", description=__doc__.splitlines()[0]
    )
    parser.add_argument("model", help="a bundled name or a checkpoint directory")
    parser.add_argument("--train", type=Path, required=True, help="folder of training pictures")
    parser.add_argument("--held-out", type=Path, required=True, help="folder of held-out pictures")
    parser.add_argument("--log", type=Path, help="log.csv of the run (default: the model's)")
    parser.add_argument("-o", "--out", type=Path, required=True, help="output folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of samples (default: 0)")
    args = parser.parse_args(argv)
    from glow_jax.io.errors import InputError

    try:
        write_card(args)
    except (InputError, OSError) as error:
        print(f"bench.truth.card: error: {error}", file=sys.stderr)
        return 2
    return 0


def write_card(args: argparse.Namespace) -> None:
    import jax

    import glow_jax as gj
    from glow_jax.checkpoints import find
    from glow_jax.data import load_folder
    from glow_jax.io.pictures import write_image
    from glow_jax.io.provenance import Provenance
    from transfer.jobs.sheet import grid

    model = gj.load(args.model)
    size = (model.config.image_height, model.config.image_width)
    train, held_out = (load_folder(folder, size) for folder in (args.train, args.held_out))
    args.out.mkdir(parents=True, exist_ok=True)

    def save(name: str, picture: np.ndarray) -> None:
        recipe = {"made_by": "python -m bench.truth.card", "seed": args.seed}
        provenance = Provenance("compositeWithTrainedAlgorithmicMedia", model.name, recipe)
        write_image(args.out / name, picture, provenance, jpeg_of(QUALITY))
        print(args.out / name)

    log = args.log or find(args.model) / "log.csv"
    with log.open(newline="") as f:
        rows = list(csv.DictReader(f))
    if plots.is_available():
        save("curve.png", curve(rows))
    else:
        print("no curve.png: matplotlib is not installed (extra `bench`)", file=sys.stderr)

    drawn = {}
    for i, temperature in enumerate(TEMPERATURES):
        key = jax.random.fold_in(jax.random.key(args.seed), i)
        drawn[temperature] = np.asarray(model.sample(key, SAMPLED, temperature))
    tiles = [list(drawn[t][:COLUMNS]) for t in TEMPERATURES]
    labels = [f"temperature {t:g}" for t in TEMPERATURES]
    save("samples.jpg", grid(tiles, [""] * COLUMNS, labels))

    shown = drawn[0.7][:COLUMNS]
    near, distances = nearest(shown, train)
    apart = nearest(held_out[:200], train)[1]
    print(f"rms distance to the nearest training picture, grey levels at {COARSE} pixels:")
    print(f"  samples {np.median(distances):.1f}, held-out people {np.median(apart):.1f} (medians)")
    words = ["samples, temperature 0.7", "nearest training picture"]
    save("neighbours.jpg", grid([list(shown), list(near)], [""] * COLUMNS, words))

    bits = bits_of(model, held_out)
    worst = np.argsort(-bits)[:COLUMNS]
    everything = np.concatenate(list(drawn.values()))
    unlikely = np.argsort(-bits_of(model, everything))[:COLUMNS]
    words = [
        f"least likely held-out pictures, {bits[worst].min():.2f} to {bits[worst].max():.2f} "
        f"bits/dim (median {np.median(bits):.2f})",
        f"least likely of {len(everything)} samples",
    ]
    tiles = [list(held_out[worst]), list(everything[unlikely])]
    save("failures.jpg", grid(tiles, [""] * COLUMNS, words))


def jpeg_of(quality: int) -> JpegQuality:
    """The settings of Pillow's JPEG quality (1-100), with colours at full resolution."""
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "JPEG", quality=quality)
    with Image.open(data) as image:
        tables = image.quantization  # type: ignore[attr-defined]
    return JpegQuality(tuple(tuple(table) for table in tables.values()), 0)


def bits_of(model: Any, images: np.ndarray) -> np.ndarray:
    """(N,) bits/dim."""
    parts = [model.bits_per_dim(images[i : i + 24]) for i in range(0, len(images), 24)]
    return np.concatenate([np.asarray(p) for p in parts])


def nearest(images: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The training picture nearest to each, and how far it is (rms grey levels, when small)."""
    one, other = small(images), small(train)
    square = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    index = square.argmin(1)
    return train[index], np.sqrt(np.maximum(square[np.arange(len(one)), index], 0) / one.shape[1])


def small(images: np.ndarray) -> np.ndarray:
    """(N, COARSE² · 3) float32 of box-averaged pictures."""
    _, height, width, channels = images.shape
    parts = []
    for start in range(0, len(images), PART):  # floats of all pictures would not fit in memory
        part = images[start : start + PART]
        shape = (len(part), COARSE, height // COARSE, COARSE, width // COARSE, channels)
        means = part.reshape(shape).astype(np.float32).mean((2, 4))
        parts.append(means.reshape(len(part), -1))
    return np.concatenate(parts)


def curve(rows: list[dict[str, str]]) -> np.ndarray:
    """A plot of a run's log: bits/dim by step; needs matplotlib."""
    return plots.training_run(
        [int(row["step"]) for row in rows],
        {
            "training people": [float(row["bits_per_dim"]) for row in rows],
            "held-out people": [float(row["held_out_bits_per_dim"]) for row in rows],
        },
    )


if __name__ == "__main__":
    sys.exit(main())
