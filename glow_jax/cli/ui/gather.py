"""From what the page's fields hold to a form: stage the uploads, decide what is left open."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from glow_jax.cli.ui import bundled
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.forms import (
    FOR_ALIGNED,
    FOR_PHOTOGRAPHS,
    EditForm,
    Person,
    TransferForm,
    are_aligned,
)
from glow_jax.cli.ui.staging import Upload, stage_person
from glow_jax.io.errors import InputError
from transfer.methods import default_method

BY_SIZE, PHOTOGRAPHS, ALIGNED = "by size", "photographs", "aligned faces"
SUITABLE = "suitable"


@dataclasses.dataclass(frozen=True)
class Fields:
    """The fields of the tab Transfer.

    Attributes:
        expression: name of a bundled expression, or an upload; None is missing.
        target: name of a bundled person, or an upload; None is missing.
        neutral: uploads: neutral pictures of the expression's person.
        method: name of the transfer method, or SUITABLE.
        model: a bundled name, or SUITABLE.
        pictures: BY_SIZE, PHOTOGRAPHS or ALIGNED.
        paste_back, neutralise: as in `TransferForm`.
    """

    expression: str | Upload | None
    target: str | Upload | None
    neutral: tuple[Upload, ...] = ()
    method: str = SUITABLE
    model: str = SUITABLE
    pictures: str = BY_SIZE
    paste_back: bool = True
    neutralise: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Fields":
        """From the values of the components: a chosen name goes before an upload."""
        return cls(
            expression=values["expression_name"] or values["expression"],
            target=values["target_name"] or values["target"],
            neutral=tuple(values["neutral"] or ()),
            method=values["method"],
            model=values["model"],
            pictures=values["pictures"],
            paste_back=bool(values["paste_back"]),
            neutralise=bool(values["neutralise"]),
        )


def gather(engine: Engine, fields: Fields) -> TransferForm:
    """The form of the fields, with the uploads in a folder of their own.

    Raises:
        InputError: a picture is missing, too large or of no known format.
    """
    if fields.expression is None:
        raise InputError("no expression: drop a picture, or choose one of the bundled ones")
    if fields.target is None:
        raise InputError("no target: drop a picture, or choose one of the bundled people")
    folder = engine.new_folder("staged")
    taken: list[str] = []
    source: Person | None = None
    if isinstance(fields.expression, str):
        expression = bundled.expression(fields.expression)
        source = bundled.wearer(fields.expression)
    else:
        expression = _staged((fields.expression,), folder, "expression", taken)
    taken += [expression.path.name, *([source.path.name] if source else [])]
    if fields.neutral and source is None:
        source = _staged(fields.neutral, folder, "neutral", taken)
        taken.append(source.path.name)
    if isinstance(fields.target, str):
        target = bundled.person(fields.target)
    else:
        target = _staged((fields.target,), folder, "target", taken)
    return _decided(engine, fields, expression, source, target)


@dataclasses.dataclass(frozen=True)
class EditFields:
    """The fields of the tab Edit.

    Attributes:
        picture: name of a bundled picture, or an upload; None is missing.
        reference: uploads: neutral pictures of the same person.
        direction: an upload, a file of `glow-jax direction`; None edits by Action Units.
        model, pictures, paste_back: as in `Fields`.
    """

    picture: str | Upload | None
    reference: tuple[Upload, ...] = ()
    direction: Upload | None = None
    model: str = SUITABLE
    pictures: str = BY_SIZE
    paste_back: bool = True

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "EditFields":
        """From the values of the components: a chosen name goes before an upload."""
        direction = values["direction"] or ()
        return cls(
            picture=values["picture_name"] or values["picture"],
            reference=tuple(values["reference"] or ()),
            direction=direction[0] if direction else None,
            model=values["model"],
            pictures=values["pictures"],
            paste_back=bool(values["paste_back"]),
        )


def gather_edit(engine: Engine, fields: EditFields) -> EditForm:
    """The form of the fields, with the uploads in a folder of their own.

    Raises:
        InputError: a picture is missing, or a file is too large or of no known format.
    """
    if fields.picture is None:
        raise InputError("no picture: drop one, or choose one of the bundled ones")
    folder = engine.new_folder("staged")
    taken: list[str] = []
    if isinstance(fields.picture, str):
        picture = bundled.picture(fields.picture)
    else:
        picture = _staged((fields.picture,), folder, "picture", taken)
    taken.append(picture.path.name)
    reference = direction = None
    if fields.reference:
        reference = _staged(fields.reference, folder, "neutral", taken)
        taken.append(reference.path.name)
    if fields.direction is not None:
        direction = _staged((fields.direction,), folder, "direction", taken)
    model, photographs = _looked_for(engine, fields, (picture, reference))
    paste = fields.paste_back and photographs
    return EditForm(picture, reference, direction, model, photographs, paste)


def _decided(
    engine: Engine,
    fields: Fields,
    expression: Person,
    source: Person | None,
    target: Person,
) -> TransferForm:
    """The form of pictures that are staged."""
    model, photographs = _looked_for(engine, fields, (expression, source, target))
    method = fields.method
    if method == SUITABLE:
        method = default_method(engine.models(model), photographs)
    return TransferForm(
        expression,
        target,
        source,
        method,
        model,
        photographs,
        fields.paste_back and photographs,
        fields.neutralise,
    )


def _looked_for(engine: Engine, fields: Any, people: Sequence[Person | None]) -> tuple[str, bool]:
    """What the fields leave open: the model, and whether faces are looked for in the pictures."""
    named = None if fields.model == SUITABLE else fields.model
    photographs = fields.pictures == PHOTOGRAPHS
    if fields.pictures == BY_SIZE:
        size = engine.models(named or FOR_ALIGNED).codec.size
        photographs = not are_aligned(people, size)
    return named or (FOR_PHOTOGRAPHS if photographs else FOR_ALIGNED), photographs


def _staged(uploads: tuple[Upload, ...], folder: Path, name: str, taken: list[str]) -> Person:
    path = stage_person(uploads, folder, name, taken)
    return Person(path, path.name)
