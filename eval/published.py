"""Other people's results as a scores table.

A folder of results holds either scores.csv, the scores table itself (`read_scores` says what it
needs), or files of the kinds that the paper's authors released: `eval/published_layout.py` says
where they lie, `eval/published_files.py` how each looks.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from eval.protocol.scores import EXTRAS, TEXT, any_names, check_scores
from eval.published_files import Faces, Key, outputs_of, read_csv, read_distances, read_faces
from eval.published_layout import Published, find_published
from eval.table import AUS, COLUMNS
from glow_jax.io.errors import InputError
from glow_jax.io.given_tables import refuse_workbook_for
from glow_jax.io.messages import one_line

Half = dict[Key, dict[str, float]]
"""Columns of the scores table, by target and alpha."""


@any_names
def read_published_folder(folder: str | Path) -> pd.DataFrame:
    """The scores table of a folder laid out as above; a single CSV is read by `read_scores`.

    Raises:
        InputError: the folder is not laid out so, or a file in it is wrong.
    """
    folder = Path(folder)
    if folder.is_file():
        return read_scores(folder)
    refuse_workbook_for(folder / "scores.csv")
    if (folder / "scores.csv").exists():
        return read_scores(folder / "scores.csv")
    return read_published(find_published(folder))


@any_names
def read_published(published: Published) -> pd.DataFrame:
    """The scores table of the authors' kinds of file; `file` is empty, since no picture is known.

    Outputs for the source itself are left out, as in the paper's 220. `distances` and `aus` need
    the same expressions, but one of the two may be empty.

    Raises:
        InputError: a file is wrong, or lacks what another has: an expression, a name, an alpha.
    """
    distances, aus, references, rows_of, source = published
    if distances and aus and set(distances) != set(aus):
        name = min(set(distances) ^ set(aus))
        there, lacking = ("distances", "AUs") if name in distances else ("AUs", "distances")
        raise InputError(f"expression {one_line(name)!r} has {there} but no {lacking}")
    if aus and references is None:
        raise InputError("no references: AUs are compared with those of the expression pictures")
    wanted = read_faces(references) if aus and references else None
    rows: list[dict[str, object]] = []
    for expression in sorted({*distances, *aus}):
        halves: list[Half] = []
        if expression in distances:
            halves.append(_identity(distances[expression], source))
        if expression in aus and wanted:
            halves.append(_action_units(aus[expression], _row(wanted, rows_of[expression]), source))
        if len(halves) == 2:
            _check_same_outputs(halves[0], halves[1], distances[expression], aus[expression])
        for target, alpha in sorted(halves[0]):
            row: dict[str, object] = {"id": f"{expression}/{target}_{alpha:g}"}
            row |= {"expression": expression, "source": source, "target": target, "alpha": alpha}
            for half in halves:
                row |= half[target, alpha]
            rows.append(row)
    if not rows:
        raise InputError(f"no output for another person than the source, {one_line(source)!r}")
    return check_scores(pd.DataFrame(rows, columns=list(COLUMNS)))


def _identity(path: Path, source: str) -> Half:
    """The distances of each output for another person than the source."""
    return {
        key: {"to_target_mean": to_target, "to_source_mean": to_source}
        for key, (to_target, to_source) in read_distances(path).items()
        if key[0] != source
    }


def _action_units(path: Path, reference: dict[str, float], source: str) -> Half:
    """The AU columns of each output for another person than the source.

    Args:
        path: the AU file of an expression.
        reference: the row of the expression picture.
        source: the name of the source.
    """
    faces = read_faces(path)
    outputs = {key: stem for key, stem in outputs_of(faces).items() if key[0] != source}
    means = {
        name: _row(faces, f"{name}_mean")
        for name in sorted({source, *(name for name, _ in outputs)})
    }
    flags = {name: value for name, value in reference.items() if name.endswith("_present")}
    return {
        key: {au: faces.rows[stem][au] for au in AUS}
        | {f"{au}_expression": reference[au] for au in AUS}
        | {f"{au}_source": means[source][au] for au in AUS}
        | {f"{au}_target": means[key[0]][au] for au in AUS}
        | flags
        for key, stem in outputs.items()
    }


def _row(faces: Faces, stem: str) -> dict[str, float]:
    if stem not in faces.rows:
        raise InputError(f"{one_line(faces.path)}: no line of {one_line(stem)}.csv")
    return faces.rows[stem]


def _check_same_outputs(identity: Half, aus: Half, distances_path: Path, aus_path: Path) -> None:
    if identity.keys() != aus.keys():
        target, alpha = min(identity.keys() ^ aus.keys())
        paths = one_line(distances_path), one_line(aus_path)
        there, lacking = paths if (target, alpha) in identity else reversed(paths)
        raise InputError(
            f"{lacking}: no output of {one_line(target)} at alpha {alpha:g}, which {there} has"
        )


@any_names
def read_scores(path: str | Path) -> pd.DataFrame:
    """The scores table of a CSV with its column names (`eval.table`) as a header, in any order.

    id, expression, source, target and file are needed (a file may be blank: no picture); of the
    others, those absent or blank are unknown. Columns that are not the table's are left out,
    and named in the result's `attrs["ignored"]`.

    Raises:
        InputError: the file is not such a CSV, or a cell is wrong (`check_scores`).
    """
    table, rows = read_csv(Path(path), (*COLUMNS, *EXTRAS))
    header = table.header
    missing = [name for name in TEXT if name not in header]
    if missing:
        where = f"{one_line(path)}, line {table.header_line}"
        raise InputError(f"{where}: no column {', '.join(missing)}")
    known = [name for name in header if name in COLUMNS or name in EXTRAS]
    given = pd.DataFrame([row for _, row in rows], columns=header, dtype=object)[known]
    for name in set(known) - set(TEXT):
        given[name] = given[name].map(table.number)
    absent = [name for name in COLUMNS if name not in header]
    frame = pd.concat([given, pd.DataFrame(np.nan, given.index, absent)], axis=1)
    scores = check_scores(frame, [place for place, _ in rows])
    scores.attrs["ignored"] = [name for name in header if name and name not in known]
    return scores
