"""The verb `sample`: draw images from a model."""

import argparse
import dataclasses
import math
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
    from collections.abc import Sequence

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
    import numpy as np

    from glow_jax import pixels
    from glow_jax.io.pictures import tiled
    from glow_jax.io.provenance import Provenance

    shapes = model.config.latent_shapes
    parts = []
    for start in range(0, n, BATCH):
        eps = _draw_eps(seed, start, shapes, min(BATCH, n - start), temperature)
        parts.append(np.asarray(model.decode_x(eps)))
    x = np.concatenate(parts)
    sheet = tiled(pixels.to_uint8_on_host(x), columns=int(np.ceil(np.sqrt(n))))
    recipe = {"seed": seed, "temperature": temperature, "n": n}
    provenance = Provenance("trainedAlgorithmicMedia", model.name, recipe)
    return Samples(sheet, provenance, int((~np.isfinite(x)).any((1, 2, 3)).sum()))


def _draw_eps(
    seed: int, start: int, shapes: "Sequence[tuple[int, ...]]", n: int, temperature: float
) -> "tuple[np.ndarray, ...]":
    """The numbers of `prior.draw_eps` for `n` images from `start` on, compiled sooner.

    All levels are drawn by one program, that of the longest: JAX's random bits depend on the key
    and the position alone, so a shorter level is the beginning of a longer draw.
    """
    import jax
    import numpy as np

    from glow_jax.flow_step import SOONEST
    from glow_jax.kept_programs import kept

    sizes = [n * math.prod(shape) for shape in shapes]

    def keys(seed: jax.Array, start: int, n_levels: int) -> jax.Array:
        key = jax.random.key(seed)
        key = jax.random.fold_in(key, start) if start else key
        return jax.random.key_data(jax.random.split(key, n_levels))

    def drawn(key: jax.Array, temperature: jax.Array, size: int) -> jax.Array:
        key = jax.random.wrap_key_data(key)
        return temperature * jax.random.normal(key, (size,), np.float32)

    all_keys = kept(keys, static=(1, 2), compiler_options=SOONEST)
    level_keys = np.asarray(all_keys(np.int32(seed), start, len(shapes)))
    draw, factor = kept(drawn, static=(2,)), np.float32(temperature)
    return tuple(
        np.asarray(draw(key, factor, max(sizes)))[:size].reshape(n, *shape)
        for key, size, shape in zip(level_keys, sizes, shapes, strict=True)
    )
