"""A batch by Ray's actors, two of which are killed: the same files as without Ray."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from glow_jax.cli.main import main
from tests.support.batch_command import words
from tests.support.command_line import fails
from tests.support.linear import contents
from tests.support.paths import ROOT


def test_ray_and_shards_do_not_mix(job: Path, tmp_path: Path, capsys) -> None:
    ray = ["--engine", "ray", "--shard", "1/2"]
    assert "two ways to share" in fails(capsys, words(job, tmp_path / "out", *ray))
    assert "those of --engine ray" in fails(capsys, words(job, tmp_path / "o", "--workers", "2"))


def actors(mark: str) -> list[int]:
    """Ray's workers that map chunks, of the run whose environment has `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            title = (path / "cmdline").read_bytes()
            if b"MapWorker" in title and mark.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:  # it has ended
            continue
    return found


@pytest.mark.slow
def test_killed_actors_are_replaced(job: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    lines = [f"shots,ann,bob,{a / 640}" for a in range(640)]
    job.write_text("\n".join(["expression,source,target,alpha", *lines]) + "\n")
    options = ["--batch-size", "4", "--chunk-size", "8"]
    assert main(words(job, tmp_path / "whole", *options)) == 0
    mark, out = uuid.uuid4().hex, tmp_path / "out"
    code = "import sys; from glow_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"
    ray = words(job, out, *options, "--engine", "ray", "--workers", "2")
    scratch = tempfile.mkdtemp()  # short, since the names of sockets must be
    run = subprocess.Popen(
        [sys.executable, "-c", code, *ray],
        cwd=ROOT,
        env=os.environ | {"GLOW_JAX_TEST": mark, "RAY_TMPDIR": scratch},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed: list[int] = []
    while run.poll() is None:
        done = len(list(out.glob("rows/*[0-9].csv")))
        others = [pid for pid in actors(mark) if pid not in killed]
        if others and done > 20 * (len(killed) + 1) - 15 and len(killed) < 2:
            os.kill(others[0], signal.SIGKILL)
            killed.append(others[0])
        time.sleep(0.02)
    said, errors = run.communicate()
    shutil.rmtree(scratch, ignore_errors=True)
    assert run.returncode == 0, errors[-3000:]
    assert len(killed) == 2 and "1280 images made, 0 were there" in said, said
    assert contents(out) == contents(tmp_path / "whole")
    assert not list(out.rglob(".*.tmp"))
