"""The summary of a run that the command line prints."""

from pathlib import Path

from glow_jax.io.messages import counted, one_line
from glow_jax.io.output_schema import FAILURES, RESULTS
from transfer.complete import Summary
from transfer.jobs.run import Run
from transfer.jobs.totals import Totals


def report(done: Summary | Run, out: Path) -> int:
    """Print the summary of a run; returns the exit code."""
    rate = done.made / done.seconds
    print(
        f"{counted(done.made, 'image')} made, {done.kept} were already there; {rate:.1f} images/s"
    )
    if done.encoded_again:
        times = counted(done.encoded_again, "picture")
        print(f"{times} had to be encoded again: a larger --cache-gb avoids this")
    return report_totals(done.totals, out)


def report_totals(totals: Totals, out: Path) -> int:
    """Print the totals of an output folder; returns the exit code."""
    exact = "every byte comes back" if totals.max_error < 0.5 else "some bytes do not come back"
    redone = (
        f"; {counted(totals.redone, 'picture')} encoded again in exact" if totals.redone else ""
    )
    worst = f"{totals.max_error:.2g} grey levels"
    print(f"round trip of the inputs: largest error {worst} ({exact}){redone}")
    if totals.non_finite:
        have = "has" if totals.non_finite == 1 else "have"
        print(
            f"{counted(totals.non_finite, 'image')} {have} non-finite pixels, which are mid-grey; "
            "see non_finite_pixels in results.csv"
        )
    if totals.absolute:
        print(
            f"{counted(totals.absolute, 'image')}: the expression is estimated absolutely, without "
            "a neutral picture of the source (results.csv, column note)"
        )
    if totals.nothing:
        print(
            f"{counted(totals.nothing, 'image')} without an edit: the expression does not differ "
            "from neutral by more than the noise (results.csv, column note)"
        )
    if totals.reduced:
        have = "has" if totals.reduced == 1 else "have"
        print(
            f"{counted(totals.reduced, 'image')} {have} less of the expression than alpha says, or "
            "none, because the whole does not decode; see edit_kept in results.csv"
        )
    if totals.failed:
        print(f"{counted(totals.failed, 'image')} could not be made: {one_line(out / FAILURES)}")
    if totals.bad_inputs:
        print(
            f"{counted(totals.bad_inputs, 'input')} could not be used: {one_line(out / FAILURES)}"
        )
    if totals.missing:
        are = "is" if totals.missing == 1 else "are"
        print(
            f"{counted(totals.missing, 'image')} {are} still to be made: run the command again, or "
            "the other shards"
        )
    print(f"results: {one_line(out / RESULTS)}")
    return 1 if totals.failed or totals.bad_inputs or totals.non_finite else 0
