"""Minutes on a device: which rows are begun, in which order, and what is written."""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from bench import __main__ as command
from bench import bare
from bench.speed import device, report, schedule
from bench.speed.ceiling import KINDS, matmul_ceilings

Row = dict[str, Any]


class Clock:
    """Time that passes only while a row is measured."""

    def __init__(self, seconds: dict[str, float]):
        self.now, self.seconds = 0.0, seconds
        self.written: list[tuple[int, int]] = []

    def measured(self, case: Row, left: float) -> Row:
        self.now += self.seconds[case["model"]]
        return {"left": left}

    def run(self, cases: list[Row], seconds: float) -> tuple[list[str], list[str]]:
        def written(rows: list[Row], skipped: list[Row]) -> None:
            self.written.append((len(rows), len(skipped)))

        rows, skipped = schedule.in_time(
            cases, self.measured, seconds, written, clock=lambda: self.now
        )
        return [row["model"] for row in rows], [row["model"] for row in skipped]


def case(model: str, kind: str = "decode") -> Row:
    return {"kind": kind, "model": model}


def test_no_row_is_begun_that_cannot_end() -> None:
    clock = Clock({"small": 10, "large": 30, "tiny": 1})
    cases = [case("small"), case("large"), case("large"), case("tiny"), case("small")]
    done, skipped = clock.run(cases, seconds=75)
    # 35 s are left for a second large one, which takes 39 by the first; other models are taken to
    # need twice the longest of their kind.
    assert done == ["small", "large", "small"]
    assert skipped == ["large", "tiny"]
    assert clock.now == 50
    assert clock.written == [(1, 0), (2, 0), (2, 1), (2, 2), (3, 2)]


def test_a_kind_without_a_row_is_taken_to_need_as_long_as_the_longest() -> None:
    clock = Clock({"a": 10})
    done, skipped = clock.run([case("a"), case("a", "training"), case("a", "end")], seconds=30)
    assert (done, skipped) == (["a", "a"], ["a"])


def test_a_kind_of_several_programs_is_taken_to_need_several_times_as_long() -> None:
    clock = Clock({"a": 10})
    cases = [case("a"), case("a", "end") | {"programs": 5}, case("a", "end") | {"programs": 2}]
    done, skipped = clock.run(cases, seconds=70)
    assert (done, skipped) == (["a", "a"], ["a"])  # 1.3 x 2 x 10 s are left, 1.3 x 5 x 10 not


def test_a_row_that_does_not_fit_into_memory_is_tried_with_half_the_batch() -> None:
    def measured(given: Row, left: float) -> Row:
        if given["batch"] > 2:
            return {"error": "full", "retry": given | {"batch": given["batch"] // 2}}
        return {"images_per_s": 1.0}

    cases = [case("a") | {"batch": 8}, case("b") | {"batch": 1}]
    rows, _ = schedule.in_time(cases, measured, 1e3, lambda rows, skipped: None)
    assert [row["batch"] for row in rows] == [8, 4, 2, 1]
    assert ["error" in row for row in rows] == [True, True, False, False]


def test_the_most_telling_rows_come_first() -> None:
    for platform in ("gpu", "tpu"):
        rows = device.cases(platform)
        kinds = [row["kind"].split()[0] for row in rows]
        order = list(dict.fromkeys(kinds))
        assert order[:4] == ["decode", "encode", "end", "training"]
        assert ("PyTorch" in order) == (platform == "gpu")
        first = rows[: kinds.index("encode")]
        assert {row["model"] for row in first} == {"64", "128", "256", "faces64"}
        assert set(kinds) <= set(device.MEASURE)
    variants = " ".join(row.get("variant", "") for row in device.cases("gpu"))
    for word in ("eager", "compiled", "channels-last", "tf32", "bf16"):
        assert word in variants


def test_rows_are_measured_and_written_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"decode": 4, "encode": 4, "training": 2}
    cases = [
        {"kind": kind, "model": "quick", "precision": "exact", "batch": n}
        for kind, n in few.items()
    ]
    monkeypatch.setattr(device, "cases", lambda platform: cases)
    monkeypatch.setattr(device, "SECONDS", 0.0)
    monkeypatch.setattr(device, "matmul_ceilings", lambda sizes: dict.fromkeys(KINDS, 0.5))
    out = tmp_path / "new" / "cpu.json"
    assert command.main(["--device", "cpu", "--minutes", "10", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert [row["kind"] for row in result["rows"]] == list(few)
    assert all(row["images_per_s"] > 0 and row["device_mb"] > 0 for row in result["rows"])
    assert result["rows"][1]["round_trip"]["max"] < 0.01
    assert result["rows"][0]["share_of_matmul"] == result["rows"][0]["tflop_per_s"] / 0.5
    assert result["machine"]["versions"]["jax"] == jax.__version__
    printed = capsys.readouterr().out
    assert printed.count("| quick |") == 3
    assert [path.name for path in out.parent.iterdir()] == ["cpu.json"]


def test_a_device_that_is_not_here_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--device", "tpu"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("bench: JAX runs on 'cpu' here, not on 'tpu'") and said.count("\n") == 1


def test_what_was_left_out_is_named() -> None:
    machine = {"versions": {}, "cpu": "a", "cores": 1, "commit": None, "date": "d"}
    rival = {"kind": "PyTorch eager", "model": "64", "variant": "eager tf32", "batch": 2}
    rates = {name: {"images_per_s": 3.0, "tflop_per_s": 1.0} for name in ("encode", "decode")}
    page = report.markdown({"machine": machine, "rows": [rival | rates], "skipped": [rival]})
    assert "Not begun, for want of time: PyTorch eager 64 eager tf32, 2." in page
    assert "| PyTorch eager decode | 64 | eager tf32, 2 | 3.0 |" in page


def test_without_torch_its_rows_are_named_as_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = device.importlib.util.find_spec
    monkeypatch.setattr(
        device.importlib.util, "find_spec", lambda name: None if name == "torch" else found(name)
    )
    monkeypatch.setattr(device, "matmul_ceilings", lambda sizes: dict.fromkeys(KINDS, 0.5))
    monkeypatch.setitem(device.MEASURE, "PyTorch", None)
    for kind in ("decode", "encode", "end", "training"):
        monkeypatch.setitem(device.MEASURE, kind, lambda case, ceilings, left: {"error": "none"})
    result = device.run("cpu", 1.0, 0, lambda result: None)
    assert result["skipped"] == []
    assert [row["kind"] for row in result["left_out"]] == ["PyTorch eager", "PyTorch compiled"]
    machine = {"versions": {}, "cpu": "a", "cores": 1, "commit": None, "date": "d"}
    page = report.markdown({"machine": machine, **result})
    assert "because torch is not installed: PyTorch eager quick eager float32, 4; " in page


@pytest.mark.slow
def test_a_short_run_of_a_batch_is_measured_end_to_end() -> None:
    """One chunk of outputs, which has no steady state."""
    row = device._end_to_end({"precision": "exact", "rows": 4}, {}, left=60.0)
    assert row["images_per_s"] > 0 and row["decode"]["images_per_s"] > 0
    assert "steady_ms" not in row


def test_a_product_has_a_rate_in_every_precision() -> None:
    rates = matmul_ceilings((64,))
    assert set(rates) == {"bf16", "float32 high", "float32"}
    assert all(np.isfinite(rate) and rate > 0 for rate in rates.values())


def test_without_jaxtyping_its_names_stand_for_any_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jaxtyping")
    monkeypatch.setattr(bare.importlib.util, "find_spec", lambda name: None)
    bare.stand_in_for_jaxtyping()
    from jaxtyping import Float, Int

    assert Float[np.ndarray, "B C"] | Int[np.ndarray, " B"] is Any
    assert Float[np.ndarray, "B"] is Any
    with pytest.raises(AttributeError):
        _ = sys.modules["jaxtyping"].__file__
