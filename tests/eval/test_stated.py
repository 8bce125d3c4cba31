"""What an edit states, in the judge's intensities, and how a folder of edits is read."""

import json
from pathlib import Path

import numpy as np
import pytest

from eval.stated import wanted
from eval.study import read_study
from eval.table import AUS
from glow_jax.io.errors import InputError
from transfer.expression.edits import Edit

SHOWN = np.linspace(0, 2, len(AUS))


def at(levels: np.ndarray, au: str) -> float:
    return float(levels[AUS.index(au)])


def test_what_is_stated_is_five_times_the_activation() -> None:
    """In the words that an edit has for itself."""
    found = wanted(Edit(set={"AU12": 0.8}, add={"AU4": -0.2, "AU45": 0.1}).text, SHOWN)
    assert at(found, "AU12") == pytest.approx(4)
    assert at(found, "AU04") == 0  # below neutral there are no intensities
    assert at(found, "AU45") == pytest.approx(at(SHOWN, "AU45") + 0.5)
    same = [i for i, au in enumerate(AUS) if au not in ("AU12", "AU04", "AU45")]
    np.testing.assert_array_equal(found[same], SHOWN[same])


def test_neutral_is_zero_where_nothing_else_is_stated() -> None:
    found = wanted(Edit(set={"smile": 0.5}, neutral=True).text, SHOWN)
    assert at(found, "AU12") == 2.5 and np.count_nonzero(found) == 1


def test_what_the_judge_does_not_know_stays_unknown() -> None:
    nothing = np.full(len(AUS), np.nan)
    assert np.isnan(wanted("neutral, AU12=0.5, AU1+0.2", nothing)).all()
    assert wanted("AU18=0.5, AU24=1", SHOWN).tolist() == SHOWN.tolist()  # AUs of no judge


def folder(path: Path, **job: object) -> Path:
    """One output, with a job.json that lists nothing."""
    path.mkdir()
    head, row = "id,expression,source,target,alpha,file,note", "0,a.png,a,a,1,a1.png,absolute"
    (path / "results.csv").write_text(f"{head}\n{row}\n")
    (path / "people.csv").write_text("person,file\na,a.png\n")
    known = {"model": {"name": "faces64"}, "precision": "exact", "method": "edit", "versions": {}}
    (path / "job.json").write_text(json.dumps(known | job))
    return path


def test_a_folder_of_edits_says_what_was_done(tmp_path: Path) -> None:
    study = read_study(folder(tmp_path / "out", how={"edit": "AU12=0.8"}))
    assert study.edit == "AU12=0.8" and study.absolute == frozenset()
    assert study.people == {"a": [Path("a.png")]}
    study = read_study(folder(tmp_path / "other", method="warp"))
    assert study.edit == "" and study.absolute == {"0"}
    with pytest.raises(InputError, match=r"not a job\.json of transfer or batch"):
        read_study(folder(tmp_path / "third", how={"edit": "x" * 9}))
