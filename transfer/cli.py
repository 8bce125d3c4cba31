"""† The verbs `transfer` and `demo`."""

import argparse
import dataclasses
import functools
import itertools
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from glow_jax.checkpoints import find, load
from glow_jax.cli import add_model_options, whole_number
from glow_jax.config import Precision
from glow_jax.errors import InputError
from glow_jax.graph_model import GraphGlow
from glow_jax.images import Provenance, read_image, write_image
from transfer import folder
from transfer.codec import Codec, to_bytes
from transfer.expressions import Expressions
from transfer.expressions_file import NAME, load_expressions
from transfer.inputs import check_inputs
from transfer.job import Method, parse_alphas, read_job
from transfer.run import Summary, run
from transfer.sheet import job_sheet

DEMO = Path(__file__).parent / "demo"
DEMO_ALPHAS = (0.25, 0.5, 0.75, 1.0)
DEFAULT_ALPHAS: dict[Method, tuple[float, ...]] = {"warp": (1.0,), "paper": (0.3, 0.4, 0.5)}
DEMO_SOURCE = "person-41"


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
        description="Images must have the model's size. Method warp: the expression is read from "
        "the source's pictures as activations of Action Units; the target's most neutral picture "
        "is warped by alpha times them, and what a warp cannot make is added in the model's latent "
        "space. Method paper: y = decode(mean(target) + alpha * (expression - mean(source))).",
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
        "--method",
        choices=get_args(Method),
        help="(default: warp where the model has expressions, which is said, else paper)",
    )
    p.add_argument(
        "--alpha",
        nargs="+",
        metavar="A",
        help="how much to add: numbers, or FIRST:LAST:STEP; write --alpha=-0.5 "
        "if negative (default: 1 for warp; 0.3 0.4 0.5 for paper, as its authors do)",
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
    _add_fit(verbs)


def _add_fit(verbs: Any) -> None:
    p = verbs.add_parser(
        "fit-expressions",
        help="learn from rendered people what expressions do to a model's latents",
        description="Writes expressions.npz into the model's folder: with it `glow-jax transfer` "
        "has method warp. Takes about 15 minutes on 2 CPU cores.",
    )
    p.add_argument(
        "faces", type=Path, metavar="DIR", help="made by `glow-jax render --setting pairs`"
    )
    p.add_argument("--steps", type=whole_number(1, 10**7), default=1500, help="(default: 1500)")
    p.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, help="(default: 0)")
    p.add_argument(
        "--finder-of",
        type=Path,
        metavar="FILE",
        help="an expressions.npz of a model of the same shape, whose network that finds landmarks "
        "is taken (default: train one)",
    )
    p.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="(default: in the model's folder)"
    )
    add_model_options(p, batch=False)
    p.set_defaults(run=_fit)


def _fit(args: argparse.Namespace) -> int:
    from glow_jax.data.synthetic_faces.dataset import read_labels
    from glow_jax.data.synthetic_faces.people import AUS
    from transfer.expressions_file import save_expressions
    from transfer.fit import Faces, fit

    codec = load_codec(args.model, args.precision)
    shapes = load(args.model, fold=False).config.latent_shapes
    finder = load_expressions(args.finder_of, shapes).finder if args.finder_of else None
    labels = list(read_labels(args.faces))
    paths = [args.faces / label["file"] for label in labels]
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda path: read_image(path, codec.size), paths))
    faces = Faces.from_labels(np.stack(images), labels, AUS)

    def told(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    known = fit(faces, codec, n_steps=args.steps, seed=args.seed, finder=finder, progress=told)
    out = args.out or find(args.model) / NAME
    save_expressions(out, known)
    print(f"expressions: {out}")
    return 0


def codec_of(
    model: Any,
    precision: Precision,
    exact: Codec | None = None,
    expressions: Expressions | None = None,
) -> Codec:
    """A folded Glow, or a graph model, as the functions that this package works with."""
    config = model.config
    return Codec(
        name=model.name,
        fingerprint=model.fingerprint,
        size=(config.image_height, config.image_width),
        channels=config.n_channels,
        precision=precision,
        encode=model.encode,
        encode_grey=_encode_grey(model),
        decode=lambda eps: (np.asarray(model.decode_x(eps), np.float32) + 0.5) * 256,
        bits_per_dim=lambda images: np.asarray(model.bits_per_dim(images)),
        exact=exact,
        expressions=expressions,
    )


def _encode_grey(model: Any) -> Callable[[np.ndarray], Any]:
    """Continuous grey levels to latents; a graph takes bytes only."""
    if isinstance(model, GraphGlow):
        return lambda grey: model.encode(to_bytes(grey))
    return lambda grey: model.encode_x(np.asarray(grey, np.float32) / 256 - 0.5)


def load_codec(name: str, precision: Precision) -> Codec:
    """Load a model; a "fast" one brings its "exact" form for the images that need it.

    Raises:
        InputError: no such model, or it needs class labels.
    """
    model = load(name, fold=False)
    if model.config.n_classes:
        raise InputError(f"model {model.name!r} has classes; transfer takes models without")
    file = find(name) / NAME
    known = load_expressions(file, model.config.latent_shapes) if file.exists() else None
    exact = codec_of(model.fold("exact"), "exact", expressions=known)
    if precision == "exact":
        return exact
    return codec_of(model.fold("fast"), "fast", exact, known)


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
    alphas = None if args.alpha is None else parse_alphas(args.alpha)
    return _run(args, args.expression, args.source, args.target, alphas)


def _run(
    args: argparse.Namespace,
    expressions: list[Path],
    source: Path,
    targets: list[Path],
    alphas: tuple[float, ...] | None,
) -> int:
    codec = load_codec(args.model, args.precision)
    method: Method = getattr(args, "method", None) or ("warp" if codec.expressions else "paper")
    job = read_job(codec, expressions, source, targets, alphas or DEFAULT_ALPHAS[method], method)
    folder.check(args.out, job)

    @functools.cache
    def read(path: str) -> np.ndarray:
        return read_image(path, codec.size, codec.channels)

    skipped = check_inputs(job, read)
    print(f"method: {method}", file=sys.stderr)
    for trouble in skipped:
        print(f"skipped: {trouble.reason}", file=sys.stderr)
    with Bars() as bars:
        summary = run(
            job,
            codec,
            args.out,
            batch_size=args.batch_size,
            versions=versions(),
            read=read,
            means=True,
            progress=bars.update,
        )
    sheet = args.out / "sheet.png"
    recipe = {"job": [item.id for item in itertools.islice(job.items, 1000)]}
    provenance = Provenance("compositeWithTrainedAlgorithmicMedia", codec.name, recipe)
    write_image(sheet, job_sheet(job, args.out, read), provenance)
    code = report(summary, args.out)
    print(f"sheet:   {sheet}")
    return code


def report(summary: Summary, out: Path) -> int:
    """Say what a run did; the exit code."""
    totals = summary.totals
    rate = summary.made / summary.seconds
    print(f"{summary.made} images made, {summary.kept} were there; {rate:.1f} images/s")
    exact = "every byte comes back" if totals.max_error < 0.5 else "some bytes do not come back"
    redone = f"; {totals.redone} redone in exact" if totals.redone else ""
    worst = f"{totals.max_error:.2g} grey levels"
    print(f"round trip of the inputs: off by at most {worst} ({exact}){redone}")
    if totals.non_finite:
        print(f"{totals.non_finite} images have non-finite pixels, drawn mid-grey (results.csv)")
    if totals.failed:
        print(f"{totals.failed} images could not be made: {out / 'failures.csv'}")
    if totals.bad_inputs:
        print(f"{totals.bad_inputs} inputs could not be used: {out / 'failures.csv'}")
    print(f"results: {out / 'results.csv'}")
    return 1 if totals.failed or totals.bad_inputs or totals.non_finite else 0


def versions() -> dict[str, str]:
    """Versions of what made a job's outputs."""
    names = ("glow-jax", "jax", "jaxlib", "flax", "numpy", "pillow")
    return {name: metadata.version(name) for name in names}


@dataclasses.dataclass
class Bars:
    """One progress bar a stage, on standard error."""

    def __enter__(self) -> "Bars":
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
