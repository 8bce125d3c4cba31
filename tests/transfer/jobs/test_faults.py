"""One item of a batch raises what nobody expects: it is listed with its cause, the others made."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance
from tests.support.linear import SIZE, linear_models, picture, rows_of
from transfer.jobs import commit
from transfer.jobs.inputs import Inputs
from transfer.jobs.job import Job, make_job
from transfer.jobs.plan_file import read_plan
from transfer.jobs.run import Run, run
from transfer.methods.paper import Paper

EXCEPTIONS = [
    InputError("1.png: no picture"),
    ValueError("odd"),
    OSError(errno.EIO, "Input/output error"),
    MemoryError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    RecursionError("too deep"),
    KeyError("name"),
    ZeroDivisionError(),
]
NAMES = [type(e).__name__ for e in EXCEPTIONS]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three people with two pictures each; each picture of ann on bob and on cat."""
    for i, name in enumerate(("ann", "bob", "cat")):
        (tmp_path / name).mkdir()
        for k in range(2):
            made = Provenance("trainedAlgorithmicMedia", "test", {})
            write_image(tmp_path / name / f"{k}.png", picture(2 * i + k), made)
    (tmp_path / "job.csv").write_text(
        "expression,source,target,alpha\nann,ann,bob,1\nann,ann,cat,1\n", encoding="utf-8"
    )
    return tmp_path


def job_of(home: Path, **options: int) -> Job:
    return make_job(read_plan(home / "job.csv"), linear_models(), **({"chunk_size": 2} | options))


def make(home: Path, out: str, load: Callable | None = None, **options: int) -> Run:
    options = {"batch_size": 2, "cache_bytes": 4 * 10**6} | options
    return run(
        job_of(home),
        linear_models(),
        home / out,
        versions={},
        load=load,
        **options,
    )


def pictures_of(home: Path, out: str) -> dict[str, bytes]:
    return {row["id"]: (home / out / row["file"]).read_bytes() for row in rows_of(home / out)}


@pytest.fixture
def undisturbed(home: Path) -> dict[str, bytes]:
    make(home, "undisturbed")
    return pictures_of(home, "undisturbed")


def reasons(home: Path, out: str, stage: str) -> list[str]:
    return [r["reason"] for r in rows_of(home / out, "failures.csv") if r["stage"] == stage]


@pytest.mark.parametrize("error", EXCEPTIONS, ids=NAMES)
def test_a_reader_that_raises(home: Path, undisturbed: dict, error: Exception) -> None:
    def load(path: str) -> np.ndarray:
        if path.endswith("ann/1.png"):
            raise error
        return read_image(path, SIZE)

    done = make(home, "out", load)
    # Its two outputs cannot be made; those of the other picture can, of one picture fewer.
    assert (done.made, done.totals.failed, done.totals.bad_inputs) == (2, 2, 1)
    (why,) = set(reasons(home, "out", "read"))
    told = {MemoryError: "MemoryError", OSError: "Input/output error"}
    assert "1.png: " in why and told.get(type(error), str(error)) in why and why.isprintable()


def twice(path: str, seen: dict[str, int]) -> np.ndarray:
    seen[path] = seen.get(path, 0) + 1
    if path.endswith("cat/1.png") and seen[path] > 1:
        raise OSError(errno.ENOENT, "No such file or directory")
    return read_image(path, SIZE)


def test_a_picture_that_is_gone_when_it_is_read_again(home: Path, undisturbed: dict) -> None:
    seen: dict[str, int] = {}
    done = make(home, "out", lambda path: twice(path, seen), cache_bytes=1)
    assert done.encoded_again and seen[str(home / "cat/1.png")] > 1
    made = pictures_of(home, "out")
    assert (len(made), done.totals.failed) == (2, 2)
    assert made == {i: data for i, data in undisturbed.items() if i in made}
    assert all("changed during the run" in why for why in reasons(home, "out", "prepare"))


@pytest.mark.parametrize("error", EXCEPTIONS, ids=NAMES)
def test_a_person_whose_mean_raises(
    home: Path, undisturbed: dict, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    mean = Inputs.mean

    def raising(inputs: Inputs, person: int) -> np.ndarray:
        if inputs.job.plan.names[person] == "cat":
            raise error
        return mean(inputs, person)

    monkeypatch.setattr(Inputs, "mean", raising)
    done = make(home, "out", batch_size=4)
    made = pictures_of(home, "out")
    assert (len(made), done.totals.failed, len(reasons(home, "out", "prepare"))) == (2, 2, 2)
    assert made == {i: data for i, data in undisturbed.items() if i in made}


def test_a_batch_that_cannot_be_edited(
    home: Path, undisturbed: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit, calls = Paper.edit, iter(range(100))

    def raising(method: Paper, prepared: object, alphas: np.ndarray) -> object:
        if next(calls) == 0:
            raise FloatingPointError("overflow")
        return edit(method, prepared, alphas)

    monkeypatch.setattr(Paper, "edit", raising)
    done = make(home, "out")
    assert (done.made, done.totals.failed) == (2, 2)
    assert all("FloatingPointError: overflow" in why for why in reasons(home, "out", "edit"))
    assert make(home, "out", retry_failed=True).totals.failed == 0
    assert pictures_of(home, "out") == undisturbed


def failing_once(error: Exception) -> Callable:
    names: Iterator[int] = iter(range(100))
    encode = commit.image_bytes

    def raising(*args: object) -> bytes:
        if next(names) == 1:
            raise error
        return encode(*args)  # type: ignore[arg-type]

    return raising


@pytest.mark.parametrize("error", EXCEPTIONS, ids=NAMES)
def test_a_picture_that_cannot_be_written(
    home: Path, undisturbed: dict, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "image_bytes", failing_once(error))
    done = make(home, "out")
    assert (done.made, done.totals.failed, len(reasons(home, "out", "write"))) == (3, 1, 1)
    monkeypatch.undo()
    assert make(home, "out", retry_failed=True).totals.failed == 0
    assert pictures_of(home, "out") == undisturbed


def test_a_full_disk_ends_the_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "image_bytes", failing_once(OutputError("out: the disk is full")))
    with pytest.raises(OutputError, match="the disk is full"):
        make(home, "out")


def test_a_folder_where_a_picture_should_be(home: Path) -> None:
    file = home / "out" / next(job_of(home).items).file
    make(home, "out")
    file.unlink()
    file.mkdir()
    (file / "kept").write_text("mine")
    assert make(home, "out").totals.failed == 1
    assert (file / "kept").read_text() == "mine"
    (why,) = reasons(home, "out", "write")
    assert "cannot be written (Is a directory)" in why
