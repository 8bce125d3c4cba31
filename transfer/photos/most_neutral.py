"""Select the most neutral and frontal pictures of a person for a job."""

from collections.abc import Callable, Sequence

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.messages import failure, one_line
from transfer.photos.aligned_faces import AlignedFaces
from transfer.photos.judge_adapter import measure_aus, pose_of_picture
from transfer.photos.neutral import Measurement, chosen, scores

LoadPicture = Callable[[str], np.ndarray]


def keep_most_neutral(
    n: int, faces: LoadPicture, load: LoadPicture, notify: Callable[[str], None]
) -> Callable[[Sequence[str]], list[str]]:
    """A function from the paths of a person's pictures to those of the most neutral ones.

    Pictures that cannot be read are selected too, so that the job reports them.

    Args:
        n: largest number of pictures that are selected.
        faces: loads pictures; an `AlignedFaces` also gives the poses of the faces.
        load: like `faces`, and may cache what it loads.
        notify: called with a line that names the selected pictures, "most neutral" only where
            there were others.
    """

    def keep(files: Sequence[str]) -> list[str]:
        usable, measurements = [], []
        for file in files:
            try:
                pixels = load(file)
            except Exception:  # the job lists it, with the reason
                continue
            usable.append(file)
            try:
                measurements.append(_measured(faces, file, pixels))
            except InputError:  # the judge cannot be used at all
                raise
            except Exception as error:
                notify(f"how neutral this picture is was not measured: {failure(file, error)}")
                measurements.append(None)
        if not usable:
            return list(files)
        best = [usable[i] for i in chosen(scores(measurements), n)]
        names = ", ".join(map(one_line, best))
        are_chosen = len(best) < len(usable)
        notify(f"{f'most neutral of {len(usable)} pictures' if are_chosen else 'used'}: {names}")
        unusable = [file for file in files if file not in usable]
        return [file for file in files if file in {*best, *unusable}]

    return keep


def _measured(faces: LoadPicture, file: str, pixels: np.ndarray) -> Measurement | None:
    """The judge's measurement of a picture; None if it finds no face."""
    rgb = np.repeat(pixels, 3, -1) if pixels.shape[-1] == 1 else pixels
    aus = measure_aus(rgb)
    if aus is None:
        return None
    if isinstance(faces, AlignedFaces):
        return Measurement(*aus, faces.face(file).pose)
    pose = pose_of_picture(rgb)
    return None if pose is None else Measurement(*aus, pose)
