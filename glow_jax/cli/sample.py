"""The verb `sample`: images drawn from the model."""

import argparse

from glow_jax.cli.checks import check_can_be_written, check_unlabelled
from glow_jax.cli.options import add_model_options, file_ending, number, whole_number

BATCH = 64


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sample`."""
    parser.add_argument("-n", type=whole_number(1, 1024), default=16, help="how many (default: 16)")
    parser.add_argument(
        "--temperature", type=number(0.0, 10.0), default=0.7, help="of eps (default: %(default)s)"
    )
    parser.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, help="(default: 0)")
    parser.add_argument(
        "-o", "--out", type=file_ending(".png", ".webp"), required=True, metavar="SHEET.png"
    )
    add_model_options(parser, batch=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw the images and write the sheet; the exit code."""
    import jax
    import numpy as np

    from glow_jax.checkpoints import load
    from glow_jax.io.pictures import write_image
    from glow_jax.io.provenance import Provenance

    check_can_be_written(args.out)
    model = load(args.model, precision=args.precision)
    check_unlabelled(args.model, model.config.n_classes)
    key = jax.random.key(args.seed)
    parts = []
    for start in range(0, args.n, BATCH):
        some = min(BATCH, args.n - start)
        part_key = jax.random.fold_in(key, start) if start else key
        parts.append(np.asarray(model.sample(part_key, some, args.temperature)))
    images = np.concatenate(parts)
    columns = int(np.ceil(np.sqrt(args.n)))
    rows = -(-args.n // columns)
    blank = np.zeros((rows * columns - args.n, *images.shape[1:]), np.uint8)
    tiles = np.concatenate([images, blank]).reshape(rows, columns, *images.shape[1:])
    sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(
        rows * images.shape[1], columns * images.shape[2], -1
    )
    recipe = {"seed": args.seed, "temperature": args.temperature, "n": args.n}
    write_image(args.out, sheet, Provenance("trainedAlgorithmicMedia", model.name, recipe))
    print(f"{args.out}: {args.n} samples at temperature {args.temperature:g}")
    return 0
