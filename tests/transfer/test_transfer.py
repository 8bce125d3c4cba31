"""The transfer job: planning, running, resuming; the contact sheet."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance, read_provenance
from tests.support.linear import SIZE, linear_models, picture, rows_of, run
from transfer.cli.report import exit_code, lines_of_totals
from transfer.codec import to_bytes
from transfer.jobs.alphas import large_alpha_line, parse_alphas
from transfer.jobs.inputs import check_inputs
from transfer.jobs.job import Job, make_job
from transfer.jobs.plan import plan_transfer
from transfer.jobs.plan_edit import plan_edits
from transfer.jobs.plan_file import read_plan
from transfer.jobs.sheet import grid, job_sheet
from transfer.methods.base import Models


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two people with three pictures each, and two expressions of the first."""
    provenance = Provenance("trainedAlgorithmicMedia", "test", {})
    for name, seeds in {"ann": (1, 2, 3), "bob": (4, 5, 6), "shots": (7, 8)}.items():
        (tmp_path / "in" / name).mkdir(parents=True)
        for seed in seeds:
            write_image(tmp_path / "in" / name / f"{seed}.png", picture(seed), provenance)
    return tmp_path / "in"


def plan(people: Path, models: Models, alphas=(0.0, 0.5, 1.0), **options) -> Job:
    shots, ann, bob = people / "shots", people / "ann", people / "bob"
    return make_job(plan_transfer([shots], ann, [bob], alphas), models, **options)


def read(path: str) -> np.ndarray:
    return read_image(path, SIZE)


def test_outputs_are_the_papers_formula(people: Path, tmp_path: Path) -> None:
    models, out = linear_models(), tmp_path / "out"
    job = plan(people, models)
    summary = run(job, models, out, batch_size=4)
    assert (summary.made, summary.kept, summary.totals.non_finite) == (6, 0, 0)
    ann = np.mean([picture(i) + 0.5 for i in (1, 2, 3)], axis=0)
    bob = np.mean([picture(i) + 0.5 for i in (4, 5, 6)], axis=0)
    for item in job.items:
        shot = picture(int(Path(item.expression).stem)) + 0.5
        want = to_bytes((bob + item.alpha * (shot - ann))[None])[0].astype(int)
        got = read_image(out / item.file).astype(int)
        assert np.abs(got - want).max() <= 1  # float32 sums may cross a byte's edge
        if item.alpha == 0:
            np.testing.assert_array_equal(got, read_image(out / "means" / "target_bob.png"))


def test_a_job_folder_holds_all_that_is_promised(people: Path, tmp_path: Path) -> None:
    models, out = linear_models(), tmp_path / "out"
    job = plan(people, models)
    run(job, models, out, batch_size=4)
    rows = rows_of(out)
    assert [r["id"] for r in rows] == [i.id for i in job.items]
    assert {(r["target"], r["source"]) for r in rows} == {("bob", "ann")}
    assert all(float(r["round_trip_error"]) == 0 for r in rows)
    assert len(rows_of(out, "inputs.csv")) == 8
    described = json.loads((out / "job.json").read_text())
    assert described["model"] == {"name": "linear", "fingerprint": "f" * 64}
    assert described["alphas"] == [0, 0.5, 1]
    assert {r["person"] for r in rows_of(out, "people.csv")} == {"ann", "bob"}
    assert len(rows_of(out, "people.csv")) == 6
    assert not (out / "failures.csv").exists()
    record = read_provenance(out / rows[1]["file"])
    assert record is not None
    assert record.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert record.recipe["alpha"] == 0.5
    assert record.recipe["id"] == rows[1]["id"]


def test_an_interrupted_run_goes_on_where_it_stopped(people: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(plan(people, linear_models(), chunk_size=2), linear_models(), whole, batch_size=2)
    calls = []

    def failing(latents):
        calls.append(1)
        if len(calls) == 8:  # 4 encode checks, 2 means, 1 batch of outputs, then death
            raise KeyboardInterrupt
        return np.asarray(latents[0])

    job, dying = plan(people, linear_models(), chunk_size=2), linear_models(decode=failing)
    with pytest.raises(KeyboardInterrupt):
        run(job, dying, broken, batch_size=2)
    assert len(rows_of(broken, "rows/0000000.csv")) == 2
    summary = run(job, linear_models(), broken, batch_size=2)
    assert (summary.made, summary.kept) == (4, 2)
    for item in job.items:
        assert (broken / item.file).read_bytes() == (whole / item.file).read_bytes()
    again = run(job, linear_models(), broken, batch_size=2)
    assert (again.made, again.kept) == (0, 6)


def test_a_lost_or_damaged_picture_is_made_again(people: Path, tmp_path: Path) -> None:
    models, out = linear_models(), tmp_path / "out"
    job = plan(people, models, chunk_size=2)
    run(job, models, out, batch_size=4)
    items = list(job.items)
    (out / items[3].file).unlink()
    (out / items[4].file).write_bytes(b"")
    summary = run(job, models, out, batch_size=4)
    assert (summary.made, summary.kept) == (4, 2)  # the two chunks that they are in
    assert (out / items[3].file).is_file()
    assert read_image(out / items[4].file).shape == (*SIZE, 3)


@pytest.mark.parametrize(
    "damage",
    [b"", b"\0\0\0", b"\xff\xfe", b"id\n", b"id,file\nx\n", b'"', b"id,file\n,,,,\n" * 9],
)
def test_a_damaged_table_is_made_again(people: Path, tmp_path: Path, damage: bytes) -> None:
    models, out = linear_models(), tmp_path / "out"
    job = plan(people, models, (0.5,))
    run(job, models, out, batch_size=4)
    whole = (out / "results.csv").read_bytes()
    for name, made in {"results": 0, "rows/0000000": 2, "rows/0000000.inputs": 2}.items():
        (out / f"{name}.csv").write_bytes(damage)
        assert run(job, models, out, batch_size=4).made == made
        assert without_seconds((out / "results.csv").read_bytes()) == without_seconds(whole)
        assert len(rows_of(out, "inputs.csv")) == 8


def without_seconds(table: bytes) -> list[list[str]]:
    rows = list(csv.reader(table.decode().splitlines()))
    at = rows[0].index("seconds")
    return [row[:at] + row[at + 1 :] for row in rows]


def test_a_table_of_rows_cut_anywhere_still_ends_whole(people: Path, tmp_path: Path) -> None:
    models, out = linear_models(), tmp_path / "out"
    job = plan(people, models, (0.5,))
    run(job, models, out, batch_size=4)
    results = without_seconds((out / "results.csv").read_bytes())
    for name in ("0000000.csv", "0000000.inputs.csv"):
        table = (out / "rows" / name).read_bytes()
        for cut in range(0, len(table), 61):
            (out / "rows" / name).write_bytes(table[:cut])
            assert run(job, models, out, batch_size=4).made == 2
            assert without_seconds((out / "results.csv").read_bytes()) == results


def test_another_job_does_not_overwrite_a_folder(people: Path, tmp_path: Path) -> None:
    models, out = linear_models(), tmp_path / "out"
    run(plan(people, models), models, out, batch_size=4)
    with pytest.raises(InputError, match="another job"):
        run(plan(people, models, (0.7,)), models, out, batch_size=4)
    with pytest.raises(InputError, match="no glow-jax job"):
        run(plan(people, models), models, people, batch_size=4)
    (out / "job.json").write_text("{")
    with pytest.raises(InputError, match="not a readable job"):
        run(plan(people, models), models, out, batch_size=4)


def test_a_link_to_itself_is_planned_and_reported_when_it_is_read(people: Path) -> None:
    for name in ("shots", "bob"):
        (people / name / "loop.png").symlink_to("loop.png")
    asked = plan_transfer([people / "shots"], None, [people / "bob"], (1.0,))
    edits = plan_edits([people / "bob"], (1.0,), "edit", "smile")
    assert [len(asked), len(edits)] == [3, 4]
    for planned in (asked, edits):
        assert str(people / "bob" / "loop.png") in planned.files
    skipped = check_inputs(plan(people, linear_models()), read)
    assert len(skipped) == 2 and all("Too many levels" in trouble.reason for trouble in skipped)


def test_bad_pictures_are_listed_and_left_out(people: Path, tmp_path: Path) -> None:
    (people / "bob" / "broken.png").write_bytes(b"not a picture")
    (people / "shots" / "empty.webp").write_bytes(b"")
    models, out = linear_models(), tmp_path / "out"
    job = plan(people, models)
    assert len(check_inputs(job, read)) == 2
    assert len(job.order) == 9
    totals = run(job, models, out, batch_size=4).totals
    assert (totals.outputs, totals.failed, totals.bad_inputs, totals.missing) == (6, 3, 2, 0)
    rows = rows_of(out, "failures.csv")
    pictures, outputs = ([r for r in rows if bool(r["id"]) == made] for made in (False, True))
    assert {Path(r["path"]).name for r in pictures} == {"empty.webp", "broken.png"}
    assert {Path(r["path"]).name for r in outputs} == {"empty.webp"}
    assert all(r["stage"] == "read" and "empty" in r["reason"] for r in outputs)
    assert len(rows_of(out)) == 6
    ann = np.mean([picture(i) + 0.5 for i in (1, 2, 3)], axis=0)
    bob = np.mean([picture(i) + 0.5 for i in (4, 5, 6)], axis=0)  # without the broken one
    for row in rows_of(out):
        shot = picture(int(Path(row["expression"]).stem)) + 0.5
        want = to_bytes((bob + float(row["alpha"]) * (shot - ann))[None])[0].astype(int)
        assert np.abs(read_image(out / row["file"]).astype(int) - want).max() <= 1


def test_a_person_without_a_usable_picture_is_an_error(people: Path) -> None:
    for file in (people / "bob").iterdir():
        file.write_bytes(b"")
    job = plan(people, linear_models())
    with pytest.raises(InputError, match="bob: no picture can be used"):
        check_inputs(job, read)
    with pytest.raises(InputError, match="glow-jax align"):
        check_inputs(job, lambda path: read_image(path, (16, 16)))


def test_a_target_without_a_usable_picture_does_not_stop_the_others(people: Path) -> None:
    (people / "cid").mkdir()
    (people / "cid" / "1.png").write_bytes(b"")
    asked = plan_transfer(
        [people / "shots"], people / "ann", [people / "bob", people / "cid"], (0.0,)
    )
    job = make_job(asked, linear_models())
    assert [Path(t.path).parent.name for t in check_inputs(job, read)] == ["cid"]


def test_a_target_may_be_called_like_the_source(people: Path, tmp_path: Path) -> None:
    (people / "other").mkdir()
    (people / "bob").rename(people / "other" / "ann")
    models, out = linear_models(), tmp_path / "out"
    asked = plan_transfer([people / "shots"], people / "ann", [people / "other" / "ann"], (0.0,))
    job = make_job(asked, models)
    run(job, models, out, batch_size=4)
    assert {(r["source"], r["target"]) for r in rows_of(out)} == {("in/ann", "other/ann")}
    bob = np.mean([picture(i) + 0.5 for i in (4, 5, 6)], axis=0)
    got = read_image(out / next(job.items).file).astype(int)
    assert np.abs(got - np.floor(bob)).max() <= 1


def test_equal_expressions_are_made_once(people: Path) -> None:
    (people / "shots" / "7.png").with_name("copy.png").write_bytes(
        (people / "shots" / "7.png").read_bytes()
    )
    job = plan(people, linear_models())
    assert len(job.order) == len({i.id for i in job.items}) == 6
    assert job.duplicates == 3


def test_precision_is_part_of_an_items_identity(people: Path) -> None:
    exact = {i.id for i in plan(people, linear_models()).items}
    assert not exact & {i.id for i in plan(people, linear_models(precision="fast")).items}


def test_targets_need_different_names(people: Path) -> None:
    with pytest.raises(InputError, match="two targets are called 'bob'"):
        plan_transfer([people / "shots"], people / "ann", [people / "bob"] * 2, (0.5,))


def test_ids_depend_on_content_and_not_on_names(people: Path) -> None:
    first = plan(people, linear_models())
    (people / "shots" / "7.png").rename(people / "shots" / "smile.png")
    second = plan(people, linear_models())
    assert {i.id for i in first.items} == {i.id for i in second.items}
    assert len({i.id for i in first.items}) == 6
    other_model = plan(people, linear_models(fingerprint="0" * 64))
    assert not {i.id for i in first.items} & {i.id for i in other_model.items}


def test_what_misses_the_round_trip_is_redone_in_exact(people: Path, tmp_path: Path) -> None:
    exact = linear_models().codec
    fast = linear_models(decode=lambda z: np.asarray(z[0]) + 0.75, exact=exact)
    job = plan(people, fast)
    summary = run(job, fast, tmp_path / "out", batch_size=4)
    assert summary.totals.redone == 8
    assert summary.totals.max_error == 0
    assert {r["redone_in_exact"] for r in rows_of(tmp_path / "out", "inputs.csv")} == {"1"}


@pytest.mark.parametrize(("bound", "redone"), [(0.5, 0), (0.01, 8)])
def test_a_codec_says_which_round_trip_it_must_meet(
    people: Path, tmp_path: Path, bound: float, redone: int
) -> None:
    """An error of 0.25 grey levels changes no byte, and misses the bound of three-pass products."""
    models = linear_models(decode=lambda z: np.asarray(z[0]) + 0.25, exact=linear_models().codec)
    codec = dataclasses.replace(models.codec, round_trip_bound=bound)
    models = dataclasses.replace(models, codec=codec)
    summary = run(plan(people, models), models, tmp_path / "out", batch_size=4)
    assert summary.totals.redone == redone


def test_non_finite_pixels_are_grey_and_counted(people: Path, tmp_path: Path) -> None:
    def decode(latents):
        grey = np.array(latents[0])
        grey[:, 2, 3, 1] = np.nan
        return grey

    models, out = linear_models(decode=decode), tmp_path / "out"
    job = plan(people, models)
    summary = run(job, models, out, batch_size=4)
    assert summary.totals.non_finite == 6
    assert summary.totals.max_error == np.inf
    assert {r["non_finite_pixels"] for r in rows_of(out)} == {"1"}
    assert read_image(out / next(job.items).file)[2, 3, 1] == 127


def test_to_bytes_inverts_bin_centres() -> None:
    values = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(to_bytes(values + 0.5), values)
    odd = np.array([-3.0, 300.0, np.inf, np.nan]).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(to_bytes(odd).ravel(), [0, 255, 127, 127])


def test_alphas() -> None:
    assert parse_alphas(["0.3", "1"]) == (0.3, 1.0)
    assert parse_alphas(["0.30:0.50:0.02"]) == tuple(round(0.3 + 0.02 * i, 10) for i in range(11))
    assert parse_alphas(["0.5", "0.5:0.5:1"]) == (0.5,)
    assert large_alpha_line(np.array([0.5, np.nan, 2.0])) is None
    assert large_alpha_line(np.array([])) is None
    said = large_alpha_line(np.array([1, -5, np.nan]))
    assert said is not None and said.startswith("alpha -5: beyond 2 and -2 faces may tear")


@pytest.mark.parametrize(
    ("word", "ends"),
    [("0:1:0.3", "0.9 or 1.2"), ("-1:0.5:1", "0 or 1"), ("0.2:0.3:1", "0.2 or 1.2")],
)
def test_a_range_whose_steps_miss_its_end_is_refused(word: str, ends: str) -> None:
    with pytest.raises(InputError, match=f"{word}.*no whole number of STEPs.*end at {ends},"):
        parse_alphas([word])


def test_the_sheet_shows_every_row_and_column(people: Path, tmp_path: Path) -> None:
    models, out = linear_models(), tmp_path / "out"
    job = plan(people, models)
    run(job, models, out, batch_size=4)
    sheet = job_sheet(job, out, read)
    assert sheet.shape == (28 + 2 * (128 + 28), 6 + 6 * (128 + 6), 3)
    tile = sheet[28:156, 6:134].astype(int)  # the first expression, enlarged
    assert abs(tile.mean() - picture(7).mean()) < 2


def test_grid_keeps_large_tiles() -> None:
    tile = np.zeros((256, 256, 3), np.uint8)
    assert grid([[tile, tile]], ["a", "b"], ["row"]).shape[1] == 6 + 2 * 262


def test_a_cell_without_a_picture_says_so_and_is_not_white() -> None:
    tile = np.zeros((128, 128, 3), np.uint8)
    cell = grid([[tile, "not made"]], ["a", "b"], ["row"])[28:156, 140:268]
    assert cell.min() < 130 and (cell != 255).all()  # words on the sheet's background


def test_a_model_without_expressions_refuses_to_warp_in_one_line(people: Path) -> None:
    with pytest.raises(InputError, match=r"model 'linear' has no expressions\.npz") as caught:
        make_job(
            plan_transfer([people / "shots"], people / "ann", [people / "bob"], (1.0,), "warp"),
            linear_models(),
        )
    assert str(caught.value).isprintable() and "`method` paper" in str(caught.value)


def test_outputs_that_only_partly_decode_say_so(people: Path, tmp_path: Path) -> None:
    """Latents too far from a picture's do not decode; half of the edit does."""

    def decode(latents):
        grey = np.array(latents[0])
        grey[np.abs(grey - 128).max((1, 2, 3)) > 300] = np.nan
        return grey

    models, out = linear_models(decode=decode), tmp_path / "out"
    job = plan(people, models, (0.5, 4.0, 1000.0))
    summary = run(job, models, out, batch_size=4)
    assert summary.totals.non_finite == 0 and summary.totals.reduced == 4
    assert exit_code(summary.totals) == 0
    said = "\n".join(lines_of_totals(summary.totals, out))
    assert "4 images have less of the expression than alpha says" in said
    kept = {(r["alpha"]): float(r["edit_kept"]) for r in rows_of(out)}
    assert kept["0.5"] == 1 and 0 < kept["4.0"] < 1 and kept["1000.0"] == 0
    base = read_image(out / "means" / "target_bob.png")
    np.testing.assert_array_equal(read_image(out / list(job.items)[2].file), base)


def test_files_that_are_left_out_of_a_person_are_named(people: Path) -> None:
    (people / "bob" / "7.tiff").write_bytes(b"")
    asked = plan_transfer([people / "shots"], people / "ann", [people / "bob"], (0.5,))
    (note,) = asked.notes
    assert "bob: left out 1 file that is not PNG, JPEG, WebP" in note
    table = people / "job.csv"
    table.write_text("expression,source,target,alpha\nshots,ann,bob,1\nshots,ann,bob,2\n")
    assert read_plan(table).notes == (note,)
