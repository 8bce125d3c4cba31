"""A training run in a directory (`run_folder`): resumable to the bit, logged, exported at the end.

At regular steps a row is added to log.csv and pictures to images/ and tensorboard/ (`log`).
Checkpoints are written in the background. After five non-finite steps in a row, which
`step.make_step` skips, the run returns to its last checkpoint, at half the learning rate. Several
processes need a directory that they share; process 0 writes to it.
"""

import contextlib
import dataclasses
import importlib.metadata
import itertools
import json
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

from glow_jax.config import GlowConfig
from glow_jax.data import ArraySource, Source, prefetched
from glow_jax.graph_model import GraphGlow
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted
from glow_jax.io.output_folders import make_folder
from glow_jax.model import Glow
from glow_jax.training import log as training_log
from glow_jax.training import parallel
from glow_jax.training.evaluate import Images, evaluator, evenly_spaced, figures
from glow_jax.training.grow import check_growth, grow
from glow_jax.training.run_folder import (
    back_to_checkpoint,
    best_checkpoint,
    checkpoint_manager,
    claimed,
    describe,
    export_model,
    read_checkpoint,
    restored,
    save_checkpoint,
)
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
    make_step,
    started,
)

MAX_IN_A_ROW = 5  # non-finite steps in a row after which the run returns to a checkpoint
LOOK_BACK = 2  # steps by which reading metrics lags behind, so that it does not wait for the device
Batches = Iterator[jax.Array]


@dataclasses.dataclass(frozen=True)
class Reporting:
    """The reports of a run; they have no effect on the training.

    Attributes:
        every: steps between log rows, checkpoints and held-out evaluations.
        n_evaluated: largest number of held-out images of an evaluation; the last one uses all.
        n_pictures: number of samples and of reconstructions to draw; 0 for none.
        tensorboard: whether to write TensorBoard events too.
        progress: called with every log row.
        note: called with lines about the run, such as a return to a checkpoint.
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
    deadline: float | None = None,
    export: Literal["last", "best"] = "last",
    export_dtype: Any = jnp.bfloat16,
    init: Glow | None = None,
) -> Path | None:
    """Train, or resume the run that `out` holds, and export the averaged weights.

    Args:
        out: directory of the run; made if it does not exist.
        model_config: config of the model.
        config: settings of the training.
        train, held_out: images of the model's shape.
        card: fields of the exported model's card; the measured figures are added.
        reporting: the reports of the run.
        stop_after: stop and export at this step, while the learning rate follows the schedule of
            the whole run; None for no limit.
        deadline: time of `time.monotonic`, or None for no limit. The run stops at a checkpoint,
            without an export, if the steps to the next checkpoint would probably end later. Each
            call makes at least one checkpoint.
        export: whether to export the averaged weights of the last step or of the best checkpoint.
        export_dtype: dtype of the exported weights.
        init: a model in training form whose weights to start from; with fewer steps, hidden
            channels or pixels than `model_config` it is grown (`glow_jax.training.grow`). None
            starts from random weights with the data-dependent initialisation. Where
            `config.n_trained_levels` is given, the other levels keep its weights.

    Returns:
        Path of the exported model; None if the run stopped at its deadline.

    Raises:
        InputError: `out` holds another run, or a finished one; the batch size is not a multiple of
            the number of devices; `init` cannot be grown to `model_config`; or training diverged.
    """
    reporting = reporting or Reporting()
    train, held_out = _source(train), _source(held_out)
    mesh = parallel.batch_mesh()
    parallel.check_divides(mesh, config.batch_size)
    check_trained_levels(model_config, config)
    if config.n_trained_levels is not None and init is None:
        raise InputError("training: n_trained_levels needs init, whose other levels are kept")
    check_init(model_config, init)
    description = describe(model_config, config, train, held_out, init)
    last = config.n_steps if stop_after is None else min(stop_after, config.n_steps)
    parallel.check_agreement(json.dumps(description), "model, recipe or data")
    with contextlib.ExitStack() as stack:
        parallel.by_first(lambda: stack.enter_context(claimed(out, description)))
        with checkpoint_manager(out / "checkpoints") as manager:
            graph, fixed, state = _begin(model_config, config, train, mesh, init, manager)
            if manager.latest_step() is None:
                save_checkpoint(manager, state, None)
            else:
                state = restored(out, manager, state)
            job = _Job(
                out,
                graph,
                fixed,
                config,
                mesh,
                evaluator(graph, fixed, mesh),
                manager,
                reporting,
                np.inf if deadline is None else deadline,
            )
            with _log(out, int(state.step), config.seed, reporting) as log:
                state = _trained(job, state, train, held_out, last, log)
            manager.wait_until_finished()
            if int(state.step) < last:
                return None
            best = best_checkpoint(manager)
            if export == "best" and best is not None:
                state = read_checkpoint(manager, best[0], state)
            measured = figures(job.measure, state, train, held_out, best)
        about = card | {"steps": int(state.step)} | measured | _origin(train, held_out)
        model = job.averaged(state)
        parallel.by_first(
            lambda: export_model(model, out, about | {"training": description}, export_dtype)
        )
    return out / "model"


# -- the loop


class _Job(NamedTuple):
    """The constants of a run."""

    out: Path
    graph: nnx.GraphDef
    fixed: nnx.State
    config: TrainConfig
    mesh: Mesh
    measure: Callable[[nnx.State, Source, int], float]
    manager: ocp.CheckpointManager
    reporting: Reporting
    deadline: float

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
    """Train up to step `last`, with a log row and a checkpoint after every stretch of steps."""
    config, reporting = job.config, job.reporting
    step = make_step(job.graph, job.fixed, config, job.mesh)
    batches = _batches(config, train, job.mesh, state)
    few = evenly_spaced(held_out, reporting.n_evaluated)
    took = 0.0
    while (at := int(state.step)) < last:
        if took and parallel.any_process(time.monotonic() + took > job.deadline):
            reporting.note(
                f"stopped at step {at}: no time for another checkpoint; the run can be resumed"
            )
            break
        until, since = min((at // reporting.every + 1) * reporting.every, last), time.perf_counter()
        state, window = _stretch(step, state, batches, until - at)
        speed = len(window) * config.batch_size / (time.perf_counter() - since)
        lost = max(m.in_a_row for m in window) >= MAX_IN_A_ROW
        bits = float("nan") if lost else job.measure(state.ema, few, reporting.n_evaluated)
        if not np.isfinite(bits):
            state = back_to_checkpoint(
                job.out, job.manager, state, at + len(window), reporting.note
            )
            batches.close()
            batches = _batches(config, train, job.mesh, state)
            continue
        model = job.averaged(state)
        row = _row(state, window, speed, bits, model)
        log(row, _sheets(model, held_out, config.seed, reporting))
        if not window[-1].in_a_row:  # no checkpoint after skipped steps
            save_checkpoint(job.manager, state, bits)
        reporting.progress(row)
        took = time.perf_counter() - since
    batches.close()
    return state


# -- start, batches, stretches of steps, log rows


def check_trained_levels(model_config: GlowConfig, config: TrainConfig) -> None:
    """Raise InputError if the levels to train alone are all levels of the model, or more."""
    n, most = config.n_trained_levels, model_config.n_levels - 1
    if n is not None and n > most:
        raise InputError(
            f"training: n_trained_levels is {n}, and the model has {counted(most + 1, 'level')}; "
            "use fewer, or leave it out to train all"
        )


def check_init(model_config: GlowConfig, init: Glow | GraphGlow | None) -> Glow | None:
    """Check the model whose weights a run starts from, if there is one.

    Raises:
        InputError: `init` is a TensorFlow graph, or cannot be grown to `model_config`.
    """
    if init is None:
        return None
    if isinstance(init, GraphGlow):
        raise InputError(f"init: {init.name} is a TensorFlow graph, which cannot be trained")
    check_growth(init.name, init.config, model_config)
    return init


def _begin(
    model_config: GlowConfig,
    config: TrainConfig,
    train: Source,
    mesh: Mesh,
    init: Glow | None,
    manager: ocp.CheckpointManager,
) -> tuple[nnx.GraphDef, nnx.State, TrainState]:
    """The state at step 0, replicated; a resumed run uses only its structure."""
    rngs = nnx.Rngs(config.seed)
    model = Glow(model_config, rngs=rngs) if init is None else grow(init, model_config, rngs=rngs)
    if init is None and manager.latest_step() is None:
        nnx.update(model, parallel.replicated(mesh, nnx.state(model)))
        chosen = init_indices(config, len(train))
        if (
            len(chosen) % mesh.size
        ):  # the rows cannot be shared equally, so every device has all of them
            images: Any = parallel.replicated(mesh, train.read(chosen))
            initialise(model, config, images)
        else:
            here = train.read(chosen[parallel.rows_here(mesh, len(chosen))])
            initialise(model, config, parallel.sharded(mesh, here, len(chosen)))
    graph, fixed, state = started(model, config)
    return graph, parallel.on_this_device(fixed), parallel.replicated(mesh, state)


def _batches(config: TrainConfig, train: Source, mesh: Mesh, state: TrainState) -> Any:
    """The rows of this process of every batch after `state`, read and flipped in threads."""
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


def _sheets(
    model: Glow, held_out: Source, seed: int, reporting: Reporting
) -> dict[str, np.ndarray]:
    n = min(reporting.n_pictures, len(held_out))
    if not n or not parallel.is_first() or model.config.n_classes:
        return {}
    return training_log.pictures(model, held_out.read(range(n)), seed)


@contextlib.contextmanager
def _log(out: Path, step: int, seed: int, reporting: Reporting) -> Iterator[training_log.Board]:
    """A function that writes a row and its sheets, in process 0; rows after `step` are dropped."""
    if not parallel.is_first():
        yield lambda row, sheets: None
        return
    training_log.truncate(out / "log.csv", step)
    with contextlib.ExitStack() as stack:
        board: training_log.Board = lambda row, sheets: None  # noqa: E731
        if reporting.tensorboard:
            board = stack.enter_context(
                training_log.tensorboard(out / "tensorboard", step, reporting.note)
            )

        def write(row: dict[str, Any], sheets: Any) -> None:
            training_log.append(out / "log.csv", row)
            if sheets:
                images = make_folder(out, "images")
                training_log.write_pictures(images, row["step"], sheets, seed)
            board(row, sheets)

        yield write


# -- the card


def _origin(train: Source, held_out: Source) -> dict[str, Any]:
    """Fields of the card: data, versions, devices, file of the training curve."""
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


def _source(images: Images | Source) -> Source:
    return ArraySource(images) if isinstance(images, np.ndarray) else images
