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
    assert "both distribute the work" in fails(capsys, words(job, tmp_path / "out", *ray))
    assert "needs --engine ray" in fails(capsys, words(job, tmp_path / "o", "--workers", "2"))


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


CONNECT = """
import os, sys
from transfer.jobs.ray_engine import connect
ray = connect()
print(ray.get(ray.remote(lambda: "done").remote()), flush=True)
sys.stdin.read()
"""


def listening(mark: str) -> list[str]:
    """Addresses, hexadecimal, at which processes listen whose environment has `mark`."""
    sockets = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes():
                sockets |= {os.readlink(file) for file in (path / "fd").iterdir()}
        except OSError:  # it has ended
            continue
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return [
        words[1].partition(":")[0]
        for words in lines
        if words[3] == "0A" and f"socket:[{words[9]}]" in sockets
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ray_here_listens_to_this_machine_only() -> None:
    pytest.importorskip("ray")
    mark, scratch = uuid.uuid4().hex, tempfile.mkdtemp()
    run = subprocess.Popen(
        [sys.executable, "-c", CONNECT],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        | {"GLOW_JAX_TEST": mark, "RAY_TMPDIR": scratch},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None and run.stdout.readline() == "done\n"
    found = listening(mark)
    (folder,) = Path(scratch).iterdir()
    mode = folder.stat().st_mode & 0o777
    run.communicate("")
    # 127.0.0.1, and the same in IPv6's notation; 0100007F is little-endian.
    assert len(found) >= 3 and {address[-8:] for address in found} == {"0100007F"}
    assert mode == 0o700
    assert not list(Path(scratch).iterdir())
    shutil.rmtree(scratch)


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
    assert len(killed) == 2 and "1280 images made; already there: 0" in said, said
    assert contents(out) == contents(tmp_path / "whole")
    assert not list(out.rglob(".*.tmp"))
