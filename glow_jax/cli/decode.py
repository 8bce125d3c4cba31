"""The verb `decode`: latents to images."""

import argparse
import re
from pathlib import Path

from glow_jax.cli.checks import check_new_folder, check_unlabelled
from glow_jax.cli.options import add_model_options, add_overwrite_option, start_jax
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.messages import counted, failure, one_line

MAX_STEM_BYTES = 80


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `decode`."""
    parser.add_argument(
        "latents", type=Path, metavar="FILE.npz", help="latents, a file of `glow-jax encode`"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="output folder: a new one, or an empty one",
    )
    add_overwrite_option(parser)
    parser.add_argument(
        "--force",
        action="store_true",
        help="decode latents of another model too, if their shapes fit",
    )
    add_model_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Decode the latents; returns the exit code."""
    import numpy as np

    from glow_jax.checkpoints import find, load, read_config
    from glow_jax.io.pictures import write_image
    from glow_jax.io.provenance import Provenance
    from glow_jax.latents import load_latents

    check_unlabelled(args.model, read_config(find(args.model)).n_classes)
    if not args.latents.is_file():
        raise InputError(
            f"{one_line(args.latents)}: no such file; give an .npz that `glow-jax encode` made"
        )
    check_new_folder(args.out, args.overwrite)
    start_jax(args.compile_cache)
    model = load(args.model, precision=args.precision)
    eps, names = load_latents(args.latents, model, force=args.force)
    args.out.mkdir(parents=True, exist_ok=True)
    output, bad, written = Output.of(args), 0, 0
    for start in range(0, len(names), args.batch_size):
        batch = tuple(a[start : start + args.batch_size] for a in eps)
        bad += int((~np.isfinite(np.asarray(model.decode_x(batch)))).any((1, 2, 3)).sum())
        for i, image in enumerate(np.asarray(model.decode(batch)), start):
            recipe = {"decoded_from": args.latents.name, "index": i}
            provenance = Provenance("compositeWithTrainedAlgorithmicMedia", model.name, recipe)
            try:
                write_image(args.out / f"{i:05d}_{_stem(names[i])}.png", image, provenance)
                written += 1
            except OutputError:
                raise
            except Exception as error:  # of one image
                output.warn(f"skipped: {failure(names[i], error)}")
    if bad:
        output.warn(f"{counted(bad, 'image')} with non-finite pixels, drawn mid-grey")
    figures = {"out": args.out, "images": written, "skipped": len(names) - written}
    return output.summary(
        [f"{one_line(args.out)}: {counted(written, 'image')}"],
        figures | {"non_finite": bad},
        1 if bad or written < len(names) else 0,
    )


def _stem(name: str) -> str:
    """The stem of an image's name as part of a file's name, of at most `MAX_STEM_BYTES`."""
    stem = re.sub(r"[^\w.+ -]+", "-", Path(name.replace("\\", "/")).stem)
    return stem.encode("utf-8", "ignore")[:MAX_STEM_BYTES].decode("utf-8", "ignore") or "image"
