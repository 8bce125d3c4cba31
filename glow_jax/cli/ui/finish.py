"""Make the files of a result with `transfer.transfer` or `edit`; pack them with their recipe."""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import glow_jax
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.forms import OUT, EditForm, Form, command_text, inputs_of, people_of, portable
from glow_jax.io.errors import InputError
from glow_jax.io.output_schema import INPUTS, PASTED, RESULTS
from glow_jax.io.tables import Row, read_rows
from transfer.api import edit, transfer

ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # equal files give equal archives


@dataclasses.dataclass(frozen=True)
class Finished:
    """The files of one result.

    Attributes:
        folder: that the call wrote.
        row: of results.csv.
        picture: the output.
        pasted: the target's photograph with the output in it, if it was asked for.
        inputs: rows of inputs.csv.
        problems: lines for the user: pictures left out, and what could not be pasted.
    """

    folder: Path
    row: Row
    picture: Path
    pasted: Path | None
    inputs: Sequence[Row]
    problems: tuple[str, ...]


def finish(engine: Engine, form: Form, asked: Any) -> Finished:
    """Make the files of a form.

    Args:
        engine: of the page.
        form: what is transferred or edited.
        asked: alpha of a transfer, or what an edit states.

    Raises:
        InputError: the output cannot be made.
    """
    out = engine.new_folder("results") / OUT
    with engine.turns.mine():
        call: Any = edit if isinstance(form, EditForm) else transfer
        summary = call(
            form.request(asked, out),
            models=engine.models(form.model),
            progress=lambda stage, done, total: engine.turns.pause(),  # a slider goes first
        )
    rows = list(read_rows(out / RESULTS))
    if not rows:
        raise InputError("the output could not be made: see failures.csv")
    picture = out / rows[0]["file"]
    pasted = list((out / PASTED).glob(f"{picture.stem}.*"))  # a JPEG where the photograph is one
    why = [trouble.reason for trouble in summary.skipped]
    why += summary.pasted.failures if summary.pasted else ()
    made = pasted[0] if pasted else None
    return Finished(out, rows[0], picture, made, list(read_rows(out / INPUTS)), tuple(why))


def pack(finished: Finished, form: Form, asked: Any) -> Path:
    """A ZIP with the output, the inputs, the tables and the recipe; run its command in it."""
    named = portable(form)
    inputs = {name: path.read_bytes() for name, path in inputs_of(named).items()}
    files = {finished.picture.name: finished.picture.read_bytes()}
    if finished.pasted is not None:
        files[f"{PASTED}/{finished.pasted.name}"] = finished.pasted.read_bytes()
    folders = {path.parent for path in people_of(form)}
    for name in (RESULTS, INPUTS):
        files[name] = without_folders((finished.folder / name).read_bytes(), folders)
    recipe = recipe_of(named.words(asked), inputs, files)
    path = finished.folder.parent / f"{finished.picture.stem}.zip"
    write_zip(path, inputs | files | recipe)
    return path


def without_folders(table: bytes, folders: Iterable[Path]) -> bytes:
    """A table with paths relative to the folder in which the ZIP is unpacked.

    Args:
        table: names files below `folders`, which are this computer's.
        folders: those of the inputs.
    """
    for folder in sorted(map(str, folders), key=len, reverse=True):
        table = table.replace(f"{folder}/".encode(), b"")
    return table


def recipe_of(
    words: Sequence[str], inputs: Mapping[str, bytes], outputs: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The files recipe.json and command.txt."""
    recipe: dict[str, Any] = {
        "glow_jax": glow_jax.__version__,
        "command": list(words),
        "inputs_sha256": {name: _sha256(data) for name, data in inputs.items()},
        "outputs_sha256": {name: _sha256(data) for name, data in outputs.items()},
    }
    text = json.dumps(recipe, indent=2, sort_keys=True) + "\n"
    return {"recipe.json": text.encode(), "command.txt": f"{command_text(words)}\n".encode()}


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a ZIP of files by name; equal files give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), files[name])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
