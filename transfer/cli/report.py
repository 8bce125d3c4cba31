"""What the command line prints of a run."""

from pathlib import Path

from glow_jax.io.output_schema import FAILURES, RESULTS
from transfer.api import Summary
from transfer.jobs.run import Run
from transfer.jobs.totals import Totals


def report(done: Summary | Run, out: Path) -> int:
    """Print what a run did; returns the exit code."""
    rate = done.made / done.seconds
    print(f"{_images(done.made)} made, {done.kept} were there; {rate:.1f} images/s")
    if done.encoded_again:
        print(f"{done.encoded_again} encodes were repeated: give a larger --cache-gb")
    return report_totals(done.totals, out)


def report_totals(totals: Totals, out: Path) -> int:
    """Print what a folder holds; returns the exit code."""
    exact = "every byte comes back" if totals.max_error < 0.5 else "some bytes do not come back"
    redone = f"; {totals.redone} redone in exact" if totals.redone else ""
    worst = f"{totals.max_error:.2g} grey levels"
    print(f"round trip of the inputs: off by at most {worst} ({exact}){redone}")
    if totals.non_finite:
        have = "has" if totals.non_finite == 1 else "have"
        print(
            f"{_images(totals.non_finite)} {have} non-finite pixels, drawn mid-grey (results.csv)"
        )
    if totals.absolute:
        print(
            f"{_images(totals.absolute)}: the expression is estimated absolutely, without a "
            "neutral picture of the source (results.csv, column note)"
        )
    if totals.nothing:
        print(
            f"{_images(totals.nothing)} without an edit: the expression does not differ from "
            "neutral by more than the noise (results.csv, column note)"
        )
    if totals.failed:
        print(f"{_images(totals.failed)} could not be made: {out / FAILURES}")
    if totals.bad_inputs:
        inputs = "1 input" if totals.bad_inputs == 1 else f"{totals.bad_inputs} inputs"
        print(f"{inputs} could not be used: {out / FAILURES}")
    if totals.missing:
        are = "is" if totals.missing == 1 else "are"
        print(
            f"{_images(totals.missing)} {are} still to be made: run it again, or its other shards"
        )
    table = "" if totals.parquet else " (and no results.parquet: pyarrow is not installed)"
    print(f"results: {out / RESULTS}{table}")
    return 1 if totals.failed or totals.bad_inputs or totals.non_finite else 0


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"
