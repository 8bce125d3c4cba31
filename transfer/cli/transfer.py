"""The verb `transfer`: expressions of one person on others."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_jax.cli.options import add_model_options, start_jax
from glow_jax.cli.output import Output, add_output_options
from glow_jax.cli.parser import Once
from glow_jax.io.messages import one_line
from transfer.cli.photographs import (
    add_align_option,
    add_neutral_option,
    add_neutralise_option,
    add_paste_options,
    add_photograph_options,
    paste_format_of,
    photographs_if_aligned,
)

if TYPE_CHECKING:
    from transfer.complete import Summary
    from transfer.requests import TransferRequest


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `transfer`."""
    from transfer.methods import METHODS

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
        choices=list(METHODS),
        help="transfer method (default: warp, with --align glow; paper if the model has no "
        "expression model)",
    )
    parser.add_argument(
        "--alpha",
        dest="alphas",
        action="extend",
        nargs="+",
        metavar="A",
        help="how much of the expression is added: 0 none, 1 all of it; numbers, FIRST:LAST:STEP "
        "(whose steps must end at LAST), or auto (the largest alpha from 1.5 down to 0.25 whose "
        "result the flow finds about as likely as the unedited picture, with no Action Unit above "
        "1.1 and at most 2 in 100 values clipped; 0.25 if there is none). A range that begins "
        "below 0 is --alpha=-1:1:0.5 (default: 1 for warp and glow; 0.3 0.4 0.5 for paper, as in "
        "the paper)",
    )
    add_neutral_option(parser)
    add_neutralise_option(parser)
    add_align_option(parser)
    add_paste_options(parser)
    add_animate_option(parser)
    add_photograph_options(parser)
    add_folder_option(parser)
    parser.add_argument(
        "--format",
        choices=("png", "webp"),
        default="png",
        help="file format of the outputs; both are lossless (default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="make nothing; print what would be made, and an estimate of time and disk space from "
        "the first outputs, without --paste-back and --animate",
    )
    add_model_options(parser, photographs=True)
    add_output_options(parser)
    parser.set_defaults(run=run)


def add_folder_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--out` of a verb whose output folder an interrupted run continues."""
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="output folder: a new one, or one of an interrupted run of the same request",
    )


def add_animate_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--animate`."""
    parser.add_argument(
        "--animate",
        choices=("gif", "webp", "mp4"),
        help="also write moving pictures in which alpha goes up and down, beside the pictures that "
        "they were made of; mp4 needs the extra video (default: none)",
    )


def _add_people_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--expression",
        dest="expressions",
        action="extend",
        nargs="+",
        type=Path,
        required=True,
        metavar="IMAGE",
        help="pictures of the source person that show an expression, or folders of them",
    )
    parser.add_argument(
        "--source",
        action=Once,
        type=Path,
        metavar="IMAGE|DIR",
        help="picture of the source person without an expression, or a folder of that person's "
        "pictures, the neutral ones among them (default: the "
        "expression is estimated relative to the neutral faces of many people, which is less "
        "exact; method paper needs --source)",
    )
    parser.add_argument(
        "--target",
        dest="targets",
        action="append",
        type=Path,
        required=True,
        metavar="IMAGE|DIR",
        help="picture of a target person, or a folder of that person's pictures; repeat the option "
        "for several people",
    )


def run(args: argparse.Namespace) -> int:
    """Make the transfer that the options describe; returns the exit code."""
    from transfer.api import transfer
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
        paste_format=paste_format_of(args),
        n_neutral=args.n_neutral,
        neutralise=args.neutralise,
        animate=args.animate,
        format=args.format,
    )
    output = Output.of(args)
    if args.dry_run:
        return _dry_run(request, output, args)
    return output.summary(*make(transfer, request, output, compile_cache=args.compile_cache))


def _dry_run(request: "TransferRequest", output: Output, args: argparse.Namespace) -> int:
    from transfer.api import prepare_transfer
    from transfer.cli.dry_run import dry_run
    from transfer.jobs.run import CACHE_BYTES

    start_jax(args.compile_cache)
    prepared = prepare_transfer(request, notify=output.notice)
    return dry_run(prepared, output, likelihood=True, cache_bytes=CACHE_BYTES)


def make(
    call: Callable[..., "Summary"], request: Any, output: Output, *, compile_cache: bool
) -> tuple[list[str], dict[str, Any], int]:
    """Run a request with progress bars.

    Args:
        call: of `transfer.api`, which takes the request.
        request: the request.
        output: how to print.
        compile_cache: the option --compile-cache.

    Returns:
        The summary in words, its figures, and the exit code.
    """
    from glow_jax.cli.progress import Bars
    from transfer.cli.report import (
        exit_code,
        figures_of,
        figures_of_animated,
        figures_of_pasted,
        lines_of,
        lines_of_animated,
        lines_of_pasted,
        warn_of_pasted,
    )

    start_jax(compile_cache)
    with Bars(quiet=output.quiet) as bars:
        summary = call(request, progress=bars.update, notify=bars.print)
    if output.quiet:
        for trouble in summary.skipped:
            output.warn(f"skipped: {trouble.reason}")
    lines, figures = lines_of(summary, summary.out), figures_of(summary, summary.out)
    pasted, code = summary.pasted, exit_code(summary.totals)
    figures |= {"method": summary.method, "sheet": summary.sheet}
    figures |= {"pasted": figures_of_pasted(pasted, summary.out)}
    if summary.sheet is not None:
        lines.append(f"sheet:   {one_line(summary.sheet)}")
    lines += lines_of_pasted(pasted, summary.out)
    code = max(code, warn_of_pasted(pasted, output))
    animated = summary.animated
    figures |= {"animated": figures_of_animated(animated, summary.out)}
    if animated is not None:
        lines += lines_of_animated(animated, summary.out)
        for why in animated.failures:
            output.warn(f"not animated: {why}")
        code = max(code, 1 if animated.failures else 0)
    return lines, figures, code
