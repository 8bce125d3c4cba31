"""Measure time and memory, and describe the machine; independent of flows."""

import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "normflows")
SHORTEST = 0.2  # seconds: shorter runs are repeated, because clocks are coarse


@dataclasses.dataclass(frozen=True)
class Timing:
    """One run, or the medians of several.

    Attributes:
        wall: seconds.
        cpu: CPU seconds of this process, all threads ("core-seconds").
        others: share of the machine that other processes used meanwhile, 0 to 1; None where
            the system does not say.
    """

    wall: float
    cpu: float
    others: float | None


def timed(run: Callable[[], object], shortest: float = SHORTEST) -> Timing:
    """Time a run that waits for its own result; the mean of several if it is short."""
    n = 0
    busy, cpu, start = _busy_seconds(), time.process_time(), time.perf_counter()
    while n == 0 or time.perf_counter() - start < shortest:
        run()
        n += 1
    wall = time.perf_counter() - start
    cpu = time.process_time() - cpu
    after = _busy_seconds()
    others = None
    if busy is not None and after is not None:
        others = (after - busy - cpu) / (wall * (os.cpu_count() or 1))
        others = min(1.0, max(0.0, others))
    return Timing(wall / n, cpu / n, others)


def median(timings: Iterable[Timing]) -> Timing:
    """The median of each field."""
    timings = list(timings)
    others = [t.others for t in timings if t.others is not None]
    return Timing(
        statistics.median(t.wall for t in timings),
        statistics.median(t.cpu for t in timings),
        statistics.median(others) if others else None,
    )


def _busy_seconds() -> float | None:
    """CPU seconds the whole machine has worked since it started (Linux only)."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    ticks = [int(field) for field in fields]
    return (sum(ticks[:8]) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def peak_memory_mb() -> float:
    """Peak resident memory of this process, in MB of 10^6 bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if platform.system() == "Darwin" else peak * 1024 / 1e6


def in_a_process(
    module: str,
    case: dict[str, Any],
    environment: dict[str, str],
    seconds: float | None = None,
) -> dict[str, Any]:
    """Run `python -m MODULE --case JSON`; its result is the last line that it prints.

    It is killed after so many seconds.

    Returns:
        The result, with the share of the machine that others used under "others"; or the reason
        why there is none, under "error".
    """
    root = str(Path(__file__).parents[2])
    words = [sys.executable, "-m", module, "--case", json.dumps(case)]
    begun, busy = time.perf_counter(), _busy_seconds()
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            words,
            env=os.environ | {"PYTHONPATH": root} | environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done in {seconds:.0f} s"}
    if done.returncode or not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"error": last[:300]}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    after, then = _busy_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if busy is not None and after is not None:
        own = then.ru_utime + then.ru_stime - cpu.ru_utime - cpu.ru_stime
        there = (time.perf_counter() - begun) * (os.cpu_count() or 1)
        answer["others"] = min(1.0, max(0.0, (after - busy - own) / there))
    return answer


def machine() -> dict[str, object]:
    """Processor, cores, versions, commit and date, on which results depend."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit, marked if the working tree differs from it; None outside a repository."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
