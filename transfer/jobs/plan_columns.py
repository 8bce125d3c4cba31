"""Collect the rows of a plan while a job file is read, with a few bytes per row."""

import array
from pathlib import Path

import numpy as np

from transfer.jobs.names import distinct_names
from transfer.jobs.plan import Plan
from transfer.jobs.plan_paths import Paths


class Columns:
    """The columns of a plan, to which rows are added one by one."""

    def __init__(self) -> None:
        """Without any rows."""
        self.integers = [array.array("i") for _ in range(4)]
        self.alpha, self.method = array.array("d"), array.array("b")

    def add(
        self, expression: int, source: int, target: int, line: int, alpha: float, method: int
    ) -> None:
        """Add a row."""
        for column, value in zip(self.integers, (expression, source, target, line), strict=True):
            column.append(value)
        self.alpha.append(alpha)
        self.method.append(method)

    def plan(self, path: Path, paths: Paths, user_ids: list[str] | None) -> Plan:
        """The plan of all rows; `path` is the job file."""
        expression, source, target, line = (np.array(c, np.int32) for c in self.integers)
        return Plan(
            str(path),
            list(paths.files),
            distinct_names(paths.of_people),
            list(paths.people),
            expression,
            source,
            target,
            np.array(self.alpha, np.float64),
            np.array(self.method, np.int8),
            line,
            user_ids,
            tuple(paths.notes),
        )
