"""The verb `sample`: draw images from a model."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from glow_jax.cli.checks import check_new_file, check_unlabelled
from glow_jax.cli.options import (
    add_model_options,
    add_overwrite_option,
    file_ending,
    number,
    start_jax,
    whole_number,
)
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.messages import counted, one_line

if TYPE_CHECKING:
    import numpy as np

    from glow_jax.io.provenance import Provenance
    from glow_jax.model import Glow

BATCH = 64


@dataclasses.dataclass(frozen=True)
class Samples:
    """Samples on one sheet.

    Attributes:
        sheet: uint8 (H, W, C).
        provenance: of the sheet.
        n_bad: samples with non-finite pixels, drawn mid-grey.
    """

    sheet: "np.ndarray"
    provenance: "Provenance"
    n_bad: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sample`."""
    parser.add_argument(
        "-n", type=whole_number(1, 1024), default=16, help="number of samples (default: 16)"
    )
    parser.add_argument(
        "--temperature",
        type=number(0.0, 10.0),
        default=0.7,
        help="factor of the standard normal latents: lower is less varied (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**31 - 1),
        default=0,
        help="seed of the random numbers (default: 0)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=file_ending(".png", ".webp"),
        required=True,
        metavar="SHEET.png",
        help="output file: all samples on one sheet",
    )
    add_overwrite_option(parser)
    add_model_options(parser, batch=False)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw the images and write the sheet; returns the exit code."""
    from glow_jax.checkpoints import find, load, read_config
    from glow_jax.io.pictures import write_image

    check_unlabelled(args.model, read_config(find(args.model)).n_classes)
    check_new_file(args.out, args.overwrite)
    start_jax(args.compile_cache)
    model = load(args.model, precision=args.precision)
    drawn = draw(model, args.n, args.temperature, args.seed)
    write_image(args.out, drawn.sheet, drawn.provenance)
    output = Output.of(args)
    if n_bad := drawn.n_bad:
        output.warn(f"{counted(n_bad, 'sample')} with non-finite pixels, drawn mid-grey")
    line = f"{one_line(args.out)}: {counted(args.n, 'sample')} at temperature {args.temperature:g}"
    figures = {"out": args.out, "samples": args.n, "non_finite": n_bad, "seed": args.seed}
    figures |= {"temperature": args.temperature}
    return output.summary([line], figures, 1 if n_bad else 0)


def draw(model: "Glow", n: int, temperature: float, seed: int) -> Samples:
    """Draw `n` samples; the same arguments give the same pixels on the same machine.

    Args:
        model: folded, without classes.
        n: at least 1.
        temperature: factor of the standard normal latents.
        seed: of the random numbers.
    """
    import jax
    import numpy as np

    from glow_jax import pixels
    from glow_jax.io.pictures import tiled
    from glow_jax.io.provenance import Provenance

    key = jax.random.key(seed)
    parts = []
    for start in range(0, n, BATCH):
        part_key = jax.random.fold_in(key, start) if start else key
        part = model.sample_x(part_key, min(BATCH, n - start), temperature)
        parts.append(np.asarray(part))
    x = np.concatenate(parts)
    images = np.asarray(pixels.to_uint8(jax.numpy.asarray(x)))
    sheet = tiled(images, columns=int(np.ceil(np.sqrt(n))))
    recipe = {"seed": seed, "temperature": temperature, "n": n}
    provenance = Provenance("trainedAlgorithmicMedia", model.name, recipe)
    return Samples(sheet, provenance, int((~np.isfinite(x)).any((1, 2, 3)).sum()))
