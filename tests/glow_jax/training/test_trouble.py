"""Steps that are not finite, and what a run leaves for people; killed runs are elsewhere."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from glow_jax.checkpoints import load, read_card, weights_of
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import read_provenance
from glow_jax.training import run as training_run
from glow_jax.training import run_folder
from glow_jax.training import step as train
from glow_jax.training.run import Reporting
from tests.support.paths import ROOT
from tests.support.toy_training import (
    EVERY,
    MODEL,
    RUN,
    assert_equal_runs,
    log,
    poisoned,
    run,
    smooth_images,
)

# -- steps that are not finite


def test_a_batch_that_is_not_finite_is_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image of the data becomes NaN on its way into the flow."""
    images = smooth_images(20)
    images[7] = 255
    plain = train.pixels.dequantised

    def broken(key: Any, images: Any, n_bits: int, dtype: Any = jnp.float32) -> Any:
        bad = (images == 255).all((1, 2, 3), keepdims=True)
        return jnp.where(bad, jnp.nan, plain(key, images, n_bits, dtype))

    monkeypatch.setattr(train.pixels, "dequantised", broken)
    config = dataclasses.replace(RUN, n_init=1, flip=False, seed=4)
    seen = [7 in train.batch_indices(config, 20, s) for s in range(RUN.n_steps)]
    assert sum(seen) > 0 and 7 not in train.init_indices(config, 20)
    run(tmp_path / "out", config=config, train=images)
    counts = [int(row["skipped_steps"]) for row in log(tmp_path / "out")]
    assert counts == [sum(seen[:n]) for n in (3, 6, 9, 12)]
    assert all(np.isfinite(float(row["bits_per_dim"])) for row in log(tmp_path / "out")[:1])
    assert read_card(tmp_path / "out" / "model")["skipped_steps"] == sum(seen)


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out, notes = tmp_path_factory.mktemp("trouble") / "recovered", []
    with poisoned():
        run(out, reporting=Reporting(every=EVERY, note=notes.append))
    return out, notes


def test_five_in_a_row_go_back_at_half_the_rate(recovered: tuple[Path, list[str]]) -> None:
    out, notes = recovered
    assert notes == ["not finite before step 12: back to step 6, learning rate x 0.5"]
    assert json.loads((out / "recoveries.json").read_text()) == [
        {"failed_step": 12, "restored_step": 6, "rate": 0.5, "skipped_steps": 5}
    ]
    rows = log(out)
    assert [row["step"] for row in rows] == ["3", "6", "9", "12"]
    for row in rows:
        factor = 1.0 if int(row["step"]) <= 6 else 0.5
        rate = factor * float(train.learning_rate(RUN, int(row["step"]) - 1))
        assert float(row["learning_rate"]) == pytest.approx(rate, rel=1e-3)
    card = read_card(out / "model")
    assert card["learning_rate_factor"] == 0.5 and card["skipped_steps"] == 5
    weights = weights_of(load(out / "model", fold=False))
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(weights))


@pytest.mark.slow
def test_a_run_killed_as_it_goes_back_keeps_the_rate(
    recovered: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from glow_jax.training.run import Reporting
from tests.support import toy_training
die = lambda line: os.kill(os.getpid(), signal.SIGKILL)
with toy_training.poisoned():
    toy_training.run(
        Path({str(out)!r}), reporting=Reporting(every=toy_training.EVERY, note=die)
    )
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -signal.SIGKILL
    run(out)  # nothing is poisoned any more, yet the rate stays halved
    assert_equal_runs(out, recovered[0])


def test_a_checkpoint_that_always_fails_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = training_run.make_step

    def make(*arguments: Any) -> Any:
        step = plain(*arguments)

        def failing(state: Any, images: Any) -> Any:
            nan = jax.tree.map(lambda a: a * jnp.nan, state.params)
            return step(state._replace(params=nan), images)

        return failing

    monkeypatch.setattr(training_run, "make_step", make)
    for _ in range(2):  # and again when it is resumed
        with pytest.raises(InputError, match="diverged before step 6; lower learning_rate"):
            run(tmp_path / "out")
    rates = [r["rate"] for r in json.loads((tmp_path / "out" / "recoveries.json").read_text())]
    assert rates == [0.5**n for n in range(1, run_folder.MAX_RECOVERIES + 1)]


# -- checkpoints


def scripted(monkeypatch: pytest.MonkeyPatch, held_out: list[float]) -> None:
    values = iter(held_out)
    monkeypatch.setattr(
        training_run, "evaluator", lambda *_: lambda *__: next(values, held_out[-1])
    )


@pytest.mark.parametrize("export", ["last", "best"])
def test_the_best_and_the_last_two_checkpoints_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, export: Any
) -> None:
    scripted(monkeypatch, [3.0, 1.0, 2.0, 2.5])
    during: list[bool] = []
    save = ocp.CheckpointManager.save

    def watched(self: Any, *arguments: Any, **options: Any) -> bool:
        saved = save(self, *arguments, **options)
        during.append(self.is_saving_in_progress())
        return saved

    monkeypatch.setattr(ocp.CheckpointManager, "save", watched)
    out = tmp_path / "out"
    run(out, export=export)
    steps = {int(p.name) for p in (out / "checkpoints").iterdir() if p.name.isdigit()}
    assert steps == {6, 9, 12}
    card = read_card(out / "model")
    assert card["best_checkpoint"] == {"step": 6, "held_out_bits_per_dim": 1.0}
    assert card["steps"] == (6 if export == "best" else 12)
    assert any(during)  # training goes on while a checkpoint is written


# -- the start


def test_a_run_can_start_from_a_model(recovered: tuple[Path, list[str]], tmp_path: Path) -> None:
    init = load(recovered[0] / "model", fold=False)
    other = dataclasses.replace(MODEL, n_bits=8, checkpoint_coupling=True)
    config = dataclasses.replace(RUN, n_steps=1, learning_rate=1e-9, n_warmup=0, ema_decay=0.0)
    run(tmp_path / "out", model_config=other, config=config, init=init)
    model = load(tmp_path / "out" / "model", fold=False)
    assert model.config == other
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), *map(weights_of, (model, init))
    )
    said = json.loads((tmp_path / "out" / "run.json").read_text())["init"]
    assert said == {"name": "model", "fingerprint": init.fingerprint}
    assert read_card(tmp_path / "out" / "model")["training"]["init"] == said
    thin = dataclasses.replace(MODEL, hidden_width=4, coupling="affine")
    with pytest.raises(
        InputError,
        match="init: model is another .* its coupling is additive, not affine; its hidden_width is "
        "8, more than 4",
    ):
        run(tmp_path / "thin", model_config=thin, init=init)
    assert not (tmp_path / "thin").exists()


def test_a_run_can_start_from_a_smaller_model(
    recovered: tuple[Path, list[str]], tmp_path: Path
) -> None:
    init = load(recovered[0] / "model", fold=False)
    larger = dataclasses.replace(MODEL, n_steps=3, hidden_width=12)
    config = dataclasses.replace(RUN, n_steps=1, learning_rate=1e-9, n_warmup=0, ema_decay=0.0)
    run(tmp_path / "out", model_config=larger, config=config, init=init, export_dtype=jnp.float32)
    model = load(tmp_path / "out" / "model")
    assert model.config == larger
    images = smooth_images(4)
    np.testing.assert_allclose(
        model.bits_per_dim(images), init.bits_per_dim(images), rtol=0, atol=1e-4
    )


# -- what people see


def test_pictures_and_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    out, notes = tmp_path / "out", []
    told = Reporting(every=6, n_pictures=6, tensorboard=True, note=notes.append)
    run(out, reporting=told)
    names = sorted(p.name for p in (out / "images").iterdir())
    assert names == [f"{n}_{s:08d}.png" for n in ("reconstructions", "samples") for s in (6, 12)]
    assert read_image(out / "images" / "samples_00000012.png").shape == (24, 16, 3)
    sheet = read_image(out / "images" / "reconstructions_00000012.png")
    assert sheet.shape == (48, 16, 3)
    rows = sheet.reshape(3, 2, 8, 16, 3).astype(int)
    assert np.abs(rows[:, 0] - rows[:, 1]).max() == 0  # 5 bits come back exactly
    made = read_provenance(out / "images" / "samples_00000012.png")
    assert made is not None and made.source_type == "trainedAlgorithmicMedia"
    assert made.recipe["step"] == 12
    (events,) = (out / "tensorboard").iterdir()
    data = events.read_bytes()
    for word in (b"held_out_bits_per_dim", b"condition_number", b"samples", b"gradient_norm"):
        assert word in data
    assert not notes
    card = read_card(out / "model")
    assert (out / "model" / card["curve"]).read_bytes() == (out / "log.csv").read_bytes()
    assert card["devices"] == {"kind": "cpu", "count": 1, "processes": 1}
    assert card["versions"]["jax"] == jax.__version__ and card["data"]["train"] == "arrays"
    (row, *_) = log(out)
    assert float(row["condition_number"]) >= 1


def test_without_tensorboard_the_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    notes: list[str] = []
    short = dataclasses.replace(RUN, n_steps=1)
    told = Reporting(tensorboard=True, note=notes.append)
    run(tmp_path / "out", config=short, reporting=told)
    (note,) = notes
    assert "pip install -e '.[train]'" in note and "log.csv" in note
    assert len(log(tmp_path / "out")) == 1 and not (tmp_path / "out" / "tensorboard").exists()
