"""The verb `demo`: transfers between bundled synthetic people, and their scores."""

import argparse
import sys
from pathlib import Path

from glow_jax.cli.options import add_model_options

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
        default=True,
        help="score the outputs too, as `glow-jax eval` does (default: yes)",
    )
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the demo's outputs and judge them; returns the exit code."""
    from transfer.cli.transfer import make
    from transfer.requests import TransferRequest

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
    code = make(request, compile_cache=args.compile_cache)
    return max(code, _judge(args.out)) if args.judge else code


def _judge(out: Path) -> int:
    """Score a folder with the defaults, which need no network; prints the scores last."""
    from eval.cli.judge import judge_by_default
    from glow_jax.io.errors import InputError

    try:
        judgement = judge_by_default(out)
    except InputError as error:
        print(f"not judged: {error} (--no-judge leaves this out)", file=sys.stderr)
        return 1
    print(judgement.summary)
    return 1 if judgement.failures else 0
