"""A change must not make the programs of a TPU much slower, by its compiler's own model."""

import json
from pathlib import Path

import pytest

from bench.speed import aot, hlo
from bench.speed.models import random_model
from glow_jax.config import GlowConfig
from glow_jax.io.packages import installed
from glow_jax.products import Products

RESULTS = Path(aot.__file__).parents[1] / "results" / "aot.json"


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not installed("libtpu"),
        reason="libtpu, the compiler of TPUs, is not installed (extra `aot`)",
    ),
]


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    monkeypatch.setenv("XLA_FLAGS", "")  # libtpu ends the process at a flag of CPUs


@pytest.mark.parametrize(
    ("kind", "precision"), [("decode", "high"), ("decode", "fast"), ("encode", "fast")]
)
def test_faces64_does_not_take_twice_the_cycles_or_bytes(kind: str, precision: str) -> None:
    """Against the last recorded row of the same program."""
    case = {"chip": "v5e", "model": "faces64", "coupling": "additive", "kind": kind}
    case |= {"precision": precision, "batch": 128}
    rows = json.loads(RESULTS.read_text())["rows"]
    recorded = [row for row in rows if case.items() <= row.items()][-1]
    found = aot.modelled(case)
    assert found["collectives"] == 0
    for figure in ("cycles", "hbm_bytes"):
        assert 0.1 < found[figure] / recorded[figure] < 2, figure


@pytest.mark.parametrize("precision", ["high", "fast"])
def test_encoding_at_256_pixels_takes_as_long_as_decoding(precision: Products) -> None:
    """The first level of a wide model, whose pixels are in the lanes in both directions.

    Where the compiler chose another layout for one direction, that took 1.35 times as long.
    """
    model = random_model(GlowConfig(256, 256, n_levels=1, n_steps=4, hidden_width=512), 0)
    folded = model.fold(precision, platform="tpu")
    devices = aot.topology(aot.CHIPS["v5e"])[:1]

    def steps(name: str) -> hlo.Counts:
        """Of the longest loop, that of the steps."""
        compiled, _ = aot.compile_method(folded, name, 4, "tpu", devices)
        return hlo.longest_loop(compiled.as_text())

    encode, decode = steps("encode"), steps("decode")
    assert 0.9 < encode.cycles / decode.cycles < 1.1
    assert min(encode.product_cycles / encode.cycles, decode.product_cycles / decode.cycles) > 0.7
