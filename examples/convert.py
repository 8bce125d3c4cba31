"""Convert another code's Glow checkpoint, and check that every byte of a picture comes back.

python examples/convert.py CHECKPOINT OUT HEIGHT BITS
"""

import sys

import jax
import numpy as np

import glow_jax as gj
from glow_jax.convert import convert


def main(checkpoint: str, out: str, height: str, bits: str) -> None:
    made = convert(checkpoint, out, image_size=(int(height), int(height)), bits=int(bits))
    print(f"{made.format}: L {made.config.n_levels}, {made.config.n_bits} bits")
    for line in [*made.check.lines(), *made.notes]:
        print(line)

    model = gj.load(out)
    images = model.sample(jax.random.key(0), 2, temperature=0.7)
    back = model.decode(model.encode(images))
    print("every byte comes back:", bool((np.asarray(back) == np.asarray(images)).all()))
    print("bits/dim:", np.asarray(model.bits_per_dim(images)).round(2))


if __name__ == "__main__":
    main(*sys.argv[1:])
