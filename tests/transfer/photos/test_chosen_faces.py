"""Photographs with several faces: which is taken, by a number in the path, and what is said."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval.photographs import read_face
from glow_jax.cli.main import main
from glow_jax.io.errors import InputError
from glow_jax.io.landmarks68 import crop_transform
from tests.support import photographs
from tests.support.command_line import fails
from tests.support.linear import linear_models
from tests.support.photographs import face_of
from transfer.complete import notify_of_unchosen
from transfer.jobs.job import make_job
from transfer.jobs.names import distinct_names, own_name, picture_name
from transfer.jobs.plan import plan_transfer
from transfer.jobs.plan_file import read_plan
from transfer.photos.aligned_faces import AlignedFaces, Photographs, loader_of
from transfer.photos.crop import crop
from transfer.photos.folder import align_folder
from transfer.photos.listing import list_photographs

LEFT = photographs.photograph("36_1", width=700, height=500, scale=0.9, at=(0.28, 0.5))
BOTH = photographs.add(LEFT, "29_1", 1.4, 0, (0.72, 0.5))
SETTINGS = Photographs(64)


def both(pixels: np.ndarray) -> list:
    """A detector that knows both faces of `BOTH`; the right one is the larger."""
    return [face_of(BOTH.landmarks), face_of(LEFT.landmarks)]


@pytest.fixture
def group(tmp_path: Path) -> Path:
    Image.fromarray(BOTH.pixels).save(tmp_path / "group.png")
    return tmp_path / "group.png"


def test_a_number_in_the_path_chooses_the_face(group: Path) -> None:
    faces = AlignedFaces(both, SETTINGS)
    for number, landmarks in ((1, LEFT.landmarks), (2, BOTH.landmarks)):
        wanted = crop(BOTH.pixels, crop_transform(landmarks), 64)
        np.testing.assert_array_equal(faces(f"{group}#{number}"), wanted)
    assert faces.unchosen == {}
    np.testing.assert_array_equal(faces(str(group)), faces(f"{group}#2"))
    with pytest.raises(InputError, match="group.png#3: there is no face 3: 2 found"):
        faces(f"{group}#3")
    # It wins over the setting that all photographs share.
    first = AlignedFaces(both, Photographs(64, which=1))
    np.testing.assert_array_equal(first(f"{group}#2"), faces(f"{group}#2"))
    np.testing.assert_array_equal(first(str(group)), faces(f"{group}#1"))
    assert first.unchosen == {}


def test_a_face_is_read_at_twice_its_size(group: Path) -> None:
    faces = AlignedFaces(both, SETTINGS)
    for number, landmarks in ((1, LEFT.landmarks), (2, BOTH.landmarks)):
        wanted = crop(BOTH.pixels, crop_transform(landmarks), 128)
        np.testing.assert_array_equal(faces.detailed(f"{group}#{number}"), wanted)
    with pytest.raises(InputError, match="group.png#3: there is no face 3: 2 found"):
        faces.detailed(f"{group}#3")


def test_which_face_was_taken_is_said_where_none_was_chosen(group: Path) -> None:
    faces, said = AlignedFaces(both, SETTINGS), list[str]()
    faces(str(group))
    faces(str(group))
    notify_of_unchosen(faces, said.append)
    assert said == [
        f"{group}: 2 faces; the largest was taken, number 2 from the left; {group}#N names another"
    ]
    for n in range(30):
        faces.unchosen[f"{n}.png"] = (1, 2)
    said.clear()
    notify_of_unchosen(faces, said.append)
    assert len(said) == 21 and said[-1].startswith("11 more photographs with several faces")


def test_faces_of_one_photograph_are_pictures_and_people_of_their_own(group: Path) -> None:
    names = [f"{group}#1", f"{group}#2", str(group)]
    assert [picture_name(name) for name in names] == ["group#1", "group#2", "group"]
    assert own_name(Path(names[1])) == "group#2"
    assert distinct_names(names) == ["group#1", "group#2", "group"]
    people = [Path(name) for name in names[:2]]
    plan = plan_transfer([Path(names[0])], None, people, (1.0,), "paper")
    assert plan.files == names[:2] and plan.names == ["group#1", "group#2"]


def test_faces_of_one_photograph_have_ids_of_their_own(group: Path) -> None:
    names = [f"{group}#1", f"{group}#2", str(group)]
    Image.fromarray(LEFT.pixels).save(group.parent / "other.png")
    plan = plan_transfer([Path(n) for n in names], group.parent, [group], (1.0,), "paper")
    job = make_job(plan, linear_models())
    assert len(set(job.ids.tolist())) == 3
    assert len({job.sha256[plan.files.index(name)] for name in names}) == 1


def test_a_job_file_may_name_faces(group: Path) -> None:
    job = group.parent / "job.csv"
    job.write_text("expression,source,target,alpha\ngroup.png#1,,group.png#2,1\n")
    plan = read_plan(job)
    assert [Path(path).name for path in plan.files] == ["group.png#1", "group.png#2"]
    job.write_text("expression,source,target,alpha\ngroup.png#0,,nobody.png#2,1\n")
    with pytest.raises(InputError, match="group.png#0: No such file"):
        read_plan(job)


def test_without_photographs_a_number_is_an_error(
    home: Path, group: Path, tmp_path: Path, capsys
) -> None:
    load, _ = loader_of(None, (64, 64), 3)
    with pytest.raises(InputError, match="the number of a face needs `photographs`"):
        load(f"{group}#1")
    words = ["transfer", "--expression", f"{group}#1", "--target", str(group)]
    words += ["--source", f"{home}/ann", "--model", f"{home}/model"]
    said = fails(capsys, [*words, "-o", f"{tmp_path}/out"])
    assert "the number of a face needs --align" in said
    assert not (tmp_path / "out").exists()
    words[2] = f"{tmp_path}/nobody.png#1"
    assert "nobody.png#1: no such file" in fails(capsys, [*words, "-o", f"{tmp_path}/out"])


def test_align_takes_the_faces_that_are_named(group: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for paths, wanted in (([f"{group}#1"], {1}), ([f"{group}#1", f"{group}#2"], {1, 2})):
        found, _ = list_photographs([Path(path) for path in paths], out)
        for again in (False, True):
            summary = align_folder(found, out, SETTINGS, both)
            assert {crop.row["face"] for crop in summary.people[""]} == wanted
            assert (summary.made, summary.kept) == ((0, len(paths)) if again else (1, summary.kept))
    files = sorted(path.name for path in (out / "faces").iterdir())
    assert [name[-10:] for name in files] == ["_face1.png", "_face2.png"]


def test_the_judge_looks_at_the_face_that_is_named(
    group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.photographs.find_faces", both)
    wanted = crop(BOTH.pixels, crop_transform(LEFT.landmarks), 256).astype(float)
    first, second, whole = (read_face(Path(f"{group}{end}")) for end in ("#1", "#2", ""))
    assert np.abs(first.pixels - wanted).mean() < 15 < np.abs(second.pixels - wanted).mean()
    np.testing.assert_array_equal(whole.pixels, BOTH.pixels)
    assert len({first.sha256, second.sha256, whole.sha256}) == 3
    with pytest.raises(InputError, match="there is no face 3"):
        read_face(Path(f"{group}#3"))


@pytest.mark.slow
def test_the_command_line_says_which_face_was_taken(group: Path, tmp_path: Path, capsys) -> None:
    words = ["align", str(group), "--size", "64", "--no-rank", "-o"]
    assert main([*words, f"{tmp_path}/a"]) == 0
    assert "group.png: 2 faces; the largest was taken, number 2" in capsys.readouterr().err
    words[1] += "#1"
    assert main([*words, f"{tmp_path}/b"]) == 0
    assert "faces" not in capsys.readouterr().err
