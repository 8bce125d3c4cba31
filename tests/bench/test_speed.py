"""The benchmarks' own arithmetic: what they call the same, flat, and planned."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bench import plots, redraw
from bench.speed import jobs, measure, soak, throughput
from glow_jax.io.pictures import read_image
from glow_jax.io.provenance import read_provenance
from tests.support.paths import ROOT


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


def pixels_of(picture: np.ndarray, colour: str) -> int:
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((picture == rgb).all(-1).sum())


def test_a_plot_has_its_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curves = [plots.Curve("a", [(1, 2), (4, 3)], [(4, 3)]), plots.Curve("b", [(2, 5)], [(2, 5)])]
    for log in (False, True):
        picture = plots.lines("title", "x", "y", curves, log=log)
        assert picture.shape == (plots.HEIGHT, plots.WIDTH, 3) and picture.dtype == np.uint8
        assert pixels_of(picture, plots.COLOURS[0]) > 300
        assert 20 < pixels_of(picture, plots.COLOURS[1]) < 300  # a dot, and the legend's line
    plots.save(tmp_path / "new" / "plot.png", picture, "tests")
    provenance = read_provenance(tmp_path / "new" / "plot.png")
    assert provenance is not None and provenance.recipe == {"made_by": "tests"}


def test_a_soak_is_drawn_with_a_dot_for_each_kill() -> None:
    pytest.importorskip("matplotlib")
    looks = [[0.0, 0, 0], *([float(t), 10 * t, 500, 480 + t] for t in range(1, 20))]
    run = {"looks": looks, "kills_at": []}
    calm = soak.plot({"runs": {"killed": run}})
    killed = soak.plot({"runs": {"killed": run | {"kills_at": [5.5, 12.0]}}})
    assert pixels_of(killed, plots.COLOURS[0]) > pixels_of(calm, plots.COLOURS[0]) + 40


def test_a_training_run_is_drawn_though_some_of_it_is_not_known() -> None:
    pytest.importorskip("matplotlib")
    picture = plots.training_run([0, 10, 20], {"a": [3.0, np.nan, 1.0], "b": [4.0, 2.0, 1.5]})
    assert picture.shape == (700, plots.WIDTH, 3)
    assert pixels_of(picture, plots.COLOURS[1]) > 500


def test_the_plots_of_the_documentation_are_drawn_from_stored_results(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert redraw.main(["-o", str(tmp_path)]) == 0
    drawn_again = ("soak", "throughput", "truth_frontier", "photoreal_frontier")
    names = [f"images/{name}.png" for name in drawn_again]
    for name in [*names, "models/faces64/curve.png"]:
        stored, drawn = read_image(ROOT / "docs" / name), read_image(tmp_path / name)
        assert stored.shape == drawn.shape
        assert read_provenance(tmp_path / name) == read_provenance(ROOT / "docs" / name)


def test_without_matplotlib_a_plot_is_left_out_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    assert redraw.main([]) == 2
    error = capsys.readouterr().err
    assert error == "bench.redraw: error: matplotlib is not installed (extra `bench`)\n"


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
    assert throughput.plot(drawn).shape == (plots.HEIGHT, plots.WIDTH, 3)
    assert throughput.table({"stages": drawn}).count("\n") == len(drawn) + 1


def test_the_stand_in_costs_nothing_and_comes_back() -> None:
    codec, images = jobs.stand_in(), throughput.faces(64, 40)
    assert images.shape == (40, 64, 64, 3)
    assert (np.floor(codec.decode(codec.encode(images))) == images).all()


def test_a_case_that_fails_says_why() -> None:
    assert "No module" in measure.in_a_process("bench.nothing", {}, {})["error"]
