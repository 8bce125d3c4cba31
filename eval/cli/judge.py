"""The verb `eval`: score outputs and write a report."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eval.run import (
    Judgement,
    cache_or_temporary,
    judge_folder,
    judge_published,
    own_report,
)
from glow_jax.cli.options import add_overwrite_option, refuse_given, whole_number
from glow_jax.cli.output import Output, add_output_options
from glow_jax.cli.progress import Bars
from glow_jax.io.messages import one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `eval`."""
    parser.description = (
        "Scores every output of a folder with DeepFace (identity) and an Action Unit reader "
        "(expression), and writes a report: index.html, scores.csv, figures.json. The defaults "
        "need no network. The same command continues an interrupted run: scores are kept."
    )
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="folder that `transfer` or `batch` wrote; or, for another method's outputs, a folder "
        "with results.csv and people.csv",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the report: a new one, or one of the same command (default: FOLDER/report)",
    )
    add_overwrite_option(parser)
    parser.add_argument(
        "--published",
        action="store_true",
        help="FOLDER holds scores, not pictures: scores.csv, or the result files of the paper's "
        "authors as they published them",
    )
    parser.add_argument(
        "--identity",
        default="Dlib",
        metavar="MODEL",
        help="DeepFace's identity model, such as Dlib, Facenet or ArcFace; or none, which leaves "
        "identity out (default: %(default)s)",
    )
    parser.add_argument(
        "--detector",
        default="dlib",
        metavar="NAME",
        help="DeepFace's face detector (default: %(default)s)",
    )
    parser.add_argument(
        "--metric",
        default="euclidean",
        help="distance between embeddings of faces: euclidean, euclidean_l2, cosine or angular "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--aus",
        metavar="READER",
        help="rendered, mediapipe, openface:FOLDER, openface-binary[:PATH], openface-csv:FOLDER, "
        "py-feat or none (default: mediapipe where job.json says that faces were cut out of "
        "photographs and the extra mediapipe is installed; else rendered)",
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="judge only the outputs of this method, such as glow (default: all outputs together)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for DeepFace's weights and for scores, which are stored by the content of the "
        "pictures. Its content is trusted, so use a folder of your own (default: GLOW_JAX_CACHE, "
        "or else glow-jax in the user's cache folder)",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1, 512),
        default=os.cpu_count() or 1,
        metavar="N",
        help="number of processes (default: one per processor, here %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**31 - 1),
        default=0,
        help="seed of the bootstrap and of the permutation test (default: %(default)s)",
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge a folder; 1 if something in it could not be judged."""
    output = Output.of(args)
    report = args.out or own_report(args.folder)
    _check_meaning(args)
    how: dict[str, Any] = {"seed": args.seed, "command": _command(), "overwrite": args.overwrite}
    if args.published:
        judgement = judge_published(args.folder, report, **how)
        for name in judgement.ignored:
            output.notice(f"column {one_line(name)} is unknown and left out")
        return _summarised(judgement, output)
    from eval.identity import IdentityModel

    with cache_or_temporary(args.cache, output.notice) as cache, Bars(quiet=args.quiet) as bars:
        identity = None
        if args.identity != "none":
            identity = IdentityModel(args.identity, args.detector, args.metric, cache)
        judgement = judge_folder(
            args.folder,
            report,
            cache=cache,
            identity=identity,
            reader=args.aus,
            method=None if args.method is None else args.method.lower(),
            workers=args.workers,
            progress=_progress(bars),
            **how,
        )
    return _summarised(judgement, output)


def _check_meaning(args: argparse.Namespace) -> None:
    """Raise InputError for an option that would do nothing beside another."""
    if args.published:
        why = "has no meaning with --published: scores are read, not made"
        names = ("identity", "detector", "metric", "aus", "method", "cache", "workers")
        refuse_given(args, names, why)
    elif args.identity == "none":
        refuse_given(args, ("detector", "metric"), "has no meaning with --identity none")


def judge_by_default(out: Path, output: Output) -> dict[str, Judgement]:
    """Judge a folder with the offline defaults and a progress bar, each method by itself.

    Returns:
        A judgement for each method, in the order of names. The report of the first is OUT/report,
        and that of another OUT/report-METHOD.
    """
    from eval.identity import IdentityModel
    from eval.study import read_study

    methods = read_study(out).methods or (None,)
    reports = [
        own_report(out, "report" if i == 0 else f"report-{m}") for i, m in enumerate(methods)
    ]

    with cache_or_temporary(None, output.notice) as cache, Bars(quiet=output.quiet) as bars:
        return {
            method or "": judge_folder(
                out,
                report,
                cache=cache,
                identity=IdentityModel(home=cache),
                method=method if len(methods) > 1 else None,
                workers=os.cpu_count() or 1,
                command=_command(),
                progress=_progress(bars),
            )
            for method, report in zip(methods, reports, strict=True)
        }


def figures_of(judgement: Judgement) -> dict[str, Any]:
    """A judgement for JSON."""
    figures = {"report": judgement.page, "failed": judgement.failures}
    return figures | {"headline": judgement.headline}


def _summarised(judgement: Judgement, output: Output) -> int:
    code = 1 if judgement.failures else 0
    return output.summary([judgement.summary], figures_of(judgement), code)


def _progress(bars: Bars) -> Callable[[int, int], None]:
    """Progress of the scoring; none where every score is kept from an earlier run."""
    return lambda done, total: bars.update("judging", done, total) if total else None


def _command() -> str:
    return shlex.join(["glow-jax", *sys.argv[1:]])
