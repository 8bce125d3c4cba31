"""The verb `demo`: transfers between bundled synthetic people, and their scores."""

import argparse
from pathlib import Path
from typing import Any

from glow_jax.cli.options import add_model_options
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.errors import InputError

DEMO = Path(__file__).parents[1] / "demo"
DEMO_ALPHAS = (0.25, 0.5, 0.75, 1.0)
DEMO_SOURCE = "person-41"


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
    add_model_options(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the demo's outputs and judge them; returns the exit code."""
    from eval.run import modules_needed
    from glow_jax.io.packages import need
    from transfer.api import transfer
    from transfer.cli.transfer import make
    from transfer.requests import TransferRequest

    output, not_judged = Output.of(args), ""
    if args.judge is not False:
        try:
            need("eval", *modules_needed())
        except InputError as error:
            if args.judge:
                raise
            not_judged = f"not judged: {error}"
            output.warn(not_judged)
    people = sorted((DEMO / "people").iterdir())
    request = TransferRequest(
        expressions=[DEMO / "expressions"],
        source=DEMO / "people" / DEMO_SOURCE,
        targets=[person for person in people if person.name != DEMO_SOURCE],
        out=args.out,
        model=args.model,
        precision=args.precision,
        alphas=DEMO_ALPHAS,
        batch_size=args.batch_size,
    )
    lines, figures, code = make(transfer, request, output, compile_cache=args.compile_cache)
    figures["judged"] = None
    if not_judged:
        output.warn(not_judged)
    elif args.judge is not False:
        code = max(code, _judge(args.out, output, lines, figures))
    return output.summary(lines, figures, code)


def _judge(out: Path, output: Output, lines: list[str], figures: dict[str, Any]) -> int:
    """Score a folder with the defaults, which need no network; adds the scores to a summary."""
    from eval.cli.judge import figures_of, judge_by_default

    try:
        judgement = judge_by_default(out, output)
    except InputError as error:
        output.warn(f"not judged: {error} (--no-judge leaves this out)")
        return 1
    lines.append(judgement.summary)
    figures["judged"] = figures_of(judgement)
    return 1 if judgement.failures else 0
