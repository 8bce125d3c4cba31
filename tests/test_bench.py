"""The benchmarks' own arithmetic: what they call the same, flat, and planned."""

import csv
from pathlib import Path

import pytest

from bench import plot, soak


def test_a_soak_tells_what_differs() -> None:
    truth = {"a": "1", "b": "2", "c": "3"}
    assert not any(list(soak.compared(truth, truth, dict(truth)).values())[1:])
    told = soak.compared(truth, truth, {"a": "1", "b": "x", "d": "4"})
    assert told == {"outputs": 3, "missing": 1, "unplanned": 1, "other_bytes": 1}


def test_memory_is_flat_where_it_is() -> None:
    def looks(slope: float) -> list[soak.Look]:
        return [soak.Look(n / 10, n, (500 + slope * n, 1.0)) for n in range(0, 100, 2)]

    flat, growing = soak.growth(looks(0), 100), soak.growth(looks(1), 100)
    assert flat is not None and flat["growth_mb"] == 0
    assert growing is not None and growing["growth_mb"] == pytest.approx(50, abs=2)
    assert soak.growth([], 100) is None


def test_a_table_asks_for_different_outputs(tmp_path: Path) -> None:
    soak.write_table(tmp_path / "job.csv", 100)
    with (tmp_path / "job.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({tuple(row.values()) for row in rows}) == 100
    assert {row["method"] for row in rows} == set(soak.METHODS)
    assert all(Path(row["expression"]).is_file() for row in rows)


def test_a_plot_has_its_curves(tmp_path: Path) -> None:
    curves = [plot.Curve("a", [(1, 2), (4, 3)], [(4, 3)]), plot.Curve("b", [(2, 5)])]
    for log in (False, True):
        picture = plot.lines("title", "x", "y", curves, log=log)
        assert picture.shape == (plot.HEIGHT, plot.WIDTH, 3)
        assert (picture == plot.COLOURS[0]).all(-1).sum() > 300
    plot.save(tmp_path / "new" / "plot.png", picture, "tests")
    assert (tmp_path / "new" / "plot.png").stat().st_size > 1000
