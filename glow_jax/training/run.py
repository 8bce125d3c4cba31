"""† A training run in a directory: resumable to the bit, logged, exported at the end.

run.json          what is trained and how; a resumed run must ask for the same
log.csv           a row every so many steps (training_log.py)
images/           samples and reconstructions at these steps
tensorboard/      the same for TensorBoard, where tensorboardX is installed
checkpoints/      Orbax: the last two, and the best by held-out bits/dim
recoveries.json   where training went back to a checkpoint, if it did
model/            the averaged weights, when the run is done

Checkpoints are written while training goes on. Five steps in a row that are not finite
(`train.make_step` skips each) take the run back to its last checkpoint, at half the learning
rate. With several processes the directory is one that all of them see; process 0 writes.
"""

import contextlib
import dataclasses
import importlib.metadata
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import UInt8

from glow_jax.checkpoints import quiet_orbax, save
from glow_jax.config import GlowConfig
from glow_jax.data import ArraySource, Source, prefetched
from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.model import Glow
from glow_jax.training import log as training_log
from glow_jax.training import parallel
from glow_jax.training.step import (
    Metrics,
    TrainConfig,
    TrainState,
    batch_indices,
    condition_number,
    flipped,
    flips,
    init_indices,
    initialise,
    make_bits_per_dim,
    make_step,
    started,
)

EVALUATION_BATCH = 50
MAX_IN_A_ROW = 5  # steps that are not finite
MAX_RECOVERIES = 5  # to one checkpoint
LOOK_BACK = 2  # steps: the device is never waited for sooner
Images = UInt8[np.ndarray, "_ H W C"]
Batches = Iterator[jax.Array]


@dataclasses.dataclass(frozen=True)
class Reporting:
    """What a run tells, and how often; none of it changes what is trained.

    Attributes:
        every: steps between log rows, checkpoints and held-out evaluations.
        n_evaluated: at most so many held-out images at these; all of them at the end.
        n_pictures: samples and reconstructions to draw; 0 for none.
        tensorboard: write TensorBoard's events too.
        progress: called with every log row.
        note: called with a line about the run itself.
    """

    every: int = 200
    n_evaluated: int = 1000
    n_pictures: int = 0
    tensorboard: bool = False
    progress: Callable[[dict[str, Any]], None] = lambda row: None
    note: Callable[[str], None] = lambda line: None


def run(
    out: Path,
    model_config: GlowConfig,
    config: TrainConfig,
    train: Images | Source,
    held_out: Images | Source,
    *,
    card: dict[str, Any],
    reporting: Reporting | None = None,
    stop_after: int | None = None,
    export: Literal["last", "best"] = "last",
    export_dtype: Any = jnp.bfloat16,
    init: Glow | None = None,
) -> Path:
    """Train, or go on with the run that `out` holds, and export the averaged weights.

    Args:
        out: the run's directory, made if needed.
        model_config, config: what to train and how.
        train, held_out: images of the model's shape.
        card: goes into the exported model's card, with the measured figures.
        reporting: what is told of it on the way.
        stop_after: end here, on the same path as the whole run, and export; a time budget.
        export: the averaged weights of the last step, or of the best checkpoint.
        export_dtype: the exported weights' type.
        init: a model in training form whose weights to start from, instead of random ones
            and their data-dependent initialisation.

    Returns:
        The exported model's directory.

    Raises:
        InputError: `out` holds another run, or one that is already exported; the batch does
            not divide by the devices; `init` is another kind of model; or training diverged.
    """
    tell = reporting or Reporting()
    train, held_out = _source(train), _source(held_out)
    mesh = parallel.batch_mesh()
    parallel.check_divides(mesh, config.batch_size)
    check_init(model_config, init)
    description = _describe(model_config, config, train, held_out, init)
    last = config.n_steps if stop_after is None else min(stop_after, config.n_steps)
    parallel.check_agreement(json.dumps(description), "model, recipe or data")
    parallel.by_first(lambda: _claim(out, description))
    with _checkpoints(out / "checkpoints") as manager:
        graph, fixed, state = _begin(model_config, config, train, mesh, init, manager)
        if manager.latest_step() is None:
            _save(manager, state, None)
        else:
            state = _restored(out, manager, state)
        job = _Job(out, graph, fixed, config, mesh, evaluator(graph, fixed, mesh), manager, tell)
        with _log(out, int(state.step), config.seed, tell) as log:
            state = _trained(job, state, train, held_out, last, log)
        manager.wait_until_finished()
        best = _best(manager)
        if export == "best" and best is not None:
            state = _read(manager, best[0], state)
        figures = _figures(job.measure, state, train, held_out, best)
    about = card | {"steps": int(state.step)} | figures | _origin(train, held_out)
    model = job.averaged(state)
    parallel.by_first(lambda: _export(model, out, about | {"training": description}, export_dtype))
    return out / "model"


# -- the loop


class _Job(NamedTuple):
    """What stays the same from the first step to the last."""

    out: Path
    graph: nnx.GraphDef
    fixed: nnx.State
    config: TrainConfig
    mesh: Mesh
    measure: Callable[[nnx.State, Source, int], float]
    manager: ocp.CheckpointManager
    tell: Reporting

    def averaged(self, state: TrainState) -> Glow:
        """The model of the averaged weights, on this process's own device."""
        return nnx.merge(self.graph, parallel.on_this_device(state.ema), self.fixed)


def _trained(
    job: _Job,
    state: TrainState,
    train: Source,
    held_out: Source,
    last: int,
    log: training_log.Board,
) -> TrainState:
    """The state at step `last`: stretches of steps, each with a row and a checkpoint."""
    config, tell = job.config, job.tell
    step = make_step(job.graph, job.fixed, config, job.mesh)
    batches = _batches(config, train, job.mesh, state)
    few = _spread(held_out, tell.n_evaluated)
    while (at := int(state.step)) < last:
        until, since = min((at // tell.every + 1) * tell.every, last), time.perf_counter()
        state, window = _stretch(step, state, batches, until - at)
        speed = len(window) * config.batch_size / (time.perf_counter() - since)
        lost = max(m.in_a_row for m in window) >= MAX_IN_A_ROW
        bits = float("nan") if lost else job.measure(state.ema, few, tell.n_evaluated)
        if not np.isfinite(bits):
            state = _gone_back(job.out, job.manager, state, at + len(window), tell)
            batches.close()
            batches = _batches(config, train, job.mesh, state)
            continue
        model = job.averaged(state)
        row = _row(state, window, speed, bits, model)
        log(row, _sheets(model, held_out, config.seed, tell))
        if not window[-1].in_a_row:  # else there is no good state to come back to
            _save(job.manager, state, bits)
        tell.progress(row)
    batches.close()
    return state


# -- the parts of a run


def check_init(model_config: GlowConfig, init: Glow | None) -> None:
    """Raise InputError unless `init`'s weights fit a model of this config."""
    if init is None:
        return
    if not isinstance(init, Glow):
        raise InputError("--init: this model is a TensorFlow graph, which cannot be trained")
    free = ("n_bits", "checkpoint_coupling")
    wrong = [
        f"{f.name} is {getattr(init.config, f.name)}, not {getattr(model_config, f.name)}"
        for f in dataclasses.fields(GlowConfig)
        if f.name not in free and getattr(init.config, f.name) != getattr(model_config, f.name)
    ]
    if wrong:
        raise InputError(
            f"--init {init.name}: another model than the one to train: its {'; its '.join(wrong)}"
        )


def _begin(
    model_config: GlowConfig,
    config: TrainConfig,
    train: Source,
    mesh: Mesh,
    init: Glow | None,
    manager: ocp.CheckpointManager,
) -> tuple[nnx.GraphDef, nnx.State, TrainState]:
    """Step 0, replicated; a run that goes on needs only its structure."""
    model = Glow(model_config, rngs=nnx.Rngs(config.seed))
    if init is not None:
        nnx.update(model, nnx.state(init))
    elif manager.latest_step() is None:
        nnx.update(model, parallel.replicated(mesh, nnx.state(model)))
        chosen = init_indices(config, len(train))
        if len(chosen) % mesh.size:  # on every device the whole
            images: Any = parallel.replicated(mesh, train.read(chosen))
            initialise(model, config, images)
        else:
            here = train.read(chosen[parallel.rows_here(mesh, len(chosen))])
            initialise(model, config, parallel.sharded(mesh, here, len(chosen)))
    graph, fixed, state = started(model, config)
    return graph, parallel.on_this_device(fixed), parallel.replicated(mesh, state)


def _batches(config: TrainConfig, train: Source, mesh: Mesh, state: TrainState) -> Any:
    """This process's part of every batch from `state` on, read and flipped in threads."""
    rows = parallel.rows_here(mesh, config.batch_size)

    def load(step: int) -> jax.Array:
        indices = batch_indices(config, len(train), step)[rows]
        images = flipped(train.read(indices), flips(config, step)[rows])
        return parallel.sharded(mesh, images, config.batch_size)

    return prefetched(load, range(int(state.step), config.n_steps))


def _stretch(
    step: Callable, state: TrainState, batches: Batches, n_steps: int
) -> tuple[TrainState, list[Metrics]]:
    """Up to `n_steps` steps and their metrics; fewer when too many in a row are skipped."""
    window: list[Metrics] = []
    for images in itertools.islice(batches, n_steps):
        state, metrics = step(state, images)
        window.append(metrics)
        if len(window) > LOOK_BACK and int(window[-1 - LOOK_BACK].in_a_row) >= MAX_IN_A_ROW:
            break
    return state, jax.device_get(window)


def _row(
    state: TrainState, window: list[Metrics], speed: float, held_out: float, model: Glow
) -> dict[str, Any]:
    """A row of the log: means over the stretch's steps that were not skipped."""
    done = [m for m in window if not m.in_a_row] or window
    return {
        "step": int(state.step),
        "bits_per_dim": float(np.mean([m.bits_per_dim for m in done])),
        "gradient_norm": float(np.mean([m.gradient_norm for m in done])),
        "learning_rate": float(window[-1].learning_rate),
        "images_per_second": speed,
        "held_out_bits_per_dim": held_out,
        "condition_number": condition_number(model) if parallel.is_first() else 0.0,
        "skipped_steps": int(state.skipped),
    }


def _sheets(model: Glow, held_out: Source, seed: int, tell: Reporting) -> dict[str, np.ndarray]:
    n = min(tell.n_pictures, len(held_out))
    if not n or not parallel.is_first() or model.config.n_classes:
        return {}
    return training_log.pictures(model, held_out.read(range(n)), seed)


@contextlib.contextmanager
def _log(out: Path, step: int, seed: int, tell: Reporting) -> Iterator[training_log.Board]:
    """A function that writes a row and its sheets, in process 0; rows after `step` are dropped."""
    if not parallel.is_first():
        yield lambda row, sheets: None
        return
    training_log.truncate(out / "log.csv", step)
    with contextlib.ExitStack() as stack:
        board: training_log.Board = lambda row, sheets: None  # noqa: E731
        if tell.tensorboard:
            board = stack.enter_context(
                training_log.tensorboard(out / "tensorboard", step, tell.note)
            )

        def write(row: dict[str, Any], sheets: Any) -> None:
            training_log.append(out / "log.csv", row)
            if sheets:
                training_log.write_pictures(out / "images", row["step"], sheets, seed)
            board(row, sheets)

        yield write


# -- checkpoints


@contextlib.contextmanager
def _checkpoints(folder: Path) -> Iterator[ocp.CheckpointManager]:
    """The run's checkpoints; leaving waits for the last one to be written."""
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
    return metrics["held_out_bits_per_dim"]


def _save(manager: ocp.CheckpointManager, state: TrainState, held_out: float | None) -> None:
    """Begin to write a checkpoint, of a copy: the next step gives its argument's memory away."""
    bits = float("inf") if held_out is None else held_out
    copy = jax.tree.map(jnp.copy, state)._asdict()
    manager.save(
        int(state.step),
        args=ocp.args.StandardSave(copy),
        metrics={"held_out_bits_per_dim": bits},
    )


def _read(manager: ocp.CheckpointManager, step: int, like: TrainState) -> TrainState:
    wanted = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), like._asdict()
    )
    return TrainState(**manager.restore(step, args=ocp.args.StandardRestore(wanted)))


def _restored(out: Path, manager: ocp.CheckpointManager, like: TrainState) -> TrainState:
    """The last checkpoint, with what `recoveries.json` says happened after it was written."""
    step = manager.latest_step()
    assert step is not None
    state = _read(manager, step, like)
    after = [r for r in _recoveries(out) if r["restored_step"] == step]
    return _recovered(state, after[-1]) if after else state


def _recovered(state: TrainState, recovery: dict[str, Any]) -> TrainState:
    """A checkpoint's state after going back to it."""

    def like(old: jax.Array, value: int | float) -> jax.Array:
        return jax.device_put(np.asarray(value, old.dtype), old.sharding)

    return state._replace(
        rate=like(state.rate, recovery["rate"]),
        skipped=like(state.skipped, recovery["skipped_steps"]),
        in_a_row=like(state.in_a_row, 0),
    )


def _recoveries(out: Path) -> list[dict[str, Any]]:
    file = out / "recoveries.json"
    return json.loads(file.read_text()) if file.exists() else []


def _gone_back(
    out: Path, manager: ocp.CheckpointManager, state: TrainState, failed: int, tell: Reporting
) -> TrainState:
    """The last checkpoint at half the learning rate, noted in `recoveries.json` first.

    Whoever is killed here comes to the same state: it follows from the checkpoint and the
    file, and the file from the steps after the checkpoint.
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
    tell.note(f"not finite before step {failed}: back to step {step}, learning rate x {rate:g}")
    return _recovered(_read(manager, step, state), recovery)


# -- figures


def evaluator(
    graph: nnx.GraphDef, fixed: nnx.State, mesh: Mesh
) -> Callable[[nnx.State, Source, int], float]:
    """A function (params, source, n): mean bits/dim of a source's first n images.

    With one draw of the paper's dequantisation noise (seed 0), whatever the devices.
    """
    compiled = make_bits_per_dim(graph, fixed, mesh)

    def measure(params: nnx.State, source: Source, n: int) -> float:
        n = min(n, len(source))
        size = -(-min(EVALUATION_BATCH, n) // mesh.size) * mesh.size
        rows, values = parallel.rows_here(mesh, size), []
        for start in range(0, n, EVALUATION_BATCH):
            indices = np.minimum(np.arange(start, start + size), n - 1)[rows]
            images = parallel.sharded(mesh, source.read(indices), size)
            key = jax.random.fold_in(jax.random.key(0), start)
            bits = np.asarray(compiled(params, key, images))
            values.append(bits[: min(EVALUATION_BATCH, n - start)])
        return float(np.mean(np.concatenate(values)))

    return measure


def evaluate(model: Glow, images: Images) -> float:
    """Mean bits/dim over images, with one draw of the paper's dequantisation noise (seed 0)."""
    graph, params, fixed = nnx.split(model, nnx.Param, ...)  # type: ignore[misc]
    mesh = parallel.batch_mesh()
    measure = evaluator(graph, parallel.on_this_device(fixed), mesh)
    return measure(parallel.replicated(mesh, params), ArraySource(images), len(images))


def _spread(source: Source, n: int) -> Source:
    """At most `n` images, evenly spaced, in memory."""
    if len(source) <= n:
        return source
    return ArraySource(source.read(np.linspace(0, len(source) - 1, n).astype(int)), source.name)


def _best(manager: ocp.CheckpointManager) -> tuple[int, float] | None:
    """Step and held-out bits/dim of the best checkpoint; None if there is but the start."""
    step = manager.best_step()
    metrics = manager.metrics(step) if step is not None else None
    if not step or not metrics:
        return None
    return step, _held_out_of(metrics)


def _figures(
    measure: Callable, state: TrainState, train: Source, held_out: Source, best: Any
) -> dict[str, Any]:
    n = len(held_out)
    figures = {
        "held_out_bits_per_dim": round(measure(state.ema, held_out, n), 4),
        "train_bits_per_dim": round(measure(state.ema, train, n), 4),
        "skipped_steps": int(state.skipped),
        "learning_rate_factor": float(state.rate),
    }
    if best is not None:
        figures["best_checkpoint"] = {"step": best[0], "held_out_bits_per_dim": round(best[1], 4)}
    return figures


def _origin(train: Source, held_out: Source) -> dict[str, Any]:
    """For the card: data, versions, devices, where the curve is."""
    versions = ("jax", "flax", "optax", "orbax-checkpoint", "glow-jax")
    devices = jax.devices()
    return {
        "data": {"train": train.name, "held_out": held_out.name},
        "versions": {name: importlib.metadata.version(name) for name in versions},
        "devices": {
            "kind": devices[0].device_kind,
            "count": len(devices),
            "processes": jax.process_count(),
        },
        "curve": "log.csv",
    }


def _export(model: Glow, out: Path, card: dict[str, Any], dtype: Any) -> None:
    for partial in out.glob(".model.*"):  # of a run that was killed while it exported
        shutil.rmtree(partial)
    curve = {"log.csv": (out / "log.csv").read_bytes()}
    save(model, out / "model", card, dtype=dtype, files=curve)


# -- the directory


def _source(images: Images | Source) -> Source:
    return ArraySource(images) if isinstance(images, np.ndarray) else images


def _describe(
    model_config: GlowConfig,
    config: TrainConfig,
    train: Source,
    held_out: Source,
    init: Glow | None,
) -> dict[str, Any]:
    start = {} if init is None else {"init": {"name": init.name, "fingerprint": init.fingerprint}}
    return {
        "model": dataclasses.asdict(model_config),
        "recipe": dataclasses.asdict(config),
        "train_images": len(train),
        "train_sha256": train.sha256(),
        "held_out_images": len(held_out),
        "held_out_sha256": held_out.sha256(),
        **start,
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
        if there != json.loads(json.dumps(description)):
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
