"""Which pictures of a person are neutral."""

import numpy as np
import pytest

from transfer.photos import most_neutral, neutral
from transfer.photos.neutral import Measurement
from transfer.photos.pose import Pose


def measurement(*level: float, yaw: float = 0.0, own: float = 0.0) -> Measurement:
    """Intensities, which the person's own face shifts in `change`."""
    values = np.array(level)
    return Measurement(np.nan_to_num(values), values + own, Pose(yaw, 0.0, 0.0))


def test_expressions_come_after_neutral_pictures() -> None:
    found = neutral.scores(
        [measurement(0, 3, own=2.0), measurement(0.1, 0.2, own=2.0), measurement(4, 0)]
    )
    assert neutral.order(found) == [1, 0, 2]
    assert neutral.ranks(found) == [2, 1, 3]


def test_where_most_pictures_smile_the_level_tells() -> None:
    smiles = [measurement(0, 3 + i / 10) for i in range(4)]
    assert neutral.order(neutral.scores([*smiles, measurement(0, 0.3)]))[0] == 4


def test_of_two_alike_the_one_that_looks_here() -> None:
    found = neutral.scores([measurement(0.1, 0.0, yaw=-20.0), measurement(0.1, 0.0, yaw=4.0)])
    assert neutral.order(found) == [1, 0]
    assert found[0] - found[1] == pytest.approx(1 - 0.04)  # 20 degrees are one intensity


def test_what_was_not_read_comes_last() -> None:
    nan = float("nan")
    found = neutral.scores([None, measurement(nan, 5), measurement(nan, 0), None])
    assert neutral.order(found) == [2, 1, 0, 3]
    assert np.isinf(found[[0, 3]]).all()
    assert neutral.chosen(found, 4) == [2, 1]
    assert neutral.chosen(neutral.scores([None, None]), 2) == [0]  # there must be one
    assert len(neutral.scores([])) == 0


def test_how_many_are_chosen() -> None:
    found = np.arange(40.0)[::-1].copy()
    assert neutral.chosen(found, 3) == [39, 38, 37]
    assert len(neutral.chosen(found)) == neutral.MAX_DEFAULT
    assert neutral.chosen(np.array([2.0, 1.0, 3.0])) == [1]


def test_a_picture_whose_aus_were_not_read_is_not_neutral() -> None:
    """Where another picture's were: a NaN is no intensity of 0."""
    nan, ahead = float("nan"), Pose(0.0, 0.0, 0.0)
    smiles = Measurement(np.array([0.1, 2.0]), np.array([0.1, 2.0]), ahead)
    for lost in ([nan, nan], [0.0, nan]):
        found = neutral.scores([Measurement(np.array(lost), np.array(lost), ahead), smiles])
        assert np.isinf(found[0]) and np.isfinite(found[1])
        assert neutral.chosen(found, 2) == [1]
    turned = Measurement(np.zeros(2), np.zeros(2), Pose(nan, 0.0, 0.0))
    assert neutral.order(neutral.scores([turned, smiles])) == [1, 0]


@pytest.mark.parametrize(("n", "said"), [(1, "most neutral of 2 pictures: b"), (2, "used: b, a")])
def test_pictures_are_called_most_neutral_only_where_there_were_others(
    n: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = {"a": measurement(0.0, 3.0), "b": measurement(0.0, 0.1)}
    monkeypatch.setattr(most_neutral, "_measured", lambda faces, file, pixels: levels[file])
    lines: list[str] = []
    keep = most_neutral.keep_most_neutral(n, np.zeros, lambda file: np.zeros(0), lines.append)
    assert keep(["a", "b"]) == ["a", "b"][2 - n :]
    assert lines == [said]
