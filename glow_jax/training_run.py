"""† A training run in a directory: resumable to the bit, logged, exported at the end.

run.json          what is trained and how; a resumed run must ask for the same
log.csv           step, bits/dim, gradient norm, images/s, held-out bits/dim
checkpoints/      Orbax, the last two
model/            the averaged weights, when the run is done
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from jaxtyping import UInt8

from glow_jax.checkpoints import quiet_orbax, save
from glow_jax.config import GlowConfig
from glow_jax.errors import InputError
from glow_jax.files import write_atomically
from glow_jax.model import Glow
from glow_jax.train import TrainConfig, TrainState, batch_indices, create, make_step

FIELDS = ["step", "bits_per_dim", "gradient_norm", "images_per_second", "held_out_bits_per_dim"]
EVALUATION_BATCH = 50
Images = UInt8[np.ndarray, "_ H W C"]


def run(
    out: Path,
    model_config: GlowConfig,
    config: TrainConfig,
    train: Images,
    held_out: Images,
    *,
    card: dict[str, Any],
    every: int = 200,
    stop_after: int | None = None,
    export_dtype: Any = jnp.bfloat16,
    progress: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Path:
    """Train, or go on with the run that `out` holds, and export the averaged weights.

    Args:
        out: the run's directory, made if needed.
        model_config, config: what to train and how.
        train, held_out: images of the model's shape.
        card: goes into the exported model's card, with the measured figures.
        every: steps between log rows, checkpoints and held-out evaluations.
        stop_after: end here, on the same path as the whole run, and export; a time budget.
        export_dtype: the exported weights' type.
        progress: called with every log row.

    Returns:
        The exported model's directory.

    Raises:
        InputError: `out` holds another run, or one that is already exported; or training
            diverged.
    """
    description = _describe(model_config, config, train, held_out)
    last = config.n_steps if stop_after is None else min(stop_after, config.n_steps)
    _claim(out, description)
    graph, fixed, state = create(model_config, config, train)
    step = make_step(graph, fixed, config)
    options = ocp.CheckpointManagerOptions(max_to_keep=2)
    with (
        quiet_orbax(),
        ocp.CheckpointManager((out / "checkpoints").resolve(), options=options) as m,
    ):
        if m.latest_step() is not None:
            state = m.restore(m.latest_step(), args=ocp.args.StandardRestore(state._asdict()))
            state = TrainState(**state)
        _truncate_log(out / "log.csv", int(state.step))
        losses, norms, started = [], [], time.perf_counter()
        for index in range(int(state.step), last):
            batch = train[batch_indices(config, len(train), index)]
            state, metrics = step(state, jnp.asarray(batch))
            losses.append(metrics.bits_per_dim)
            norms.append(metrics.gradient_norm)
            if (index + 1) % every and index + 1 != last:
                continue
            mean = float(np.mean(jax.device_get(losses)))
            seconds = time.perf_counter() - started
            row = {
                "step": index + 1,
                "bits_per_dim": mean,
                "gradient_norm": float(np.mean(jax.device_get(norms))),
                "images_per_second": len(losses) * config.batch_size / seconds,
                "held_out_bits_per_dim": evaluate(nnx.merge(graph, state.ema, fixed), held_out),
            }
            if not np.isfinite(row["held_out_bits_per_dim"]):
                raise InputError(f"{out}: diverged before step {index + 1}; lower learning_rate")
            _append_log(out / "log.csv", row)
            m.save(index + 1, args=ocp.args.StandardSave(state._asdict()))
            m.wait_until_finished()
            progress(row)
            losses, norms, started = [], [], time.perf_counter()
    model = nnx.merge(graph, state.ema, fixed)
    card = card | {
        "steps": int(state.step),
        "held_out_bits_per_dim": round(evaluate(model, held_out), 4),
        "train_bits_per_dim": round(evaluate(model, train[: len(held_out)]), 4),
        "training": description,
    }
    for partial in out.glob(".model.*"):  # of a run that was killed while it exported
        shutil.rmtree(partial)
    save(model, out / "model", card, dtype=export_dtype)
    return out / "model"


def evaluate(model: Glow, images: Images) -> float:
    """Mean bits/dim over images, with one draw of the paper's dequantisation noise (seed 0)."""
    values = []
    for start in range(0, len(images), EVALUATION_BATCH):
        key = jax.random.fold_in(jax.random.key(0), start)
        values.append(model.bits_per_dim(images[start : start + EVALUATION_BATCH], key=key))
    return float(np.mean(np.concatenate(values)))


def _describe(
    model_config: GlowConfig, config: TrainConfig, train: Images, held_out: Images
) -> dict[str, Any]:
    return {
        "model": dataclasses.asdict(model_config),
        "recipe": dataclasses.asdict(config),
        "train_images": len(train),
        "train_sha256": hashlib.sha256(train.tobytes()).hexdigest(),
        "held_out_images": len(held_out),
        "held_out_sha256": hashlib.sha256(held_out.tobytes()).hexdigest(),
    }


def _claim(out: Path, description: dict[str, Any]) -> None:
    """Make the run's directory, or check that it holds this very run, unfinished."""
    file = out / "run.json"
    if (out / "model").exists():
        raise InputError(f"{out}: this run is finished; its model is in {out / 'model'}")
    if file.exists():
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            raise InputError(f"{file}: not readable; choose a new directory") from None
        if there != description:
            raise InputError(
                f"{out}: holds a run with another model, recipe or data; choose a new directory"
            )
        return
    partial = out / ".run.json"  # all that a run killed right here leaves
    if out.exists() and (not out.is_dir() or set(out.iterdir()) - {partial}):
        raise InputError(f"{out}: not empty and not a training run; choose a new directory")
    out.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps(description, indent=2) + "\n")
    os.replace(partial, file)


def _truncate_log(file: Path, step: int) -> None:
    """Drop rows that a killed run logged after its last checkpoint."""
    rows = []
    if file.exists():
        with file.open(newline="") as f:
            rows = [r for r in csv.DictReader(f) if None not in r.values() and list(r) == FIELDS]
        rows = [r for r in rows if r["step"].isdigit() and int(r["step"]) <= step]
    kept = io.StringIO(newline="")
    writer = csv.DictWriter(kept, FIELDS)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(file, kept.getvalue().encode())


def _append_log(file: Path, row: dict[str, Any]) -> None:
    with file.open("a", newline="") as f:
        csv.DictWriter(f, FIELDS).writerow(
            {k: v if isinstance(v, int) else f"{v:.5f}" for k, v in row.items()}
        )
