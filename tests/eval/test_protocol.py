"""The protocol's figures: by hand, against scipy, by construction, and at the edges."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from eval.protocol import PAPER, figures
from eval.protocol.alphas import best_alpha, frontier, recommended_alpha
from eval.protocol.scores import check_scores
from eval.protocol.statistics import (
    bootstrap,
    gain_and_correlation,
    means_of,
    moments,
    permutation_p,
    spearman,
    wilson,
)
from eval.table import AUS, COLUMNS, IDENTITY
from glow_jax.io.errors import InputError

ALPHAS = (0.3, 0.4, 0.5)


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """A scores table; what a row does not say is unknown."""
    whole = [
        {"id": str(n), "expression": "e", "source": "s", "target": "t", "file": "", "faces": 1}
        | row
        for n, row in enumerate(rows)
    ]
    return pd.DataFrame(whole, columns=list(COLUMNS))


def transfers(
    gain: float | None = 0.5,
    noise: float = 0.0,
    expressions: int = 5,
    targets: int = 4,
    alphas: tuple[float, ...] = ALPHAS,
    like_source: bool = False,
) -> pd.DataFrame:
    """Outputs that are the target's face plus `gain` (alpha, if None) of the expression."""
    rng = np.random.default_rng(0)
    source, wanted = rng.uniform(1, 2, 17), rng.uniform(0, 3, (expressions, 17))
    rows = []
    for t in range(targets):
        face = source if like_source else rng.uniform(2, 3, 17)
        for e in range(expressions):
            for alpha in alphas:
                share = alpha if gain is None else gain
                output = face + share * (wanted[e] - source) + noise * rng.standard_normal(17)
                row: dict[str, Any] = {"expression": f"e{e}", "target": f"t{t}", "alpha": alpha}
                row |= {"to_target_mean": 0.4 + 0.9 * share + 0.01 * rng.random()}
                row |= {"to_source_mean": 1.1, "to_target_nearest": 0.3, "verified": float(e != 0)}
                row |= dict(zip(AUS, np.clip(output, 0, 5), strict=True))
                for name, values in (
                    ("expression", wanted[e]),
                    ("source", source),
                    ("target", face),
                ):
                    row |= {f"{au}_{name}": v for au, v in zip(AUS, values, strict=True)}
                row |= {f"{au}_present": v > 1 for au, v in zip(AUS, wanted[e], strict=True)}
                rows.append(row)
    return table(rows)


def checked(scores: pd.DataFrame, **options: Any) -> dict[str, Any]:
    """The figures, which must be JSON; with fewer resamples than a report's."""
    found = figures(scores, **{"resamples": 200} | options)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


@pytest.mark.parametrize(("count", "of"), [(217, 220), (0, 5), (5, 5), (1, 2)])
def test_wilson_is_scipys(count: int, of: int) -> None:
    interval = stats.binomtest(count, of).proportion_ci(0.95, method="wilson")
    found = wilson(count, of)
    assert (found["rate"], found["low"], found["high"]) == (count / of, *interval)


def test_wilson_by_hand() -> None:
    z2 = 1.959963984540054**2  # 9 of 10: centre (9 + z²/2) / (10 + z²)
    centre, half = (9 + z2 / 2) / (10 + z2), np.sqrt(z2 * (0.9 + z2 / 4)) / (10 + z2)
    assert wilson(9, 10)["low"] == pytest.approx(centre - half)
    assert wilson(9, 10)["high"] == pytest.approx(centre + half)


def test_gain_and_correlation_are_linregress_of_the_known_pairs() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(3, 2, (40, 17)), rng.normal(1, 1, (40, 17))
    y += 0.3 * x
    x[rng.random(x.shape) < 0.2] = np.nan
    y[rng.random(y.shape) < 0.2] = np.nan
    known = np.isfinite(x + y)
    line = stats.linregress(x[known], y[known])
    sums = moments(x, y, rng.integers(0, 7, 40))
    assert sums[:, 0].sum() == known.sum()
    gain, r = gain_and_correlation(sums.sum(axis=0))
    assert gain == pytest.approx(line.slope, abs=1e-12)
    assert r == pytest.approx(stats.pearsonr(x[known], y[known]).statistic, abs=1e-12)


def test_gain_has_an_intercept() -> None:
    """A shift of every output that has nothing to do with the expression is no gain."""
    x = np.array([[0.0, 1.0, 2.0]])
    gain, r = gain_and_correlation(moments(x, 2.0 + 0.5 * x, np.zeros(1, int)).sum(axis=0))
    assert gain == pytest.approx(0.5) and r == pytest.approx(1)


def test_constant_values_have_no_gain_or_no_correlation() -> None:
    x, zero = np.full((3, 4), 0.1), np.zeros(3, int)
    varied = np.arange(12.0).reshape(3, 4)
    assert np.isnan(gain_and_correlation(moments(x, varied, zero).sum(axis=0))).all()
    gain, r = gain_and_correlation(moments(varied, x, zero).sum(axis=0))
    assert gain == pytest.approx(0) and np.isnan(r)


def test_spearman_is_scipys_where_it_is_defined() -> None:
    x, y = np.array([1, 2, 3, 4, np.nan]), np.array([0.1, 0.3, 0.2, 0.4, 9])
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x[:4], y[:4]).statistic)
    assert spearman(x, y) == pytest.approx(0.8)
    assert np.isnan(spearman(x, np.full(5, 0.5)))
    assert np.isnan(spearman(x[3:], y[3:]))


def interval_of_mean(values: np.ndarray, series: np.ndarray, seed: int = 0) -> np.ndarray:
    each = [values[series == s] for s in np.unique(series)]
    sums = np.array([[len(v), v.sum()] for v in each], dtype=float)
    return bootstrap(sums, means_of, np.random.default_rng(seed), 300)[:, 0]


def test_the_bootstrap_covers_the_truth_about_95_percent_of_the_time() -> None:
    rng, n, per = np.random.default_rng(2), 200, 5
    series = np.repeat(np.arange(30), per)
    inside = 0
    for seed in range(n):  # most of the spread is between series
        values = np.repeat(rng.normal(1, 1, 30), per) + 0.2 * rng.standard_normal(30 * per)
        low, high = interval_of_mean(values, series, seed)
        inside += low <= 1 <= high
    assert 0.88 * n <= inside <= 0.99 * n


def test_the_bootstrap_does_not_take_outputs_of_one_series_as_independent() -> None:
    values, series = np.random.default_rng(3).random(12), np.arange(12)
    once = interval_of_mean(values, series)
    tenfold = interval_of_mean(np.repeat(values, 10), np.repeat(series, 10))
    np.testing.assert_allclose(tenfold, once)


def test_the_bootstrap_does_not_depend_on_how_it_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = np.random.default_rng(4).random((6, 2)) + 1
    whole = bootstrap(sums, means_of, np.random.default_rng(0), 100)
    monkeypatch.setattr("eval.protocol.statistics.CHUNK", 60)
    np.testing.assert_array_equal(bootstrap(sums, means_of, np.random.default_rng(0), 100), whole)


def one_source(y: np.ndarray, x: np.ndarray, seed: int = 0) -> float:
    """p of outputs (E, T, A) against changes (E, A)."""
    e, t, a = y.shape
    expression, source = np.repeat(np.arange(e), t), np.zeros(e * t, int)
    rng = np.random.default_rng(seed)
    return permutation_p(np.repeat(x, t, axis=0), y.reshape(-1, a), expression, source, rng, 199)


def test_a_true_expression_is_told_from_the_others() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(8, 17))
    y = 0.3 * x[:, None] + 0.5 * rng.normal(size=(8, 4, 17))
    assert one_source(y, x) <= 0.01
    assert one_source(-y, x) >= 0.9  # one-sided


def test_p_is_uniform_under_the_null_even_if_targets_share_an_accident() -> None:
    """Four targets with the same accident of one photograph: one accident, not four."""
    rng, found = np.random.default_rng(6), []
    for seed in range(120):
        x, accident = rng.normal(size=(6, 17)), rng.normal(size=(6, 1, 17))
        y = accident + 0.1 * rng.normal(size=(6, 4, 17))
        found.append(one_source(y, x, seed))
    assert min(found) > 0 and max(found) <= 1
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_the_same_face_added_each_time_is_not_an_expression() -> None:
    rng, found = np.random.default_rng(7), []
    for seed in range(20):
        common = rng.normal(size=17)
        x = common + 0.3 * rng.normal(size=(6, 17))
        y = common + 0.3 * rng.normal(size=(6, 4, 17))
        assert np.corrcoef(np.repeat(x, 4, axis=0).ravel(), y.ravel())[0, 1] > 0.7
        found.append(one_source(y, x, seed))
    assert np.median(found) > 0.25


def test_permutations_stay_within_a_source_and_need_two_expressions() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(6, 17))
    arguments = (rng, 199)
    one_each = np.arange(6)
    assert np.isnan(permutation_p(x, x, one_each, one_each, *arguments))
    pairs = permutation_p(x, x, one_each, np.arange(6) // 2, *arguments)
    assert 0.06 < pairs < 0.25  # three pairs: 8 arrangements, one of them true


@pytest.mark.parametrize("gain", [0.5, 0.0, -0.25])
def test_a_gain_known_by_construction(gain: float) -> None:
    found = checked(transfers(gain))["expression"]
    assert found["gain"]["value"] == pytest.approx(gain)
    assert found["gain"]["low"] == pytest.approx(gain) == found["gain"]["high"]
    if gain:
        assert found["correlation"]["value"] == pytest.approx(np.sign(gain))
    else:
        assert found["correlation"] == {"value": None, "low": None, "high": None}
        assert found["permutation_p"] is None


def test_gain_and_distance_by_alpha() -> None:
    found = checked(transfers(None, noise=0.1))
    gains = [row["gain"] for row in found["expression"]["by_alpha"]]
    np.testing.assert_allclose(gains, ALPHAS, atol=0.03)
    for row, alpha in zip(found["expression"]["by_alpha"], ALPHAS, strict=True):
        assert row["alpha"] == alpha and row["n"] == 20 * 17
        assert row["gain_low"] < row["gain"] < row["gain_high"]
        assert row["correlation_low"] < row["correlation"] < row["correlation_high"]
    assert found["identity"]["rising"] == {"spearman": pytest.approx(1), "series": 20}
    assert [row["n"] for row in found["identity"]["by_alpha"]] == [20] * 3
    assert found["expression"]["permutation_p"] < 0.05


def by_hand() -> pd.DataFrame:
    """Two series of two alphas, two AUs; reference AU01 = 2, AU12 = 0.4; the mean face 1 and 0."""
    same = {"AU01_expression": 2, "AU12_expression": 0.4, "AU01_source": 0, "AU12_source": 0}
    same |= {"AU01_target": 1, "AU12_target": 0, "AU01_present": 0, "AU12_present": 1}
    rows = [  # target, alpha, AU01, AU12, to_target, to_source, nearest, verified
        ("t", 0.1, 1.2, 0.2, 0.5, 1.0, 0.4, 1),
        ("t", 0.2, 1.8, 0.0, 0.7, 1.2, 0.6, 1),
        ("u", 0.1, 0.5, 0.4, 0.6, 0.5, np.nan, 0),
        ("u", 0.2, 0.9, 1.0, 0.6, 0.6, np.nan, np.nan),
    ]
    names = ("target", "alpha", "AU01", "AU12", *IDENTITY)
    return table([same | dict(zip(names, row, strict=True)) for row in rows])


def test_identity_by_hand() -> None:
    found = checked(by_hand())["identity"]
    assert (found["nearer"]["count"], found["nearer"]["of"]) == (2, 4)  # as far is not nearer
    assert (found["verified"]["count"], found["verified"]["of"]) == (2, 3)
    assert found["to_target_mean"]["mean"] == pytest.approx(0.6)
    assert found["to_target_mean"]["median"] == pytest.approx(0.6)
    assert found["to_source_mean"]["mean"] == pytest.approx(0.825)
    assert found["margin"]["mean"] == pytest.approx(0.225)
    assert (found["margin"]["low"], found["margin"]["high"]) == pytest.approx((-0.05, 0.5))
    assert found["to_target_nearest"]["mean"] == pytest.approx(0.5)
    assert found["rising"] == {
        "spearman": pytest.approx(1),
        "series": 1,
    }  # of u it is constant: undefined
    u = found["by_target"][1]
    assert (u["target"], u["n"], u["nearer"]["count"]) == ("u", 2, 0)
    assert u["margin"] == pytest.approx(-0.05)


def test_errors_by_hand() -> None:
    found = checked(by_hand())["expression"]
    output = np.abs([[0.8, 0.2], [0.2, 0.4], [1.5, 0.0], [1.1, 0.6]])
    wanted = {
        "all": {"output": output.mean(), "no_transfer": 0.7, "n": 8},
        "reference": {"output": output[:, 0].mean(), "no_transfer": 1.0, "n": 4},
        "present": {"output": output[:, 1].mean(), "no_transfer": 0.4, "n": 4},
    }
    for name, values in wanted.items():
        assert found["error"][name] == pytest.approx(values)
    by_alpha = [row["error"]["all"] for row in found["by_alpha"]]
    assert by_alpha == pytest.approx([output[::2].mean(), output[1::2].mean()])
    assert found["aus_read"] == ["AU01", "AU12"] and len(found["aus_abstained"]) == 15
    assert found["best_alpha"]["all"] == pytest.approx(  # t: 0.3 at 0.2; u: 0.75 at 0.1
        {"error": 0.525, "alpha": 0.15, "beats_no_transfer": 1, "series": 2}
    )
    assert found["best_alpha"]["reference"]["alpha"] == pytest.approx(0.2)
    au12 = found["by_au"][1]
    assert au12["au"] == "AU12" and au12["n"] == 4
    assert (au12["gain"], au12["correlation"]) == (None, None)  # one expression: x is constant
    assert au12["error"] == pytest.approx(0.3) and au12["no_transfer"] == pytest.approx(0.4)
    assert found["heat"][1] == pytest.approx(
        {"expression": "e", "au": "AU12", "error": 0.3, "no_transfer": 0.4}
    )
    x, y = (
        np.tile([2, 0.4], 4),
        (np.array([1.2, 0.2, 1.8, 0, 0.5, 0.4, 0.9, 1]) - np.tile([1, 0], 4)),
    )
    assert found["gain"]["value"] == pytest.approx(stats.linregress(x, y).slope)
    assert found["by_expression"][0]["correlation"] == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_output_and_no_transfer_are_compared_in_the_same_cells() -> None:
    scores = by_hand()
    scores.loc[0, "AU01"] = np.nan  # unread in the output
    scores.loc[1, "AU12_target"] = np.nan  # and in a mean face
    found = checked(scores)["expression"]
    assert found["error"]["all"] == pytest.approx(
        {"output": np.mean([0.2, 0.2, 1.5, 0, 1.1, 0.6]), "no_transfer": 3.0 / 6 + 1.2 / 6, "n": 6}
    )
    assert sum(row["n"] for row in found["by_alpha"]) == 6
    scores[[f"{au}_target" for au in AUS]] = np.nan
    found = checked(scores)["expression"]
    assert found["error"]["all"]["n"] == 7 and found["error"]["all"]["no_transfer"] is None
    assert found["best_alpha"]["all"]["beats_no_transfer"] is None


def test_a_tie_with_no_transfer_does_not_beat_it() -> None:
    error = np.array([[0.1, 0.2], [0.3, 0.3]])
    no_transfer = error + np.array([[1e-12], [0.1]])
    found = best_alpha(np.array([0, 1]), np.zeros(2), error, no_transfer)
    assert found["beats_no_transfer"] == 1


def test_the_smaller_alpha_is_best_of_two_with_one_error() -> None:
    error, zero = np.full((3, 1), 0.5), np.zeros(3, int)
    assert best_alpha(zero, np.array([0.4, 0.2, 0.3]), error, error)["alpha"] == 0.2


def point(
    alpha: float | None, gain: float, rate: float, distance: float, error: float = 1.0
) -> Any:
    identity = {"alpha": alpha, "nearer": {"rate": rate}, "to_target_mean": distance}
    return identity, {"alpha": alpha, "gain": gain, "error": {"reference": error}}


def halves(*points: Any) -> tuple[list[Any], list[Any]]:
    return [identity for identity, _ in points], [expression for _, expression in points]


def test_the_frontier_is_what_nothing_dominates() -> None:
    points = (
        point(0.1, 0.1, 1.0, 0.3),
        point(0.2, 0.3, 1.0, 0.4),
        point(0.3, 0.3, 0.9, 0.4),  # as 0.2, but fewer are nearer
        point(0.4, 0.2, 1.0, 0.5),  # worse than 0.2
        point(0.5, 0.5, 0.8, 0.9),
    )
    efficient = [p["efficient"] for p in frontier(*halves(*points))]
    assert efficient == [True, True, False, False, True]


def test_the_frontier_passes_over_what_is_unknown_everywhere() -> None:
    nan = np.nan
    gains = frontier(*halves(point(0.1, 0.1, nan, nan), point(0.2, 0.2, nan, nan)))
    assert [p["efficient"] for p in gains] == [False, True]
    some = frontier(*halves(point(0.1, 0.1, 1.0, 0.3), point(0.2, nan, 0.9, 0.4)))
    assert [p["efficient"] for p in some] == [True, False]
    assert not frontier(*halves(point(0.1, nan, nan, nan)))[0]["efficient"]


def test_the_recommended_alpha_has_the_least_error_of_those_that_keep_the_person() -> None:
    points = (
        point(0.3, 0.2, 1.0, 0.5, error=0.7),
        point(0.4, 0.3, 0.95, 0.6, error=0.6),
        point(0.5, 0.4, 0.9, 0.7, error=0.5),
    )
    found = recommended_alpha(*halves(*points), 0.8)
    assert found["alpha"] == 0.4
    assert "mean error 0.600" in found["why"] and "2 of 3 alphas" in found["why"]
    assert recommended_alpha(*halves(*points), 0.8, min_rate=0.9)["alpha"] == 0.5
    assert recommended_alpha(*halves(*points), np.nan)["alpha"] == 0.4  # no transfer is unknown


@pytest.mark.parametrize(
    ("points", "no_transfer", "why"),
    [
        ([point(0.3, 0.2, 0.9, 0.5)], 2.0, "the most is 90.0%, at alpha 0.3"),
        ([point(0.3, 0.2, 1.0, 0.5)], 0.9, "but no transfer at all has 0.900"),
        ([point(0.3, 0.2, np.nan, np.nan)], 2.0, "not known which outputs are nearer"),
        ([point(0.3, np.nan, 1.0, 0.5, np.nan)], 2.0, "no AU at or above 0.5"),
        ([point(None, 0.2, 1.0, 0.5)], 2.0, "no output has an alpha"),
        (
            [point(0.3, np.nan, 1.0, 0.5, np.nan), point(0.4, 0.2, 0.5, 0.6)],
            2.0,
            "no AU was read at the alphas that keep",
        ),
    ],
)
def test_no_alpha_is_recommended_without_grounds(points: Any, no_transfer: float, why: str) -> None:
    found = recommended_alpha(*halves(*points), no_transfer)
    assert found["alpha"] is None and why in found["why"]


def test_the_recommended_alpha_of_a_table() -> None:
    scores = transfers(None, like_source=True)  # so that the error is (1 - alpha) of the change
    found = checked(scores)
    assert found["recommended_alpha"]["alpha"] == 0.5  # all are nearer; the error falls with alpha
    far = scores["alpha"] > 0.45
    scores.loc[far, "to_target_mean"] = 2.0
    assert checked(scores)["recommended_alpha"]["alpha"] == 0.4


def test_the_worst_are_failures_first() -> None:
    scores = transfers(None)
    scores.loc[7, ["faces", *IDENTITY, *AUS]] = [0] + [np.nan] * 21
    scores.loc[3, "to_target_mean"], scores.loc[9, "to_target_mean"] = 1.2, 1.3
    scores.loc[20, list(AUS)] = 5.0
    found = checked(scores)["worst"]
    assert [row["id"] for row in found[:4]] == ["7", "9", "3", "20"] and len(found) == 12
    assert found[0]["why"] == "no face found"
    assert found[1]["why"] == "not nearer to the target (1.300) than to the source (1.100)"
    assert found[3]["why"].startswith("mean AU error ")


def test_the_counts() -> None:
    scores = transfers(None)
    scores["faces"] = scores["faces"].astype(float)
    scores.loc[7, ["faces", *IDENTITY, *AUS]] = [0] + [np.nan] * 21
    scores.loc[8, "faces"] = 3
    assert checked(scores)["counts"] == {
        "outputs": 60,
        "judged": 59,
        "no_face": 1,
        "several_faces": 1,
        "series": 20,
        "expressions": [f"e{n}" for n in range(5)],
        "sources": ["s"],
        "targets": [f"t{n}" for n in range(4)],
        "alphas": list(ALPHAS),
    }


def test_a_persons_own_expressions_are_neither_nearer_nor_farther() -> None:
    scores = by_hand()
    scores.loc[:1, "target"] = "s"
    found = checked(scores)["identity"]
    assert (found["nearer"]["count"], found["nearer"]["of"]) == (0, 2)
    assert found["to_target_mean"]["mean"] == pytest.approx(0.6)


def test_alphas_that_differ_by_rounding_are_one() -> None:
    scores = by_hand()
    scores["alpha"] = [0.1 + 0.2, 0.4, 0.3, 0.4]
    assert checked(scores)["counts"]["alphas"] == [0.3, 0.4]


def test_seeds() -> None:
    scores = transfers(None, noise=0.3)
    assert checked(scores, seed=1) == checked(scores, seed=1)
    one, two = (checked(scores, seed=seed)["expression"]["gain"] for seed in (1, 2))
    assert one["value"] == two["value"] and one["low"] != two["low"]


def test_neither_the_order_of_rows_nor_their_index_matters() -> None:
    scores = transfers(None, noise=0.3)
    mixed = scores.sample(frac=1, random_state=0)
    found, again = checked(scores), checked(mixed)
    assert again["counts"] == found["counts"]
    assert again["expression"]["gain"] == pytest.approx(found["expression"]["gain"])
    assert again["worst"] == found["worst"]


def test_the_papers_figures_have_ours_keys() -> None:
    def inside(part: Any, whole: Any, at: str) -> None:
        if isinstance(part, dict):
            for name, value in part.items():
                assert name in whole, f"{at}.{name}"
                inside(value, whole[name], f"{at}.{name}")
        elif isinstance(part, list):
            for row in part:
                inside(row, whole[0], at)

    inside(PAPER, checked(transfers()), "PAPER")
    rate = PAPER["identity"]["nearer"]["rate"]
    assert round(rate, 3) == 0.986


def everything_unknown(found: Any) -> bool:
    if isinstance(found, dict):
        return all(everything_unknown(v) for k, v in found.items() if k not in ("why", "alpha"))
    return found in (None, 0, []) or isinstance(found, (list, str))


def test_an_empty_table() -> None:
    found = checked(table([]))
    assert {str(value) for value in found["counts"].values()} == {"0", "[]"}
    assert everything_unknown(found["identity"]) and everything_unknown(found["expression"])
    assert found["frontier"] == found["worst"] == found["expression"]["heat"] == []
    assert found["recommended_alpha"]["alpha"] is None


def test_a_single_row_has_figures_but_no_intervals() -> None:
    found = checked(transfers(expressions=1, targets=1, alphas=(0.4,)))
    assert found["expression"]["gain"] == {"value": pytest.approx(0.5), "low": None, "high": None}
    assert found["identity"]["to_source_mean"] == {
        "mean": 1.1,
        "median": 1.1,
        "low": None,
        "high": None,
    }
    assert found["identity"]["rising"] == {"spearman": None, "series": 0}
    assert found["expression"]["permutation_p"] is None
    assert found["frontier"][0]["efficient"] and found["recommended_alpha"]["alpha"] == 0.4


def test_one_known_series_has_no_interval_however_many_are_unknown() -> None:
    scores = by_hand()
    scores.loc[2:, [*IDENTITY, *AUS]] = np.nan
    found = checked(scores)
    assert found["identity"]["to_target_mean"] == {
        "mean": pytest.approx(0.6),
        "median": pytest.approx(0.6),
        "low": None,
        "high": None,
    }
    gain = found["expression"]["gain"]
    assert gain["value"] is not None and (gain["low"], gain["high"]) == (None, None)


def test_a_method_without_alpha_is_one_group() -> None:
    found = checked(transfers(alphas=(np.nan,)))
    assert found["counts"]["alphas"] == [] and found["counts"]["series"] == 20
    assert [row["alpha"] for row in found["expression"]["by_alpha"]] == [None]
    assert [row["n"] for row in found["identity"]["by_alpha"]] == [20]
    assert found["expression"]["by_alpha"][0]["gain"] == pytest.approx(0.5)
    assert found["expression"]["best_alpha"]["all"]["alpha"] is None
    assert found["expression"]["best_alpha"]["all"]["series"] == 20
    assert found["recommended_alpha"] == {"alpha": None, "why": "no output has an alpha"}
    assert found["identity"]["rising"]["series"] == 0


def test_identity_unknown() -> None:
    scores = transfers(None)
    scores[list(IDENTITY)] = np.nan
    found = checked(scores)
    assert everything_unknown({k: v for k, v in found["identity"].items() if "by_" not in k})
    assert found["counts"]["judged"] == 60
    assert found["recommended_alpha"]["alpha"] is None
    assert [p["efficient"] for p in found["frontier"]] == [False, False, True]


def test_action_units_unknown() -> None:
    scores = transfers(None)
    scores[[name for name in COLUMNS if name.startswith("AU")]] = np.nan
    found = checked(scores)
    assert found["expression"]["aus_read"] == found["expression"]["by_au"] == []
    assert len(found["expression"]["aus_abstained"]) == 17
    assert found["expression"]["gain"] == {"value": None, "low": None, "high": None}
    assert found["expression"]["error"]["all"] == {"output": None, "no_transfer": None, "n": 0}
    assert found["identity"]["nearer"]["count"] == 60
    assert found["worst"] == []


def test_an_au_from_which_the_reader_abstains_changes_nothing_else() -> None:
    scores = transfers(None, noise=0.3)
    scores["AU45"] = np.nan
    found = checked(scores)["expression"]
    assert found["aus_abstained"] == ["AU45"] and len(found["by_au"]) == 16
    x = np.stack([scores[f"{au}_expression"] - scores[f"{au}_source"] for au in AUS[:-1]])
    y = np.stack([scores[au] - scores[f"{au}_target"] for au in AUS[:-1]])
    assert found["gain"]["value"] == pytest.approx(stats.linregress(x.ravel(), y.ravel()).slope)
    heat = {(cell["expression"], cell["au"]): cell for cell in found["heat"]}
    assert len(heat) == 5 * 16
    part = scores[scores["expression"] == "e3"]
    wanted = part["AU12_expression"]
    cell = heat["e3", "AU12"]
    assert cell["error"] == pytest.approx((part["AU12"] - wanted).abs().mean())
    assert cell["no_transfer"] == pytest.approx((part["AU12_target"] - wanted).abs().mean())


def test_ten_thousand_rows_take_seconds() -> None:
    import time

    scores = transfers(None, noise=0.3, targets=182, alphas=tuple(np.linspace(0.3, 0.5, 11)))
    assert len(scores) == 10_010
    began = time.process_time()
    figures(scores)
    assert time.process_time() - began < 15  # about 2 s; the machine may be slow


def test_a_table_may_come_as_text_and_in_any_order() -> None:
    scores = check_scores(by_hand())
    text = scores.astype(object).where(scores.notna(), "").astype(str)[list(COLUMNS[::-1])]
    pd.testing.assert_frame_equal(check_scores(text)[list(scores)], scores)


def test_the_check_leaves_the_callers_table_alone() -> None:
    scores = by_hand()
    before = scores.copy(deep=True)
    figures(scores, resamples=10)
    pd.testing.assert_frame_equal(scores, before)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("AU12", 5.1, "row 2, column AU12: '5.1' is not within 0 to 5"),
        ("AU12_target", -0.1, "row 2, column AU12_target: '-0.1' is not within 0 to 5"),
        ("AU12", "much", "row 2, column AU12: 'much' is not a number"),
        ("alpha", np.inf, "row 2, column alpha: 'inf' is not finite"),
        ("to_target_mean", -1.0, "row 2, column to_target_mean: '-1.0' is below 0"),
        ("verified", 2.0, "row 2, column verified: '2.0' is not within 0 to 1"),
        ("id", "0", "row 2: id '0' again (first: row 1); ids are unique"),
        ("source", "", "row 2, column source: empty; it needs a name"),
        ("target", None, "row 2, column target: empty; it needs a name"),
    ],
)
def test_a_wrong_cell_is_named(column: str, value: Any, message: str) -> None:
    scores = by_hand().astype(object)
    scores.loc[1, column] = value
    with pytest.raises(InputError) as caught:
        figures(scores)
    assert str(caught.value) == message


def test_rounding_is_not_out_of_range() -> None:
    scores = by_hand()
    scores.loc[0, "AU12"] = 5.0000001
    assert check_scores(scores).loc[0, "AU12"] > 5


@pytest.mark.parametrize("name", ["faces", "verified", "AU12_present"])
def test_counts_and_flags_are_whole(name: str) -> None:
    scores = by_hand().astype({name: float})
    scores.loc[0, name] = 0.7
    with pytest.raises(InputError, match=f"row 1, column {name}: '0.7' is not a whole number"):
        check_scores(scores)


def test_missing_and_double_columns_are_named() -> None:
    with pytest.raises(InputError, match="has no column alpha, AU04$"):
        check_scores(by_hand().drop(columns=["alpha", "AU04"]))
    double = pd.concat([by_hand(), by_hand()[["AU04"]]], axis=1)
    with pytest.raises(InputError, match="has the column 'AU04' twice"):
        check_scores(double)


@pytest.mark.parametrize("options", [{"seed": -1}, {"resamples": 0}, {"min_rate": 1.5}])
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="min_rate is 0 to 1"):
        figures(by_hand(), **options)
