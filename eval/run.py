"""Judge a folder from its pictures, or from published scores, and write the report."""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_jax.io.cache_folders import cache_folder, make_private
from glow_jax.io.errors import InputError
from glow_jax.io.files import read_json_object
from glow_jax.io.messages import counted, one_line, reason
from glow_jax.io.output_folders import has_folder, make_folder
from glow_jax.io.output_schema import RESULTS
from glow_jax.io.packages import need

if TYPE_CHECKING:
    from eval.identity import IdentityModel

SCORES = "scores.sqlite"
FIGURES = "figures.json"  # of a report
REPORT = ("pandas", "jinja2")  # modules that the report needs
PACKAGES = (
    "glow-jax",
    "deepface",
    "dlib-bin",
    "face-recognition-models",
    "py-feat",
    "mediapipe",
    "numpy",
)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The result of judging a folder.

    Attributes:
        summary: one line: identity, expression, failures, and where the report is.
        failures: number of pictures and people that could not be judged; the report lists them.
        page: path of the report's index.html.
        ignored: unknown columns of a published table.
        headline: the figures that `summary` shows (`eval.protocol.headline`).
    """

    summary: str
    failures: int
    page: Path
    ignored: Sequence[str] = ()
    headline: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def cache_or_temporary(
    folder: Path | None, notify: Callable[[str], None] = lambda line: None
) -> Iterator[Path]:
    """A folder for weights and scores; if none can be made, a temporary one.

    Args:
        folder: the folder, which is made if it does not exist; None is
            `glow_jax.io.cache_folders.cache_home()`.
        notify: called with one line if the folder is temporary.

    Raises:
        InputError: `folder` cannot be made.
    """
    if folder is not None:
        yield make_private(folder)
        return
    with contextlib.ExitStack() as stack:
        try:
            cache = cache_folder()
        except InputError as error:
            notify(f"scores are not kept: {error}")
            cache = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glow-jax-")))
        yield cache


def judge_folder(
    out: Path,
    report: Path,
    *,
    cache: Path,
    identity: "IdentityModel | None",
    reader: str | None = None,
    method: str | None = None,
    workers: int,
    seed: int = 0,
    command: str = "",
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Judgement:
    """Judge a folder of outputs and write the report.

    Args:
        out: as of `eval.study.read_study`.
        report: folder for the report.
        cache: folder for the scores that are kept.
        identity: the identity model; None leaves that half out.
        reader: a word for `eval.action_units.make_reader`; None is `default_choice`'s.
        method: of the outputs that are judged; None judges all, and says if they are of several.
        workers: processes; 0 for none but this one.
        seed: of the bootstrap and of the permutation test.
        command: the command line, shown in the report.
        overwrite: whether whatever else `report` holds may be replaced.
        progress: called with the number of pictures done, and their total.

    Raises:
        InputError: the folder is no folder of outputs, a model or its weights are missing, or
            `report` holds something that must not be replaced.
    """
    need("eval", *modules_needed(identity is not None, "rendered" if reader is None else reader))
    from eval.action_units import OF_MEDIAPIPE, default_choice

    if reader == "py-feat":
        need("py-feat", "feat")
    if reader == "mediapipe":
        need("mediapipe", *OF_MEDIAPIPE)
    from eval.judge import check, judge
    from eval.photographs import face_cutter
    from eval.protocol import figures
    from eval.report import Context
    from eval.report.pictures import THUMB_PX, whole
    from eval.scoring import Judges
    from eval.study import read_study

    study = read_study(out, method)
    reader = default_choice(study.photographs) if reader is None else reader
    judges = Judges(identity, reader)
    action_units = check(judges)
    who = [identity.model, identity.detector, identity.metric] if identity else None
    settings = {"identity": who, "aus": reader, "seed": seed, "published": False}
    settings["judged"] = _from(report, out)
    if method is not None:
        settings["method"] = method
    _make(report, settings, overwrite)
    judged = judge(study, judges, action_units, cache / SCORES, workers=workers, progress=progress)
    found = figures(judged.scores, seed=seed)
    context = Context(
        title=f"Expression transfer, judged: {study.folder.resolve().name}",
        root=study.folder,
        expressions=study.expressions,
        target_references=_pictures_of_targets(study),
        cut_face=face_cutter(study.face, THUMB_PX) if study.photographs else whole,
        reference=study.reference,
        identity=_settings(identity, judged.apart) if identity else {},
        reader=action_units.name if action_units else "",
        reader_notes=action_units.notes if action_units else (),
        reader_quality=getattr(action_units, "quality", ()),
        failures=judged.failures,
        versions=_versions() | study.about,
        hardware=_hardware(workers),
        command=command,
        timestamp=_now(),
        notes=[f"Seed {seed}.", *_notes(study)],
        settings=settings,
    )
    page = _written(report, judged.scores, found, context)
    n = len(judged.failures)
    listed = f"{counted(n, 'failure')} listed; " if n else ""
    line = f"{_of_methods(study)}{summary(found)}; {listed}report: {one_line(page)}"
    return Judgement(line, n, page, headline=found["headline"])


def judge_published(
    source: Path, report: Path, *, seed: int = 0, command: str = "", overwrite: bool = False
) -> Judgement:
    """Compute the figures of published scores and write the report.

    Args:
        source: a folder for `eval.published.read_published_folder`.
        report: folder of the report.
        seed: seed of the bootstrap and of the permutation test.
        command: the command line, shown in the report.
        overwrite: whether whatever else `report` holds may be replaced.

    Raises:
        InputError: the folder has another layout, a file in it is wrong, or `report` holds
            something that must not be replaced.
    """
    need("eval", *REPORT)
    from eval.protocol import figures
    from eval.published import read_published_folder
    from eval.report import Context

    scores = read_published_folder(source)
    settings = {"published": True, "seed": seed, "judged": _from(report, source)}
    _make(report, settings, overwrite)
    found = figures(scores, seed=seed)
    context = Context(
        title=f"Expression transfer, published scores: {source.resolve().name}",
        root=source,
        command=command,
        versions=_versions(),
        timestamp=_now(),
        notes=["Scores were read, not made.", f"Seed {seed}."],
        settings=settings,
    )
    page = _written(report, scores, found, context)
    line = f"{summary(found)}; report: {one_line(page)}"
    ignored = scores.attrs.get("ignored", ())
    return Judgement(line, 0, page, ignored, found["headline"])


def modules_needed(identity: bool = True, reader: str = "rendered") -> tuple[str, ...]:
    """Modules of the extra `eval` that judging imports.

    Args:
        identity: whether identity is judged.
        reader: name of a reader for `eval.action_units.make_reader`.
    """
    dlib = ("dlib", "face_recognition_models")
    of_reader = {"rendered": ("cv2", *dlib), "openface": ("cv2", *dlib)}
    faces = (*dlib, "deepface") if identity else ()
    needed = (*REPORT, *faces, *of_reader.get(reader.partition(":")[0], ()))
    return tuple(dict.fromkeys(needed))


def own_report(out: Path, name: str = "report") -> Path:
    """The folder for a report inside a folder of outputs.

    Raises:
        InputError: it is a link, or a file.
    """
    folder = out / name
    if os.path.lexists(folder) and not has_folder(out, name):
        why = "is not a folder, or a link to one, which is not followed; name another"
        raise InputError(f"{one_line(folder)}: {why}")
    return folder


def summary(found: dict) -> str:
    """Identity rate and AU gain of the headline as text.

    Args:
        found: result of `eval.protocol.figures`.
    """
    head = found["headline"]
    nearer, aus = head["identity"]["nearer"], head["expression"]
    gain, r = aus["gain"]["value"], aus["correlation"]["value"]
    identity, expression = "identity not judged", "AUs not judged"
    if nearer["of"]:
        share = f"{100 * nearer['rate']:.1f} %"
        identity = f"nearer to the target {nearer['count']} of {nearer['of']} ({share})"
    if gain is not None:
        expression = f"AU gain {gain:.2f}, r {'undefined' if r is None else f'{r:.2f}'}"
    line = f"{identity}; {expression}"
    if len(found["counts"]["alphas"]) > 1 and head["alpha"] is not None:
        line += f"; at alpha {head['alpha']:g} ({head['why']})"
    return f"{line}; too few outputs to judge" if head["too_few"] else line


def _pictures_of_targets(study: Any) -> dict[str, Path]:
    """What the report shows of each target: the reference picture, or the only photograph."""
    targets = {row["target"] for row in study.outputs}
    only = {name: study.people[name][0] for name in targets if len(study.people[name]) == 1}
    pictures = {name: path for (role, name), path in study.references.items() if role == "target"}
    return only | pictures


def _of_methods(study: Any) -> str:
    """The beginning of a summary of outputs that are of several methods, else nothing."""
    if len(study.methods) < 2:
        return ""
    return f"{one_line(' and '.join(study.methods))} together (--method judges one); "


def _notes(study: Any) -> list[str]:
    """What a reader of the report must know of the references."""
    if study.edit:
        return [
            f"The outputs are edits of single pictures ({study.edit}): the target is the picture, "
            "and the expression is what the edit states, in the judge's intensities."
        ]
    notes = []
    if len(study.methods) > 1:
        named = one_line(", ".join(study.methods))
        notes = [
            f"The outputs are of {len(study.methods)} methods: {named}. Figures do not tell them "
            "apart: where each has alphas of its own, to compare alphas is to compare methods. "
            "`glow-jax eval --method NAME` judges those of one method."
        ]
    if not study.absolute:
        return notes
    outputs = counted(len(study.absolute), "output")
    return [
        *notes,
        f"{outputs}: no picture of the source but the expression's was there, so that its Action "
        "Units are read in that picture alone.",
    ]


def _settings(identity: "IdentityModel", apart: str) -> dict[str, object]:
    return {
        "model": f"DeepFace {identity.deepface_version}, {identity.model}",
        "detector": identity.detector,
        "metric": identity.metric,
        "threshold": identity.threshold,
        "means": "of the embeddings of a person's photographs",
        "apart": apart,
    }


def recorded_settings(report: Path) -> dict[str, Any] | None:
    """The settings of a report that is there already; None for a folder of something else."""
    try:
        settings = read_json_object(report / FIGURES)["run"]["settings"]
    except (InputError, KeyError, TypeError):
        return None
    return settings if isinstance(settings, dict) else None


def _from(report: Path, judged: Path) -> str:
    """The way from a report to the folder that it judges, so that both can be moved together."""
    return os.path.relpath(judged.resolve(), report.resolve())


def _make(folder: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Make the report's folder before the scoring, which may take hours.

    Raises:
        InputError: the folder cannot be made, is a folder of outputs, or holds something else
            than a report of the same settings, without `overwrite`.
    """
    if (folder / RESULTS).exists():
        raise InputError(f"{one_line(folder)}: holds outputs; name another folder for the report")
    if not overwrite and folder.is_dir() and any(folder.iterdir()):
        before = recorded_settings(folder)
        if before is None:
            raise InputError(
                f"{one_line(folder)}: holds other files; name another folder for the report, or "
                "give `overwrite`"
            )
        if others := [name for name in settings if before.get(name) != settings[name]]:
            raise InputError(
                f"{one_line(folder)}: holds a report of other settings ({', '.join(others)}); name "
                "another folder for the report, or give `overwrite`"
            )
    make_folder(folder)


def _written(report: Path, scores: Any, found: dict, context: Any) -> Path:
    from eval.report import write_report

    try:
        return write_report(report, scores, found, context=context)
    except OSError as error:
        raise InputError(f"{one_line(report)}: cannot be written ({reason(error)})") from None


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


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
    processes = "1 process" if workers == 1 else f"{workers} processes"
    return f"{counted(os.cpu_count() or 1, 'core')} ({name}), {processes}"
