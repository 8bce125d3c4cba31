"""† The verbs `transfer` and `demo`."""

import argparse
import dataclasses
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from glow_jax.checkpoints import load
from glow_jax.cli import add_model_options
from glow_jax.config import Precision
from glow_jax.errors import InputError
from glow_jax.images import Provenance, write_image
from transfer.codec import Codec
from transfer.job import parse_alphas, read_job
from transfer.run import Summary, run_job
from transfer.sheet import job_sheet

DEMO = Path(__file__).parent / "demo"
DEMO_ALPHAS = (0.25, 0.5, 0.75, 1.0)
DEMO_SOURCE = "person-49"


def add_verbs(verbs: Any) -> None:
    """Add `demo` and `transfer` to the command line."""
    p = verbs.add_parser("demo", help="move four expressions between synthetic people")
    p.add_argument(
        "-o", "--out", type=Path, default=Path("demo-out"), help="(default: %(default)s)"
    )
    p.add_argument(
        "--judge",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="score the outputs too, as `glow-jax eval` does (default: yes)",
    )
    add_model_options(p)
    p.set_defaults(run=_demo)

    p = verbs.add_parser(
        "transfer",
        help="move expressions from one person to others",
        description="y = decode(mean(target) + alpha * (expression - mean(source))), in the "
        "model's latent space. Images must have the model's size.",
    )
    p.add_argument(
        "--expression",
        nargs="+",
        type=Path,
        required=True,
        metavar="IMAGE",
        help="pictures of the source person, or a folder of them",
    )
    p.add_argument(
        "--source", type=Path, required=True, metavar="DIR", help="pictures of the source person"
    )
    p.add_argument(
        "--target",
        action="append",
        type=Path,
        required=True,
        metavar="DIR",
        help="pictures of a target person; may be repeated",
    )
    p.add_argument(
        "--alpha",
        nargs="+",
        default=["0.3", "0.4", "0.5"],
        metavar="A",
        help="how much to add: numbers, or FIRST:LAST:STEP; write --alpha=-0.5 "
        "if negative (default: 0.3 0.4 0.5)",
    )
    p.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="a new folder, or an interrupted job's",
    )
    add_model_options(p)
    p.set_defaults(run=_transfer)


def codec_of(model: Any, precision: Precision, exact: Codec | None = None) -> Codec:
    """A folded Glow, or a graph model, as the functions that this package works with."""
    config = model.config
    return Codec(
        name=model.name,
        fingerprint=model.fingerprint,
        size=(config.image_height, config.image_width),
        channels=config.n_channels,
        precision=precision,
        encode=model.encode,
        decode=lambda eps: (np.asarray(model.decode_x(eps), np.float32) + 0.5) * 256,
        bits_per_dim=lambda images: np.asarray(model.bits_per_dim(images)),
        exact=exact,
    )


def load_codec(name: str, precision: Precision) -> Codec:
    """Load a model; a "fast" one brings its "exact" form for the images that need it.

    Raises:
        InputError: no such model, or it needs class labels.
    """
    model = load(name, fold=False)
    if model.config.n_classes:
        raise InputError(f"model {model.name!r} has classes; transfer takes models without")
    exact = codec_of(model.fold("exact"), "exact")
    return exact if precision == "exact" else codec_of(model.fold("fast"), "fast", exact)


def _demo(args: argparse.Namespace) -> int:
    people = sorted(p for p in (DEMO / "people").iterdir() if p.name != DEMO_SOURCE)
    source = DEMO / "people" / DEMO_SOURCE
    code = _run(args, [DEMO / "expressions"], source, people, DEMO_ALPHAS)
    return max(code, _judge(args.out)) if args.judge else code


def _judge(out: Path) -> int:
    """Judge a folder with the offline defaults; the last line says what came of it."""
    import eval.cli as judge
    from eval.errors import InputError as Unjudged

    try:
        summary, failures = judge.judge_by_default(out)
    except Unjudged as error:
        print(f"not judged: {error} (--no-judge leaves this out)", file=sys.stderr)
        return 1
    print(summary)
    return 1 if failures else 0


def _transfer(args: argparse.Namespace) -> int:
    return _run(args, args.expression, args.source, args.target, parse_alphas(args.alpha))


def _run(
    args: argparse.Namespace,
    expressions: list[Path],
    source: Path,
    targets: list[Path],
    alphas: tuple[float, ...],
) -> int:
    codec = load_codec(args.model, args.precision)
    job = read_job(codec, expressions, source, targets, alphas)
    for failure in job.failures:
        print(f"skipped: {failure.reason}", file=sys.stderr)
    with _Bars() as bars:
        summary = run_job(
            job,
            codec,
            args.out,
            batch_size=args.batch_size,
            versions=versions(),
            progress=bars.update,
        )
    sheet = args.out / "sheet.png"
    recipe = {"job": [item.id for item in job.items][:1000]}
    provenance = Provenance("compositeWithTrainedAlgorithmicMedia", codec.name, recipe)
    write_image(sheet, job_sheet(job, args.out), provenance)
    _report(summary, args.out)
    return 1 if summary.failures or summary.non_finite else 0


def _report(summary: Summary, out: Path) -> None:
    rate = summary.made / summary.seconds
    print(f"{summary.made} images made, {summary.kept} were there; {rate:.1f} images/s")
    exact = "every byte comes back" if summary.max_error < 0.5 else "some bytes do not come back"
    redone = f"; {summary.redone} redone in exact" if summary.redone else ""
    worst = f"{summary.max_error:.2g} grey levels"
    print(f"round trip of the inputs: off by at most {worst} ({exact}){redone}")
    if summary.non_finite:
        print(f"{summary.non_finite} images have non-finite pixels, drawn mid-grey (results.csv)")
    if summary.failures:
        print(f"{summary.failures} inputs could not be used: {out / 'failures.csv'}")
    print(f"results: {out / 'results.csv'}\nsheet:   {out / 'sheet.png'}")


def versions() -> dict[str, str]:
    """Versions of what made a job's outputs."""
    names = ("glow-jax", "jax", "jaxlib", "flax", "numpy", "pillow")
    return {name: metadata.version(name) for name in names}


@dataclasses.dataclass
class _Bars:
    """One progress bar a stage, on standard error."""

    def __enter__(self) -> "_Bars":
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, Any] = {}
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done)
