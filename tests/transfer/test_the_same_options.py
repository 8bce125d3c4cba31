"""`batch` takes what `transfer` takes, and the other way round."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import transfer
from glow_jax.cli.main import main, parser_of
from glow_jax.io.errors import InputError
from glow_jax.io.pictures import read_image
from tests.support.batch_command import words
from tests.support.command_line import fails
from transfer.jobs.plan import METHOD_OF_MODEL, kept, plan_of, with_method
from transfer.methods import method_names
from transfer.photos.aligned_faces import Photographs

BOTH = {"--method", "--neutral", "--neutralise", "--align", "--paste-back", "--paste-format"}
BOTH |= {"--format", "--dry-run", "--face", "--precision", "--batch-size", "--model", "--json"}
TRANSFER = "transfer --expression {home}/shots --source {home}/ann --target {home}/bob --alpha 1"


def transfer_words(home: Path, out: Path, *more: str) -> list[str]:
    line = f"{TRANSFER} --model {{home}}/model".format(home=home)
    return [*line.split(), "-o", str(out), *more]


@pytest.mark.parametrize("verb", ["transfer", "batch"])
def test_both_have_these_options(verb: str) -> None:
    flags = {flag for action in parser_of(verb)._actions for flag in action.option_strings}
    assert flags >= BOTH


def test_a_method_is_that_of_rows_without_one() -> None:
    rows = [(0, 0, 0, 1.0)] * 3
    plan = plan_of("a", rows, ["a.png"], {"a": [0]})
    warp, paper = method_names().index("warp"), method_names().index("paper")
    plan = dataclasses.replace(
        plan, method=np.array([METHOD_OF_MODEL, warp, METHOD_OF_MODEL], np.int8)
    )
    named = with_method(plan, "paper")
    assert named.method.tolist() == [paper, warp, paper] and named.method.dtype == np.int8
    assert plan.method.tolist() == [METHOD_OF_MODEL, warp, METHOD_OF_MODEL]
    with pytest.raises(InputError, match="`method` is 'best'; use warp or paper"):
        with_method(plan, "best")


def test_pictures_are_kept_of_people_with_several() -> None:
    plan = plan_of("a", [(0, 0, 1, 1.0)], ["0", "1", "2", "3"], {"a": [0], "b": [3, 1, 2]})
    asked: list[list[str]] = []

    def keep(files):
        asked.append(list(files))
        return [files[0], files[2]]

    assert kept(plan, keep).pictures == [(0,), (3, 2)]
    assert asked == [["3", "1", "2"]]


def test_a_batch_has_a_method(job: Path, tmp_path: Path, capsys) -> None:
    assert "has no expressions.npz" in fails(capsys, words(job, tmp_path / "a", "--method", "warp"))
    assert main(words(job, tmp_path / "b", "--method", "PAPER", "--limit", "1")) == 0
    assert "24 outputs: 24 paper" in capsys.readouterr().err
    assert "invalid choice: 'best'" in fails(capsys, words(job, tmp_path / "c", "--method", "best"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--paste-back"], "--paste-back needs --align"),
        (["--align", "--paste-back", "--format", "webdataset"], "--format webdataset has none"),
        (["--align", "--paste-back", "--shard", "1/2"], "--paste-back and --shard do not go"),
        (["--paste-format", "png"], "--paste-format needs --paste-back"),
        (["--neutral", "0"], "use a whole number from 1"),
    ],
)
def test_what_a_batch_cannot_paste(
    job: Path, tmp_path: Path, capsys, more: list[str], said: str
) -> None:
    assert said in fails(capsys, words(job, tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()


def test_python_says_the_same() -> None:
    photographs = Photographs()
    with pytest.raises(InputError, match="`paste_back` needs `photographs`"):
        transfer.BatchRequest("a.csv", "out", paste_back=True)
    with pytest.raises(InputError, match="`format` tfrecord has none"):
        transfer.BatchRequest(
            "a.csv", "out", paste_back=True, photographs=photographs, format="tfrecord"
        )
    with pytest.raises(InputError, match="merge the shards"):
        transfer.BatchRequest(
            "a.csv", "out", paste_back=True, photographs=photographs, shard=(1, 2)
        )
    with pytest.raises(InputError, match="`n_neutral` is 0"):
        transfer.BatchRequest("a.csv", "out", n_neutral=0)


def test_a_transfer_as_webp(home: Path, tmp_path: Path, capsys) -> None:
    for kind in ("png", "webp"):
        assert main(transfer_words(home, tmp_path / kind, "--format", kind)) == 0
    rows = {}
    for kind in ("png", "webp"):
        with (tmp_path / kind / "results.csv").open(newline="") as file:
            rows[kind] = {row["id"]: row["file"] for row in csv.DictReader(file)}
    assert rows["png"].keys() == rows["webp"].keys() and len(rows["png"]) == 2
    for name, file in rows["webp"].items():
        assert file == rows["png"][name].replace(".png", ".webp")
        np.testing.assert_array_equal(
            read_image(tmp_path / "webp" / file), read_image(tmp_path / "png" / rows["png"][name])
        )
    said = fails(capsys, transfer_words(home, tmp_path / "png", "--format", "webp"))
    assert "another job" in said


def test_a_dry_run_of_a_transfer_makes_nothing(home: Path, tmp_path: Path, capsys) -> None:
    assert main(transfer_words(home, tmp_path / "out", "--dry-run")) == 0
    said = capsys.readouterr().out
    assert "dry run, nothing is kept: 2 outputs of 6 pictures" in said
    assert "measured on 2 outputs" in said and "estimate for this machine" in said
    assert not (tmp_path / "out").exists()
    assert main(transfer_words(home, tmp_path / "out", "--dry-run", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dry_run"] and (found["outputs"], found["pictures"]) == (2, 6)
    assert found["seconds"] > 0 and found["bytes"] > 0
    missing = transfer_words(home, tmp_path / "out", "--dry-run", "--expression", "nowhere")
    assert "nowhere: no such file" in fails(capsys, missing)
