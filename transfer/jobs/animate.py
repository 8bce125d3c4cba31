"""Draw each series of a job's outputs as a moving picture, in which alpha goes up and down.

animations/   one file for each target and expression: the expression, the target, and the result
              while alpha goes from 0 to the largest alpha of the series and back; of edits, the
              picture and the result; of an interpolation, both pictures and the way between them

The frames between the outputs are made like outputs, and not kept. Files that exist already are
kept, so that an interrupted run can be continued.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from glow_jax.io.animations import up_and_down, write_animation
from glow_jax.io.messages import failure
from glow_jax.io.output_folders import has_file, make_folder
from glow_jax.io.output_schema import ANIMATIONS
from glow_jax.io.provenance import Provenance
from transfer.codec import Codec, Images
from transfer.jobs import output_folder
from transfer.jobs.commit import SOURCE_TYPE
from transfer.jobs.compute import ENDS_THE_RUN, Compute
from transfer.jobs.inputs import Inputs
from transfer.jobs.job import Job
from transfer.jobs.names import file_name
from transfer.jobs.sheet import Key, grid, label_of, rgb
from transfer.methods import EDITS, method_names
from transfer.methods.base import Rows

STEPS = 17  # frames from the smallest alpha to the largest
HOLD = 8  # frames for which the ends are shown
FRAME_S = 0.06  # seconds that a frame is shown
TILE_PX = 256  # least side of a picture
MAX_IDS = 1000  # of outputs, in the metadata of a file


@dataclasses.dataclass(frozen=True)
class Animated:
    """How many animations were made now, how many were there, and why others could not be made."""

    made: int
    kept: int
    failures: tuple[str, ...] = ()


def write_animations(
    job: Job,
    codec: Codec,
    inputs: Inputs,
    compute: Compute,
    out: Path,
    kind: str,
    progress: Callable[[str, int, int], None],
) -> Animated:
    """Draw every series of a finished job that is not drawn yet.

    Args:
        job: the job, whose outputs are in `out`.
        codec: the flow, in batches of which each device takes the same number of pictures.
        inputs: the job's pictures.
        compute: the job's methods.
        out: the job's output folder.
        kind: one of `glow_jax.io.animations.KINDS`.
        progress: called with the name of a stage, the number of items done, and their total.

    Raises:
        OutputError: the folder cannot be written to.
    """
    make_folder(out, ANIMATIONS)
    inputs.prepare(job.order.tolist())
    series = _series(job, out)
    made, failures = 0, list[str]()
    for done, (key, alphas) in enumerate(series.items(), 1):
        file = Path(ANIMATIONS, _name(job, key, alphas, kind))
        try:
            if not has_file(out, file):
                frames = _frames(job, inputs, compute, key, list(alphas.values()))
                write_animation(out / file, frames, FRAME_S, _provenance(job, codec, alphas))
                made += 1
        except ENDS_THE_RUN:
            raise
        except Exception as error:  # of one series
            failures.append(failure(str(file), error))
        progress("animate", done, len(series))
    return Animated(made, len(series) - made - len(failures), tuple(failures))


def _series(job: Job, out: Path) -> dict[Key, dict[int, float]]:
    """From target, expression and source to the alphas of the outputs that were made, by row."""
    plan, series = job.plan, dict[Key, dict[int, float]]()
    for chunk in range(job.n_chunks):
        for cells in output_folder.rows_of_chunk(out, chunk) or []:
            if cells["stage"]:
                continue
            row = int(cells["row"])
            key = Key(int(plan.target[row]), int(plan.expression[row]), int(plan.source[row]))
            series.setdefault(key, {})[row] = float(cells["alpha"])
    return series


def _frames(
    job: Job, inputs: Inputs, compute: Compute, key: Key, alphas: list[float]
) -> np.ndarray:
    """The frames of one series, uint8 (N, H, W, 3)."""
    name = method_names()[job.plan.method[0]]
    steps = np.linspace(min(0.0, *alphas), max(0.0, *alphas), STEPS)
    results, target = _results(inputs, compute, name, key, steps)
    shown = inputs.pixels([key.expression])[0]
    before, after = [("expression", shown), ("target", target)], list[tuple[str, np.ndarray]]()
    if name == "interpolate":
        before, after = [("first", target)], [("second", shown)]
    elif name in EDITS:
        before = [("picture", target)]
    frames = []
    for alpha, result in zip(steps.tolist(), results, strict=True):
        columns = [*before, (f"alpha {alpha:.2f}", result), *after]
        tiles = [rgb(tile) for _, tile in columns]
        headings = [heading for heading, _ in columns]
        frames.append(grid([tiles], headings, [label_of(job, key)], TILE_PX))
    return np.stack([frames[i] for i in up_and_down(STEPS, HOLD)])


def _results(
    inputs: Inputs, compute: Compute, name: str, key: Key, alphas: np.ndarray
) -> tuple[Images, np.ndarray]:
    """The pictures of one series at some alphas, and the picture that is edited.

    They are computed in the batches of the job, so that no other program is compiled.
    """
    method, size = compute.method(name), inputs.batch_size
    numbers = ([one] * size for one in (key.expression, key.source, key.target))
    prepared, parts = method.prepare(Rows(*numbers)), []
    for start in range(0, len(alphas), size):
        some = alphas[start : start + size]
        padded = np.concatenate([some, np.repeat(some[-1:], size - len(some))])
        parts.append(method.edit(prepared, padded.astype(np.float32)).images[: len(some)])
    return np.concatenate(parts), method.unedited(prepared)[0]


def _name(job: Job, key: Key, rows: dict[int, float], kind: str) -> str:
    """A file's name, which differs where the outputs of a series do."""
    items = [job.item(row) for row in rows]
    digest = hashlib.sha256("".join(sorted(item.id for item in items)).encode()).hexdigest()
    stem = "_".join(file_name(part) for part in (*job.shown(next(iter(rows))), digest[:16]))
    return f"{stem}.{kind}"


def _provenance(job: Job, codec: Codec, rows: dict[int, float]) -> Provenance:
    items = [job.item(row) for row in list(rows)[:MAX_IDS]]
    recipe = {
        "animation": [item.id for item in items],
        "method": items[0].method,
        "alphas": list(rows.values())[:MAX_IDS],
        "expression": Path(items[0].expression).name,
        "source": items[0].source,
        "target": items[0].target,
        "model_fingerprint": codec.fingerprint,
    }
    edit = {"edit": job.how["edit"]} if "edit" in job.how else {}
    return Provenance(SOURCE_TYPE, codec.name, recipe | edit)
