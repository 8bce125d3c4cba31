"""The verb `encode`: images to latents."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glow_jax.cli.checks import check_new_file, check_unlabelled
from glow_jax.cli.options import (
    add_model_options,
    add_overwrite_option,
    file_ending,
    start_jax,
)
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, failure, one_line

if TYPE_CHECKING:
    import numpy as np

    from glow_jax.graph_model import GraphGlow
    from glow_jax.model import Glow

EXACT = 0.5  # grey levels: with a smaller error the byte comes back


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `encode`."""
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="image files, or folders of them"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=file_ending(".npz"),
        required=True,
        metavar="FILE.npz",
        help="output file for the latents",
    )
    add_overwrite_option(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="decode the latents again and report the round-trip error",
    )
    add_model_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Encode the images; returns the exit code."""
    import numpy as np

    from glow_jax.checkpoints import find, load, read_config
    from glow_jax.io.picture_folders import list_pictures
    from glow_jax.latents import save_latents

    output = Output.of(args)
    found = [list_pictures(path) for path in args.images]
    for note in dict.fromkeys(filter(None, (listing.note for listing in found))):
        output.notice(note)
    paths = list(dict.fromkeys(path for listing in found for path in listing.paths))
    config = read_config(find(args.model))
    check_unlabelled(args.model, config.n_classes)
    check_new_file(args.out, args.overwrite)
    images = _readable(paths, (config.image_height, config.image_width), config.n_channels)
    start_jax(args.compile_cache)
    model = load(args.model, precision=args.precision)
    pixels = np.stack(list(images.values()))
    eps, errors = _encoded(model, pixels, args.batch_size, args.check)
    saved = np.all([np.isfinite(a).all((1, 2, 3)) for a in eps], axis=0)
    for path, good in zip(images, saved, strict=True):
        if not good:
            print(f"skipped: {one_line(path)}: its latents are not finite", file=sys.stderr)
    if not saved.any():
        raise InputError(f"model {one_line(args.model)}: none of the latents is finite")
    names = [path.name for path, good in zip(images, saved, strict=True) if good]
    save_latents(args.out, tuple(a[saved] for a in eps), names, model)
    lines = [f"{one_line(args.out)}: {counted(len(names), 'image')}, {config.n_dims} numbers each"]
    figures = {"out": args.out, "images": len(names), "skipped": len(paths) - len(names)}
    figures |= {"numbers_each": config.n_dims}
    if args.check:
        lines.append(_round_trip(errors))
        figures |= {"round_trip_error": errors.max(), "inexact": int((~(errors < EXACT)).sum())}
    exact = not args.check or bool((errors < EXACT).all())
    return output.summary(lines, figures, 0 if exact and len(names) == len(paths) else 1)


def _readable(
    paths: list[Path], size: tuple[int, int], n_channels: int
) -> "dict[Path, np.ndarray]":
    """The images that can be read; a line on standard error reports each other one.

    Raises:
        InputError: none can be read.
    """
    from glow_jax.io.pictures import read_image

    images = {}
    for path in paths:
        try:
            images[path] = read_image(path, size, n_channels)
        except Exception as error:  # of one image
            if len(paths) == 1:
                raise InputError(failure(path, error)) from None
            print(f"skipped: {failure(path, error)}", file=sys.stderr)
    if not images:
        raise InputError(f"none of {counted(len(paths), 'image')} can be used")
    return images


def _encoded(
    model: "Glow | GraphGlow", pixels: "np.ndarray", batch_size: int, check: bool
) -> "tuple[tuple[np.ndarray, ...], np.ndarray]":
    """Latents of images (N, H, W, C), and with `check` each image's largest error.

    Returns:
        eps: one array a level, finest first.
        errors: (N,) grey levels of the round trip, NaN where a pixel is not finite; zeros
            without `check`.
    """
    import numpy as np

    levels: list[list[np.ndarray]] = [[] for _ in model.config.latent_shapes]
    errors = np.zeros(len(pixels))
    for start in range(0, len(pixels), batch_size):
        batch = pixels[start : start + batch_size]
        eps = model.encode(batch)
        for level, a in zip(levels, eps, strict=True):
            level.append(np.asarray(a))
        if check:
            values = (np.asarray(model.decode_x(eps)) + 0.5) * 256
            errors[start : start + batch_size] = np.abs(values - (batch + 0.5)).max((1, 2, 3))
    return tuple(np.concatenate(level) for level in levels), errors


def _round_trip(errors: "np.ndarray") -> str:
    """The result of `--check` in a line; an image with a NaN is not exact."""
    import numpy as np

    finite = np.isfinite(errors)
    worst = f"at most {errors[finite].max():.3g} grey levels off" if finite.any() else ""
    if finite.all() and errors.max() < EXACT:
        return f"round trip: {worst} (every byte comes back)"
    lost = "" if finite.all() else f"{counted(int((~finite).sum()), 'image')} not finite"
    found = ", ".join(filter(None, (worst, lost)))
    n = int((~(errors < EXACT)).sum())
    images = counted(len(errors), "image")
    return f"round trip: {found} (some bytes of {n} of {images} do not come back)"
