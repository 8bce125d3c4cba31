"""The options of every verb that finds faces in photographs."""

import argparse
from typing import TYPE_CHECKING, Any

from glow_jax.cli.options import number, refuse_given, whole_number

if TYPE_CHECKING:
    from transfer.photos.aligned_faces import Photographs

DEFAULTS: dict[str, Any] = {  # the numbers are those of `transfer.photos.align.Limits`
    "face": "largest",
    "detector": "dlib",
    "min_face": None,
    "min_sharpness": 0.6,
    "max_yaw": 30.0,
    "max_pitch": 25.0,
}


def add_align_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--align`, which `photographs_if_aligned` reads."""
    parser.add_argument(
        "--align",
        dest="photographs",
        action="store_true",
        help="the pictures are photographs of any size: find the faces in them and cut these out",
    )


def add_photograph_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a verb's parser."""
    parser.add_argument(
        "--face",
        default=DEFAULTS["face"],
        metavar="N|all",
        help="which face of a photograph to use: largest, all (`align` only), or a number, counted "
        "from left to right from 1. A photograph may choose for itself: photo.jpg#2 is its second "
        "face (default: largest)",
    )
    parser.add_argument(
        "--detector",
        default=DEFAULTS["detector"],
        metavar="NAME",
        help="face detector: dlib, which works offline, or a detector of DeepFace such as "
        "retinaface (default: %(default)s)",
    )
    parser.add_argument(
        "--min-face",
        type=number(8.0, 1e5),
        metavar="PX",
        help="smallest width of a crop in its photograph, in pixels (default: the crop's size, so "
        "that no face is enlarged)",
    )
    parser.add_argument(
        "--min-sharpness",
        type=number(0.0, 100.0),
        default=DEFAULTS["min_sharpness"],
        metavar="S",
        help="smallest sharpness of a crop in 1/pixel, which falls with blur: about 1.7 for a "
        "sharp crop of 64 pixels, 0.8 after a Gaussian blur of 1 pixel, 0.5 after one of 2 pixels "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--max-yaw",
        type=number(0.0, 180.0),
        default=DEFAULTS["max_yaw"],
        metavar="DEG",
        help="largest yaw of a face in degrees, to the left or right; less where the head is "
        "turned up or down too (default: %(default)s)",
    )
    parser.add_argument(
        "--max-pitch",
        type=number(0.0, 180.0),
        default=DEFAULTS["max_pitch"],
        metavar="DEG",
        help="largest pitch of a face in degrees, up or down; less where the head is turned to "
        "a side too (default: %(default)s)",
    )


def photographs_if_aligned(args: argparse.Namespace) -> "Photographs | None":
    """The settings that the options give with --align, and None without it.

    Raises:
        InputError: as `photographs_of`; or an option of photographs is given without --align.
    """
    if args.photographs:
        return photographs_of(args)
    refuse_given(args, DEFAULTS, "needs --align: without it no face is looked for")
    return None


def add_neutral_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --neutral."""
    parser.add_argument(
        "--neutral",
        dest="n_neutral",
        type=whole_number(1, 10**6),
        metavar="N",
        help="use only the N pictures of each person that are most neutral and most frontal, as "
        "measured by the AU reader of `glow-jax eval` (default: all pictures)",
    )


def add_paste_options(parser: argparse.ArgumentParser) -> None:
    """Add the options --paste-back and --paste-format."""
    parser.add_argument(
        "--paste-back",
        action="store_true",
        help="also write the photographs that faces were cut out of with the results in them, at "
        "full size (needs --align)",
    )
    parser.add_argument(
        "--paste-format",
        choices=("auto", "png"),
        default="auto",
        help="file format of these photographs. auto: JPEG of the same quality where the "
        "photograph is a JPEG, else PNG; png: PNG, which keeps every pixel outside the face "
        "(default: %(default)s)",
    )


def paste_format_of(args: argparse.Namespace) -> Any:
    """The value of --paste-format.

    Raises:
        InputError: it is given without --paste-back.
    """
    if not args.paste_back:
        refuse_given(args, ("paste_format",), "needs --paste-back")
    return args.paste_format


def add_neutralise_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--neutralise`."""
    parser.add_argument(
        "--neutralise",
        action="store_true",
        help="remove the target's own expression, as estimated from the picture that is edited, "
        "before the new one is added: for a target without a neutral picture (default: the new "
        "expression is added to the target's own)",
    )


def photographs_of(args: argparse.Namespace, size: int = 0) -> "Photographs":
    """The settings that the options give.

    Args:
        args: with the options of `add_photograph_options`.
        size: side of the crops, pixels; 0 means the model's image size.

    Raises:
        InputError: `--face` is not "largest", "all" or a number.
    """
    from transfer.photos.align import Limits, parse_which
    from transfer.photos.aligned_faces import Photographs

    limits = Limits(args.min_face, args.min_sharpness, args.max_yaw, args.max_pitch)
    return Photographs(size, parse_which(args.face), limits, args.detector)
