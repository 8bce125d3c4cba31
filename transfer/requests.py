"""Requests to `transfer.transfer` and `transfer.batch`: plain data, checked when made."""

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
        source: a folder of the source's pictures, or one picture.
        targets: the same of each person who is to wear the expressions.
        out: a new folder, or one that holds an interrupted run of the same request.
        model: a bundled name, or a checkpoint directory.
        precision: "exact", or "fast": coupling networks in bfloat16.
        method: one of `transfer.methods.METHODS`; None is the first that the model can do.
        alphas: how much of an expression to add: numbers, "FIRST:LAST:STEP", or "auto", the
            largest inside a trust region of the flow; None is the method's default.
        batch_size: images that each device computes at once.
        photographs: how faces are cut out, where pictures are photographs of any size; None: the
            pictures are aligned, and have the model's size.
        paste_back: whether results are put into the targets' photographs too, at full size.
        n_neutral: how many of each person's pictures are used: the most neutral and frontal ones,
            as the judge's Action Unit reader finds; None uses all.

    Raises:
        InputError: there is no expression or no target, `paste_back` without `photographs`, or a
            number is out of range.
    """

    expressions: Sequence[StrPath]
    source: StrPath
    targets: Sequence[StrPath]
    out: StrPath
    model: StrPath = "faces64"
    precision: Precision = "exact"
    method: str | None = None
    alphas: Sequence[float | str] | None = None
    batch_size: int = 8
    photographs: Photographs | None = None
    paste_back: bool = False
    n_neutral: int | None = None

    def __post_init__(self) -> None:
        for name in ("expressions", "targets"):
            value = getattr(self, name)
            if isinstance(value, str | os.PathLike) or not len(value):
                raise InputError(f"`{name}` is {value!r}; a list of one or more paths is needed")
        if self.paste_back and self.photographs is None:
            raise InputError(
                "`paste_back` needs `photographs`: otherwise the pictures are the faces themselves"
            )
        if self.n_neutral is not None and self.n_neutral < 1:
            raise InputError(f"`n_neutral` is {self.n_neutral}; use a number from 1")
        _check_batch_size(self.batch_size)


@dataclasses.dataclass(frozen=True)
class BatchRequest:
    """The outputs that a job's file asks for.

    Attributes:
        job: a .csv, .toml or .yaml file (`transfer.jobs.plan_file`).
        out: a new folder, or one that holds an interrupted run of the same job.
        model: a bundled name, or a checkpoint directory.
        precision: "exact", or "fast": coupling networks in bfloat16.
        format: of the outputs; the last three put many into one file.
        batch_size: images that each device computes at once; None chooses by the device.
        chunk_size: outputs that are begun and finished together, and lie in one file of those
            formats; None is 64, or 1024 for them.
        likelihood: whether bits/dim of the outputs are computed, which costs another encode.
        cache_bytes: of disk in `out`, for latents and pixels that are needed again.
        photographs: as in `TransferRequest`.
        shard: (i, n): only every n-th chunk, beginning with the i-th, from 1.
        limit: stop after about so many outputs, at the end of a chunk.
        retry_failed: do chunks again in which an output could not be made.

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
