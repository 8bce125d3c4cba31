"""Small files that would need much memory or time, each converted in a process with limits."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.paths import ROOT

Bomb = Callable[[Path], Any]  # writes a file, or one beside it
GUARD = """
import os, resource, sys, time
from glow_jax.convert import Conversion, SelfCheck, convert
from glow_jax.io.errors import InputError

def peak():
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) >> 10

for path in sys.argv[1:]:
    sys.stdout.flush()
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if status:
            print(f"{path}\\t0\\t0\\tended by signal or status {status}", flush=True)
        continue
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    size = os.stat(path).st_size  # is mapped
    resource.setrlimit(resource.RLIMIT_AS, (used + size + 2**31, used + size + 2**31))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    before = peak()
    try:
        convert(path, path + "-out", image_size=(8, 8), bits=8)
        said = "converted"
    except InputError as error:
        said = f"refused: {error}"
    except BaseException as error:
        said = f"raised {type(error).__name__}: {str(error)[:200]!r}"
    seconds = time.process_time()
    print(f"{path}\\t{seconds}\\t{peak() - before}\\t{said[:1000]}", flush=True)
    os._exit(0)
"""


class Outcome(NamedTuple):
    """How a bomb ended."""

    cpu_seconds: float
    megabytes: int
    said: str


def outcomes_of(bombs: Mapping[str, Bomb], root: Path) -> dict[str, Outcome]:
    """Every bomb, each in a process of its own with limits, forked off one that imported all."""
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read as Linux tells it")
    paths = {}
    for number, (name, write) in enumerate(bombs.items()):
        folder = root / f"{number:02d}"
        folder.mkdir()
        write(folder / "a.pt")
        paths[name] = str(next(folder.iterdir()))
    command = [sys.executable, "-W", "ignore", "-c", GUARD, *paths.values()]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    rows = dict(line.split("\t", 1) for line in ended.stdout.splitlines())
    found = {}
    for name, path in paths.items():
        seconds, megabytes, said = rows[path].split("\t")
        found[name] = Outcome(float(seconds), int(megabytes), said)
    assert sorted(p.name for p in root.rglob("*-out*")) == []
    return found
