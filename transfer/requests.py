"""The requests of this package's calls: plain data, checked when created."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from glow_jax.io.animations import Kind, check_kind
from glow_jax.io.errors import InputError
from transfer.expression.edits import Edit
from transfer.jobs.alphas import MAX_ALPHAS
from transfer.methods import METHODS
from transfer.photos.aligned_faces import Photographs
from transfer.values import (
    StrPath,
    check_choice,
    check_flag,
    check_path,
    check_paths,
    check_type,
    check_whole,
    is_filled_list,
    is_number,
    is_whole,
    wrong,
)

CACHE_BYTES = 4 * 10**9
NO_EDIT = Edit()
DEFAULT_MODEL, PHOTOGRAPHS_MODEL = "faces64", "photo64"
MAX_BATCH_SIZE, MAX_NEUTRAL = 65536, 10**6
Precision = Literal["exact", "fast"]
Rule = Literal["linear", "spherical"]
PictureFormat = Literal["png", "webp"]
PasteFormat = Literal["auto", "png"]
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
        model: a bundled name, or a checkpoint directory; None means `model_of`.
        precision: "exact", or "fast": coupling networks in bfloat16.
        method: a name in `transfer.methods.METHODS`; None means `transfer.methods.default_method`.
        alphas: how much of an expression to add: numbers, "FIRST:LAST:STEP", whose steps must end
            at LAST, or "auto", the largest inside a trust region of the flow; None is the method's
            default.
        batch_size: images that each device computes at once.
        photographs: settings by which faces are cut out, if the pictures are photographs of any
            size; None if they are aligned faces of the model's size.
        paste_back: whether results are also pasted into the targets' photographs, at full size.
        paste_format: "auto": a photograph that is a JPEG stays one, of its own quality, and others
            become PNG; "png": all become PNG, which keeps every pixel outside the face.
        n_neutral: use only so many pictures of each person, the most neutral and frontal ones as
            the AU reader of `eval` measures; None uses all.
        neutralise: whether the target's own expression, estimated absolutely, is removed from the
            edited picture. Otherwise the expression is added to the target's own.
        animate: kind of file that shows alpha going up and down, of each expression on each target:
            "gif", "webp", or "mp4", which needs the extra `video`; None makes none.
        format: file format of the outputs.

    Raises:
        InputError: there is no expression or no target, `paste_back` without `photographs`, or a
            number is out of range.
    """

    expressions: Sequence[StrPath]
    targets: Sequence[StrPath]
    out: StrPath
    source: StrPath | None = None
    model: StrPath | None = None
    precision: Precision = "exact"
    method: str | None = None
    alphas: Sequence[float | str] | None = None
    batch_size: int = 8
    photographs: Photographs | None = None
    paste_back: bool = False
    n_neutral: int | None = None
    neutralise: bool = False
    animate: Kind | None = None
    paste_format: PasteFormat = "auto"
    format: PictureFormat = "png"

    def __post_init__(self) -> None:
        check_paths("expressions", self.expressions)
        check_paths("targets", self.targets)
        check_path("source", self.source, optional=True)
        check_shared(self)
        check_choice("format", self.format, get_args(PictureFormat))


@dataclasses.dataclass(frozen=True)
class EditRequest:
    """An edit of pictures: Action Units that are stated, or a direction of the latent space.

    Attributes:
        pictures: pictures to edit, or folders of them.
        out: a new folder, or one of an interrupted run of the same request.
        edit: the Action Units.
        direction: a file of `glow-jax direction`, in place of Action Units.
        reference: neutral pictures of the person in the pictures, a folder or one picture, against
            which what a picture shows is read; None reads it absolutely, relative to neutral
            pictures of many people, which is less exact.
        model: a bundled name, or a checkpoint directory; None means `model_of`.
        precision: "exact", or "fast": coupling networks in bfloat16.
        alphas: how much of the edit to make: numbers, "FIRST:LAST:STEP", whose steps must end at
            LAST, or "auto", the largest inside a trust region of the flow; None is 1.
        batch_size: images that each device computes at once.
        photographs: settings by which faces are cut out, if the pictures are photographs of any
            size; None if they are aligned faces of the model's size.
        paste_back: whether results are also pasted into the photographs, at full size.
        paste_format: as in `TransferRequest`.
        animate: kind of file that shows alpha going up and down, of each picture: "gif", "webp",
            or "mp4", which needs the extra `video`; None makes none.

    Raises:
        InputError: there is no picture, there is more than one kind of edit, `paste_back` without
            `photographs`, or a number is out of range.
    """

    pictures: Sequence[StrPath]
    out: StrPath
    edit: Edit = NO_EDIT
    direction: StrPath | None = None
    reference: StrPath | None = None
    model: StrPath | None = None
    precision: Precision = "exact"
    alphas: Sequence[float | str] | None = None
    batch_size: int = 8
    photographs: Photographs | None = None
    paste_back: bool = False
    animate: Kind | None = None
    paste_format: PasteFormat = "auto"

    def __post_init__(self) -> None:
        check_paths("pictures", self.pictures)
        check_type("edit", self.edit, Edit)
        check_path("direction", self.direction, optional=True)
        check_path("reference", self.reference, optional=True)
        check_shared(self)
        if self.direction is not None and self.edit != NO_EDIT:
            raise InputError(
                "`direction` and Action Units are two kinds of edit; give one of them, and edit "
                "its outputs by the other"
            )

    def check_stated(self) -> None:
        """Raise InputError if the request states no edit, or a reference that would not be read."""
        if self.direction is None and self.edit.is_empty:
            raise InputError(
                "no edit is stated: set an Action Unit (AU12=0.8), add to one (AU12+0.3), or give "
                "`neutral` or a `direction`"
            )
        if self.reference is not None and (self.direction is not None or not self.edit.reads):
            raise InputError(
                "`reference` has no meaning here: what the pictures show is read only where an "
                "Action Unit is set (AU12=0.8), or with `neutral`"
            )


@dataclasses.dataclass(frozen=True)
class InterpolateRequest:
    """The way from one picture to another through the flow's latent space.

    Attributes:
        first, second: two pictures.
        out: a new folder, or one of an interrupted run of the same request.
        steps: number of outputs, the first and the second picture among them.
        rule: "linear", or "spherical", on which the norm of the latents moves linearly.
        model: a bundled name, or a checkpoint directory; None means `model_of`.
        precision: "exact", or "fast": coupling networks in bfloat16.
        batch_size: images that each device computes at once.
        photographs, animate: as in `EditRequest`.

    Raises:
        InputError: the rule is not known, or a number is out of range.
    """

    first: StrPath
    second: StrPath
    out: StrPath
    steps: int = 9
    rule: Rule = "linear"
    model: StrPath | None = None
    precision: Precision = "exact"
    batch_size: int = 8
    photographs: Photographs | None = None
    animate: Kind | None = None

    def __post_init__(self) -> None:
        check_path("first", self.first)
        check_path("second", self.second)
        check_whole("steps", self.steps, 2, MAX_ALPHAS)
        check_choice("rule", self.rule, get_args(Rule))
        check_shared(self)


@dataclasses.dataclass(frozen=True)
class BatchRequest:
    """The outputs of a job file.

    Attributes:
        job: a .csv, .toml or .yaml file (`transfer.jobs.plan_file`).
        out: a new folder, or one of an interrupted run of the same job.
        model: a bundled name, or a checkpoint directory; None means `model_of`.
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
        method: of rows of the job file that name none; None is the first that works with the model.
        n_neutral, paste_back, paste_format: as in `TransferRequest`.

    Raises:
        InputError: a number is out of range, or `paste_back` is given without `photographs`, for a
            format of many outputs in a file, or for one shard of several.
    """

    job: StrPath
    out: StrPath
    model: StrPath | None = None
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
    method: str | None = None
    n_neutral: int | None = None
    paste_back: bool = False
    paste_format: PasteFormat = "auto"

    def __post_init__(self) -> None:
        check_path("job", self.job)
        check_shared(self)
        check_choice("format", self.format, get_args(Format))
        for name in ("chunk_size", "limit"):
            check_whole(name, getattr(self, name), 1, optional=True)
        check_whole("cache_bytes", self.cache_bytes, 1)
        _check_shard(self.shard)
        if self.paste_back and self.format not in get_args(PictureFormat):
            raise InputError(
                f"`paste_back` needs a file for each output; `format` {self.format} has none"
            )
        if self.paste_back and self.shard != (1, 1):
            raise InputError(
                "`paste_back` and `shard` do not go together: merge the shards, then run the whole "
                "job with `paste_back` in the merged folder"
            )


@runtime_checkable
class NamesModel(Protocol):
    """A request that names a model, or leaves the choice to `model_of`."""

    @property
    def model(self) -> StrPath | None: ...

    @property
    def photographs(self) -> Photographs | None: ...


def model_of(request: NamesModel) -> StrPath:
    """The model of a request: the one that it names, or "photo64" for photographs, else "faces64".

    `faces64` has seen renders only, `photo64` has seen photoreal people too.
    """
    if request.model is not None:
        return request.model
    return DEFAULT_MODEL if request.photographs is None else PHOTOGRAPHS_MODEL


def check_shared(request: Any) -> None:
    """Check the fields that a request shares with others, of those that it has.

    Raises:
        InputError: a field has a value that is not accepted.
    """
    names = {field.name for field in dataclasses.fields(request)}
    for name in sorted(names & {"neutralise", "paste_back", "likelihood", "retry_failed"}):
        check_flag(name, getattr(request, name))
    check_path("out", request.out)
    check_path("model", request.model, optional=True)
    check_choice("precision", request.precision, get_args(Precision))
    is_batch = isinstance(request, BatchRequest)  # which chooses a size by the device's memory
    check_whole("batch_size", request.batch_size, 1, MAX_BATCH_SIZE, optional=is_batch)
    check_type("photographs", request.photographs, Photographs, optional=True)
    if "method" in names:
        check_choice("method", request.method, list(METHODS), optional=True)
    if "alphas" in names:
        _check_alphas(request.alphas)
    if "n_neutral" in names:
        check_whole("n_neutral", request.n_neutral, 1, MAX_NEUTRAL, optional=True)
    if "animate" in names and request.animate is not None:
        check_kind(request.animate)
    if "paste_format" in names:
        check_choice("paste_format", request.paste_format, get_args(PasteFormat))
    if "paste_back" in names and request.paste_back and request.photographs is None:
        raise InputError(
            "`paste_back` needs `photographs`: aligned faces have no photograph to paste into"
        )


def _check_alphas(alphas: Any) -> None:
    """Raise InputError unless alphas are None or a list; `parse_alphas` checks words and range."""
    if alphas is None:
        return
    accepted = "a list of one or more numbers, 'FIRST:LAST:STEP' or 'auto', or None"
    is_list = is_filled_list(alphas)
    if not is_list or not all(isinstance(a, str) or is_number(a) for a in alphas):
        raise wrong("alphas", alphas, accepted)


def _check_shard(shard: Any) -> None:
    if not (
        isinstance(shard, tuple)
        and len(shard) == 2
        and all(map(is_whole, shard))
        and 1 <= shard[0] <= shard[1]
    ):
        raise wrong("shard", shard, "(i, n) with whole numbers i from 1 to n")
