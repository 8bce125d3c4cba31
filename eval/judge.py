"""Score the pictures of a study and make the scores table."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from eval.action_units import Reader, make_reader
from eval.identity import IdentityModel
from eval.protocol.scores import any_names
from eval.reading import Reading, relative, unknown
from eval.scoring import Judges, Progress, Scored, score
from eval.stated import wanted
from eval.study import Study
from eval.table import AUS, COLUMNS, OF
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line

Failure = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Judged:
    """Scores of a study.

    Attributes:
        scores: the table of `eval.table`.
        failures: (file, stage, reason) of pictures and people that could not be used.
        apart: text about the distances between sources and targets; empty if unknown.
    """

    scores: pd.DataFrame
    failures: list[Failure]
    apart: str


@any_names
def judge(
    study: Study,
    judges: Judges,
    reader: Reader | None,
    cache: Path,
    *,
    workers: int,
    progress: Progress = lambda done, total: None,
) -> Judged:
    """Score every picture of a study, and compare outputs with the people.

    Args:
        study: the outputs to judge.
        judges: the models to score with.
        reader: from `check(judges)`.
        cache: SQLite file of cached scores.
        workers: number of processes; 0 scores in this process.
        progress: called with the number of pictures done, and their total.

    Raises:
        InputError: the cache cannot be opened.
    """
    paths = [study.folder / row["file"] for row in study.outputs]
    others = [*study.expressions.values(), *study.references.values()]
    others += [path for photographs in study.people.values() for path in photographs]
    scored = score([*others, *paths], judges, reader, cache, workers=workers, progress=progress)
    failures = _failures(scored)
    people = {name: _Person(study, name, scored, failures) for name in study.people}
    rows = [
        {**row, **_identity(scored[path], row, people, judges.identity)}
        | _action_units(
            scored[path],
            scored[study.expressions[row["expression"]]],
            people[row["target"]].reference("target"),
            None if row["id"] in study.absolute else people[row["source"]].reference("source"),
            study,
        )
        for row, path in zip(study.outputs, paths, strict=True)
    ]
    table = pd.DataFrame(rows).reindex(columns=[*COLUMNS, *_extras(rows)])
    return Judged(table, failures, _alike(people, rows, judges.identity))


def check(judges: Judges) -> Reader | None:
    """Load the models before any file is read or written.

    Raises:
        InputError: a model or its weights are missing, or neither identity nor AUs are requested.
    """
    reader = make_reader(judges.reader)
    if judges.identity is None and reader is None:
        raise InputError("nothing to judge: neither identity nor Action Units are requested")
    if judges.identity:
        judges.identity.check()
    return reader


def _alike(people: Mapping[str, "_Person"], rows: list[dict], model: IdentityModel | None) -> str:
    """Text about the distances between sources and targets, with a warning if they are small."""
    if model is None:
        return ""
    pairs = sorted(
        {(row["source"], row["target"]) for row in rows if row["source"] != row["target"]}
    )
    known = [(a, b) for a, b in pairs if people[a].vectors and people[b].vectors]
    distances = [model.distance(people[a].mean_vector, people[b].mean_vector) for a, b in known]
    apart = [distance for distance in distances if np.isfinite(distance)]
    if not apart:
        return ""
    text = f"source and target means are {min(apart):.2f} to {max(apart):.2f} apart"
    if len(apart) < len(pairs):
        text += f" ({len(apart)} of {len(pairs)} pairs; the others are not known)"
    within = sum(distance <= model.threshold for distance in apart)
    if within:
        text += (
            f"; in {within} of {counted(len(apart), 'pair')} within the threshold of "
            f"{model.threshold:g}, so that there verification says nothing, and only the margin "
            "counts"
        )
    return text


def _extras(rows: list[dict]) -> list[str]:
    """Further columns of the table that have at least one number that is not NaN."""
    names = [name for name in rows[0] if name not in COLUMNS]
    return [name for name in names if any(row[name] == row[name] for row in rows)]


class _Person:
    """A person with whom outputs are compared: scores of photographs and reference pictures."""

    def __init__(
        self, study: Study, name: str, scored: Mapping[Path, Scored], failures: list[Failure]
    ):
        self._photographs = [scored[path] for path in study.people[name]]
        self._references = {
            role: scored[path]
            for (role, person), path in study.references.items()
            if person == name
        }
        found = [s.embedding.vector for s in self._photographs if s.embedding]
        self.vectors = [vector for vector in found if vector.size]
        if found and not self.vectors:
            failures.append((name, "identity", "no photograph of this person shows a face"))

    @functools.cached_property
    def mean_vector(self) -> np.ndarray:
        """(D,) mean of the embeddings of the photographs, without decoded pictures."""
        return np.mean(self.vectors, axis=0)

    @functools.cache  # noqa: B019 - lives as long as one judgement
    def reference(self, role: str) -> Reading:
        """The reading of the reference picture; without one, the mean over the photographs."""
        picture = self._references.get(role)
        if picture and picture.reading and not picture.reading.problem:
            return picture.reading
        readings = [s.reading for s in self._photographs if s.reading and not s.reading.problem]
        if not readings:
            return Reading(0, problem="no face found")
        stacked = {k: np.stack([getattr(r, k) for r in readings]) for k in ("level", "change")}
        level, change = (stacked[k].mean(0) for k in ("level", "change"))
        return Reading(1, level, change)


def _identity(
    output: Scored, row: dict, people: Mapping[str, _Person], model: IdentityModel | None
) -> dict:
    """Distances of an output's embedding, and the number of faces in the output."""
    faces = [part.faces for part in (output.embedding, output.reading) if part]
    found: dict[str, float] = {"faces": faces[0] if faces else 0}
    if not model or not output.embedding or not output.embedding.vector.size:
        return found
    vector = output.embedding.vector
    target, source = people[row["target"]], people[row["source"]]
    if target.vectors:
        found["to_target_mean"] = model.distance(vector, target.mean_vector)
        # np.min, because Python's min may lose a NaN.
        found["to_target_nearest"] = float(
            np.min([model.distance(vector, v) for v in target.vectors])
        )
        if np.isfinite(found["to_target_mean"]):
            found["verified"] = float(found["to_target_mean"] <= model.threshold)
    if source.vectors:
        found["to_source_mean"] = model.distance(vector, source.mean_vector)
    return found


def _action_units(
    output: Scored, expression: Scored, target: Reading, source: Reading | None, study: Study
) -> dict:
    """Intensities of the output, of the expression and of both references; presence flags.

    Without a reference of the source, the expression is what is read in its picture alone. Of an
    edit, the source's reference is the unedited picture, and the expression is what is stated; of
    an interpolation, the other picture.
    """
    if study.edit:
        source = target
    source = source or _no_expression(expression.reading)
    columns: dict[str, np.ndarray] = {
        "": _read(output, target),
        "_expression": _read(expression, source),
        "_source": np.clip(source.level, 0, 5),
        "_target": np.clip(target.level, 0, 5),
    }
    method = study.about.get("method", "")
    if method == "edit":
        columns["_expression"] = wanted(study.edit, columns["_target"])
    elif method == "direction":
        columns["_expression"] = unknown()
    elif expression.reading:
        columns["_present"] = expression.reading.present
    assert set(columns) >= {"", *(f"_{of}" for of in OF)}
    return {f"{au}{of}": v[i] for of, v in columns.items() for i, au in enumerate(AUS)}


def _no_expression(seen: Reading | None) -> Reading:
    """A neutral reading, against which a picture's intensities are its levels."""
    if seen is None:
        return Reading(0)
    return Reading(seen.faces, np.zeros(len(AUS)), seen.change - seen.level)


def _read(picture: Scored, neutral: Reading) -> np.ndarray:
    if picture.reading is None:
        return np.full(len(AUS), np.nan)
    return relative(picture.reading, neutral)


def _failures(scored: Mapping[Path, Scored]) -> list[Failure]:
    found = []
    for path, one in scored.items():
        name = one_line(path)
        if one.problem:
            found.append((name, "reading", one.problem.removeprefix(f"{name}: ")))
        for stage, part in (("identity", one.embedding), ("Action Units", one.reading)):
            if part and part.problem:
                found.append((name, stage, part.problem))
    return found
