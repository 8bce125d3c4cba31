"""† The verb `transfer`."""

import argparse
import csv
import functools
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from glow_jax.checkpoints import far_limit, find
from glow_jax.cli.options import add_model_options, whole_number
from glow_jax.compile_cache import use_compile_cache
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.pictures import read_image, write_image
from glow_jax.io.provenance import Provenance
from transfer.cli.align import add_photograph_options, far_line, settings_of
from transfer.cli.batch import report
from transfer.cli.progress import Bars
from transfer.codec import Codec
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

DEFAULT_ALPHAS: dict[Method, tuple[float, ...]] = {"warp": (1.0,), "paper": (0.3, 0.4, 0.5)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `transfer`."""
    parser.description = (
        "Pictures must have the model's size, or be photographs (--align). Method "
        "warp: the expression is read from the source's pictures as activations of Action Units; "
        "the target's most neutral picture "
        "is warped by alpha times them, and what a warp cannot make is added over a mean shape. "
        "Method paper: y = decode(mean(target) + alpha * (expression - mean(source)))."
    )
    parser.add_argument(
        "--expression",
        nargs="+",
        type=Path,
        required=True,
        metavar="IMAGE",
        help="pictures of the source person, or a folder of them",
    )
    parser.add_argument(
        "--source", type=Path, required=True, metavar="DIR", help="pictures of the source person"
    )
    parser.add_argument(
        "--target",
        action="append",
        type=Path,
        required=True,
        metavar="DIR",
        help="pictures of a target person; may be repeated",
    )
    parser.add_argument(
        "--method",
        choices=get_args(Method),
        help="(default: warp where the model has expressions, which is said, else paper)",
    )
    parser.add_argument(
        "--alpha",
        nargs="+",
        metavar="A",
        help="how much to add: numbers, FIRST:LAST:STEP, or auto (the largest inside a trust "
        "region); write --alpha=-0.5 "
        "if negative (default: 1 for warp; 0.3 0.4 0.5 for paper, as its authors do)",
    )
    parser.add_argument(
        "--neutral",
        type=whole_number(1, 10**6),
        metavar="N",
        help="of each person use the N pictures that the judge's reader finds most neutral and "
        "most frontal (default: all; warp edits the most neutral of them)",
    )
    parser.add_argument(
        "--align",
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
    parser.set_defaults(run=_transfer)


def _transfer(args: argparse.Namespace) -> int:
    if args.paste_back and not args.align:
        raise InputError("--paste-back needs --align: else the pictures are the faces themselves")
    alphas = None if args.alpha is None else parse_alphas(args.alpha)
    return transfer_pictures(args, args.expression, args.source, args.target, alphas)


def transfer_pictures(
    args: argparse.Namespace,
    expressions: list[Path],
    source: Path,
    targets: list[Path],
    alphas: tuple[float, ...] | None,
) -> int:
    """Make all outputs, for `transfer` and `demo`; the exit code."""
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
