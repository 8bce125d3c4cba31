"""The benchmarks' own arithmetic: what they call the same, flat, and planned."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bench.speed import jobs, measure, plot, soak, throughput


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


def stage(decode_ms: float) -> dict:
    figures = {"ms": decode_ms, "core_ms": 2 * decode_ms, "images_per_s": 1e3 / decode_ms}
    row = {name: figures | {"share_of_matmul": 0.5} for name in throughput.ON_DEVICE}
    return row | {"arithmetic": {"ms": 0.01, "core_ms": 0.01, "images_per_s": 1e5}}


def test_a_bottleneck_is_named() -> None:
    host = {name: {"core_ms": 2.0, "ms": 2.0} for name in ("png", "write")}
    said = throughput.bottleneck(stage(6.0), host, "cpu", 2)
    assert said == "the cores: decode takes 75% of their time, at 50% of the matmul rate"
    assert "the cores: png" in throughput.bottleneck(stage(0.1), host, "cpu", 2)
    assert "the host: PNG" in throughput.bottleneck(stage(0.1), host, "gpu", 16)
    assert "the device: decode" in throughput.bottleneck(stage(6.0), host, "gpu", 16)


def test_a_gpu_is_measured_in_every_way() -> None:
    rows = throughput.cases("gpu", quick=False)
    assert {row["model"] for row in rows} == {"faces64", "64", "128", "256"}
    for name in ("precision", "command_buffers", "unroll"):
        assert len({row[name] for row in rows}) == 2
    assert len(throughput.cases("cpu", quick=True)) == 1
    drawn = [row | stage(5.0) for row in throughput.cases("cpu", quick=False)]
    assert throughput.plot(drawn).shape == (plot.HEIGHT, plot.WIDTH, 3)
    assert throughput.table({"stages": drawn}).count("\n") == len(drawn) + 1


def test_the_stand_in_costs_nothing_and_comes_back() -> None:
    codec, images = jobs.stand_in(), throughput.faces(64, 40)
    assert images.shape == (40, 64, 64, 3)
    assert (np.floor(codec.decode(codec.encode(images))) == images).all()


def test_a_case_that_fails_says_why() -> None:
    assert "No module" in measure.in_a_process("bench.nothing", {}, {})["error"]
