"""The table of a clip's frames: which had a face, and the activations that were used."""

from pathlib import Path

import numpy as np

from glow_jax.io.tables import write_table
from glow_jax.io.video_writer import TICKS
from transfer.video.reading import Readings
from transfer.video.timeline import ranges_of

FIELDS = ["frame", "seconds", "face", "reason", "neutral"]
FOUND, HELD = "found", "held"


def write_frames(
    path: Path,
    aus: tuple[str, ...],
    readings: Readings,
    neutral: np.ndarray,
    activations: np.ndarray,
    ticks: np.ndarray,
) -> None:
    """Write the table, atomically.

    Args:
        path: of the CSV file.
        aus: names of the A units, whose activations are the last columns.
        readings: of T frames.
        neutral: (T,) bool: the driver's neutral frames.
        activations: (T, A) that were used, smoothed, before alpha.
        ticks: (T,) times.
    """
    rows = [
        {
            "frame": number,
            "seconds": f"{ticks[number] / TICKS:.5f}",
            "face": FOUND if readings.known[number] else HELD,
            "reason": str(readings.reason[number]),
            "neutral": int(neutral[number]),
            **{au: f"{value:.4f}" for au, value in zip(aus, activations[number], strict=True)},
        }
        for number in range(len(ticks))
    ]
    write_table(path, [*FIELDS, *aus], rows)


def held_ranges(readings: Readings) -> list[tuple[int, int, str]]:
    """The first and last frame of each run of frames without a face, and the first one's reason."""
    missing = np.flatnonzero(~readings.known).tolist()
    return [(a, b, str(readings.reason[a])) for a, b in ranges_of(missing)]
