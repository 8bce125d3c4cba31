"""Edits of pictures that are arrays: what `transfer.edit` does to files, for programs and pages.

    from transfer import Edit, editing
    from transfer.models import load_models

    models = load_models("faces64")
    shown = editing.read(models, images)                    # activations of Action Units
    smiling = editing.edit(models, images, Edit(set={"smile": 0.8}), own=shown)

Pictures are aligned faces of the model's size. The functions are pure; they compile one program for
each number of pictures.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from glow_jax.io.errors import InputError
from transfer.codec import Images, to_bytes
from transfer.directions import Direction
from transfer.expression import estimate
from transfer.expression.edits import Edit, change
from transfer.expression.model import ExpressionModel
from transfer.expression.paint import check_finite, with_expression
from transfer.methods.base import Interpolation, Models
from transfer.methods.latent_edits import DirectionEdit, InterpolationEdit, PreparedLatents
from transfer.requests import Rule


def units(models: Models) -> tuple[str, ...]:
    """The names of the A Action Units that the models know, in the order of every array of them.

    Raises:
        InputError: there is no expression model.
    """
    return _model_of(models).aus


def read(models: Models, images: Images, neutral: Images | None = None) -> Float[np.ndarray, "B A"]:
    """The activations that pictures show: 0 is neutral, 1 full strength; float32.

    Args:
        models: from `transfer.models.load_models`.
        images: uint8 (B, H, W, 3).
        neutral: pictures of the same person, the neutral ones among them, against which the
            activations are read; None reads them absolutely, which is less exact.

    Raises:
        InputError: there is no expression model, or it cannot read absolutely.
    """
    model = _model_of(models)
    shown = estimate.read(model, images)
    if neutral is not None:
        others = estimate.read(model, neutral)
        each = [estimate.Read(raw[None], marks[None]) for raw, marks in zip(*shown, strict=True)]
        return np.stack([estimate.expression_activations(model, one, others) for one in each])
    if model.population is None:
        raise InputError(
            f"the expressions.npz of model {models.codec.name!r} is of version 0.1, and cannot "
            "read an expression without a neutral picture: give `neutral`"
        )
    return estimate.absolute_activations(model, shown)


def edit(
    models: Models,
    images: Images,
    what: Edit | Direction,
    alpha: float = 1.0,
    *,
    own: Float[np.ndarray, "B A"] | None = None,
) -> Images:
    """Edited pictures, uint8 (B, H, W, C); at alpha 0 the pictures themselves.

    Args:
        models: from `transfer.models.load_models`.
        images: uint8 (B, H, W, C).
        what: Action Units, or a direction of the latent space.
        alpha: how much of the edit.
        own: the activations that the pictures show, from `read`; None reads them absolutely where
            the edit depends on them.

    Raises:
        InputError: the models lack what the edit needs.
    """
    alphas = np.full(len(images), alpha, np.float32)
    if isinstance(what, Direction):
        models = dataclasses.replace(models, edit=what)
        DirectionEdit.check(models)
        latents = models.codec.encode(images)
        prepared = PreparedLatents(images, latents, images, latents)
        return DirectionEdit(models, None).edit(prepared, alphas).images
    if what.reads and own is None:
        own = read(models, images)
    if own is None:
        own = np.zeros((len(images), len(units(models))), np.float32)
    return apply(models, images, alphas[:, None] * change(what, units(models), own))


def apply(models: Models, images: Images, activations: Float[np.ndarray, "B A"]) -> Images:
    """Pictures with activations added to what they show, uint8 (B, H, W, 3).

    Raises:
        InputError: there is no expression model, or it computes what is no finite number.
    """
    devices = models.codec.devices
    values = with_expression(_model_of(models), images, activations, devices)
    check_finite(pictures=values)
    return to_bytes(values)


def interpolate(
    models: Models,
    first: Images,
    second: Images,
    alphas: Float[np.ndarray, " B"],
    rule: Rule = "linear",
) -> Images:
    """Pictures between `first` (alpha 0) and `second` (alpha 1), uint8 (B, H, W, C).

    Args:
        models: from `transfer.models.load_models`.
        first, second: uint8 (B, H, W, C).
        alphas: of each row, 0 to 1.
        rule: as in `transfer.InterpolateRequest`.
    """
    models, encode = dataclasses.replace(models, edit=Interpolation(rule)), models.codec.encode
    prepared = PreparedLatents(first, encode(first), second, encode(second))
    decoded = InterpolationEdit(models, None).edit(prepared, np.asarray(alphas, np.float32))
    return decoded.images


def _model_of(models: Models) -> ExpressionModel:
    if models.expression_model is None:
        raise InputError(
            f"model {models.codec.name!r} has no expressions.npz, which Action Units need: fit one "
            "with `glow-jax fit-expressions`"
        )
    return models.expression_model
