"""The verb `encode`: images to latents."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glow_jax.cli.checks import check_can_be_written, check_unlabelled
from glow_jax.cli.options import add_model_options, file_ending
from glow_jax.io.errors import InputError

if TYPE_CHECKING:
    import numpy as np


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `encode`."""
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="files or folders")
    parser.add_argument("-o", "--out", type=file_ending(".npz"), required=True, metavar="FILE.npz")
    parser.add_argument("--check", action="store_true", help="decode again and report the error")
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Encode the images; the exit code."""
    import numpy as np

    from glow_jax.checkpoints import find, load, read_config
    from glow_jax.io.pictures import image_paths
    from glow_jax.latents import save_latents

    paths = [p for path in args.images for p in image_paths(path)]
    config = read_config(find(args.model))
    check_unlabelled(args.model, config.n_classes)
    check_can_be_written(args.out)
    size = (config.image_height, config.image_width)
    images = _readable(paths, size, config.n_channels)
    pixels = np.stack(list(images.values()))
    model = load(args.model, precision=args.precision)
    levels: list[list[np.ndarray]] = [[] for _ in config.latent_shapes]
    worst = 0.0
    for start in range(0, len(pixels), args.batch_size):
        batch = pixels[start : start + args.batch_size]
        eps = model.encode(batch)
        for level, a in zip(levels, eps, strict=True):
            level.append(np.asarray(a))
        if args.check:
            grey = (np.asarray(model.decode_x(eps)) + 0.5) * 256
            worst = max(worst, float(np.abs(grey - (batch + 0.5)).max()))
    latents = tuple(np.concatenate(level) for level in levels)
    save_latents(args.out, latents, [p.name for p in images], model)
    print(f"{args.out}: {len(images)} images, {config.n_dims} numbers each")
    if args.check:
        exact = "every byte comes back" if worst < 0.5 else "some bytes do not come back"
        print(f"round trip: at most {worst:.3g} grey levels off ({exact})")
    return 1 if len(images) < len(paths) or not worst < 0.5 else 0


def _readable(
    paths: list[Path], size: tuple[int, int], n_channels: int
) -> "dict[Path, np.ndarray]":
    """The images that can be read; the others are reported.

    Raises:
        InputError: none can be read.
    """
    from glow_jax.io.pictures import read_image

    images = {}
    for path in paths:
        try:
            images[path] = read_image(path, size, n_channels)
        except InputError as error:
            if len(paths) == 1:
                raise
            print(f"skipped: {error}", file=sys.stderr)
    if not images:
        raise InputError(f"none of the {len(paths)} images can be used")
    return images
