"""The verb `fit-expressions`: an expression model, fitted on rendered people."""

import argparse
import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from glow_jax.cli.checks import check_can_be_written
from glow_jax.cli.options import (
    add_compile_cache_option,
    add_model_option,
    refuse_given,
    start_jax,
    whole_number,
)
from glow_jax.io.messages import one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fit-expressions`."""
    parser.description = (
        "Fits an expression model on rendered people and writes it as expressions.npz into the "
        "model's folder. Method warp of `glow-jax transfer` needs this file. The fit takes about "
        "15 minutes on 2 CPU cores."
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
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="output file (default: expressions.npz in the model's folder)",
    )
    add_model_option(parser)
    add_compile_cache_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fit the model and write the file; returns the exit code."""
    import numpy as np

    from glow_jax.checkpoints import find, read_config
    from glow_jax.data.synthetic_faces.dataset import read_labels
    from glow_jax.data.synthetic_faces.people import AUS
    from glow_jax.io.pictures import read_image
    from transfer.expression.file import (
        NAME,
        load_expression_model,
        load_landmark_detector,
        save_expression_model,
    )
    from transfer.expression.fit import fit, fit_population
    from transfer.expression.pairs import Faces

    if args.population_of:
        names = ("steps", "seed", "landmark_detector_of")
        refuse_given(args, names, "has no meaning with --population-of, which trains nothing")
    if args.landmark_detector_of:
        why = "has no meaning with --landmark-detector-of, which is trained already"
        refuse_given(args, ("steps",), why)
    out = args.out or find(args.model) / NAME
    check_can_be_written(out)
    start_jax(args.compile_cache)
    config = read_config(find(args.model))
    landmark_detector = (
        load_landmark_detector(args.landmark_detector_of) if args.landmark_detector_of else None
    )
    fitted = load_expression_model(args.population_of) if args.population_of else None
    labels = [label for folder in args.faces for label in read_labels(folder)]
    paths = [folder / label["file"] for folder in args.faces for label in read_labels(folder)]
    size = (config.image_height, config.image_width)
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda path: read_image(path, size), paths))
    faces = Faces.from_labels(np.stack(images), labels, AUS)
    if fitted is not None:
        expression_model = dataclasses.replace(fitted, population=fit_population(fitted, faces))
    else:
        expression_model = fit(
            faces,
            n_steps=args.steps,
            seed=args.seed,
            landmark_detector=landmark_detector,
            progress=lambda line: print(line, file=sys.stderr, flush=True),
        )
    save_expression_model(out, expression_model)
    print(f"expressions: {one_line(out)}")
    return 0
