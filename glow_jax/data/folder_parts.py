"""The parts of a folder of training pictures: `train`, and `test` or `val` beside it.

The layout is that of image classification: DIR/train/CLASS/1.png, DIR/val/CLASS/2.png.
"""

from pathlib import Path
from typing import NamedTuple

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason
from glow_jax.io.output_schema import picture_part

TRAIN = ("train", "training")
HELD_OUT = ("test", "testing", "val", "valid", "validation", "dev")  # in the order of preference


class Parts(NamedTuple):
    """What is trained on and what is held out, and the names of the other folders beside them."""

    train: Path
    held_out: Path
    others: list[str]

    @property
    def note(self) -> str:
        """One line about which part is for what."""
        unused = f"; not used: {', '.join(map(one_line, self.others))}" if self.others else ""
        return (
            f"{one_line(self.train.parent)}: {one_line(self.train.name)} is trained on, "
            f"{one_line(self.held_out.name)} is held out{unused}"
        )


def folder_parts(folder: str | Path) -> Parts | None:
    """The parts of a folder; None for a folder that has not both.

    Raises:
        InputError: the folder cannot be listed.
    """
    folder = Path(folder)
    folder = picture_part(folder) or folder
    try:
        inside = [p for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"{one_line(folder)}: cannot be read ({reason(error)})") from error
    names = {p.name.casefold(): p for p in sorted(inside)}
    train = next((names[n] for n in TRAIN if n in names), None)
    held_out = next((names[n] for n in HELD_OUT if n in names), None)
    if train is None or held_out is None:
        return None
    others = {p.name for p in inside if not p.name.startswith(".")} - {train.name, held_out.name}
    return Parts(train, held_out, sorted(others))
