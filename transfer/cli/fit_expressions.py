"""The verb `fit-expressions`: an expression model of rendered people, and of photoreal ones."""

import argparse
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from glow_jax.cli.checks import check_new_file
from glow_jax.cli.options import (
    add_compile_cache_option,
    add_model_option,
    add_overwrite_option,
    refuse_given,
    start_jax,
    whole_number,
)
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from transfer.expression.model import ExpressionModel
    from transfer.expression.teacher import Taught


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fit-expressions`."""
    parser.description = (
        "Fits an expression model on rendered people and writes it as expressions.npz into the "
        "model's folder. Method warp of `glow-jax transfer` needs this file. The fit takes about "
        "15 minutes on 2 CPU cores. With --photoreal, a fitted model is adapted to photographs, in "
        "closed form, which takes a few minutes."
    )
    parser.add_argument(
        "faces",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="folders that `glow-jax render --setting pairs` made",
    )
    parser.add_argument(
        "--steps",
        type=whole_number(1, 10**7),
        default=1500,
        help="gradient steps of the landmark detector's training (default: 1500)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**31 - 1),
        default=0,
        help="seed of the trainings (default: 0)",
    )
    parser.add_argument(
        "--landmark-detector-of",
        "--finder-of",
        dest="landmark_detector_of",
        type=Path,
        metavar="FILE",
        help="take the landmark detector of this expressions.npz (default: train one)",
    )
    parser.add_argument(
        "--population-of",
        type=Path,
        metavar="FILE",
        help="keep everything of this expressions.npz except its population (the statistics of "
        "neutral faces that replace a missing neutral picture), and fit only that, on DIR: people "
        "that FILE was not fitted on, rendered with setting free or pairs (default: fit "
        "everything)",
    )
    parser.add_argument(
        "--photoreal",
        type=Path,
        action="extend",
        nargs="+",
        metavar="DIR",
        help="also fit on these folders of `glow-jax generate`, complete or not: with them and "
        "the renders of the other folders, the file that --adapt names is adapted to photographs",
    )
    parser.add_argument(
        "--adapt",
        type=Path,
        metavar="FILE",
        help="the expressions.npz, fitted on renders, that --photoreal adapts (default: that of "
        "the model's folder)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="output file (default: expressions.npz in the model's folder)",
    )
    add_overwrite_option(parser)
    add_model_option(parser)
    add_compile_cache_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fit the model and write the file; returns the exit code."""
    from glow_jax.checkpoints import find, read_config
    from transfer.expression.file import NAME, save_expression_model
    from transfer.models import expression_file

    out = args.out or find(args.model) / NAME
    check_options(args)
    check_new_file(out, args.overwrite)
    start_jax(args.compile_cache)
    config = read_config(find(args.model))
    size = (config.image_height, config.image_width)
    model = fitted(args, size, expression_file(find(args.model)) or find(args.model) / NAME)
    save_expression_model(out, model)
    figures = {"out": out, "action_units": list(model.aus)}
    return Output.of(args).summary([f"expressions: {one_line(out)}"], figures)


def check_options(args: argparse.Namespace) -> None:
    """Raise InputError for options that mean nothing together."""
    trained = ("steps", "seed", "landmark_detector_of")
    for value, flag in ((args.population_of, "--population-of"), (args.photoreal, "--photoreal")):
        if value:
            refuse_given(args, trained, f"has no meaning with {flag}, which trains nothing")
    if args.landmark_detector_of:
        why = "has no meaning with --landmark-detector-of, which is trained already"
        refuse_given(args, ("steps",), why)
    if args.population_of and args.photoreal:
        raise InputError("give --population-of or --photoreal, not both")
    if args.adapt and not args.photoreal:
        raise InputError("--adapt needs --photoreal")


def fitted(args: argparse.Namespace, size: tuple[int, int], own: Path) -> "ExpressionModel":
    """The expression model that the options ask for.

    Args:
        args: of the command line.
        size: height and width of the model's pictures.
        own: path of the expression model that the model uses.
    """
    from glow_jax.data.synthetic_faces.dataset import read_labels
    from glow_jax.data.synthetic_faces.people import AUS
    from transfer.expression.adapt import adapt
    from transfer.expression.calibration import fit_population
    from transfer.expression.file import load_expression_model, load_landmark_detector
    from transfer.expression.fit import fit
    from transfer.expression.pairs import Faces

    progress = Output.of(args).notice
    labels = [label for folder in args.faces for label in read_labels(folder)]
    paths = [folder / label["file"] for folder in args.faces for label in read_labels(folder)]
    faces = Faces.from_labels(read_pictures(paths, size), labels, AUS)
    if args.population_of:
        model = load_expression_model(args.population_of)
        return dataclasses.replace(model, population=fit_population(model, faces))
    if args.photoreal:
        model = load_expression_model(args.adapt or own)
        training, calibration = photoreal_pictures(args.photoreal, size[0], model.aus)
        return adapt(model, faces, training, calibration, progress=progress)
    given = args.landmark_detector_of
    detector = load_landmark_detector(given) if given else None
    return fit(
        faces, n_steps=args.steps, seed=args.seed, landmark_detector=detector, progress=progress
    )


def photoreal_pictures(
    folders: "Sequence[Path]", side: int, aus: "Sequence[str]"
) -> "tuple[list[Taught], list[Taught]]":
    """Photoreal pictures to fit on (split "train") and to calibrate on (split "validation").

    Those of every other shard are of READ_PX pixels, the size at which photographs are read.

    Raises:
        InputError: a folder is not one of `glow-jax generate`.
    """
    from glow_jax.data.photoreal_faces.people import SIZES_PX
    from glow_jax.data.photoreal_faces.shards import PEOPLE_PER_SHARD, read_made
    from transfer.expression.teacher import taught
    from transfer.photos.aligned_faces import READ_PX

    def shard(row: dict) -> int:
        return row["identity"] // PEOPLE_PER_SHARD

    found: dict[str, list[Taught]] = {"train": [], "validation": []}
    for split, groups in found.items():
        labels = [(f, row) for f in folders for row in read_made(f) if row["split"] == split]
        sizes = [s for s in dict.fromkeys((side, READ_PX)) if s in SIZES_PX]
        for number, pixels in enumerate(sizes):
            chosen = [(f, row) for f, row in labels if shard(row) % len(sizes) == number]
            paths = [folder / str(pixels) / row["file"] for folder, row in chosen]
            pictures = read_pictures(paths, (pixels, pixels))
            groups.append(taught(pictures, [row for _, row in chosen], aus))
    return found["train"], found["validation"]


def read_pictures(paths: "Sequence[Path]", size: tuple[int, int]) -> "np.ndarray":
    """uint8 (N, H, W, 3)."""
    import numpy as np

    from glow_jax.io.pictures import read_image

    with ThreadPoolExecutor(4) as pool:
        return np.stack(list(pool.map(lambda path: read_image(path, size), paths)))
