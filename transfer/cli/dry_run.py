"""The summary of --dry-run: what a job would take on this machine."""

import dataclasses
from typing import TYPE_CHECKING

from glow_jax.cli.output import Output
from glow_jax.io.messages import counted

if TYPE_CHECKING:
    from transfer.jobs.batch import Prepared

BYTES_A_VALUE = 5  # in the cache: 1 of the picture's pixel value, 4 of its latent
# Durations are printed in seconds below SHORT_S, in hours from LONG_S on.
SHORT_S, LONG_S = 120, 7200


def dry_run(prepared: "Prepared", output: Output, *, likelihood: bool, cache_bytes: int) -> int:
    """Estimate a job from its first outputs, and print the estimate; returns the exit code.

    Args:
        prepared: the job.
        output: how to print.
        likelihood: whether bits/dim of the outputs are computed.
        cache_bytes: the most disk space for what is needed again.
    """
    from transfer.jobs.estimate import estimate

    found, codec = estimate(prepared, likelihood=likelihood), prepared.models.codec
    each = codec.size[0] * codec.size[1] * codec.channels * BYTES_A_VALUE
    cache = min(cache_bytes, found.pictures * each)
    n_outputs = len(prepared.job.order)
    lines = [
        f"dry run, nothing is kept: {counted(n_outputs, 'output')} of "
        f"{counted(found.pictures, 'picture')}",
        f"measured on {counted(found.measured, 'output')}: {1e3 * found.seconds_a_picture:.1f} ms "
        f"per input picture; {1e3 * found.seconds_an_output:.1f} ms and "
        f"{found.bytes_an_output:.0f} bytes per output",
        f"estimate for this machine, without compilation: {_duration(found.seconds)}",
        f"disk space: {_size(found.bytes)}, and {_size(float(cache))} more during the run",
    ]
    figures = {"dry_run": True, "outputs": n_outputs, "cache_bytes": cache}
    return output.summary(lines, figures | dataclasses.asdict(found))


def _duration(seconds: float) -> str:
    if seconds < SHORT_S:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < LONG_S else f"{seconds / 3600:.1f} h"


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"
