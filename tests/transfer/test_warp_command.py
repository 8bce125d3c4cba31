"""Jobs of method warp: what decides an output, where it starts from, going on after a stop."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, read_provenance
from tests.support.expressions import painting_models, portraits, random_expressions
from tests.support.linear import rows_of, run
from transfer.expression.estimate import most_neutral
from transfer.expression.paint import with_expression
from transfer.jobs.job import Job, make_job
from transfer.jobs.plan import plan_transfer
from transfer.methods.base import Models


@pytest.fixture
def portrayed(tmp_path: Path) -> Path:
    """Two people and two expressions at the size that expressions are known for."""
    provenance = Provenance("trainedAlgorithmicMedia", "test", {})
    for seed, (name, count) in enumerate({"ann": 3, "bob": 2, "shots": 2}.items()):
        (tmp_path / "large" / name).mkdir(parents=True)
        for i, pixels in enumerate(portraits(count, seed=seed)):
            write_image(tmp_path / "large" / name / f"{i}.png", pixels, provenance)
    return tmp_path / "large"


def warp_plan(people: Path, models: Models, alphas=(0.0, 0.5, 1.0), **options) -> Job:
    targets = [people / "bob", people / "ann"]
    asked = plan_transfer([people / "shots"], people / "ann", targets, alphas, "warp")
    return make_job(asked, models, **options)


def test_the_method_is_part_of_an_items_identity(portrayed: Path) -> None:
    models = painting_models()
    warp = {i.id for i in warp_plan(portrayed, models).items}
    paths = [portrayed / "shots"], portrayed / "ann", [portrayed / "bob"], (0.0, 0.5, 1.0)
    assert len(warp) == 12
    assert not warp & {i.id for i in make_job(plan_transfer(*paths, "paper"), models).items}


def test_other_expressions_are_another_job(portrayed: Path) -> None:
    one = {i.id for i in warp_plan(portrayed, painting_models()).items}
    same = {i.id for i in warp_plan(portrayed, painting_models(random_expressions())).items}
    other = {i.id for i in warp_plan(portrayed, painting_models(random_expressions(1))).items}
    assert one == same and not one & other


def test_a_warp_job_goes_on_where_it_stopped_to_the_byte(portrayed: Path, tmp_path: Path) -> None:
    models, whole, broken = painting_models(), tmp_path / "whole", tmp_path / "broken"
    job = warp_plan(portrayed, models, chunk_size=4)
    summary = run(job, models, whole, batch_size=3)
    assert (summary.made, summary.kept, summary.totals.non_finite) == (12, 0, 0)
    rows = rows_of(whole)
    assert {r["edit_kept"] for r in rows} == {"1"}
    assert json.loads((whole / "job.json").read_text())["method"] == "warp"
    for row, item in zip(rows, job.items, strict=True):
        record = read_provenance(whole / row["file"])
        assert record is not None and record.recipe["method"] == "warp"
        got, base = (
            read_image(whole / row["file"]),
            read_image(whole / "means" / f"target_{item.target}.png"),
        )
        if item.alpha == 0:
            assert np.abs(got.astype(int) - base).max() <= 1
        else:
            assert np.abs(got.astype(int) - base).mean() > 0.1
    shutil.copytree(whole, broken)
    lost = {0, *range(4, 9)}
    for i in lost:
        (broken / rows[i]["file"]).unlink()
    gone = [k for k in range(3) if lost & set(job.chunk(k).tolist())]
    assert 0 < len(gone) < 3
    summary = run(job, models, broken, batch_size=3)
    assert (summary.made, summary.kept) == (4 * len(gone), 12 - 4 * len(gone))
    for item in job.items:
        assert (broken / item.file).read_bytes() == (whole / item.file).read_bytes()


def test_a_warp_starts_from_the_most_neutral_picture(portrayed: Path, tmp_path: Path) -> None:
    models, out = painting_models(), tmp_path / "out"
    job = warp_plan(portrayed, models, (0.0,))
    run(job, models, out, batch_size=4)
    assert models.expression_model is not None
    for person in np.unique(job.plan.target).tolist():
        paths = [Path(job.plan.files[i]) for i in job.plan.pictures[person]]
        pixels = np.stack([read_image(path) for path in paths])
        best = most_neutral(models.expression_model, pixels)
        mean = out / "means" / f"target_{job.plan.names[person]}.png"
        np.testing.assert_array_equal(read_image(mean), pixels[best])
        record = read_provenance(mean)
        assert record is not None and record.recipe == {"mean_of": [paths[best].name]}


def test_what_is_read_as_no_number_is_a_failure(portrayed: Path, tmp_path: Path) -> None:
    """An expression model of finite numbers that are far too large; it made grey pictures."""
    sound = random_expressions()
    reader = sound.au_regressor
    huge = reader._replace(bias=reader.bias * 0 + 1e38, out=reader.out * np.float32(1e30))
    models, out = painting_models(random_expressions(au_regressor=huge)), tmp_path / "out"
    done = run(warp_plan(portrayed, models), models, out, batch_size=4)
    assert (done.made, done.totals.failed, done.totals.outputs) == (0, 12, 0)
    assert not [*(out / "images").rglob("*.png")]
    failures = rows_of(out, "failures.csv")
    assert {row["stage"] for row in failures} == {"prepare"}
    assert all("activations that are not finite" in row["reason"] for row in failures)


def test_a_picture_that_is_no_numbers_is_a_failure_of_its_own(
    portrayed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of its batch are made."""

    def without_first(*args: Any) -> np.ndarray:
        values = np.array(with_expression(*args))
        values[0, 3, 4] = np.nan
        return values

    monkeypatch.setattr("transfer.methods.warp.with_expression", without_first)
    models, out = painting_models(), tmp_path / "out"
    done = run(warp_plan(portrayed, models), models, out, batch_size=4)
    assert (done.made, done.totals.failed) == (9, 3)
    failures = rows_of(out, "failures.csv")
    assert {row["stage"] for row in failures} == {"edit"}
    assert all("grey levels that are not finite" in row["reason"] for row in failures)
