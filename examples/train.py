"""Train a tiny Glow on a folder of pictures, and draw from it. A minute on a CPU.

python examples/train.py PICTURES HELD_OUT OUT
"""

import sys
from pathlib import Path

import jax

import glow_jax as gj
from glow_jax.data import open_data
from glow_jax.training.presets import debug_size
from glow_jax.training.run import Reporting, run
from glow_jax.training.step import TrainConfig


def main(pictures: str, held_out: str, out: str) -> None:
    config = debug_size(gj.PRESETS["faces64"].config)
    train = open_data(f"folder:{pictures}", config.image_shape)
    test = open_data(f"folder:{held_out}", config.image_shape)
    path = run(
        Path(out),
        config,
        TrainConfig(n_steps=20, batch_size=8, n_warmup=5, n_init=16),
        train,
        test,
        card={"origin": "examples/train.py", "licence": "that of its training data"},
        reporting=Reporting(every=10, progress=lambda row: print(row["step"], row["bits_per_dim"])),
    )

    model = gj.load(path)
    print("model:", path)
    print("bits/dim of samples:", model.bits_per_dim(model.sample(jax.random.key(0), 2, 1.0)))


if __name__ == "__main__":
    main(*sys.argv[1:])
