"""Links, pipes and folders in a job's folder: nothing outside of it changes."""

import json
import shutil
from pathlib import Path

import pytest

from glow_jax.io.errors import InputError
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from tests.support.linear import contents, linear_models, picture, run
from tests.support.traps import plant, spring, state
from transfer.jobs.job import Job, make_job
from transfer.jobs.merge import merge
from transfer.jobs.plan_file import read_plan
from transfer.jobs.run import Run

MADE_UP = Provenance("trainedAlgorithmicMedia", "test", {})


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Two people; three outputs, in two chunks."""
    folder = tmp_path_factory.mktemp("in")
    for seed, file in enumerate(("ann/0.png", "ann/1.png", "bob/0.png")):
        (folder / file).parent.mkdir(exist_ok=True)
        write_image(folder / file, picture(seed), MADE_UP)
    rows = [f"ann/0.png,ann,bob,{alpha}" for alpha in (0, 0.5, 1)]
    (folder / "job.csv").write_text("\n".join(["expression,source,target,alpha", *rows, ""]))
    return make_job(read_plan(folder / "job.csv"), linear_models(), chunk_size=2)


@pytest.fixture(scope="module")
def done(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The job's folder, finished."""
    out = tmp_path_factory.mktemp("done") / "out"
    go_on(job, out)
    return out


def finished(done: Path, out: Path) -> Path:
    """A copy."""
    return Path(shutil.copytree(done, out))


def go_on(job: Job, out: Path) -> Run:
    return run(job, linear_models(), out, batch_size=2)


LINKS = ("link to a file", "link to nothing", "link to a folder", "hard link")
TABLES = ("people.csv", "inputs.csv", "results.csv", "rows/0000000.csv", "rows/0000001.inputs.csv")


@pytest.mark.parametrize("kind", [*LINKS, "pipe"])
def test_outputs_replace_traps(kind: str, job: Job, done: Path, tmp_path: Path) -> None:
    out = finished(done, tmp_path / "out")
    places = [*(out / name for name in TABLES), min((out / "images").iterdir())]
    for n, place in enumerate(places[1:]):
        plant(kind, place, tmp_path / f"outside{n}")
    before = [state(tmp_path / f"outside{n}") for n in range(len(places) - 1)]
    assert spring(kind, places[0], tmp_path / "outside", lambda: go_on(job, out)) == "works"
    assert [state(tmp_path / f"outside{n}") for n in range(len(places) - 1)] == before
    assert contents(out) == contents(done)
    assert not any(path.is_symlink() for path in out.rglob("*"))


@pytest.mark.parametrize("kind", ["link to a folder", "link to nothing", "pipe"])
@pytest.mark.parametrize("name", ["images", "means", "rows"])
def test_nothing_is_written_through_a_folder_that_is_a_trap(
    name: str, kind: str, job: Job, done: Path, tmp_path: Path
) -> None:
    out = finished(done, tmp_path / "out")
    (out / "rows" / "0000000.csv").unlink()
    said = spring(kind, out / name, tmp_path / "outside", lambda: go_on(job, out))
    why = "is not a folder" if kind == "pipe" else "is a link, which is not followed; remove it"
    assert said == f"{out / name}: {why}"


@pytest.mark.parametrize("name", ["job.json", "results.csv", "rows/0000000.csv", ".lock-1-of-1"])
def test_a_folder_in_a_files_place_ends_in_one_line(
    name: str, job: Job, done: Path, tmp_path: Path
) -> None:
    out = finished(done, tmp_path / "out")
    said = spring("folder", out / name, tmp_path / "outside", lambda: go_on(job, out))
    assert name in said and "\n" not in said


@pytest.mark.parametrize("name", ["images", "rows", "job.json", "people.csv", "rows/0000000.csv"])
def test_a_merge_brings_no_link(name: str, done: Path, tmp_path: Path) -> None:
    for kind in ("link to a file", "link to a folder", "pipe"):
        source, out = finished(done, tmp_path / kind), tmp_path / f"merged {kind}"
        spring(kind, source / name, tmp_path / "outside", lambda: merge([source], out))  # noqa: B023
        there = [path for path in out.rglob("*") if not (path.is_file() or path.is_dir())]
        assert not [path for path in out.rglob("*") if path.is_symlink()] and not there


def test_a_folder_that_is_a_link_itself_is_the_users_will(job: Job, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    assert go_on(job, tmp_path / "out").made == 3
    assert (tmp_path / "disk" / "results.csv").is_file()


@pytest.mark.parametrize(
    ("column", "value"),
    [("round_trip_error", "much"), ("alpha", "auto"), ("row", "9" * 5000), ("line", "9" * 30)],
)
def test_a_strangers_number_ends_in_one_line(
    column: str, value: str, done: Path, tmp_path: Path
) -> None:
    out = finished(done, tmp_path / "out")
    table = out / "rows" / "0000000.csv"
    head, first, *rest = table.read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index(column)] = value
    table.write_text("\n".join([head, ",".join(cells), *rest, ""]))
    with pytest.raises(InputError, match=f"0000000.csv: {column} is .*, which is not a number"):
        merge([out], out)


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": 10**12},
        {"chunks": -1},
        {"chunk_size": True},
        {"digest": 3},
        {"how": []},
        {"outputs": 1e9},
    ],
)
def test_a_strangers_job_ends_in_one_line(change: dict, done: Path, tmp_path: Path) -> None:
    out = finished(done, tmp_path / "out")
    told = json.loads((out / "job.json").read_text())
    (out / "job.json").write_text(json.dumps(told | change))
    with pytest.raises(InputError, match=r"job\.json: not a readable job"):
        merge([out], out)
    (out / "job.json").write_text(json.dumps(told | {"outputs": 2**31, "chunks": 2**31}))
    assert merge([out], out).outputs == 3  # as many as there are tables, whatever it says
