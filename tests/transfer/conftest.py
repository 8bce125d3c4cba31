"""The fixtures that tests of jobs share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.batch_command import ROWS


@pytest.fixture
def job(home: Path) -> Iterator[Path]:
    """A table of 24 outputs beside a model and people."""
    path = home / "job.csv"
    path.write_text("\n".join(ROWS) + "\n")
    yield path
    path.unlink()
