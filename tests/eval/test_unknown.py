"""NaN: what is not known stays unknown in every figure, comparison and sentence of the judge."""

import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from eval.identity import Embedding
from eval.judge import _alike, _identity
from eval.openface_tool import read_openface_csv
from eval.protocol import figures
from eval.protocol.alphas import recommended_alpha
from eval.reading import Reading
from eval.references import MEAN_FACE
from eval.report.sections import au_bars
from eval.run import summary
from eval.scoring import ScoreCache, Scored
from eval.study import Study
from eval.table import AUS
from glow_jax.io.errors import InputError
from tests.support.made_up_scores import made_up

ROW = {"source": "eve", "target": "ann"}


class Model:
    """Distances as a metric gives them that divides by a length of 0."""

    threshold = 0.5

    def distance(self, one: np.ndarray, other: np.ndarray) -> float:
        return float(np.abs(one - other).sum()) if one.any() and other.any() else np.nan


STUDY = object.__new__(Study)  # of which `_identity` asks the method alone
object.__setattr__(STUDY, "about", {})


def person(*vectors: list[float]) -> Any:
    arrays = [np.array(vector) for vector in vectors]
    return SimpleNamespace(vectors=arrays, mean_vector=np.mean(arrays, axis=0))


@pytest.mark.parametrize("order", [1, -1])
def test_an_unknown_distance_to_a_photograph_makes_the_nearest_unknown(order: int) -> None:
    output = Scored(embedding=Embedding(1, np.array([1.0, 0.0])))
    photographs = [[0.0, 0.0], [1.0, 0.2]][::order]
    people = {"ann": person(*photographs), "eve": person([0.0, 1.0])}
    found = _identity(output, ROW, people, Model(), STUDY)  # type: ignore[arg-type]
    assert np.isnan(found["to_target_nearest"])
    assert np.isfinite(found["to_target_mean"]) and found["to_source_mean"] == 2.0


def test_an_unknown_distance_is_neither_verified_nor_refused() -> None:
    output = Scored(embedding=Embedding(1, np.zeros(2)))
    people = {"ann": person([1.0, 0.0]), "eve": person([0.0, 1.0])}
    found = _identity(output, ROW, people, Model(), STUDY)  # type: ignore[arg-type]
    assert np.isnan(found["to_target_mean"]) and "verified" not in found


def test_pairs_of_unknown_distance_are_counted() -> None:
    people = {"ann": person([0.0, 0.0]), "bob": person([1.0, 0.1]), "eve": person([1.0, 0.0])}
    rows = [{"source": "eve", "target": target} for target in ("ann", "bob")]
    text = _alike(people, rows, Model())  # type: ignore[arg-type]
    assert text.startswith("source and target means are 0.10 to 0.10 apart (1 of 2 pairs; the")
    assert "in 1 of 1 pair within the threshold of 0.5" in text
    assert _alike(people, rows[:1], Model()) == ""  # type: ignore[arg-type]


def test_alpha_is_recommended_with_a_warning_where_no_transfer_is_unknown() -> None:
    identity = [{"alpha": 0.5, "nearer": {"rate": 1.0}}]
    expression = [{"alpha": 0.5, "error": {"reference": 0.4}}]
    known, unknown = (recommended_alpha(identity, expression, x) for x in (0.5, np.nan))
    assert known["alpha"] == unknown["alpha"] == 0.5
    assert (
        "not known" not in known["why"]
        and "beats no transfer at all is not known" in unknown["why"]
    )
    assert "the 1 of 1 alpha at which" in known["why"]


def test_outputs_that_never_change_have_no_correlation_but_a_gain() -> None:
    scores = made_up(gain=0.0)
    for au in AUS:
        scores[au] = scores[f"{au}_target"]
    found = figures(scores, resamples=5)
    assert found["expression"]["gain"]["value"] == 0
    assert found["expression"]["correlation"]["value"] is None
    assert "AU gain 0.00, r undefined" in summary(found)


def test_an_unknown_score_is_in_no_rate_and_lowers_no_count_of_the_known() -> None:
    scores = made_up()
    scores.loc[:2, ["to_source_mean", "verified"]] = np.nan
    identity = figures(scores, resamples=5)["identity"]
    assert identity["nearer"] == identity["nearer"] | {"count": 9, "of": 9}
    assert identity["verified"]["of"] == 9


def test_bars_compare_means_over_the_same_outputs() -> None:
    scores = made_up(("smile",), ("ann", "bob"), (0.5,))
    scores["AU12"], scores["AU12_target"] = [1.0, 3.0], [0.5, np.nan]
    scores["AU25_target"] = np.nan
    (figure, *_) = au_bars(scores, figures(scores, resamples=5), MEAN_FACE)
    assert figure.drawing is not None
    titles = [s.title for s in figure.drawing.shapes if hasattr(s, "title")]
    assert "AU12 lip corner puller, output: 1.00" in titles  # not 2: bob's reference is unknown
    assert not any(t.startswith("AU25 lips part, target") for t in titles)
    assert any(t.startswith("AU25 lips part, output") for t in titles)


def test_a_face_of_unknown_confidence_is_not_the_most_confident(tmp_path: Path) -> None:
    head = "face,confidence," + ",".join(f"{au}_r" for au in AUS)
    path = tmp_path / "a.csv"

    def write(*confidences: str) -> Reading:
        rows = [f"{i},{c}," + ",".join(["1" if i else "2"] * 17) for i, c in enumerate(confidences)]
        path.write_text("\n".join([head, *rows]))
        return read_openface_csv(path)

    assert write("nan", "0.9").level[0] == 1
    assert write("0.9", "nan").level[0] == 2
    assert write("nan").problem == "OpenFace's confidence is not a number"
    assert write("nan", "0.3").problem == "OpenFace's confidence is 0.30"


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("identity", {"vector": [[1.0]]}),
        ("identity", {"vector": [float("nan")]}),
        ("identity", {"faces": "many"}),
        ("aus", {"level": [1.0]}),
        ("aus", {"present": "x" * 17}),
        ("aus", None),
    ],
)
def test_a_kept_score_of_another_shape_is_refused(
    tmp_path: Path, kind: str, change: dict | None
) -> None:
    good: dict = {"faces": 1, "problem": "", "vector": [1.0]}
    good |= dict.fromkeys(("level", "change", "present"), [0.5] * len(AUS))
    with ScoreCache(tmp_path / "scores.sqlite") as kept:
        kept.put("sha", {(kind, "key"): json.dumps(good)})
        assert kept.get(kind, "key", "sha").faces == 1
    with sqlite3.connect(tmp_path / "scores.sqlite") as db:
        text = json.dumps(None if change is None else good | change)
        db.execute("update scores set data = ?", (text,))
    db.close()
    with (
        ScoreCache(tmp_path / "scores.sqlite") as kept,
        pytest.raises(InputError, match="damaged score"),
    ):
        kept.get(kind, "key", "sha")
