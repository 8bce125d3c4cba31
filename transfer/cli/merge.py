"""The verb `merge`: the folders of several shards into one."""

import argparse
from pathlib import Path

from glow_jax.cli.output import Output, add_output_options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `merge`."""
    parser.description = (
        "Joins the output folders of `glow-jax batch --shard` in one folder, and writes its tables."
    )
    parser.add_argument(
        "outs", nargs="+", type=Path, metavar="OUT", help="output folders of the shards of one job"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="folder that gets all outputs: one of these, a new one, or one of an earlier merge",
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Merge the folders; returns the exit code."""
    from glow_jax.io.messages import counted
    from transfer.cli.report import exit_code, figures_of_totals, lines_of_totals
    from transfer.jobs.merge import merge

    totals = merge(args.outs, args.out)
    made = counted(totals.outputs, "image")
    lines = [f"{made}, {totals.failed} failed, {totals.missing} missing"]
    lines += lines_of_totals(totals, args.out)
    return Output.of(args).summary(lines, figures_of_totals(totals, args.out), exit_code(totals))
