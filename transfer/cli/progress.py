"""Progress bars of the command line."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from glow_jax.io.terminal import printable, unfiltered


class Bars:
    """Progress bars on standard error, one per stage; nothing is shown before the first stage."""

    def __init__(self) -> None:
        """Without any bar yet."""
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
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_: object) -> None:
        if self._tasks:
            self._progress.stop()

    def update(self, stage: str, done: int, total: int) -> None:
        """Update the bar of a stage; this is a `transfer.jobs.run.Progress`."""
        if stage not in self._tasks:
            self._progress.start()
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done)

    def print(self, line: str) -> None:
        """Print a line above the bars."""
        text = printable(line)
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
