"""The verb `demo`: transfers between bundled people who do not exist, and their scores."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_jax.cli.options import add_model_options
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

if TYPE_CHECKING:
    from transfer.requests import BatchRequest, TransferRequest

DEMO = Path(__file__).parents[1] / "demo"
JOB = DEMO / "photographs" / "job.csv"
SOURCE = DEMO / "photographs" / "people" / "person-461.jpg"
RENDERS_ALPHAS = (0.25, 0.5, 0.75, 1.0)
RENDERS_SOURCE = "person-41"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `demo`."""
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("demo-out"),
        help="output folder (default: %(default)s)",
    )
    parser.add_argument(
        "--judge",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="score the outputs too, as `glow-jax eval` does (default: if the extra `eval` is "
        "installed)",
    )
    parser.add_argument(
        "--renders",
        action="store_true",
        help="rendered people of 64 pixels, which need no extra (default: photoreal people, in "
        "whose photographs faces are found, which needs the extra eval)",
    )
    add_model_options(parser, photographs=True, said="photo64, with --renders faces64")
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the demo's outputs and judge them; returns the exit code."""
    from eval.run import modules_needed
    from glow_jax.io.packages import need
    from transfer.api import batch, transfer
    from transfer.cli.transfer import make
    from transfer.demo_sheet import write_demo_sheet

    output, not_judged = Output.of(args), ""
    if args.judge is not False:
        try:
            need("eval", *modules_needed())
        except InputError as error:
            if args.judge:
                raise
            not_judged = f"not judged: {error}"
            output.warn(not_judged)
    if args.renders:
        renders = _of_renders(args)
        lines, figures, code = make(transfer, renders, output, compile_cache=args.compile_cache)
    else:
        request = _of_photographs(args)
        lines, figures, code = make(batch, request, output, compile_cache=args.compile_cache)
        figures["sheet"] = write_demo_sheet(args.out, SOURCE)
        if figures["sheet"] is not None:
            lines.append(f"sheet:   {one_line(figures['sheet'])}")
    figures["judged"] = None
    if not_judged:
        output.warn(not_judged)
    elif args.judge is not False:
        code = max(code, _judge(args.out, output, lines, figures))
    return output.summary(lines, figures, code)


def _of_photographs(args: argparse.Namespace) -> "BatchRequest":
    """Four expressions of one photoreal person on three others, by two methods."""
    from transfer.photos.aligned_faces import Photographs, check_installed
    from transfer.requests import BatchRequest

    photographs = Photographs()
    try:
        check_installed(photographs)
    except InputError as error:
        raise InputError(f"{error}; or use --renders, which needs no extra") from None
    return BatchRequest(
        job=JOB,
        out=args.out,
        model=args.model,
        precision=args.precision,
        batch_size=args.batch_size,
        photographs=photographs,
        paste_back=True,
    )


def _of_renders(args: argparse.Namespace) -> "TransferRequest":
    """Four expressions of one rendered person on three others."""
    from transfer.requests import TransferRequest

    people = sorted((DEMO / "people").iterdir())
    return TransferRequest(
        expressions=[DEMO / "expressions"],
        source=DEMO / "people" / RENDERS_SOURCE,
        targets=[person for person in people if person.name != RENDERS_SOURCE],
        out=args.out,
        model=args.model,
        precision=args.precision,
        alphas=RENDERS_ALPHAS,
        batch_size=args.batch_size,
    )


def _judge(out: Path, output: Output, lines: list[str], figures: dict[str, Any]) -> int:
    """Score a folder with the defaults, which need no network; adds the scores to a summary."""
    from eval.cli.judge import figures_of, judge_by_default

    try:
        judgements = judge_by_default(out, output)
    except InputError as error:
        output.warn(f"not judged: {error} (--no-judge leaves this out)")
        return 1
    several = len(judgements) > 1
    for method, one in judgements.items():
        lines.append(f"{method}: {one.summary}" if several else one.summary)
    judged = {method: figures_of(one) for method, one in judgements.items()}
    figures["judged"] = judged if several else next(iter(judged.values()))
    return 1 if any(one.failures for one in judgements.values()) else 0
