"""Worker processes that are killed and replaced when an input takes too long or ends them."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

TIME_LIMIT = 30.0  # seconds of CPU of one input, and ten times as many by the clock
START_LIMIT = 600.0  # seconds by the clock until a worker begins
ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[bytes]


class Outcome(NamedTuple):
    """What became of an input.

    Attributes:
        number: of the input.
        result: "accepted", "refused" (with one line), "printed" (either, and something was printed
            besides), "traceback", "crash" (of the process) or "hang".
        message: of the error.
        mb: resident memory above what the process had before, 10^6 bytes.
        s: seconds of CPU.
    """

    number: int
    result: str
    message: str
    mb: float
    s: float


def outcomes(
    name: str,
    seed: int,
    count: int,
    start: Callable[[list[str]], subprocess.Popen[bytes]] | None = None,
) -> Iterator[Outcome]:
    """Outcomes of inputs 0 to `count` - 1 of a kind.

    Args:
        name: of the kind.
        seed: of its inputs.
        count: inputs.
        start: starts a worker; by default `bench.robustness.worker` in this Python.
    """
    first = 0
    while first < count:
        with tempfile.TemporaryDirectory(prefix="robustness-") as folder:
            words = [name, str(seed), str(first), str(count), folder]
            process = (start or _started)(words)
            try:
                for outcome in _watched(process):
                    yield outcome
                    first = outcome.number + 1
            finally:
                process.kill()
                process.wait()
        if first == 0 and process.returncode and count:
            raise RuntimeError(f"{name}: the worker ended before its first input")


def _started(words: list[str]) -> Process:
    more = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "bench.robustness.worker", *words],
        stdout=subprocess.PIPE,
        env=os.environ | more,
        cwd=ROOT,
    )


def _watched(process: Process) -> Iterator[Outcome]:
    """Outcomes of a worker until it ends or hangs."""
    number: int | None = None
    lines = Lines(process)
    while (line := lines.next(TIME_LIMIT if number is not None else START_LIMIT)) is not None:
        if not line:  # no answer in time
            if number is None:
                raise RuntimeError("a worker did not begin")
            yield Outcome(number, "hang", f"no answer after {TIME_LIMIT:g} s", 0.0, TIME_LIMIT)
            return
        found: dict[str, Any] = json.loads(line)
        if "begin" in found:
            number = found["begin"]
            continue
        assert number is not None
        yield Outcome(number, found["result"], found["message"], found["mb"], found["s"])
        number = None
    if number is not None:
        code = process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        yield Outcome(number, "crash", f"ended the process: {how}", 0.0, 0.0)


class Lines:
    """The lines that a process writes, each waited for within limits."""

    def __init__(self, process: Process):
        assert process.stdout is not None
        self._pid, self._pipe = process.pid, process.stdout.fileno()
        self._lines: list[bytes] = []
        self._rest = b""

    def next(self, limit: float) -> bytes | None:
        """The next line; None at the end; empty after `limit` s of CPU, or ten times as many."""
        begun, used = time.monotonic(), cpu_seconds(self._pid)
        while not self._lines:
            if not select.select([self._pipe], [], [], 0.5)[0]:
                if cpu_seconds(self._pid) - used > limit or time.monotonic() - begun > 10 * limit:
                    return b""
                continue
            data = os.read(self._pipe, 2**16)
            if not data:
                return None
            *self._lines, self._rest = (self._rest + data).split(b"\n")
        return self._lines.pop(0)


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU of a process; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
