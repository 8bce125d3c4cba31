"""Ctrl-C at random moments of whole commands: one line, 130, and the same files in the end."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.linear import contents
from tests.support.paths import ROOT

MOMENTS = 20
LIMIT_S = 10  # on a busy machine; a second elsewhere
FIRST_S = 0.3  # until then Python itself starts
HEADS = str(ROOT / "tests" / "heads")
DEBUG = ["--debug", "--steps", "20", "--every", "10", "--evaluate", "8", "--no-tensorboard"]
MOVE = ["--expression", "shots", "--source", "ann", "--target", "bob"]
ROWS = "".join(f"shots,ann,bob,{a / 8}\n" for a in range(8))

VERBS = {
    "sample": ["-n", "4", "--model", "model", "--overwrite", "-o", "OUT.png"],
    "encode": ["ann", "--model", "model", "--check", "--overwrite", "-o", "OUT.npz"],
    "transfer": [*MOVE, "--model", "model", "-o", "OUT"],
    "batch": ["job.csv", "--model", "model", "--chunk-size", "2", "-o", "OUT"],
    "train": ["--data", "folder:ann", "--held-out", "folder:bob", *DEBUG, "-o", "OUT"],
    "align": [HEADS, "--size", "64", "-o", "OUT"],
}
SAME = ("batch", "align")  # verbs whose folders end with the same bytes


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """A shell's background jobs ignore SIGINT, and so would what they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def started(home: Path, verb: str, out: Path) -> subprocess.Popen[str]:
    words = [word.replace("OUT", str(out)) for word in VERBS[verb]]
    return subprocess.Popen(
        [sys.executable, "-m", "glow_jax.cli", verb, *words],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(ROOT), "JAX_ENABLE_COMPILATION_CACHE": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_at_random_moments(verb: str, home: Path, tmp_path: Path) -> None:
    if verb == "align":
        pytest.importorskip("dlib")
    (home / "job.csv").write_text(f"expression,source,target,alpha\n{ROWS}")
    begun = time.monotonic()
    whole = started(home, verb, tmp_path / "whole")
    assert whole.communicate()[0] is not None and whole.returncode == 0
    length, out = time.monotonic() - begun, tmp_path / "out"
    draw = random.Random(0)
    ends = []
    for _ in range(MOMENTS):
        process = started(home, verb, out)
        time.sleep(draw.uniform(FIRST_S, max(length, FIRST_S)))
        sent = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
        ends.append(process.returncode)
        assert time.monotonic() - sent < LIMIT_S
        assert process.returncode in (0, 130), said  # 0: it had ended
        assert "Traceback" not in said and "rror" not in said, said
        if process.returncode == 0:  # train would say that the run is finished
            shutil.rmtree(out, ignore_errors=True)
        if process.returncode == 130:
            assert said.count("interrupted") == 1 and said.endswith("\n"), said
            assert "interrupted" in said.splitlines()[-1], said
    assert 130 in ends
    last = started(home, verb, out)
    _, said = last.communicate()
    assert last.returncode == 0, said
    if verb in SAME:
        assert contents(out) == contents(tmp_path / "whole")
    assert not list(out.rglob(".*.tmp"))
    shutil.rmtree(out, ignore_errors=True)
