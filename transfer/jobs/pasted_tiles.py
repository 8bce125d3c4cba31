"""Faces of photographs before and after their results are pasted, as tiles of a contact sheet."""

import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from glow_jax.io.face_numbers import split_face
from glow_jax.io.output_schema import PASTED_TABLE
from glow_jax.io.pictures import read_image
from glow_jax.io.tables import read_rows
from transfer.photos.aligned_faces import AlignedFaces
from transfer.photos.crop import crop

TILE_PX = 192


class PastedTiles:
    """Crops of photographs at TILE_PX, cut as the faces of the job."""

    def __init__(self, out: Path, faces: AlignedFaces):
        """Only the table of pasted photographs is read.

        Args:
            out: the folder of a job whose results were pasted.
            faces: the loader with which the job read its photographs.
        """
        self._faces = faces
        self.face = functools.cache(self._face)
        rows = read_rows(out / PASTED_TABLE)
        self._rows = {out / r["file"]: (r["photograph"], out / r["pasted"]) for r in rows}

    def _face(self, path: str) -> np.ndarray:
        """The face of a photograph, uint8 (TILE_PX, TILE_PX, 3)."""
        return self._cut(path, Path(split_face(path)[0]))

    def edited(self, outputs: Iterable[Path]) -> np.ndarray | None:
        """The face that outputs of one photograph were pasted over; None if none was pasted."""
        paths = (self._rows[output][0] for output in outputs if output in self._rows)
        path = next(paths, None)
        return None if path is None else self.face(path)

    def result(self, output: Path) -> np.ndarray | None:
        """The face with the output in it, as `face`; None if it was not pasted."""
        found = self._rows.get(output)
        return None if found is None else self._cut(*found)

    def _cut(self, path: str, file: Path) -> np.ndarray:
        return crop(read_image(file), self._faces.face(path).transform, TILE_PX)
