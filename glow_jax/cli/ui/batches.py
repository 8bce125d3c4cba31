"""A table of transfers from the page: stage it, run it, pack its folder."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.finish import recipe_of, without_folders
from glow_jax.cli.ui.forms import FOR_ALIGNED, FOR_PHOTOGRAPHS, OUT, photograph_settings
from glow_jax.cli.ui.forms import photograph_words as words_of_photographs
from glow_jax.cli.ui.staging import MAX_PICTURE_BYTES, Upload, safe_name, unzip
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.output_schema import FAILURES
from glow_jax.io.tables import read_rows
from transfer.api import summary_of
from transfer.complete import Summary
from transfer.jobs import batch as jobs
from transfer.jobs.plan_file import read_plan
from transfer.requests import BatchRequest

MAX_TABLE_BYTES = 10**6
MAX_FILES = 500
MAX_OUTPUTS = 2000


def stage(engine: Engine, table: Upload | None, pictures: Sequence[Upload]) -> Path:
    """Copy a table and the pictures that it names into a new folder; returns the table's path.

    Args:
        engine: of the page.
        table: a job file (.csv, .tsv, .toml, .yaml).
        pictures: pictures, and ZIPs of pictures in folders.

    Raises:
        InputError: a file is missing, too large or hostile, or two files have the same name.
    """
    if table is None:
        raise InputError("no table: drop a .csv, .toml or .yaml file that lists the transfers")
    if not pictures:
        raise InputError("no pictures: drop the pictures that the table names, or a ZIP of them")
    if len(pictures) > MAX_FILES:
        raise InputError(f"{len(pictures)} files; at most {MAX_FILES}; pack them into a ZIP")
    folder = engine.new_folder("batches")
    place = _placed(table, folder, MAX_TABLE_BYTES)
    for upload in pictures:
        if upload.name.lower().endswith(".zip"):
            unzip(upload.path, folder)
        else:
            _placed(upload, folder, MAX_PICTURE_BYTES)
    return place


class Ran(NamedTuple):
    """What a table gave.

    Attributes:
        summary: of the output folder.
        duplicates: rows that ask for the output of a row above them.
        archive: a ZIP of the folder.
    """

    summary: Summary
    duplicates: int
    archive: Path


def run(
    engine: Engine, table: Path, photographs: bool, progress: Callable[[int, int], None]
) -> Ran:
    """Make every output of a staged table.

    Args:
        engine: of the page.
        table: from `stage`.
        photographs: whether faces are cut out of the pictures.
        progress: called with the number of outputs done, and their total; meanwhile, others who
            wait have their turn.

    Raises:
        InputError: the table has errors, or nothing can be made.
    """
    out = table.parent / OUT
    request = BatchRequest(
        table,
        out,
        model=_model(photographs),
        batch_size=8,
        photographs=photograph_settings() if photographs else None,
    )

    def step(stage: str, done: int, total: int) -> None:
        progress(done, total)
        engine.turns.pause()

    plan = read_plan(table, inside=True, max_rows=MAX_OUTPUTS)
    with engine.turns.mine():
        prepared = jobs.prepare(request, plan, models=engine.models(str(request.model)))
        summary = summary_of(out, jobs.run_batch(request, prepared, step))
    return Ran(summary, prepared.job.duplicates, _packed(table, photographs))


def reasons(summary: Summary) -> list[str]:
    """Why outputs could not be made, as the table failures.csv says; each reason once."""
    table = summary.out / FAILURES
    if not table.is_file():
        return []
    found = dict.fromkeys(row["reason"] for row in read_rows(table))
    return [reason.replace(f"{summary.out.parent}/", "") for reason in found]


def batch_words(table: str, photographs: bool) -> list[str]:
    """The command line that makes the same outputs, in the folder of the table."""
    how = ["--model", _model(photographs), "--batch-size", "8"]
    return ["glow-jax", "batch", table, *how, *words_of_photographs(photographs), "-o", OUT]


def _model(photographs: bool) -> str:
    return FOR_PHOTOGRAPHS if photographs else FOR_ALIGNED


def _placed(upload: Upload, folder: Path, most: int) -> Path:
    """A copy under the user's name, which the table names."""
    name = one_line(upload.name)
    path = folder / safe_name(upload.name)
    size = upload.path.stat().st_size
    if size > most:
        raise InputError(f"{name}: {size} bytes; at most {most}")
    if path.exists():
        raise InputError(
            f"{name}: there twice; rename one of the two, or pack their folders into a ZIP"
        )
    path.write_bytes(upload.path.read_bytes())
    return path


def _packed(table: Path, photographs: bool) -> Path:
    """A ZIP of the output folder, with the recipe; pictures are not packed again."""
    out, path = table.parent / OUT, table.parent / "results.zip"
    files = sorted(p for p in out.rglob("*") if p.is_file())
    images = {}
    for file in files:
        data, is_text = file.read_bytes(), file.suffix in (".csv", ".json")
        name = str(file.relative_to(table.parent))
        images[name] = without_folders(data, [table.parent]) if is_text else data
    recipe = recipe_of(
        batch_words(table.name, photographs), {table.name: table.read_bytes()}, images
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted((images | recipe).items()):
            archive.writestr(name, data)
    return path
