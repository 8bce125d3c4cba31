"""The content of a report besides the scores: pictures, settings of the run, failures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eval.references import MEAN_FACE, Reference

Pictures = Callable[[str], Path | None] | Mapping[str, Path | None]
"""From a name in the scores table to its picture; None (or no entry) where there is none."""


@dataclass(frozen=True)
class Context:
    """The content of a report that is not in the scores. All of it is optional.

    Fields:
        title: of the page.
        root: folder of the output pictures; the table's `file` is relative to it, or absolute.
        expressions, target_references: pictures by the table's names.
        cut_face: from the pixels of an expression's photograph to its face; None where a picture
            is shown whole, or no face is found.
        reference: what the reference pictures are.
        identity: settings of the identity scores, such as model, detector, metric, threshold.
        reader: what read the AUs.
        reader_notes: remarks on it, a sentence each.
        reader_quality: how well it reads each AU: mappings of `au` (AU12), `r`, `mae`, `slope`.
        failures: (file, stage, reason) of everything that could not be read or scored.
        versions: of the software, by name.
        hardware, command, timestamp: of the run.
        notes: remarks on the run, a sentence each.
        settings: what determines the figures; a report of others is not replaced.
    """

    title: str = "Expression transfer, judged"
    root: Path = Path()
    expressions: Pictures = field(default_factory=dict)
    target_references: Pictures = field(default_factory=dict)
    cut_face: Callable[[np.ndarray], np.ndarray | None] = lambda pixels: None
    reference: Reference = MEAN_FACE
    identity: Mapping[str, object] = field(default_factory=dict)
    reader: str = ""
    reader_notes: Sequence[str] = ()
    reader_quality: Sequence[Mapping[str, object]] = ()
    failures: Sequence[tuple[str, str, str]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""
    command: str = ""
    timestamp: str = ""
    notes: Sequence[str] = ()
    settings: Mapping[str, object] = field(default_factory=dict)


def find(pictures: Pictures, name: str) -> Path | None:
    """The picture of a name, if there is one."""
    return pictures(name) if callable(pictures) else pictures.get(name)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Stems of paths to show for them; the whole name where stems are shared."""
    stems = {name: Path(name).stem or name for name in dict.fromkeys(names)}
    shown = list(stems.values())
    return {name: stem if shown.count(stem) == 1 else name for name, stem in stems.items()}
