"""Method "edit": stated Action Units on a picture, painted as method "warp" does.

    output = picture, warped by alpha * change, and the residual added

`change` is that of `transfer.expression.edits`. What the picture shows is read only where the edit
depends on it: against the neutral pictures of the person, if there are any, else absolutely.
"""

import copy
from typing import Any, ClassVar

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.output_schema import ABSOLUTE, NOTHING
from transfer.expression.absolute import fingerprint as population_fingerprint
from transfer.expression.edits import Edit, change, check_units, read_units
from transfer.expression.estimate import Estimate, noise_floor
from transfer.expression.model import ExpressionModel, expressions_recipe
from transfer.methods.base import Models
from transfer.methods.warp import Warp


class ActionUnitEdit(Warp):
    """See the module. In each row, the expression is the target's only picture."""

    name: ClassVar[str] = "edit"

    def __init__(self, models: Models, faces: Any):
        """See `Method`."""
        super().__init__(models, faces)
        self._edit = _edit_of(models)

    def restated(self, edit: Edit) -> "ActionUnitEdit":
        """The same pictures under another edit; what was read in them is kept.

        Raises:
            InputError: the expression model lacks a unit of the edit.
        """
        check_units(edit, self._model.aus)
        other = copy.copy(self)
        other._edit = edit
        return other

    @classmethod
    def check(cls, models: Models) -> None:
        """Check that there is an expression model with the units of the edit.

        Raises:
            InputError: there is none, or the models have no edit.
        """
        check_units(_edit_of(models), _model_of(models).aus)

    @classmethod
    def recipe(cls, models: Models) -> dict[str, str]:
        """The expression model and the edit determine the outputs."""
        model, edit = _model_of(models), _edit_of(models)
        return expressions_recipe(model) | {"edit": edit.text}

    @classmethod
    def recipe_without_source(cls, models: Models) -> dict[str, str]:
        """The population determines the outputs too, where the edit depends on the face.

        Raises:
            InputError: the expression model has none.
        """
        recipe, population = cls.recipe(models), _model_of(models).population
        if not _edit_of(models).reads:
            return recipe
        if population is None:
            raise InputError(
                f"the expressions.npz of model {models.codec.name!r} is of version 0.1, and cannot "
                "read an expression without a neutral picture: give `reference`, with neutral "
                "pictures of the person, or only add to Action Units (AU12+0.3)"
            )
        return recipe | {"population": population_fingerprint(population)}

    def _expression(self, expression: int, source: int) -> Estimate:
        """The change of a picture, and whether what it shows was read absolutely."""
        if not self._edit.reads:
            nothing = np.zeros((1, len(self._model.aus)), np.float32)
            return Estimate(change(self._edit, self._model.aus, nothing)[0], False)
        own = self._people.expression(expression, source)
        return Estimate(change(self._edit, self._model.aus, own.activations[None])[0], own.absolute)

    def _multiplied(self, found: Estimate) -> np.ndarray:
        """The activations as they were stated: an edit is not multiplied by STRENGTH."""
        return found.activations

    def _note(self, found: Estimate) -> str:
        floor = noise_floor(self._model, found.absolute)
        floor = np.where(read_units(self._edit, self._model.aus), floor, 0)
        nothing = bool((np.abs(found.activations) <= floor).all())
        return "; ".join([ABSOLUTE] * found.absolute + [NOTHING] * nothing)


def _edit_of(models: Models) -> Edit:
    if not isinstance(models.edit, Edit):
        raise InputError("method edit needs an edit; use `glow-jax edit`")
    return models.edit


def _model_of(models: Models) -> ExpressionModel:
    if models.expression_model is None:
        raise InputError(
            f"model {models.codec.name!r} has no expressions.npz, which Action Units need: fit one "
            "with `glow-jax fit-expressions`, or edit by a `direction`"
        )
    return models.expression_model
