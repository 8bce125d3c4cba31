"""† The verbs `transfer` and `demo`."""

import argparse
import csv
import functools
import itertools
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np

from glow_jax.checkpoints import far_limit, find, load
from glow_jax.cli.options import add_model_options, whole_number
from glow_jax.compile_cache import use_compile_cache
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance
from transfer.cli.align import add_photograph_options, far_line, settings_of
from transfer.cli.align import add_verb as add_align_verb
from transfer.cli.batch import add_verbs as add_batch_verbs
from transfer.cli.batch import report
from transfer.cli.progress import Bars
from transfer.codec import Codec
from transfer.expression.file import NAME
from transfer.jobs import output_folder as folder
from transfer.jobs.batch import reader_of, versions
from transfer.jobs.inputs import Read, check_inputs
from transfer.jobs.paste_back import paste_back
from transfer.jobs.plan import Keep, Method, parse_alphas, read_job
from transfer.jobs.run import run
from transfer.jobs.sheet import job_sheet
from transfer.models import codec_of as codec_of  # for bench/
from transfer.models import load_codec
from transfer.photos.judge_adapter import measure_aus
from transfer.photos.neutral import Measurement, chosen, scores
from transfer.photos.pose import pose_of
from transfer.photos.reader import AlignedFaces

DEMO = Path(__file__).parents[1] / "demo"
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
        description="Pictures must have the model's size, or be photographs (--align). Method "
        "warp: the expression is read from the source's pictures as activations of Action Units; "
        "the target's most neutral picture "
        "is warped by alpha times them, and what a warp cannot make is added over a mean shape. "
        "Method paper: y = decode(mean(target) + alpha * (expression - mean(source))).",
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
        help="how much to add: numbers, FIRST:LAST:STEP, or auto (the largest inside a trust "
        "region); write --alpha=-0.5 "
        "if negative (default: 1 for warp; 0.3 0.4 0.5 for paper, as its authors do)",
    )
    p.add_argument(
        "--neutral",
        type=whole_number(1, 10**6),
        metavar="N",
        help="of each person use the N pictures that the judge's reader finds most neutral and "
        "most frontal (default: all; warp edits the most neutral of them)",
    )
    p.add_argument(
        "--align",
        action="store_true",
        help="the pictures are photographs of any size: find the faces, and cut them out",
    )
    p.add_argument(
        "--paste-back",
        action="store_true",
        help="put the results into the targets' photographs, at full size (with --align)",
    )
    add_photograph_options(p)
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
    add_align_verb(verbs)
    add_batch_verbs(verbs)
    _add_fit(verbs)


def _add_fit(verbs: Any) -> None:
    p = verbs.add_parser(
        "fit-expressions",
        help="learn from rendered people what expressions do to faces",
        description="Writes expressions.npz into the model's folder: with it `glow-jax transfer` "
        "has method warp. Takes about 15 minutes on 2 CPU cores.",
    )
    p.add_argument(
        "faces",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders that `glow-jax render --setting pairs` made",
    )
    p.add_argument(
        "--steps",
        type=whole_number(1, 10**7),
        default=1500,
        help="of the network that finds landmarks (default: 1500)",
    )
    p.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, help="(default: 0)")
    p.add_argument(
        "--finder-of",
        type=Path,
        metavar="FILE",
        help="an expressions.npz whose network that finds landmarks is taken (default: train one)",
    )
    p.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="(default: in the model's folder)"
    )
    add_model_options(p, batch=False)
    p.set_defaults(run=_fit)


def _fit(args: argparse.Namespace) -> int:
    from glow_jax.data.synthetic_faces.dataset import read_labels
    from glow_jax.data.synthetic_faces.people import AUS
    from transfer.expression.file import load_landmark_detector, save_expression_model
    from transfer.expression.fit import Faces, fit

    config = load(args.model, fold=False).config
    landmark_detector = load_landmark_detector(args.finder_of) if args.finder_of else None
    labels = [label for folder in args.faces for label in read_labels(folder)]
    paths = [folder / label["file"] for folder in args.faces for label in read_labels(folder)]
    size = (config.image_height, config.image_width)
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda path: read_image(path, size), paths))

    expression_model = fit(
        Faces.from_labels(np.stack(images), labels, AUS),
        n_steps=args.steps,
        seed=args.seed,
        landmark_detector=landmark_detector,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    out = args.out or find(args.model) / NAME
    save_expression_model(out, expression_model)
    print(f"expressions: {out}")
    return 0


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
    if args.paste_back and not args.align:
        raise InputError("--paste-back needs --align: else the pictures are the faces themselves")
    alphas = None if args.alpha is None else parse_alphas(args.alpha)
    return _run(args, args.expression, args.source, args.target, alphas)


def _run(
    args: argparse.Namespace,
    expressions: list[Path],
    source: Path,
    targets: list[Path],
    alphas: tuple[float, ...] | None,
) -> int:
    try:
        use_compile_cache()
    except InputError as error:
        print(f"compiled programs are not kept: {error}", file=sys.stderr)
    codec = load_codec(args.model, args.precision)
    method: Method = getattr(args, "method", None) or ("warp" if codec.expressions else "paper")
    reader, reading = _reader(args, codec)
    read = functools.cache(reader)
    job = read_job(
        codec,
        expressions,
        source,
        targets,
        alphas or DEFAULT_ALPHAS[method],
        method,
        reading=reading,
        keep=_most_neutral(args, reader, read),
    )
    folder.check(args.out, job)
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
        put = None
        if isinstance(reader, AlignedFaces) and args.paste_back:
            put = paste_back(job, codec, args.out, reader, progress=bars.update)
    if isinstance(reader, AlignedFaces):
        _warn_of_far(args.out, args.model)
    sheet = args.out / "sheet.png"
    recipe = {"job": [item.id for item in itertools.islice(job.items, 1000)]}
    provenance = Provenance("compositeWithTrainedAlgorithmicMedia", codec.name, recipe)
    write_image(sheet, job_sheet(job, args.out, read), provenance)
    code = report(summary, args.out)
    print(f"sheet:   {sheet}")
    if put is not None:
        print(f"pasted:  {args.out / 'pasted'} ({put.made} made, {put.kept} were there)")
    return code


def _reader(args: argparse.Namespace, codec: Codec) -> tuple[Read, str]:
    """How pictures are read, and what of it decides the outputs."""
    reader = reader_of(settings_of(args) if getattr(args, "align", False) else None, codec)
    if reader is None:
        return lambda path: read_image(path, codec.size, codec.channels), ""
    return reader, reader.settings.key


def _most_neutral(args: argparse.Namespace, reader: Read, read: Read) -> Keep | None:
    """Which of a person's pictures are used; None for all."""
    n = getattr(args, "neutral", None)
    if n is None:
        return None

    def keep(files: Sequence[str]) -> list[str]:
        usable, readings = [], []
        for file in files:
            try:
                pixels = read(file)
            except InputError:
                continue  # told when the job reads it
            usable.append(file)
            readings.append(_expression(reader, file, pixels))
        if not usable:
            return list(files)
        best = [usable[i] for i in chosen(scores(readings), n)]
        print(f"neutral: {', '.join(map(one_line, best))}", file=sys.stderr)
        unusable = [file for file in files if file not in usable]
        return [file for file in files if file in {*best, *unusable}]

    return keep


def _expression(reader: Read, file: str, pixels: np.ndarray) -> Measurement | None:
    """What the judge's reader finds in a picture; None where it finds no face."""
    rgb = np.repeat(pixels, 3, -1) if pixels.shape[-1] == 1 else pixels
    aus = measure_aus(rgb)
    if aus is None:
        return None
    if isinstance(reader, AlignedFaces):
        return Measurement(*aus, reader.face(file).pose)
    from eval.faces import find_face, working_size

    face = find_face(working_size(rgb))
    return None if face is None else Measurement(*aus, pose_of(face.landmarks))


def _warn_of_far(out: Path, model: str) -> None:
    """One line if photographs are less likely than nearly all that the model knows."""
    limit = far_limit(find(model))
    with (out / "inputs.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [row for row in csv.DictReader(file) if row["bits_per_dim"]]
    far = [row for row in rows if limit is not None and float(row["bits_per_dim"]) > limit]
    if far:
        worst = max(far, key=lambda row: float(row["bits_per_dim"]))
        said = far_line(len(far), len(rows), worst["file"], worst["bits_per_dim"], limit)
        print(said, file=sys.stderr)
