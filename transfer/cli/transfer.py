"""The verb `transfer`: expressions of one person on others."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_jax.cli.options import add_model_options, start_jax, whole_number
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.messages import one_line
from transfer.cli.photographs import (
    add_neutralise_option,
    add_photograph_options,
    photographs_if_aligned,
)

if TYPE_CHECKING:
    from transfer.requests import TransferRequest


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `transfer`."""
    from transfer.methods import method_names

    parser.description = (
        "Transfers expressions of a source person to target people. Pictures are aligned faces of "
        "the model's size, or photographs of any size (--align). Method warp estimates the "
        "expression as Action Unit activations; it warps the target's most neutral picture by "
        "alpha times these activations, and adds what a warp cannot make, such as folds and teeth. "
        "Method glow does the same, and a mouth that opens shows the inside of the source's own "
        "mouth, in the light that the flow finds likely. "
        "Method paper adds latents of the flow: "
        "y = decode(mean(target) + alpha * (expression - mean(source)))."
    )
    _add_people_options(parser)
    parser.add_argument(
        "--method",
        type=str.lower,
        choices=method_names(),
        help="transfer method (default: warp if the model has an expression model, else paper)",
    )
    parser.add_argument(
        "--alpha",
        dest="alphas",
        nargs="+",
        metavar="A",
        help="how much of the expression is added: 0 none, 1 all of it; numbers, FIRST:LAST:STEP "
        "(whose steps must end at LAST), or auto (the largest alpha whose result the flow finds "
        "about as likely as the unedited picture). Write a negative number as --alpha=-0.5 "
        "(default: 1 for warp and glow; 0.3 0.4 0.5 for paper, as in the paper)",
    )
    parser.add_argument(
        "--neutral",
        dest="n_neutral",
        type=whole_number(1, 10**6),
        metavar="N",
        help="use only the N pictures of each person that are most neutral and most frontal, as "
        "measured by the AU reader of `glow-jax eval` (default: all pictures)",
    )
    add_neutralise_option(parser)
    parser.add_argument(
        "--align",
        dest="photographs",
        action="store_true",
        help="the pictures are photographs of any size: find the faces in them and cut these out",
    )
    parser.add_argument(
        "--paste-back",
        action="store_true",
        help="also write the targets' photographs with the results in them, at full size (needs "
        "--align)",
    )
    add_photograph_options(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="output folder: a new one, or one of an interrupted run of the same request",
    )
    add_model_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def _add_people_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--expression",
        dest="expressions",
        nargs="+",
        type=Path,
        required=True,
        metavar="IMAGE",
        help="pictures of the source person that show an expression, or folders of them",
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="folder of the source person's pictures, the neutral ones among them (default: the "
        "expression is estimated relative to the neutral faces of many people, which is less "
        "exact; method paper needs --source)",
    )
    parser.add_argument(
        "--target",
        dest="targets",
        action="append",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of a target person's pictures; repeat the option for several people",
    )


def run(args: argparse.Namespace) -> int:
    """Make the transfer that the options describe; returns the exit code."""
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
        photographs=photographs_if_aligned(args),
        paste_back=args.paste_back,
        n_neutral=args.n_neutral,
        neutralise=args.neutralise,
    )
    output = Output.of(args)
    return output.summary(*make(request, output, compile_cache=args.compile_cache))


def make(
    request: "TransferRequest", output: Output, *, compile_cache: bool
) -> tuple[list[str], dict[str, Any], int]:
    """Run a request with progress bars.

    Returns:
        The summary in words, its figures, and the exit code.
    """
    from glow_jax.cli.progress import Bars
    from transfer.api import transfer
    from transfer.cli.report import (
        exit_code,
        figures_of,
        figures_of_pasted,
        lines_of,
        lines_of_pasted,
    )

    start_jax(compile_cache)
    with Bars(quiet=output.quiet) as bars:
        summary = transfer(request, progress=bars.update, notify=bars.print)
    if output.quiet:
        for trouble in summary.skipped:
            output.warn(f"skipped: {trouble.reason}")
    lines, figures = lines_of(summary, summary.out), figures_of(summary, summary.out)
    pasted, code = summary.pasted, exit_code(summary.totals)
    figures |= {"method": summary.method, "sheet": summary.sheet}
    figures |= {"pasted": figures_of_pasted(pasted, summary.out)}
    if summary.sheet is not None:
        lines.append(f"sheet:   {one_line(summary.sheet)}")
    if pasted is not None:
        lines += lines_of_pasted(pasted, summary.out)
        for why in pasted.failures:
            output.warn(f"not pasted: {why}")
        code = max(code, 1 if pasted.failures else 0)
    return lines, figures, code
