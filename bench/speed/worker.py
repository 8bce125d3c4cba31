"""One contestant in a separate process, which does one run at a time, requested over a pipe.

The child (`python -m bench.speed.worker SPEC`) builds the contestant of the JSON spec, answers with
its facts, then does the runs that the parent requests. Every answer is one line of JSON.
"""

import dataclasses
import importlib
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.speed import measure

PREPARE_SECONDS = 420  # time limit for building and compiling a contestant
RUN_SECONDS = 300


class Failed(Exception):
    """The contestant cannot run here; the message is the reason."""


class Worker:
    """A child process, for use by its parent.

    Attributes:
        spec: what the child was asked to build.
        facts: what it reported once ready: compile times and so on.
    """

    def __init__(self, spec: dict[str, Any], cores: int):
        """Start a child and wait until it is ready.

        Raises:
            Failed: the child could not start; the message is its last error.
        """
        self.spec = spec
        environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        # One thread per core that the child may use, in every library.
        environment |= {"OMP_NUM_THREADS": str(cores), "MKL_NUM_THREADS": str(cores)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.speed.worker", json.dumps(spec | {"cores": cores})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self.facts = self._answer(PREPARE_SECONDS)

    def run(self, name: str) -> measure.Timing:
        """Time one run of `name`: "encode", "decode" or "matmul"."""
        return measure.Timing(**self._ask(name))

    def finish(self) -> dict[str, Any]:
        """End the child; returns its peak memory and the facts that it reports at the end."""
        last = self._ask("finish")
        self._process.wait()
        return last

    def kill(self) -> None:
        """Kill the child."""
        self._process.kill()
        self._process.wait()

    def _ask(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()
        return self._answer(RUN_SECONDS)

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self.kill()
            raise Failed("it died" if ready else f"no answer in {seconds:.0f} s")
        answer = json.loads(line)
        if "error" in answer:
            self._process.wait()
            raise Failed(answer["error"])
        return answer


def main() -> None:
    """Run in the child: build, answer, and time what the parent asks for."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to stderr, so that it is not mixed with the answers

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    spec = json.loads(sys.argv[1])
    _pin(spec["cores"])
    try:
        module = "bench.speed.ours" if spec["code"] == "glow_jax" else "bench.speed.peers"
        contestant = importlib.import_module(module).prepare(spec)
    except Exception as error:  # any exception is reported to the parent
        text = " ".join(str(error).split()) or "no message"
        say({"error": f"{type(error).__name__}: {text[:300]}"})
        return
    say(contestant.facts)
    for line in sys.stdin:
        word = line.strip()
        if word == "finish":
            say({"peak_mb": measure.peak_memory_mb()})
            return
        say(dataclasses.asdict(measure.timed(contestant.runs[word])))


def _pin(cores: int) -> None:
    """Restrict the process to the first `cores` processors, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:cores])


if __name__ == "__main__":
    main()
