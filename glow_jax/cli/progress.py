"""Progress on standard error: bars on a terminal, one line at the end elsewhere."""

import os
import sys
import time
from typing import Any

from glow_jax.io.terminal import printable, unfiltered


class Bars:
    """Progress of a verb's stages.

    On a terminal each stage has a bar, which is drawn from its first `update` on. Elsewhere (a
    pipe, a file) one line says at the end what was done and how long it took.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        """Without any stage yet; with `quiet` no progress and no line is printed at all."""
        self._quiet = quiet
        self._stages: dict[str, tuple[int, int]] = {}
        self._tasks: dict[str, Any] = {}
        self._progress: Any = None
        self._console: Any = None
        self._started = time.monotonic()
        if not quiet and _is_terminal():
            self._draw()

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._console = Console(file=unfiltered(sys.stderr))
        # What others print does not pass through the console, which does not filter it.
        self._progress = Progress(
            *columns, console=self._console, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._tasks:
            self._progress.stop()
        elif self._stages and not self._quiet and kind is None:
            done = ", ".join(f"{name} {n}/{of}" for name, (n, of) in self._stages.items())
            print(f"{done} in {time.monotonic() - self._started:.1f} s", file=sys.stderr)

    def update(self, stage: str, done: int, total: int) -> None:
        """Note the progress of a stage; this is a `transfer.jobs.run.Progress`."""
        self._stages[stage] = done, total
        if self._progress is None:
            return
        if stage not in self._tasks:
            self._progress.start()
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)

    def print(self, line: str) -> None:
        """Print a line above the bars, unless quiet."""
        if self._console is not None:
            text = printable(line)
            self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            print(line, file=sys.stderr, flush=True)


def _is_terminal() -> bool:
    """Whether standard error can move a cursor."""
    stream = unfiltered(sys.stderr)
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return stream is not None and stream.isatty() and not dumb
