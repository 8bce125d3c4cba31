"""The verb `merge`."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `merge`."""
    parser.description = "Brings what was made in several folders into one, and writes its tables."
    parser.add_argument(
        "outs", nargs="+", type=Path, metavar="OUT", help="folders of one job's shards"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="one of them, or a new folder"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Merge the folders; returns the exit code."""
    from transfer.cli.report import report_totals
    from transfer.jobs.merge import merge

    totals = merge(args.outs, args.out)
    print(f"{totals.outputs} images, {totals.failed} failed, {totals.missing} missing")
    return report_totals(totals, args.out)
