"""A photograph and one of its faces in a path: "photo.jpg#2" is the second face from the left.

A file of just this name counts as a file: "photo.jpg#2" is then a photograph, and "photo.jpg#2#1"
its first face.
"""

import os
import re

NUMBERED = re.compile(r"(.+)#([1-9][0-9]{0,3})", re.DOTALL)


def split_face(path: str | os.PathLike[str]) -> tuple[str, int | None]:
    """The file that a path names, and the number of the face in it, from left to right from 1.

    The number is None where the path names none: it does not end in "#" and a number from 1 to
    9999, or a file of that name exists, or what stands before the "#" is no file.
    """
    text = os.fspath(path)
    found = NUMBERED.fullmatch(text) if "#" in text else None
    if found is None or os.path.lexists(text) or not os.path.isfile(found[1]):
        return text, None
    return found[1], int(found[2])
