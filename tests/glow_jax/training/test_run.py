"""Training learns, skips what is not finite, and survives being killed, to the bit."""

import dataclasses
import functools
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from glow_jax.checkpoints import load, read_card
from glow_jax.io.errors import InputError
from glow_jax.training import evaluate
from glow_jax.training.run import Reporting
from glow_jax.training.step import batch_indices, create, make_step
from tests.support.paths import ROOT
from tests.support.toy_training import (
    MODEL,
    RECIPE,
    RUN,
    assert_equal_runs,
    log,
    run,
    smooth_images,
)


@functools.cache
def started() -> tuple[Any, Any, Any, Any]:
    graph, fixed, state = create(MODEL, RECIPE, smooth_images(64))
    return graph, fixed, jax.tree.map(np.asarray, state), make_step(graph, fixed, RECIPE)


def fresh_state() -> Any:
    """A copy: a step gives its argument's memory away."""
    return jax.tree.map(jnp.asarray, started()[2])


def batch(step: int) -> jax.Array:
    return jnp.asarray(smooth_images(64)[batch_indices(RECIPE, 64, step)])


# -- one step


def test_the_loss_goes_down() -> None:
    graph, fixed, before, step = started()
    state, losses = fresh_state(), []
    for i in range(RECIPE.n_steps):
        state, metrics = step(state, batch(i))
        losses.append(float(metrics.bits_per_dim))
        assert metrics.gradient_norm > 0
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5
    assert int(state.step) == RECIPE.n_steps
    ema = nnx.merge(graph, state.ema, fixed)
    pairs = zip(jax.tree.leaves(before.params), jax.tree.leaves(state.params), strict=True)
    assert all((a != b).any() for a, b in pairs)
    named = {path[-1] for path in nnx.to_flat_state(fixed).paths}
    assert named == {"indices", "sign_s"}  # and nothing else is left untrained
    held_out = evaluate.evaluate(ema, smooth_images(16, seed=1))
    assert held_out < losses[0] - 0.5


def test_a_step_is_a_function_of_its_arguments() -> None:
    step = started()[3]
    (a, first), (b, second) = (step(fresh_state(), batch(0)) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, (a, first), (b, second))
    later = fresh_state()._replace(step=jnp.int32(1))
    assert float(step(later, batch(0))[1].bits_per_dim) != float(first.bits_per_dim)  # new noise


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    step = started()[3]
    state = fresh_state()
    logs = state.params["levels"][0]["steps"]["norm"]["logs"]
    logs[...] = jnp.full_like(logs[...], 100.0)  # exp(3 * 100) is infinite
    before = jax.tree.map(np.asarray, (state.params, state.ema, state.optimiser))
    for n in (1, 2):
        state, metrics = step(state, batch(0))
        assert not np.isfinite(metrics.bits_per_dim)
        assert int(state.step) == int(state.skipped) == int(metrics.in_a_row) == n
        jax.tree.map(
            np.testing.assert_array_equal, (state.params, state.ema, state.optimiser), before
        )
    good = fresh_state()._replace(skipped=state.skipped, in_a_row=state.in_a_row)
    state, metrics = step(good, batch(0))
    assert int(state.skipped) == 2 and int(metrics.in_a_row) == int(state.in_a_row) == 0


# -- the order of the data


@pytest.mark.parametrize(("n_images", "batch_size"), [(10, 4), (7, 7), (3, 8), (64, 1), (1, 5)])
def test_every_epoch_sees_every_image_once(n_images: int, batch_size: int) -> None:
    config = dataclasses.replace(RECIPE, batch_size=batch_size)
    n_epochs = 4 * batch_size
    steps = range(n_epochs * n_images // batch_size)
    seen = np.concatenate([batch_indices(config, n_images, step) for step in steps])
    epochs = seen.reshape(-1, n_images)
    assert len(epochs) == n_epochs
    for epoch in epochs:
        assert sorted(epoch) == list(range(n_images))
    assert n_images < 5 or any((a != b).any() for a, b in itertools.pairwise(epochs))
    other = dataclasses.replace(config, seed=1)
    assert n_images < 5 or (batch_indices(other, n_images, 0) != seen[:batch_size]).any()


# -- recipes


@pytest.mark.parametrize(
    "fields",
    [
        {"n_steps": 0},
        {"batch_size": -1},
        {"n_init": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"max_gradient_norm": float("inf")},
        {"n_warmup": -1},
        {"ema_decay": 1.0},
    ],
    ids=str,
)
def test_bad_recipes_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"training: .*{next(iter(fields))}"):
        dataclasses.replace(RECIPE, **fields)


# -- a run


CHILD = """
import os, signal, sys
sys.path.insert(0, {root!r})
import orbax.checkpoint as ocp
from pathlib import Path
from tests.support import toy_training

save = ocp.CheckpointManager.save

def save_and_die(self, step, *args, **options):
    save(self, step, *args, **options)
    if step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)

ocp.CheckpointManager.save = save_and_die
toy_training.run(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "undisturbed"
    assert run(out) == out / "model"
    return out


def child(out: Path, step: int) -> subprocess.Popen:
    code = CHILD.format(root=str(ROOT), step=step)
    return subprocess.Popen([sys.executable, "-c", code, str(out)], cwd=ROOT)


def test_a_run_leaves_a_log_and_a_model(undisturbed: Path) -> None:
    rows = log(undisturbed)
    assert [int(row["step"]) for row in rows] == [3, 6, 9, 12]
    assert float(rows[-1]["bits_per_dim"]) < float(rows[0]["bits_per_dim"])
    assert all(np.isfinite(float(v)) for row in rows for v in row.values())
    card = read_card(undisturbed / "model")
    assert card["name"] == "toy"
    assert card["training"] == json.loads((undisturbed / "run.json").read_text())
    assert card["held_out_bits_per_dim"] == pytest.approx(
        float(rows[-1]["held_out_bits_per_dim"]), abs=1e-4
    )
    model = load(undisturbed / "model")
    assert model.config == MODEL
    assert [p.name for p in undisturbed.iterdir() if p.name.startswith(".")] == [".lock"]


def test_a_killed_run_goes_on_to_the_bit(undisturbed: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of writing a checkpoint, after its row went into the log."""
    out = tmp_path / "killed"
    assert child(out, step=9).wait(timeout=600) == -signal.SIGKILL
    assert not (out / "model").exists()
    assert [row["step"] for row in log(out)] == ["3", "6", "9"]
    run(out)
    assert_equal_runs(out, undisturbed)


def test_a_run_without_time_left_stops_and_goes_on_to_the_bit(
    undisturbed: Path, tmp_path: Path
) -> None:
    out, notes = tmp_path / "late", list[str]()
    reporting = Reporting(every=3, note=notes.append)
    assert run(out, reporting=reporting, deadline=time.monotonic() - 1) is None
    assert notes == ["stopped at step 3: no time for another checkpoint; the run can be resumed"]
    assert [row["step"] for row in log(out)] == ["3"]
    assert not (out / "model").exists()
    run(out, deadline=time.monotonic() + 1e4)
    assert_equal_runs(out, undisturbed)


@pytest.mark.slow
def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    config = dataclasses.replace(RUN, learning_rate=1e30, n_warmup=1)
    for _ in range(2):  # and says it again when it is resumed
        with pytest.raises(InputError, match="diverged before step 3; lower learning_rate"):
            run(tmp_path / "out", config=config)
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.slow
def test_a_run_killed_again_and_again_goes_on_to_the_bit(undisturbed: Path, tmp_path: Path) -> None:
    """At random moments after its first, second and third row."""
    out, rng = tmp_path / "killed", np.random.default_rng()
    for n_rows in (1, 2, 3):
        process = child(out, step=-1)
        while process.poll() is None and not (
            (out / "log.csv").exists() and len(log(out)) >= n_rows
        ):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    run(out)
    assert_equal_runs(out, undisturbed)


def refused(out: Path, words: str, **options: Any) -> None:
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    with pytest.raises(InputError, match=words) as caught:
        run(out, **options)
    assert str(caught.value).isprintable()
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


def test_a_finished_run_is_left_alone(undisturbed: Path) -> None:
    refused(undisturbed, "this run is finished")


@pytest.mark.parametrize(
    "options",
    [
        {"config": dataclasses.replace(RUN, learning_rate=1e-3)},
        {"config": dataclasses.replace(RUN, n_steps=13)},
        {"model_config": dataclasses.replace(MODEL, n_bits=8)},
        {"train": smooth_images(20, seed=2)},
        {"held_out": smooth_images(9, seed=1)},
    ],
    ids=["recipe", "steps", "model", "data", "held-out data"],
)
def test_another_run_is_refused(undisturbed: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    out = tmp_path / "unfinished"
    out.mkdir()
    (out / "run.json").write_bytes((undisturbed / "run.json").read_bytes())
    refused(out, "holds a run with another model, recipe or data", **options)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("photo.png", b"precious", "not empty and not a training run"),
        ("run.json", b"{", "run.json is not readable JSON"),
        ("run.json", b"\xff", "run.json is not readable JSON"),
        ("run.json", b"[" * 100_000, "run.json is not readable JSON"),
        ("run.json", b"[]", "run.json holds list, not an object"),
    ],
    ids=["a photo", "cut short", "bytes", "deep", "a list"],
)
def test_other_directories_are_left_alone(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path, words)


def test_levels_cannot_all_be_trained_alone(tmp_path: Path) -> None:
    config = dataclasses.replace(RUN, n_trained_levels=1)
    refused(tmp_path / "out", "n_trained_levels is 1, and the model has 1 level", config=config)


@pytest.mark.parametrize("levels", [0, -1, True])
def test_the_number_of_levels_to_train_is_a_whole_number(levels: int) -> None:
    with pytest.raises(InputError, match="n_trained_levels is .*; use a whole number from 1 on"):
        dataclasses.replace(RUN, n_trained_levels=levels)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out: "):
        run(tmp_path / "out")
