"""The verb `animate`: a video drives a photograph."""

import argparse
import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_jax.cli.options import (
    add_model_options,
    add_overwrite_option,
    file_ending,
    number,
    start_jax,
)
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.messages import counted, one_line
from transfer.cli.photographs import (
    add_neutralise_option,
    add_photograph_options,
    photographs_if_aligned,
)

if TYPE_CHECKING:
    from transfer.video.animate import Animated

MAX_LINES = 10  # printed about frames without a face
DEFAULT_MARK = "AI-edited"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animate`."""
    parser.description = (
        "Makes a video in which a photograph has the expressions of a driver's face: those of a "
        "video file, or of a folder of frames. The driver's face is followed through the frames, "
        "its expression is read against the driver's own neutral frames and smoothed over time, "
        "and each frame is made by a method of `transfer`. A frame without a usable face holds the "
        "last expression, and is listed. Times of frames and sound are kept. The same command "
        "continues an interrupted run. Needs the extra video."
    )
    parser.add_argument(
        "--driving",
        type=Path,
        required=True,
        metavar="CLIP",
        help="video of the driver (MP4, MOV, MKV, WebM, ...), or a folder of frames",
    )
    parser.add_argument(
        "--target", type=Path, required=True, metavar="PHOTO", help="photograph that is animated"
    )
    parser.add_argument(
        "--source-neutral",
        default="auto",
        metavar="FRAME",
        help="neutral frames of the driver: auto (the most neutral ones of the clip), the number "
        "of a frame, counted from 0, FIRST:LAST, or absolute (neutral faces of many people, which "
        "is less exact) (default: %(default)s)",
    )
    parser.add_argument(
        "--smooth",
        dest="smooth_s",
        type=number(0.0, 2.0),
        default=0.06,
        metavar="SECONDS",
        help="width of the filter over time; it looks ahead as far as back and has no delay; 0 "
        "does not smooth (default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        metavar="FPS",
        help="frames a second of a folder of frames, such as 30 or 30000/1001 (default: 25)",
    )
    parser.add_argument(
        "--method",
        type=str.lower,
        choices=("warp", "glow"),
        help="transfer method (default: glow, which shows the driver's teeth; with --no-align "
        "warp)",
    )
    parser.add_argument(
        "--alpha",
        type=number(-10.0, 10.0),
        default=1.0,
        metavar="A",
        help="how much of the expression is added: 0 none, 1 all of it (default: %(default)s)",
    )
    add_neutralise_option(parser)
    parser.add_argument(
        "--align",
        dest="photographs",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="find the faces in the frames and in the photograph; with --no-align, all must be "
        "aligned faces of the model's size (default: yes)",
    )
    parser.add_argument(
        "--paste-back",
        action="store_true",
        help="the frames of the video are the photograph with the result in it, at its size "
        "(default: the face alone, at the model's size)",
    )
    parser.add_argument(
        "--mark",
        nargs="?",
        const=DEFAULT_MARK,
        default="",
        metavar="TEXT",
        help=f"draw a text on every frame; without TEXT, {DEFAULT_MARK!r} (default: none)",
    )
    add_photograph_options(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=file_ending(".mp4"),
        required=True,
        metavar="OUT.mp4",
        help="output video; a table of its frames is written beside it, with the ending .csv",
    )
    add_overwrite_option(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check the inputs, look for the face in the first frame, and make nothing",
    )
    add_model_options(parser, photographs=True)
    add_output_options(parser)
    parser.set_defaults(run=run, batch_size=16)


def run(args: argparse.Namespace) -> int:
    """Make the video that the options describe; returns the exit code."""
    from glow_jax.cli.progress import Bars
    from transfer.video.animate import animate
    from transfer.video.request import AnimateRequest

    request = AnimateRequest(
        driving=args.driving,
        target=args.target,
        out=args.out,
        source_neutral=args.source_neutral,
        smooth_s=args.smooth_s,
        rate=args.rate,
        model=args.model,
        precision=args.precision,
        method=args.method,
        alpha=args.alpha,
        photographs=photographs_if_aligned(args),
        paste_back=args.paste_back,
        neutralise=args.neutralise,
        mark=args.mark,
        batch_size=args.batch_size,
        overwrite=args.overwrite,
    )
    output = Output.of(args)
    start_jax(args.compile_cache)
    with Bars(quiet=args.quiet) as bars:
        done = animate(request, dry_run=args.dry_run, progress=bars.update, notify=bars.print)
    for line in held_lines(done):
        output.warn(line)
    lines = planned_lines(done) if args.dry_run else made_lines(done)
    return output.summary(lines, dataclasses.asdict(done))


def planned_lines(done: "Animated") -> list[str]:
    """What would be made, in words."""
    frames = "frames" if done.frames is None else counted(done.frames, "frame")
    length = "" if done.seconds is None else f", {done.seconds:.2f} s"
    sound = f"sound {done.sound}" if done.sound else "no sound"
    return [
        f"{frames}, {done.rate:.5g} a second{length}; {sound}",
        f"would be made: {one_line(done.out)}, {done.width} x {done.height} pixels",
    ]


def held_lines(done: "Animated") -> list[str]:
    """The frames without a usable face, in words."""
    from transfer.photos.align import TOO_SMALL

    lines = [
        f"not read: frame{f's {a} to {b}' if b > a else f' {a}'}: {why}; "
        "the last expression is held"
        for a, b, why in done.held[:MAX_LINES]
    ]
    if any(why.startswith(TOO_SMALL) for _, _, why in done.held):
        lines.append("--min-face PX allows smaller faces")
    if len(done.held) > MAX_LINES:
        lines.append(f"not read: {len(done.held) - MAX_LINES} more (column face of the table)")
    return lines


def made_lines(done: "Animated") -> list[str]:
    """What was made, in words."""
    n_held = sum(b - a + 1 for a, b, _ in done.held)
    neutral = ", ".join(f"{a} to {b}" if b > a else str(a) for a, b in done.neutral[:MAX_LINES])
    more = ", ..." if len(done.neutral) > MAX_LINES else ""
    sound = f"sound {done.sound}" if done.sound else "no sound"
    variable = " on average, at varying intervals" if done.variable_rate else ""
    against = f"frames {neutral}{more}" if done.neutral else "faces of many people"
    assert done.frames is not None and done.seconds is not None
    return [
        f"{counted(done.frames, 'frame')}, {done.rate:.5g} a second{variable}, "
        f"{done.seconds:.2f} s; {sound}; {n_held} without a usable face",
        f"neutral: {against}; delay of the filter: {counted(done.delay_frames, 'frame')}",
        f"method: {done.method}; model: {one_line(done.model)}",
        f"video: {one_line(done.out)} ({done.width} x {done.height} pixels)",
        f"table: {one_line(done.table)}",
    ]


def _rate(text: str) -> Any:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if not Fraction(1, 1000) <= value <= 1000:
        raise argparse.ArgumentTypeError(
            f"{one_line(text)}: use a number from 0.001 to 1000, such as 30 or 30000/1001"
        )
    return value
