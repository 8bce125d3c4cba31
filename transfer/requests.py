"""The requests of `transfer.transfer` and `transfer.batch`: plain data, checked when created."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Literal

from glow_jax.io.errors import InputError
from transfer.photos.aligned_faces import Photographs

CACHE_BYTES = 4 * 10**9
StrPath = str | os.PathLike[str]
Precision = Literal["exact", "fast"]
Format = Literal["png", "webp", "tfrecord", "array_record", "webdataset"]


@dataclasses.dataclass(frozen=True)
class TransferRequest:
    """Every expression of one source on every target, at every alpha.

    Attributes:
        expressions: pictures of the source, each showing an expression, or folders of them.
        targets: for each target person, a folder of pictures, or one picture.
        out: a new folder, or one of an interrupted run of the same request.
        source: a folder of the source's pictures, or one picture. If it is None, or has only the
            expression's picture, the expression is estimated absolutely, relative to neutral
            pictures of many people, which is less exact.
        model: a bundled name, or a checkpoint directory.
        precision: "exact", or "fast": coupling networks in bfloat16.
        method: a name in `transfer.methods.METHODS`; None is the first that works with the model.
        alphas: how much of an expression to add: numbers, "FIRST:LAST:STEP", whose steps must end
            at LAST, or "auto", the largest inside a trust region of the flow; None is the method's
            default.
        batch_size: images that each device computes at once.
        photographs: settings by which faces are cut out, if the pictures are photographs of any
            size; None if they are aligned faces of the model's size.
        paste_back: whether results are also pasted into the targets' photographs, at full size.
        n_neutral: use only so many pictures of each person, the most neutral and frontal ones as
            the AU reader of `eval` measures; None uses all.
        neutralise: whether the target's own expression, estimated absolutely, is removed from the
            edited picture. Otherwise the expression is added to the target's own.

    Raises:
        InputError: there is no expression or no target, `paste_back` without `photographs`, or a
            number is out of range.
    """

    expressions: Sequence[StrPath]
    targets: Sequence[StrPath]
    out: StrPath
    source: StrPath | None = None
    model: StrPath = "faces64"
    precision: Precision = "exact"
    method: str | None = None
    alphas: Sequence[float | str] | None = None
    batch_size: int = 8
    photographs: Photographs | None = None
    paste_back: bool = False
    n_neutral: int | None = None
    neutralise: bool = False

    def __post_init__(self) -> None:
        for name in ("expressions", "targets"):
            value = getattr(self, name)
            if isinstance(value, str | os.PathLike) or not len(value):
                raise InputError(f"`{name}` is {value!r}; a list of one or more paths is needed")
        if self.paste_back and self.photographs is None:
            raise InputError(
                "`paste_back` needs `photographs`: aligned faces have no photograph to paste into"
            )
        if self.n_neutral is not None and self.n_neutral < 1:
            raise InputError(f"`n_neutral` is {self.n_neutral}; use a number from 1")
        _check_batch_size(self.batch_size)


@dataclasses.dataclass(frozen=True)
class BatchRequest:
    """The outputs of a job file.

    Attributes:
        job: a .csv, .toml or .yaml file (`transfer.jobs.plan_file`).
        out: a new folder, or one of an interrupted run of the same job.
        model: a bundled name, or a checkpoint directory.
        precision: "exact", or "fast": coupling networks in bfloat16.
        format: file format of the outputs; the last three put a whole chunk into one file.
        batch_size: images that each device computes at once; None chooses by the device's memory.
        chunk_size: outputs per chunk; an interrupted run repeats the chunks that it was working
            on. None is 64, or 1024 for formats that put a chunk into one file.
        likelihood: whether bits/dim of the outputs are computed, which takes one more encode each.
        cache_bytes: disk space in `out` for pixels and latents that are needed again.
        photographs: as in `TransferRequest`.
        shard: (i, n): make only every n-th chunk, beginning with the i-th, counted from 1.
        limit: stop after about so many outputs, at the end of a chunk.
        retry_failed: make chunks again in which an output could not be made, or was made without a
            picture that could not be used.
        neutralise: as in `TransferRequest`.

    Raises:
        InputError: a number is out of range.
    """

    job: StrPath
    out: StrPath
    model: StrPath = "faces64"
    precision: Precision = "exact"
    format: Format = "png"
    batch_size: int | None = None
    chunk_size: int | None = None
    likelihood: bool = True
    cache_bytes: int = CACHE_BYTES
    photographs: Photographs | None = None
    shard: tuple[int, int] = (1, 1)
    limit: int | None = None
    retry_failed: bool = False
    neutralise: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.shard[0] <= self.shard[1]:
            raise InputError(f"`shard` is {self.shard}; use (i, n) with i from 1 to n")
        for name in ("chunk_size", "limit", "cache_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"`{name}` is {value}; use a number from 1")
        if self.batch_size is not None:
            _check_batch_size(self.batch_size)


def _check_batch_size(value: int) -> None:
    if value < 1:
        raise InputError(f"`batch_size` is {value}; use a number from 1")
