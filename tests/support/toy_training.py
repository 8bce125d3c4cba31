"""A training run of seconds: its model, recipe and images, and whether two runs are equal."""

import contextlib
import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glow_jax.checkpoints import load, read_card, weights_of
from glow_jax.config import GlowConfig
from glow_jax.training import run as training_run
from glow_jax.training.run import Reporting
from glow_jax.training.step import TrainConfig

MODEL = GlowConfig(8, 8, n_levels=1, n_steps=2, hidden_width=8, permutation="lu", n_bits=5)
RECIPE = TrainConfig(40, batch_size=8, learning_rate=1e-2, n_warmup=5, n_init=16, ema_decay=0.9)
RUN = dataclasses.replace(RECIPE, n_steps=12)
EVERY = 3


def smooth_images(n: int, seed: int = 0) -> np.ndarray:
    """Planes of random slope and colour: easy to learn, unlike noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:8, :8] / 7 - 0.5
    slopes, colours = rng.uniform(-80, 80, (2, n, 1, 1, 3)), rng.uniform(60, 190, (n, 1, 1, 3))
    images = colours + slopes[0] * y[..., None] + slopes[1] * x[..., None]
    return np.clip(images, 0, 255).astype(np.uint8)


def run(out: Path, **options: Any) -> Path | None:
    """RUN, with some of its arguments changed; returns the model's folder, if it was exported."""
    arguments: dict[str, Any] = {
        "model_config": MODEL,
        "config": RUN,
        "train": smooth_images(20),
        "held_out": smooth_images(8, seed=1),
        "card": {"name": "toy"},
        "reporting": Reporting(every=EVERY),
        "export_dtype": jnp.float32,
    }
    return training_run.run(out, **(arguments | options))


def log(out: Path) -> list[dict[str, str]]:
    """The log but for the one column that is about the machine."""
    with (out / "log.csv").open(newline="") as file:
        return [
            {k: v for k, v in r.items() if k != "images_per_second"} for r in csv.DictReader(file)
        ]


def assert_equal_runs(a: Path, b: Path) -> None:
    """The same log and the same model, to the bit."""
    assert log(a) == log(b)
    models = [load(out / "model", fold=False) for out in (a, b)]
    jax.tree.map(np.testing.assert_array_equal, *map(weights_of, models))
    assert models[0].fingerprint == models[1].fingerprint
    assert read_card(a / "model") == read_card(b / "model")
    assert (a / "run.json").read_bytes() == (b / "run.json").read_bytes()


@contextlib.contextmanager
def poisoned() -> Iterator[None]:
    """From step 7 on at the full learning rate the weights are NaN; at half of it they are not."""
    plain = training_run.make_step

    def make(*arguments: Any) -> Any:
        step = plain(*arguments)

        def poisoned_step(state: Any, images: Any) -> Any:
            if int(state.step) >= 7 and float(state.rate) == 1:
                nan = jax.tree.map(lambda a: a * jnp.nan, state.params)
                state = state._replace(params=nan)
            return step(state, images)

        return poisoned_step

    training_run.make_step = make
    try:
        yield
    finally:
        training_run.make_step = plain
