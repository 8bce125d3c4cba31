"""`glow-jax animate`, killed or interrupted: repeated, it ends with equal bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.paths import ROOT

N = 600  # frames: three chunks
LIMIT_S = 900


def started(folder: Path, out: str) -> subprocess.Popen:
    words = ["animate", "--driving", "clip", "--target", "target.png", "-o", out, "--no-align"]
    command = [sys.executable, "-m", "glow_jax.cli", *words, "-q"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "GLOW_JAX_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's & ignores it
    )


def stopped_at(folder: Path, file: str, number: int) -> tuple[int, str]:
    """The exit code, and what was said, of a run that gets a signal when a file is there."""
    process, began = started(folder, "b.mp4"), time.monotonic()
    while not (folder / "b.mp4.work" / file).exists():
        assert process.poll() is None and time.monotonic() - began < LIMIT_S
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=LIMIT_S)[1]
    return process.returncode, said


@pytest.mark.slow
def test_a_run_that_is_killed_and_interrupted_ends_with_equal_bytes(tmp_path: Path) -> None:
    demo = ROOT / "transfer/demo"
    shown = sorted((demo / "people/person-41").iterdir()) + sorted((demo / "expressions").iterdir())
    (tmp_path / "clip").mkdir()
    for number in range(N):
        shutil.copy(shown[number % len(shown)], tmp_path / "clip" / f"{number}.png")
    shutil.copy(demo / "people/person-16/neutral-0.png", tmp_path / "target.png")
    assert started(tmp_path, "a.mp4").wait(LIMIT_S) == 0
    assert stopped_at(tmp_path, "reading-00000.npz", signal.SIGKILL)[0] == -signal.SIGKILL
    code, said = stopped_at(tmp_path, "part-00000.mp4", signal.SIGINT)
    assert (code, said.strip().splitlines()[-1]) == (
        130,
        "glow-jax animate: interrupted; run the same command again to continue",
    )
    assert not list(tmp_path.glob(".*.tmp")) and not (tmp_path / "b.mp4").exists()
    first = (tmp_path / "b.mp4.work/part-00000.mp4").stat().st_mtime_ns
    assert stopped_at(tmp_path, "part-00001.mp4", signal.SIGKILL)[0] == -signal.SIGKILL
    assert (tmp_path / "b.mp4.work/part-00000.mp4").stat().st_mtime_ns == first
    assert started(tmp_path, "b.mp4").wait(LIMIT_S) == 0
    for suffix in (".mp4", ".csv"):
        assert (tmp_path / f"b{suffix}").read_bytes() == (tmp_path / f"a{suffix}").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[:2] in ("a.", "b.", ".")) == [
        "a.csv", "a.mp4", "b.csv", "b.mp4",
    ]  # fmt: skip
