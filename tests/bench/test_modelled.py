"""A change must not make the programs of a TPU much slower, by its compiler's own model."""

import json
from pathlib import Path

import pytest

from bench.speed import aot
from glow_jax.io.packages import installed

RESULTS = Path(aot.__file__).parents[1] / "results" / "aot.json"


@pytest.mark.slow
@pytest.mark.skipif(
    not installed("libtpu"), reason="libtpu, the compiler of TPUs, is not installed (extra `aot`)"
)
@pytest.mark.parametrize("precision", ["high", "fast"])
def test_faces64_does_not_take_twice_the_cycles_or_bytes(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the last recorded row of the same program."""
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    monkeypatch.setenv("XLA_FLAGS", "")  # libtpu ends the process at a flag of CPUs
    case = {"chip": "v5e", "model": "faces64", "coupling": "additive", "kind": "decode"}
    case |= {"precision": precision, "batch": 128}
    rows = json.loads(RESULTS.read_text())["rows"]
    recorded = [row for row in rows if case.items() <= row.items()][-1]
    found = aot.modelled(case)
    assert found["collectives"] == 0
    for figure in ("cycles", "hbm_bytes"):
        assert 0.1 < found[figure] / recorded[figure] < 2, figure
