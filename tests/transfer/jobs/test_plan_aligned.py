"""Jobs whose people are the crops that `glow-jax align` wrote."""

import json
from pathlib import Path

import numpy as np
import pytest

from glow_jax.io.errors import InputError
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from transfer.jobs.plan import Plan, plan_transfer
from transfer.jobs.plan_file import read_plan

PICTURE = np.zeros((4, 4, 3), np.uint8)


def write(path: Path, recipe: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, PICTURE, Provenance("compositeSynthetic", "a", recipe))


def aligned(out: Path, *crops: str) -> Path:
    for crop in crops:
        write(out / "faces" / crop, {"box": [0, 0, 1, 1]})
    write(out / "sheet.png", {"sheet": True})
    (out / "align.json").write_text(json.dumps({"align": 1, "detector": "dlib"}))
    return out


def product(folder: Path, *targets: str, person: str = "crops/faces/ann") -> Plan:
    job = folder / "job.toml"
    job.write_text(
        f"targets = {list(targets)}\nalphas = [1]\n"
        f'[[sources]]\nperson = "{person}"\nexpressions = ["crops/faces/ann/1.png"]\n'
    )
    return read_plan(job)


def pictures(plan: Plan) -> dict[str, list[str]]:
    return {
        n: [Path(plan.files[i]).name for i in p]
        for n, p in zip(plan.names, plan.pictures, strict=True)
    }


@pytest.mark.parametrize("text", ["crops", "crops/", "crops/faces", "crops/faces/*"])
def test_everybody_in_aligns_folder_is_a_target(tmp_path: Path, text: str) -> None:
    aligned(tmp_path / "crops", "ann/1.png", "ann/2.png", "ben/1.png", "cid/1.png")
    plan = product(tmp_path, text)
    assert pictures(plan) == {"ann": ["1.png", "2.png"], "ben": ["1.png"], "cid": ["1.png"]}
    assert len(plan) == 3


def test_one_person_of_aligns_folder_in_a_table(tmp_path: Path) -> None:
    aligned(tmp_path / "one", "ann/1.png", "ann/2.png")
    aligned(tmp_path / "crops", "ann/1.png", "ben/1.png")
    table = tmp_path / "job.csv"
    head = "expression,source,target,alpha\n"
    table.write_text(f"{head}one/faces/ann/2.png,one,crops/faces/ben,1\n")
    assert pictures(read_plan(table)) == {"ann": ["1.png", "2.png"], "ben": ["1.png"]}
    table.write_text(f"{head}one/faces/ann/2.png,one,crops,1\n")
    with pytest.raises(InputError, match="line 2: .*pictures of 2 people; name one"):
        read_plan(table)


def test_a_transfer_takes_the_crops_of_one_person(tmp_path: Path) -> None:
    ann = aligned(tmp_path / "ann-crops", "ann/1.png", "ann/2.png")
    ben = aligned(tmp_path / "ben-crops", "1.png")
    plan = plan_transfer([ann], ann, [ben], (1.0,))
    assert plan.names == ["ann", "ben-crops"] and [len(p) for p in plan.pictures] == [2, 1]


def test_what_a_pattern_leaves_out_is_named(tmp_path: Path) -> None:
    aligned(tmp_path / "crops", "ann/1.png")
    write(tmp_path / "people/ben.png", {})
    write(tmp_path / "people/ben_sheet.png", {"sheet": True})
    (tmp_path / "people/ben.txt").write_bytes(b"")
    plan = product(tmp_path, "people/ben*")
    assert pictures(plan)["ben"] == ["ben.png"]
    (note,) = plan.notes
    assert note.startswith("people/ben*: left out 1 file that is not PNG")
    assert note.endswith("(.txt 1), 1 picture that glow-jax wrote beside others")
