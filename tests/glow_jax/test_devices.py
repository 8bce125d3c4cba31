"""A platform that JAX is told to use and does not find is what the message names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import DEMO, ROOT

PICTURE = str(next((DEMO / "people").glob("*/*")))


@pytest.mark.parametrize("platform", ["cuda", "no_such_thing"])
@pytest.mark.parametrize(
    "words",
    [
        ["sample", "-o", "x.png"],
        ["encode", PICTURE, "-o", "x.npz"],
        ["train", "--data", f"folder:{DEMO}/people", "--debug", "-o", "run"],
        ["demo", "--no-judge"],
    ],
    ids=lambda words: words[0],
)
def test_the_platform_is_blamed_and_not_the_weights(
    platform: str, words: list[str], tmp_path: Path
) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "glow_jax.cli", *words],
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": platform, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    (line,) = run.stderr.splitlines()[-1:]
    assert run.returncode == 2, run.stderr
    assert f"JAX_PLATFORMS={platform}: JAX finds no such device" in line
    assert "weights" not in run.stderr and "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())
