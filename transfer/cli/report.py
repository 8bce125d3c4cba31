"""The summary of a run in words and for JSON."""

import dataclasses
from pathlib import Path
from typing import Any

from glow_jax.cli.output import Output
from glow_jax.io.messages import counted, one_line
from glow_jax.io.output_schema import ANIMATIONS, FAILURES, PASTED, RESULTS
from transfer.complete import Summary
from transfer.jobs.animate import Animated
from transfer.jobs.paste_back import Pasted
from transfer.jobs.run import Run
from transfer.jobs.totals import Totals


def lines_of(done: Summary | Run, out: Path) -> list[str]:
    """The summary of a run in words."""
    rate = done.made / done.seconds
    made = f"{counted(done.made, 'image')} made; already there: {done.kept}"
    lines = [f"{made}; {rate:.1f} images/s, with reading and writing"]
    if done.encoded_again:
        times = counted(done.encoded_again, "picture")
        lines.append(f"{times} had to be encoded again: a larger --cache-gb avoids this")
    return lines + lines_of_totals(done.totals, out)


def figures_of(done: Summary | Run, out: Path) -> dict[str, Any]:
    """The summary of a run for JSON."""
    figures = {"made": done.made, "kept": done.kept, "images_per_second": done.made / done.seconds}
    figures |= {"seconds": done.seconds, "encoded_again": done.encoded_again}
    return figures | figures_of_totals(done.totals, out)


def figures_of_totals(totals: Totals, out: Path) -> dict[str, Any]:
    """The totals of an output folder for JSON."""
    return {"out": out, "results": out / RESULTS, "totals": dataclasses.asdict(totals)}


def exit_code(totals: Totals) -> int:
    """1 where something could not be made, else 0."""
    return 1 if totals.failed or totals.bad_inputs or totals.non_finite else 0


def lines_of_totals(totals: Totals, out: Path) -> list[str]:
    """The totals of an output folder in words."""
    exact = "every byte comes back" if totals.max_error < 0.5 else "some bytes do not come back"
    redone = (
        f"; {counted(totals.redone, 'picture')} encoded again in exact" if totals.redone else ""
    )
    worst = f"{totals.max_error:.2g} grey levels"
    lines = [f"round trip of the inputs: largest error {worst} ({exact}){redone}"]
    if totals.non_finite:
        have = "has" if totals.non_finite == 1 else "have"
        lines.append(
            f"{counted(totals.non_finite, 'image')} {have} non-finite pixels, which are mid-grey; "
            "see non_finite_pixels in results.csv"
        )
    if totals.absolute:
        lines.append(
            f"{counted(totals.absolute, 'image')}: the expression is estimated absolutely, without "
            "a neutral picture of the person (results.csv, column note)"
        )
    if totals.nothing:
        lines.append(
            f"{counted(totals.nothing, 'image')} to which no expression was added: it is "
            "within the noise of its estimate (results.csv, column note)"
        )
    if totals.reduced:
        have = "has" if totals.reduced == 1 else "have"
        lines.append(
            f"{counted(totals.reduced, 'image')} {have} less of the expression than alpha says, or "
            "none, because the whole does not decode; see edit_kept in results.csv"
        )
    if totals.hidden:
        lines.append(
            f"{counted(totals.hidden, 'photograph')} in which the eyes or the mouth may be hidden "
            "(inputs.csv, column hidden)"
        )
    if totals.failed:
        lines.append(
            f"{counted(totals.failed, 'image')} could not be made: {one_line(out / FAILURES)}"
        )
    if totals.bad_inputs:
        lines.append(
            f"{counted(totals.bad_inputs, 'input')} could not be used: {one_line(out / FAILURES)}"
        )
    if totals.missing:
        are = "is" if totals.missing == 1 else "are"
        lines.append(
            f"{counted(totals.missing, 'image')} {are} still to be made: run the command again, or "
            "the other shards"
        )
    return [*lines, f"results: {one_line(out / RESULTS)}"]


def lines_of_pasted(pasted: Pasted | None, out: Path) -> list[str]:
    """How many photographs have results in them, in words; nothing where none was asked for."""
    if pasted is None:
        return []
    made, kept = pasted.made, pasted.kept
    where = f"pasted:  {one_line(out / PASTED)} ({made} made; already there: {kept})"
    return [f"{where}; images/s does not count their time"]


def warn_of_pasted(pasted: Pasted | None, output: Output) -> int:
    """Print why photographs have no results in them; returns the exit code."""
    failures = () if pasted is None else pasted.failures
    for why in failures:
        output.warn(f"not pasted: {why}")
    return 1 if failures else 0


def figures_of_pasted(pasted: Pasted | None, out: Path) -> dict[str, Any] | None:
    """How many photographs have results in them, for JSON; None where none was asked for."""
    if pasted is None:
        return None
    figures = {"out": out / PASTED, "made": pasted.made, "kept": pasted.kept}
    return figures | {"failures": pasted.failures}


def lines_of_animated(animated: Animated, out: Path) -> list[str]:
    """How many moving pictures there are, in words."""
    made, kept = animated.made, animated.kept
    return [f"animated: {one_line(out / ANIMATIONS)} ({made} made; already there: {kept})"]


def figures_of_animated(animated: Animated | None, out: Path) -> dict[str, Any] | None:
    """How many moving pictures there are, for JSON; None where none was asked for."""
    if animated is None:
        return None
    figures = {"out": out / ANIMATIONS, "made": animated.made, "kept": animated.kept}
    return figures | {"failures": animated.failures}
