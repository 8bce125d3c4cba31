"""The verb `transfer`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glow_jax.cli.options import add_model_options, start_jax, whole_number
from transfer.cli.photographs import (
    add_neutralise_option,
    add_photograph_options,
    photographs_of,
)

if TYPE_CHECKING:
    from transfer.requests import TransferRequest


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `transfer`."""
    from transfer.methods import method_names

    parser.description = (
        "Pictures must have the model's size, or be photographs (--align). Method "
        "warp: the expression is read from the source's pictures as activations of Action Units; "
        "the target's most neutral picture "
        "is warped by alpha times them, and what a warp cannot make is added over a mean shape. "
        "Method paper: y = decode(mean(target) + alpha * (expression - mean(source)))."
    )
    parser.add_argument(
        "--expression",
        dest="expressions",
        nargs="+",
        type=Path,
        required=True,
        metavar="IMAGE",
        help="pictures of the source person, or a folder of them",
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="pictures of the source person, neutral ones among them (default: none but the "
        "expression's; then the expression is estimated against the neutral face of many people, "
        "which is less exact; method paper needs them)",
    )
    parser.add_argument(
        "--target",
        dest="targets",
        action="append",
        type=Path,
        required=True,
        metavar="DIR",
        help="pictures of a target person; may be repeated",
    )
    parser.add_argument(
        "--method",
        type=str.lower,
        choices=method_names(),
        help="(default: warp where the model has an expression model, else paper; it is printed)",
    )
    parser.add_argument(
        "--alpha",
        dest="alphas",
        nargs="+",
        metavar="A",
        help="how much to add: numbers, FIRST:LAST:STEP, or auto (the largest inside a trust "
        "region); write --alpha=-0.5 "
        "if negative (default: 1 for warp; 0.3 0.4 0.5 for paper, as its authors do)",
    )
    parser.add_argument(
        "--neutral",
        dest="n_neutral",
        type=whole_number(1, 10**6),
        metavar="N",
        help="of each person use the N pictures that the judge's reader finds most neutral and "
        "most frontal (default: all; warp edits the most neutral of them)",
    )
    add_neutralise_option(parser)
    parser.add_argument(
        "--align",
        dest="photographs",
        action="store_true",
        help="the pictures are photographs of any size: find the faces, and cut them out",
    )
    parser.add_argument(
        "--paste-back",
        action="store_true",
        help="put the results into the targets' photographs, at full size (with --align)",
    )
    add_photograph_options(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="a new folder, or an interrupted job's",
    )
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make what the options ask for; returns the exit code."""
    from transfer.requests import TransferRequest

    request = TransferRequest(
        expressions=args.expressions,
        source=args.source,
        targets=args.targets,
        out=args.out,
        model=args.model,
        precision=args.precision,
        method=args.method,
        alphas=args.alphas,
        batch_size=args.batch_size,
        photographs=photographs_of(args) if args.photographs else None,
        paste_back=args.paste_back,
        n_neutral=args.n_neutral,
        neutralise=args.neutralise,
    )
    return make(request, compile_cache=args.compile_cache)


def make(request: "TransferRequest", *, compile_cache: bool) -> int:
    """Make a request with progress bars, and print what came of it; returns the exit code."""
    from transfer.api import transfer
    from transfer.cli.progress import Bars
    from transfer.cli.report import report

    start_jax(compile_cache)
    with Bars() as bars:
        summary = transfer(request, progress=bars.update, notify=bars.print)
    code = report(summary, summary.out)
    if summary.sheet is not None:
        print(f"sheet:   {summary.sheet}")
    if summary.pasted is not None:
        made, kept, failures = summary.pasted.made, summary.pasted.kept, summary.pasted.failures
        print(f"pasted:  {summary.out / 'pasted'} ({made} made, {kept} were there)")
        for why in failures:
            print(f"not pasted: {why}", file=sys.stderr)
        code = max(code, 1 if failures else 0)
    return code
