"""The figures of a headline: at one alpha, and whether they are of enough outputs."""

import numpy as np
import pytest

from eval.protocol import figures
from eval.run import summary
from tests.support.made_up_scores import made_up

EXPRESSIONS = ("a", "b", "c", "d")


def test_a_headline_is_of_the_recommended_alpha_alone() -> None:
    scores = made_up(EXPRESSIONS)
    whole, alone = figures(scores, resamples=5), figures(made_up(EXPRESSIONS), resamples=5)
    head = whole["headline"]
    assert (head["alpha"], head["why"]) == (whole["recommended_alpha"]["alpha"], "recommended")
    (row,) = [r for r in whole["expression"]["by_alpha"] if r["alpha"] == head["alpha"]]
    assert head["expression"]["gain"]["value"] == pytest.approx(row["gain"])
    assert head["counts"] == {"outputs": 8, "judged": 8, "no_face": 0, "targets": 2}
    assert not head["too_few"] and "too few" not in summary(whole)
    assert summary(whole).endswith(f"; at alpha {head['alpha']:g} (recommended)")
    assert alone["headline"] == head


@pytest.mark.parametrize(
    ("alphas", "chosen"),
    [((0.25, 1.0, 1.5), (1.0, "all of the expression")), ((0.25, 0.5), (0.5, "the largest"))],
)
def test_without_a_recommended_alpha(alphas: tuple, chosen: tuple) -> None:
    scores = made_up(alphas=alphas).assign(to_target_mean=2.0)  # all nearer to the source
    head = figures(scores, resamples=5)["headline"]
    assert (head["alpha"], head["why"]) == chosen


def test_where_each_series_has_one_alpha_the_headline_is_of_all() -> None:
    scores = made_up(EXPRESSIONS, alphas=(1.0,))
    assert figures(scores, resamples=5)["headline"]["why"] == "the only one"
    auto = scores.assign(alpha=np.linspace(0.5, 1, len(scores)))
    found = figures(auto, resamples=5)
    assert found["headline"]["alpha"] is None and found["headline"]["counts"]["outputs"] == 8
    assert found["headline"]["expression"]["gain"] == found["expression"]["gain"]


@pytest.mark.parametrize(
    ("expressions", "targets", "too_few"),
    [(1, 1, True), (8, 1, True), (3, 2, True), (4, 2, False)],
)
def test_few_outputs_or_one_person_are_too_few(
    expressions: int, targets: int, too_few: bool
) -> None:
    names = [tuple(str(i) for i in range(n)) for n in (expressions, targets)]
    found = figures(made_up(*names, alphas=(1.0,)), resamples=5)
    assert found["headline"]["too_few"] is too_few
    assert summary(found).endswith("too few outputs to judge") is too_few
