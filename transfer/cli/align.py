"""The verb `align`: crops of the faces in photographs."""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_jax.cli.options import (
    add_compile_cache_option,
    collect_garbage,
    start_jax,
    whole_number,
)
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line
from transfer.cli.photographs import add_photograph_options, photographs_of

if TYPE_CHECKING:
    import numpy as np

    from transfer.photos.folder import Summary
    from transfer.photos.sheet import Tile
    from transfer.photos.tables import Bits, Crop

DEFAULT_MODEL = "photo64"
MAX_LINES = 10  # printed about skipped photographs


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `align`."""
    parser.description = (
        "Finds the faces in photographs and writes aligned crops of a model's size, and a table of "
        "where each crop was in its photograph. A folder of photographs is one person; a folder of "
        "such folders is several people. Faces that cannot be used (too small, too blurred, turned "
        "too far, cut off) and photographs without a face are listed with the reason. An "
        "interrupted run continues when the same command is run again."
    )
    parser.add_argument(
        "photographs",
        nargs="+",
        type=Path,
        metavar="PHOTO",
        help="PNG, JPEG or WebP files, HEIC and AVIF with the extra photos; or folders of them",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="output folder: a new one, or one of an earlier run with the same settings",
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--model",
        metavar="NAME|DIR",
        help="model that sets the size of the crops and computes their bits/dim (default: "
        f"{DEFAULT_MODEL})",
    )
    group.add_argument(
        "--size",
        type=whole_number(16, 4096),
        metavar="N",
        help="side of the crops in pixels, in place of a model's; then no bits/dim are computed",
    )
    add_photograph_options(parser)
    parser.add_argument(
        "--workers",
        type=whole_number(1, 256),
        default=os.cpu_count() or 1,
        metavar="N",
        help="photographs that are processed at once, each held in memory (default: one per "
        "processor, here %(default)s)",
    )
    parser.add_argument(
        "--rank",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="rank each person's crops by how neutral the expression is (default: yes; without, by "
        "pose alone)",
    )
    add_compile_cache_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Align the photographs; returns the exit code."""
    from glow_jax.cli.progress import Bars
    from transfer.photos.folder import align_folder
    from transfer.photos.judge_adapter import check_measuring, face_detector, measure_aus
    from transfer.photos.listing import list_photographs

    output = Output.of(args)
    settings = photographs_of(args, args.size or 0)
    photographs, left_out = list_photographs(args.photographs, args.out)
    find_faces = face_detector(settings.detector)
    if args.rank:
        check_measuring()
    if left_out:
        output.notice(left_out)
    bits, far_bits = None, None
    if args.size is None:
        start_jax(args.compile_cache)
        size, bits, far_bits = _of_model(args.model or DEFAULT_MODEL)
        settings = dataclasses.replace(settings, size=size)
    collect_garbage()
    with Bars(quiet=args.quiet) as bars:
        summary = align_folder(
            photographs,
            args.out,
            settings,
            find_faces,
            measure_aus=measure_aus if args.rank else None,
            bits=bits,
            far_bits=far_bits,
            workers=min(args.workers, len(photographs)),
            progress=bars.update,
        )
    _write_sheet(args.out, summary, args.rank)
    return _report(args, summary, far_bits, output)


def _of_model(name: str) -> tuple[int, "Bits | None", float | None]:
    """Of a model: image size, function that computes bits/dim, bits/dim of an unlikely crop."""
    import numpy as np

    from glow_jax.checkpoints import far_limit, find, load
    from glow_jax.graph_model import GraphGlow

    model = load(name)
    config = model.config
    if config.image_height != config.image_width or config.n_channels != 3:
        raise InputError(f"model {name!r} does not take square RGB pictures; use --size")
    if isinstance(model, GraphGlow) or config.n_classes:
        return config.image_height, None, None

    def bits(images: "np.ndarray") -> "np.ndarray":
        missing = -len(images) % 8  # fill up to a multiple of 8, so that few shapes are compiled
        whole = np.concatenate([images, np.repeat(images[:1], missing, axis=0)])
        return np.asarray(model.bits_per_dim(whole))[: len(images)]

    return config.image_height, bits, far_limit(find(name))


def _write_sheet(out: Path, summary: "Summary", ranked: bool) -> None:
    import numpy as np

    from glow_jax.io.pictures import read_image, write_image
    from glow_jax.io.provenance import Provenance
    from transfer.photos.folder import MADE_BY
    from transfer.photos.sheet import align_sheet
    from transfer.photos.tables import GENERATED

    people = {
        name: [_tile(crop, ranked) for crop in sorted(crops, key=lambda c: c.rank)]
        for name, crops in summary.people.items()
    }
    lines = [f"{one_line(f.photograph)}: {f.reason}" for f in summary.failures]

    def load(file: str) -> "np.ndarray":
        try:
            return read_image(out / file)
        except InputError:  # damaged since; the tile stays empty
            return np.full((1, 1, 3), 255, np.uint8)

    sheet = align_sheet(people, lines, load)
    generated = any(
        crop.source_type in GENERATED for own in summary.people.values() for crop in own
    )
    kind: Any = "compositeSynthetic" if generated else "algorithmicallyEnhanced"
    write_image(out / "sheet.png", sheet, Provenance(kind, MADE_BY, {"sheet": True}))


def _tile(crop: "Crop", ranked: bool) -> "Tile":
    from glow_jax.io.terminal import printable
    from transfer.photos.sheet import Tile

    row = crop.row
    of = f" face {row['face']}" if row["faces"] > 1 else ""
    words = [f"yaw {row['yaw_deg']:.0f}°"]
    words += [f"{float(row['bits_per_dim']):.2f} b/dim"] if row["bits_per_dim"] else []
    first = f"{crop.rank}. " if ranked else ""
    name = Path(row["photograph"]).stem
    return Tile(crop.file, (printable(f"{first}{name}{of}"), ", ".join(words)), crop.far)


def _report(
    args: argparse.Namespace, summary: "Summary", far_bits: float | None, output: Output
) -> int:
    from transfer.complete import far_line

    out: Path = args.out
    crops = [crop for own in summary.people.values() for crop in own]
    n_failed = len(summary.failures)
    for failure in summary.failures[:MAX_LINES]:
        output.warn(f"skipped: {one_line(failure.photograph)}: {failure.reason}")
    if n_failed > MAX_LINES:
        output.warn(f"skipped: {n_failed - MAX_LINES} more")
    for line in _unchosen(crops) if args.face == "largest" else ():
        output.notice(line)
    far = [crop for crop in crops if crop.far]
    if far:
        worst = max(far, key=lambda crop: float(crop.row["bits_per_dim"])).row
        line = far_line(len(far), len(crops), worst["photograph"], worst["bits_per_dim"], far_bits)
        output.notice(line)
    people = f" of {len(summary.people)} people" if len(summary.people) > 1 else ""
    made, found = counted(summary.made, "photograph"), counted(len(crops), "crop")
    lines = [f"{made} aligned; already there: {summary.kept}; in all {found}{people}"]
    if n_failed:
        lines.append(f"{n_failed} could not be used: {one_line(out / 'failures.csv')}")
    if crops:
        for what, name in (("crops", "faces"), ("table", "align.csv"), ("sheet", "sheet.png")):
            lines.append(f"{what}: {one_line(out / name)}")
    figures = {"out": out, "made": summary.made, "kept": summary.kept, "failed": n_failed}
    figures |= {"crops": len(crops), "people": len(summary.people), "far": len(far)}
    return output.summary(lines, figures, 1 if n_failed else 0)


def _unchosen(crops: "list[Crop]") -> list[str]:
    """Lines about photographs with several faces of which none was chosen."""
    from glow_jax.io.face_numbers import split_face
    from transfer.photos.aligned_faces import unchosen_line

    rows = [crop.row for crop in crops if crop.row["faces"] > 1]
    rows = [row for row in rows if split_face(row["photograph"])[1] is None]
    lines = [unchosen_line(row["photograph"], row["face"], row["faces"]) for row in rows]
    more = len(lines) - MAX_LINES
    tail = [f"{more} more with several faces, of which the largest was taken"] if more > 0 else []
    return lines[:MAX_LINES] + tail
