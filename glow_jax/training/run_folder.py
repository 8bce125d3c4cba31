"""The folder of a training run: description, checkpoints, recoveries, and the exported model.

run.json          model, recipe and data; a resumed run must have the same
checkpoints/      Orbax checkpoints: the last two, and the best by held-out bits/dim
recoveries.json   the steps at which training returned to a checkpoint, if any
model/            the averaged weights, when the run is finished
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from glow_jax.checkpoints import save
from glow_jax.config import GlowConfig
from glow_jax.data import Source
from glow_jax.io.errors import InputError
from glow_jax.io.files import MAX_JSON_BYTES, read_bytes, read_json_object, write_atomically
from glow_jax.io.locks import LockedError, exclusive
from glow_jax.io.messages import one_line, reason
from glow_jax.io.output_folders import (
    check_no_links,
    make_folder,
    remove_temporary,
    temporary_files,
)
from glow_jax.model import Glow
from glow_jax.model_card import HELD_OUT_BITS
from glow_jax.training import log as training_log
from glow_jax.training import parallel
from glow_jax.training.step import TrainConfig, TrainState
from glow_jax.weight_files import quiet_orbax

MAX_RECOVERIES = 5  # to one checkpoint
MAX_STEP = 2**31
DESCRIPTION = "run.json"
LOCK = ".lock"


@contextlib.contextmanager
def checkpoint_manager(folder: Path) -> Iterator[ocp.CheckpointManager]:
    """The manager of the run's checkpoints; leaving it waits for the last one to be written."""
    policies = ocp.checkpoint_managers
    options = ocp.CheckpointManagerOptions(
        best_fn=_held_out_of,
        best_mode="min",
        preservation_policy=policies.AnyPreservationPolicy(
            [
                policies.LatestN(2),
                policies.BestN(
                    get_metric_fn=_held_out_of,
                    reverse=True,
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        ),
    )
    with quiet_orbax(), ocp.CheckpointManager(folder.resolve(), options=options) as manager:
        yield manager


def _held_out_of(metrics: dict[str, float]) -> float:
    return metrics[HELD_OUT_BITS]


def save_checkpoint(
    manager: ocp.CheckpointManager, state: TrainState, held_out: float | None
) -> None:
    """Write a checkpoint in the background, of a copy, because the next step donates its state."""
    bits = float("inf") if held_out is None else held_out
    copy = jax.tree.map(jnp.copy, state)._asdict()
    manager.save(
        int(state.step),
        args=ocp.args.StandardSave(copy),
        metrics={HELD_OUT_BITS: bits},
    )


def read_checkpoint(manager: ocp.CheckpointManager, step: int, like: TrainState) -> TrainState:
    """A checkpoint, on the devices and of the shapes of `like`.

    Raises:
        InputError: its arrays differ from those of `like`, as in another version of glow-jax.
    """
    wanted = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), like._asdict()
    )
    try:
        return TrainState(**manager.restore(step, args=ocp.args.StandardRestore(wanted)))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{one_line(manager.directory)}: step {step} does not fit this model, as a checkpoint "
            f"of another version of glow-jax does not ({reason(error)}); choose a new directory"
        ) from error


def restored(out: Path, manager: ocp.CheckpointManager, like: TrainState) -> TrainState:
    """The last checkpoint, with the recoveries in `recoveries.json` that happened after it."""
    step = manager.latest_step()
    assert step is not None
    state = read_checkpoint(manager, step, like)
    after = [r for r in _recoveries(out) if r["restored_step"] == step]
    return _recovered(state, after[-1]) if after else state


def _recovered(state: TrainState, recovery: dict[str, Any]) -> TrainState:
    """The state of a checkpoint after a return to it."""

    def like(old: jax.Array, value: int | float) -> jax.Array:
        return jax.device_put(np.asarray(value, old.dtype), old.sharding)

    return state._replace(
        rate=like(state.rate, recovery["rate"]),
        skipped=like(state.skipped, recovery["skipped_steps"]),
        in_a_row=like(state.in_a_row, 0),
    )


def _recoveries(out: Path) -> list[dict[str, Any]]:
    file = out / "recoveries.json"
    if not os.path.lexists(file):
        return []
    kinds = {"failed_step": int, "restored_step": int, "rate": float, "skipped_steps": int}
    try:
        found = json.loads(read_bytes(file, MAX_JSON_BYTES))
        known = isinstance(found, list) and all(
            {name: type(value) for name, value in r.items()} == kinds
            and all(0 <= value < MAX_STEP for value in r.values())
            for r in found
        )
    except (ValueError, AttributeError, RecursionError):
        known = False
    if not known:
        raise InputError(f"{one_line(file)}: not the record of a run; choose a new directory")
    return list(found)


def back_to_checkpoint(
    out: Path,
    manager: ocp.CheckpointManager,
    state: TrainState,
    failed: int,
    note: Callable[[str], None],
) -> TrainState:
    """Return to the last checkpoint at half the learning rate, and record it in `recoveries.json`.

    The record is written first, so a run that is killed here resumes with the same state, which
    depends only on the checkpoint and the record.

    Args:
        out: the run's directory.
        manager: of its checkpoints.
        state: the state after the non-finite steps.
        failed: the step before which training diverged.
        note: called with a line about the return.

    Raises:
        InputError: training has returned to this checkpoint `MAX_RECOVERIES` times.
    """
    manager.wait_until_finished()
    step = manager.latest_step()
    assert step is not None
    before = [r for r in _recoveries(out) if r["restored_step"] <= step]
    if sum(r["restored_step"] == step for r in before) >= MAX_RECOVERIES:
        raise InputError(f"{out}: diverged before step {failed}; lower learning_rate")
    rate = float(state.rate) / 2
    recovery = {
        "failed_step": failed,
        "restored_step": step,
        "rate": rate,
        "skipped_steps": int(state.skipped),
    }
    text = json.dumps([*before, recovery], indent=2) + "\n"
    parallel.by_first(lambda: write_atomically(out / "recoveries.json", text.encode()))
    parallel.by_first(lambda: training_log.truncate(out / "log.csv", step))
    note(f"not finite before step {failed}: back to step {step}, learning rate x {rate:g}")
    return _recovered(read_checkpoint(manager, step, state), recovery)


def best_checkpoint(manager: ocp.CheckpointManager) -> tuple[int, float] | None:
    """Step and held-out bits/dim of the best checkpoint; None if there is only that of step 0."""
    step = manager.best_step()
    metrics = manager.metrics(step) if step is not None else None
    if not step or not metrics:
        return None
    return step, _held_out_of(metrics)


def export_model(model: Glow, out: Path, card: dict[str, Any], dtype: Any) -> None:
    """Write the folder model/ of a run, with its curve."""
    for partial in out.glob(".model.*"):  # of a run that was killed while it exported
        if partial.is_symlink() or not partial.is_dir():
            partial.unlink()
        else:
            shutil.rmtree(partial)
    curve = {"log.csv": read_bytes(out / "log.csv")}
    save(model, out / "model", card, dtype=dtype, files=curve)


def describe(
    model_config: GlowConfig,
    config: TrainConfig,
    train: Source,
    held_out: Source,
    init: Glow | None,
) -> dict[str, Any]:
    """The content of run.json: model, recipe, data and initial weights of a run.

    `recompute` is left out, so that a run may be resumed with another value, on devices with more
    or less memory; and so are fields that older versions lack, where they have no effect.
    """
    model, recipe = dataclasses.asdict(model_config), dataclasses.asdict(config)
    del recipe["recompute"]
    if config.n_trained_levels is None:
        del recipe["n_trained_levels"]
    if not model_config.n_detail_levels:
        del model["n_detail_levels"]
    start = {} if init is None else {"init": {"name": init.name, "fingerprint": init.fingerprint}}
    return {
        "model": model,
        "recipe": recipe,
        "train_images": len(train),
        "train_sha256": train.sha256(),
        "held_out_images": len(held_out),
        "held_out_sha256": held_out.sha256(),
        **start,
    }


@contextlib.contextmanager
def claimed(out: Path, description: dict[str, Any]) -> Iterator[None]:
    """Hold the run's directory, which is made if it does not exist, against other processes.

    Raises:
        InputError: the directory holds another run, a finished one or other files, or another
            process trains in it.
    """
    _check(out, description)
    make_folder(out)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(out / LOCK))
        except LockedError as error:
            raise InputError(
                f"{one_line(out)}: another process trains in this directory; wait until it ends "
                f"({error})"
            ) from None
        _check(out, description)  # the process that held the lock may have finished the run
        if not os.path.lexists(out / DESCRIPTION):
            remove_temporary(out)
            text = json.dumps(description, indent=2) + "\n"
            write_atomically(out / DESCRIPTION, text.encode())
        yield


def _check(out: Path, description: dict[str, Any]) -> None:
    """Raise InputError unless the directory holds this run, unfinished, or nothing."""
    file = out / DESCRIPTION
    for name in ("checkpoints", "images", "tensorboard"):
        check_no_links(out / name)
    if os.path.lexists(out / "model"):
        raise InputError(f"{out}: this run is finished; its model is in {out / 'model'}")
    if os.path.lexists(file):
        try:
            there = read_json_object(file)
        except InputError as error:
            raise InputError(f"{out}: {error}; choose a new directory") from None
        if there != json.loads(json.dumps(description)):
            raise InputError(
                f"{out}: holds a run with another model, recipe or data; choose a new directory"
            )
        return
    # A temporary file and the lock are all that a run killed at its start leaves.
    if out.exists() and (
        not out.is_dir() or set(out.iterdir()) - {out / LOCK, *temporary_files(out)}
    ):
        raise InputError(f"{out}: not empty and not a training run; choose a new directory")
