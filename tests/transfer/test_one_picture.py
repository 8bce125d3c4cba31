"""One picture of the source: no `source`, or one that holds nothing but the expression's."""

import csv
import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from glow_jax.io.errors import InputError
from glow_jax.io.output_schema import ABSOLUTE, NOTHING
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance
from tests.support.expressions import UNITS, painting_models, portraits, random_expressions
from tests.support.linear import linear_models, rows_of, run
from transfer.expression.absolute import Population
from transfer.expression.model import absolute_activations
from transfer.jobs.job import Job, make_job
from transfer.jobs.plan import plan_transfer
from transfer.jobs.plan_file import JobErrors, read_plan
from transfer.jobs.sheet import job_sheet
from transfer.methods.base import Models

MADE_UP = Provenance("trainedAlgorithmicMedia", "test", {})
N = len(UNITS)
STRONG = Population(np.full(N, -1.0), np.ones(N), np.full(N, 0.01), np.full(N, 0.2))
"""Every picture's raw activations are above it."""


def models(population: Population | None = STRONG, neutralise: bool = False) -> Models:
    expressions = random_expressions()
    if population is not None:
        population = Population(*(np.asarray(row, np.float32) for row in population))
    expressions = dataclasses.replace(expressions, population=population)
    return dataclasses.replace(painting_models(expressions), neutralise=neutralise)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """ann/0.png … 2.png, bob/0.png, and smile.png, which is ann/0.png."""
    for name, seed, n in (("ann", 1, 3), ("bob", 2, 1)):
        (tmp_path / name).mkdir()
        for i, pixels in enumerate(portraits(n, seed=seed)):
            write_image(tmp_path / name / f"{i}.png", pixels, MADE_UP)
    (tmp_path / "smile.png").write_bytes((tmp_path / "ann" / "0.png").read_bytes())
    return tmp_path


def job_of(people: Path, source: Path | None, using: Models, method: str | None = None) -> Job:
    asked = plan_transfer([people / "smile.png"], source, [people / "bob"], (1.0,), method)
    return make_job(asked, using)


def test_without_a_source_the_expression_is_estimated_absolutely(people: Path) -> None:
    using, out = models(), people / "out"
    job = job_of(people, None, using)
    assert job.alone.tolist() == [True]
    done = run(job, using, out, batch_size=2)
    (row,) = rows_of(out)
    assert row["note"] == ABSOLUTE and row["source"] == "smile"
    assert (done.totals.absolute, done.totals.nothing) == (1, 0)
    assert (read_image(out / row["file"]) != read_image(people / "bob" / "0.png")).any()
    assert sorted(p.name for p in (out / "means").iterdir()) == ["target_bob.png"]
    sheet = job_sheet(job, out, read_image)
    assert sheet.shape[1] == 6 + 3 * 134  # expression, target, output: no column of the source


def test_a_source_of_that_picture_alone_is_no_source(people: Path) -> None:
    """A copy by another name too: today's estimate of it against itself would edit nothing."""
    (people / "only").mkdir()
    (people / "only" / "copy.png").write_bytes((people / "smile.png").read_bytes())
    using = models()
    none, same, only = (
        job_of(people, source, using) for source in (None, people / "smile.png", people / "only")
    )
    assert none.ids.tolist() == same.ids.tolist() == only.ids.tolist()
    run(only, using, people / "out", batch_size=2)
    assert rows_of(people / "out")[0]["note"] == ABSOLUTE


def test_other_pictures_of_the_source_leave_ids_and_notes_as_they_were(people: Path) -> None:
    jobs = [job_of(people, people / "ann", models(p)) for p in (STRONG, None)]
    assert jobs[0].ids.tolist() == jobs[1].ids.tolist() and not jobs[0].alone.any()
    assert jobs[0].digest == jobs[1].digest
    run(jobs[0], models(), people / "out", batch_size=2)
    assert rows_of(people / "out")[0]["note"] == ""
    assert (people / "out" / "means" / "source_ann.png").exists()


def test_an_edit_of_nothing_is_noted(people: Path) -> None:
    """The expression's picture is as neutral as the population."""
    using = models(STRONG._replace(noise=np.full(N, 1e6)))
    done = run(job_of(people, None, using), using, people / "out", batch_size=2)
    (row,) = rows_of(people / "out")
    assert row["note"] == f"{ABSOLUTE}; {NOTHING}" and done.totals.nothing == 1
    np.testing.assert_array_equal(
        read_image(people / "out" / row["file"]), read_image(people / "bob" / "0.png")
    )


def test_neutralise_takes_the_targets_own_expression_off(people: Path) -> None:
    """A person's own picture, its expression added again, is as it was."""
    write_image(people / "smile.png", read_image(people / "bob" / "0.png"), MADE_UP)
    using = models(neutralise=True)
    job = job_of(people, None, using)
    run(job, using, people / "out", batch_size=2)
    (row,) = rows_of(people / "out")
    np.testing.assert_array_equal(
        read_image(people / "out" / row["file"]), read_image(people / "bob" / "0.png")
    )
    assert job.ids.tolist() != job_of(people, None, models()).ids.tolist()


def test_what_cannot_be_done_without_a_source_says_what_to_give(people: Path) -> None:
    with pytest.raises(InputError, match="method paper subtracts the mean face .*give `source`"):
        job_of(people, None, linear_models())
    with pytest.raises(InputError, match="of version 0.1.*give `source`"):
        job_of(people, None, models(None))
    with pytest.raises(InputError, match="method paper cannot `neutralise`"):
        job_of(people, people / "ann", models(neutralise=True), "paper")
    with pytest.raises(ValueError, match="no population"):
        absolute_activations(random_expressions(), jnp.zeros((1, N)))


def test_an_empty_source_in_a_table_is_no_source(people: Path) -> None:
    header = ["expression", "source", "target", "alpha", "method"]
    rows = [["smile.png", "", "bob", "1", ""], ["ann", "", "bob", "1", ""]]
    with (people / "job.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    plan = read_plan(people / "job.csv")
    assert [plan.names[i] for i in plan.source] == ["smile", "0", "1", "2"]
    assert make_job(plan, models()).alone.all()
    (people / "job.toml").write_text(
        'alphas = [1.0]\ntargets = ["bob"]\n[[sources]]\nexpressions = ["smile.png", "ann"]\n'
    )
    product = read_plan(people / "job.toml")
    assert [product.names[i] for i in product.source] == ["smile", "0", "1", "2"]
    (people / "job.toml").write_text('alphas = [1.0]\ntargets = ["bob"]\n[[sources]]\n')
    with pytest.raises(JobErrors, match="needs expressions, may have person"):
        read_plan(people / "job.toml")


def test_a_row_that_needs_its_source_is_named_by_its_line(people: Path) -> None:
    (people / "job.csv").write_text(
        "expression,source,target,alpha,method\nann/0.png,ann,bob,1,paper\nann/0.png,,bob,1,paper\n"
    )
    with pytest.raises(InputError, match="job.csv: line 3: method paper subtracts"):
        make_job(read_plan(people / "job.csv"), linear_models())


def test_of_one_picture_none_is_chosen(people: Path) -> None:
    """`n_neutral` names no picture as neutral that nothing was compared with."""
    asked: list[tuple[str, ...]] = []

    def keep(files: tuple[str, ...]) -> tuple[str, ...]:
        asked.append(files)
        return files

    smile, ann, bob = people / "smile.png", people / "ann", people / "bob"
    plan_transfer([smile], smile, [bob], (1.0,), keep=keep)
    assert not asked
    plan_transfer([smile], ann, [bob], (1.0,), keep=keep)
    assert [len(files) for files in asked] == [3]
