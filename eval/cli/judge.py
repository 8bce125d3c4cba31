"""The verb `eval`: score outputs and write a report."""

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from eval.run import (
    Judgement,
    cache_or_temporary,
    judge_folder,
    judge_published,
    own_report,
)
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.terminal import unfiltered


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `eval`."""
    parser.description = (
        "Scores every output of a folder with DeepFace (identity) and an Action Unit reader "
        "(expression), and writes a report: index.html, scores.csv, figures.json. The defaults "
        "need no network. The same command continues an interrupted run: scores are kept."
    )
    parser.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="folder that `transfer` or `batch` wrote; or, for another method's outputs, a folder "
        "with results.csv and people.csv",
    )
    parser.add_argument(
        "-o",
        "--report",
        type=Path,
        metavar="DIR",
        help="folder of the report (default: OUT/report)",
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="OUT holds scores, not pictures: scores.csv, or the result files of the paper's "
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
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder for DeepFace's weights and for scores, which are stored by the content of the "
        "pictures. Its content is trusted, so use a folder of your own (default: GLOW_JAX_CACHE, "
        "or else glow-jax in the user's cache folder)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="number of processes (default: one per processor, here %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the bootstrap and of the permutation test (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge a folder; 1 if something in it could not be judged."""
    report = args.report or own_report(args.out)
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: use a whole number from 0")
    _check_meaning(args)
    if args.published:
        judgement = judge_published(args.out, report, seed=args.seed, command=_command())
        for name in judgement.ignored:
            print(f"column {one_line(name)} is unknown and left out", file=sys.stderr)
        return _said(judgement)
    if not 0 < args.workers <= 512:
        raise InputError(f"--workers {args.workers}: use a whole number from 1 to 512")
    from eval.identity import IdentityModel

    with cache_or_temporary(args.cache, _notify) as cache, _Bar("judging") as progress:
        identity = None
        if args.identity != "none":
            identity = IdentityModel(args.identity, args.detector, args.metric, cache)
        judgement = judge_folder(
            args.out,
            report,
            cache=cache,
            identity=identity,
            reader=args.aus,
            workers=args.workers,
            seed=args.seed,
            command=_command(),
            progress=progress,
        )
    return _said(judgement)


def _check_meaning(args: argparse.Namespace) -> None:
    """Raise InputError for an option that would do nothing beside another."""
    names: tuple[str, ...] = ()
    if args.published:
        names = ("identity", "detector", "metric", "aus", "cache", "workers")
        why = "--published: scores are read, not made"
    elif args.identity == "none":
        names, why = ("detector", "metric"), "--identity none"
    for name in names:
        if name in args.given:
            raise InputError(f"--{name} has no meaning with {why}")


def judge_by_default(out: Path) -> Judgement:
    """Judge a folder with the offline defaults and a progress bar; the report is OUT/report."""
    from eval.identity import IdentityModel

    with cache_or_temporary(None, _notify) as cache, _Bar("judging") as progress:
        return judge_folder(
            out,
            own_report(out),
            cache=cache,
            identity=IdentityModel(home=cache),
            workers=os.cpu_count() or 1,
            command=_command(),
            progress=progress,
        )


def _said(judgement: Judgement) -> int:
    print(judgement.summary)
    return 1 if judgement.failures else 0


def _notify(line: str) -> None:
    print(line, file=sys.stderr)


def _command() -> str:
    return shlex.join(["glow-jax", *sys.argv[1:]])


class _Bar:
    """A progress bar on standard error; shown once there are pictures to score."""

    def __init__(self, title: str):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *columns,
            console=Console(file=unfiltered(sys.stderr)),
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(title, total=None)
        self._shown = False

    def __enter__(self) -> Any:
        return self._update

    def _update(self, done: int, total: int) -> None:
        if not total:  # every score is kept from an earlier run
            return
        if not self._shown:
            self._progress.start()
            self._shown = True
        self._progress.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()
