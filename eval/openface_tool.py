"""Action Units by OpenFace: from CSV files that it wrote, or by running its program."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path, PureWindowsPath

import numpy as np
from PIL import Image

from eval.files import Picture
from eval.reading import Reading, from_columns
from eval.table import AUS
from glow_jax.io.errors import InputError
from glow_jax.io.files import MAX_BYTES
from glow_jax.io.given_tables import Table, as_words, open_table
from glow_jax.io.messages import one_line
from glow_jax.io.signals import sigterm_raised

BINARIES = ("FaceLandmarkImg", "FeatureExtraction")
LEAST_CONFIDENCE = 0.5
KNOWN = ("success", "confidence", "file", "input", *(f"{au}_{kind}" for au in AUS for kind in "rc"))
TIME_LIMIT_S = 60  # per picture, and again as much for the start


def read_openface_csv(path: Path, picture: str | None = None) -> Reading:
    """One picture's Action Units from a CSV of OpenFace 2.

    A program or a spreadsheet may have saved it again (`glow_jax.io.given_tables`); `success` and
    `confidence` may be missing. Of several faces the most confident counts; of equally confident
    ones, the first.

    Args:
        path: the CSV.
        picture: of a CSV of many pictures, those rows whose `file` or `input` names this one.

    Returns:
        A reading; without numbers if no row is of a face.

    Raises:
        InputError: the file is no CSV of OpenFace's.
    """
    with open_table(path, known=KNOWN, words=True, most_bytes=MAX_BYTES) as table:
        if not any(f"{au}_r" in table.header for au in AUS):
            raise InputError(f"{one_line(path)}: no AU01_r, AU02_r … columns: not OpenFace's CSV")
        faces = [_checked(table, line, cells) for line, cells in table]
    named = next((name for name in ("file", "input") if name in table.header), None)
    if picture is not None and named:
        # OpenFace may have run on Windows, whose path syntax covers both separators.
        wanted = as_words(picture)
        faces = [face for face in faces if PureWindowsPath(face[named]).name == wanted]
    found = [face for face in faces if _number(face.get("success"), 1) == 1]
    if not found:
        return Reading(0, problem="OpenFace found no face")
    confidence = np.array([_number(face.get("confidence"), 1) for face in found])
    if np.isnan(confidence).all():
        return Reading(len(found), problem="OpenFace's confidence is not a number")
    # A face of unknown confidence counts as the least confident.
    best = int(np.nanargmax(confidence))
    if confidence[best] < LEAST_CONFIDENCE:
        return Reading(len(found), problem=f"OpenFace's confidence is {confidence[best]:.2f}")
    level, present = from_columns(found[best])
    return Reading(len(found), level, level, present)


def _checked(table: Table, line: int, cells: list[str]) -> dict[str, str]:
    row = dict(zip(table.header, cells, strict=True))
    for name, value in row.items():
        if name[:2] == "AU" or name in ("success", "confidence"):
            row[name] = table.number(value)
            number = _number(row[name], 0)
            if np.isinf(number):
                where = f"{table.name}: line {line}"
                raise InputError(f"{where}: {name} is {one_line(value)}; a number is needed")
            if np.isnan(number):
                row[name] = "nan"
    return row


def _number(text: str | None, otherwise: float) -> float:
    """A cell's number; `otherwise` if empty or missing, infinite if it is no number."""
    if not text:
        return otherwise
    if re.fullmatch(r"[+-]?nan(\(\w*\))?", text.lower()):  # C++ also writes -nan and -nan(ind)
        return np.nan
    try:
        return float(text)
    except ValueError:
        return np.inf


class OpenFaceCsvs:
    """A folder of CSVs that OpenFace wrote: `STEM.csv` or `FOLDER/STEM.csv` for a picture.

    Attributes:
        name, key, notes: as of the other readers.
    """

    key = ""  # not cached: readings depend on file names, and are fast

    def __init__(self, folder: str | Path):
        """Check the folder.

        Raises:
            InputError: there is no such folder.
        """
        self._folder = Path(folder)
        if not os.path.isdir(self._folder):
            raise InputError(f"{one_line(folder)}: no such folder of OpenFace's CSVs")
        self.name = "OpenFace, from its CSVs"
        self.notes = ["Read from CSVs that OpenFace wrote elsewhere."]
        self._taken: dict[Path, str] = {}

    def read(self, pictures: list[Picture]) -> list[Reading]:
        """Readings from the pictures' CSVs; if a CSV is missing or wrong, with a `problem`.

        Raises:
            InputError: one CSV would serve two different pictures.
        """
        return [self._read(picture) for picture in pictures]

    def _read(self, picture: Picture) -> Reading:
        stem = picture.path.stem + ".csv"
        near, plain = self._folder / picture.path.parent.name / stem, self._folder / stem
        path = near if os.path.isfile(near) else plain
        if not os.path.isfile(path):
            return Reading(0, problem=f"no {plain.name} among OpenFace's CSVs")
        if self._taken.setdefault(path, picture.sha256) != picture.sha256:
            raise InputError(
                f"{one_line(path)}: two different pictures have this name; "
                f"put their CSVs into folders named as theirs"
            )
        try:
            return read_openface_csv(path, picture.path.name)
        except InputError as error:
            return Reading(0, problem=str(error))


class OpenFaceBinary:
    """OpenFace's own program, run on a copy of each picture in a temporary folder.

    Attributes:
        name, key, notes: as of the other readers.
    """

    def __init__(self, path: str | Path | None = None):
        """Find the program.

        Args:
            path: of `FaceLandmarkImg` or `FeatureExtraction`; None to look on PATH.

        Raises:
            InputError: there is no such program.
        """
        found = [shutil.which(str(p)) for p in ([path] if path else BINARIES)]
        self._program = next((p for p in found if p), None) or ""
        if not self._program:
            raise InputError(
                f"{one_line(path)}: no such program"
                if path
                else f"OpenFace is not installed: neither {' nor '.join(BINARIES)} is on PATH"
            )
        self._program = str(Path(self._program).absolute())
        self.name = f"OpenFace ({Path(self._program).name})"
        stat = os.stat(self._program)
        self.key = f"{Path(self._program).name} {stat.st_size} {stat.st_mtime_ns}"
        self.notes = ["OpenFace's models are for research only (its academic licence)."]

    def read(self, pictures: list[Picture]) -> list[Reading]:
        """Readings of pictures; where OpenFace fails, with `problem` instead of numbers."""
        return [self._read(picture) for picture in pictures]

    def _read(self, picture: Picture) -> Reading:
        with tempfile.TemporaryDirectory(prefix="openface-") as folder:
            place = Path(folder, "picture", "picture.png")
            place.parent.mkdir()
            Image.fromarray(picture.pixels).save(place)
            # FeatureExtraction reads a file as a video, and a folder as pictures.
            folders = Path(self._program).stem == "FeatureExtraction"
            given = ["-fdir", "picture"] if folders else ["-f", "picture/picture.png"]
            words = [self._program, *given, "-out_dir", "out", "-aus", "-au_static"]
            try:
                ended = _run(words, folder)
            except subprocess.TimeoutExpired:
                return Reading(0, problem=f"OpenFace took more than {2 * TIME_LIMIT_S} s")
            except OSError as error:
                return Reading(0, problem=f"OpenFace cannot be run ({error.strerror})")
            written = Path(folder, "out", "picture.csv")
            if ended:
                return Reading(0, problem=f"OpenFace ended with {ended}")
            if not written.is_file():
                return Reading(0, problem="OpenFace found no face")
            try:
                return read_openface_csv(written)
            except InputError:
                return Reading(0, problem="OpenFace wrote a CSV that cannot be read")


def _run(words: list[str], folder: str) -> int:
    """The exit code of a program; after the time limit its process group is killed."""
    null = subprocess.DEVNULL
    with (
        sigterm_raised(),
        subprocess.Popen(
            words, cwd=folder, stdin=null, stdout=null, stderr=null, start_new_session=True
        ) as process,
    ):
        try:
            return process.wait(2 * TIME_LIMIT_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
