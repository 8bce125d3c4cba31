"""The options of every verb that looks for faces in photographs."""

import argparse
from typing import TYPE_CHECKING

from glow_jax.cli.options import number

if TYPE_CHECKING:
    from transfer.photos.reader import Photographs

MIN_SHARPNESS, MAX_YAW_DEG, MAX_PITCH_DEG = 0.6, 30.0, 25.0  # of `transfer.photos.align.Limits`


def add_photograph_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--face",
        default="largest",
        metavar="N|all",
        help="which of a photograph's faces: largest, all, or a number from left to right, from 1 "
        "(default: largest)",
    )
    parser.add_argument(
        "--detector",
        default="dlib",
        metavar="NAME",
        help="what finds faces: dlib, which needs no network, or one of DeepFace's, such as "
        "retinaface (default: %(default)s)",
    )
    parser.add_argument(
        "--min-face",
        type=number(8.0, 1e5),
        metavar="PX",
        help="least width of a crop in the photograph (default: its size: none is enlarged)",
    )
    parser.add_argument(
        "--min-sharpness",
        type=number(0.0, 100.0),
        default=MIN_SHARPNESS,
        metavar="S",
        help="a Gaussian blur of 1 pixel of the crop leaves 0.7 and more, of 2 less than 0.66 "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--max-yaw",
        type=number(0.0, 180.0),
        default=MAX_YAW_DEG,
        metavar="DEG",
        help="to either side (default: %(default)s)",
    )
    parser.add_argument(
        "--max-pitch",
        type=number(0.0, 180.0),
        default=MAX_PITCH_DEG,
        metavar="DEG",
        help="up or down (default: %(default)s)",
    )


def add_neutralise_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--neutralise`."""
    parser.add_argument(
        "--neutralise",
        action="store_true",
        help="take the target's own expression, as estimated in the picture that is edited, off "
        "that picture: for a target of whom no neutral picture is there (default: the expression "
        "is added to what is there)",
    )


def photographs_of(args: argparse.Namespace, size: int = 0) -> "Photographs":
    """What the options ask for; without a size, that of a model.

    Raises:
        InputError: one is not as it should be.
    """
    from transfer.photos.align import Limits, parse_which
    from transfer.photos.reader import Photographs

    limits = Limits(args.min_face, args.min_sharpness, args.max_yaw, args.max_pitch)
    return Photographs(size, parse_which(args.face), limits, args.detector)
