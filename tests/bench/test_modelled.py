"""A change must not make the programs of a TPU much slower, by its compiler's own model."""

import json
from pathlib import Path

import pytest

from bench.speed import aot
from glow_jax.io.packages import installed

RESULTS = Path(aot.__file__).parents[1] / "results" / "aot.json"


@pytest.mark.slow
@pytest.mark.skipif(
    not installed("libtpu"), reason="the compiler of TPUs is not installed (extra aot)"
)
def test_faces64_does_not_take_twice_the_cycles_or_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On four chips, 128 images each, which must exchange nothing; against the recorded row."""
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    case = {"chip": "v5e", "model": "faces64", "coupling": "additive", "precision": "high"}
    wanted = case | {"kind": "decode", "batch": 128}
    recorded = [r for r in json.loads(RESULTS.read_text())["rows"] if wanted.items() <= r.items()]
    row = aot.modelled(case | {"kind": "sharded", "batch": 4 * 128})
    assert row["collectives"] == 0
    for figure in ("cycles", "hbm_bytes"):
        assert 0.1 < row[figure] / recorded[-1][figure] < 2
