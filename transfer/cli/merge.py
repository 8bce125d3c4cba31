"""The verb `merge`: the folders of several shards into one."""

import argparse
from pathlib import Path


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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Merge the folders; returns the exit code."""
    from glow_jax.io.messages import counted
    from transfer.cli.report import report_totals
    from transfer.jobs.merge import merge

    totals = merge(args.outs, args.out)
    made = counted(totals.outputs, "image")
    print(f"{made}, {totals.failed} failed, {totals.missing} missing")
    return report_totals(totals, args.out)
