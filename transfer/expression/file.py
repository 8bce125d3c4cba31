"""The file expressions.npz, which holds an expression model; it is beside a flow's weights."""

import io
import os
from collections import Counter
from pathlib import Path

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import one_line, reason
from glow_jax.io.npz import read_npz
from transfer.expression.absolute import N_ROWS, Population
from transfer.expression.au_regressor import AuRegressor
from transfer.expression.features import N_FEATURES
from transfer.expression.landmark_corrections import SCALES
from transfer.expression.landmark_corrections import SHAPE as STAGE_SHAPE
from transfer.expression.landmark_detector import Params, parameter_shapes
from transfer.expression.model import REGRESSOR_NAMES_ON_DISK, ExpressionModel, named_arrays

NAME = "expressions.npz"
POPULATION = "population"  # rows: the fields of `Population`; files of version 0.1 have none
CORRECTIONS = "corrections"  # files of version 0.1 have none
SMOOTHING = "smoothing"  # files of version 0.1 have none
MAX_BYTES = 2**30  # of all arrays of a file together, after unpacking


def save_expression_model(path: str | os.PathLike, model: ExpressionModel) -> None:
    """Write an expression model atomically; large arrays are stored as float16."""
    arrays = {
        "aus": np.array(model.aus),
        "slope": model.slope.astype(np.float32),
        "noise": model.noise.astype(np.float32),
        "moves": model.displacements.astype(np.float32),
        "template": model.template.astype(np.float32),
        "shape": model.mean_shape.astype(np.float32),
        "mouth": model.mouth_mask.astype(np.float16),
        "colours": model.colour_statistics.astype(np.float32),
        "rest": model.residual.astype(np.float16),
    }
    for name, value in named_arrays(model).items():
        if name.startswith(("reader/", "finder/")):
            arrays[name] = value.astype(np.float32 if name == "reader/bias" else np.float16)
    if model.corrections is not None:
        arrays[CORRECTIONS] = np.asarray(model.corrections, np.float16)
    if model.smoothing is not None:
        arrays[SMOOTHING] = np.asarray(model.smoothing, np.float32)
    if model.population is not None:
        arrays[POPULATION] = np.stack(model.population).astype(np.float32)
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    write_atomically(Path(path), out.getvalue())


def load_expression_model(path: str | os.PathLike) -> ExpressionModel:
    """Load a file of `save_expression_model`; all arrays become float32.

    Raises:
        InputError: there is no such file, or it does not hold an expression model.
    """
    arrays = _arrays(path)
    try:
        model = _assembled(arrays)
    except (KeyError, ValueError, OverflowError, TypeError) as error:
        why = f"not an expression model ({reason(error)})"
        raise InputError(f"{one_line(path)}: {why}") from None
    n = len(model.aus)
    side = model.residual.shape[2] if model.residual.ndim == 5 else 0
    wanted = {"slope": (n,), "noise": (n,), "moves": (n, 68, 2), "template": (68, 2)}
    wanted |= {"shape": (68, 2), "mouth": (side, side), "colours": (2, 3)}
    wanted |= {"rest": (2, 4 * n + 1, side, side, 3)}
    width = model.au_regressor.bias.size
    wanted |= {"reader/linear": (N_FEATURES, n), "reader/hidden": (N_FEATURES, width)}
    wanted |= {"reader/bias": (width,), "reader/out": (width, n)}
    found = {name: array.shape for name, array in named_arrays(model).items()}
    if CORRECTIONS in arrays:
        n_stages = min(len(np.atleast_1d(arrays[CORRECTIONS])), len(SCALES))
        wanted[CORRECTIONS] = (n_stages, *STAGE_SHAPE)
    if SMOOTHING in arrays:
        wanted[SMOOTHING] = ()
    if POPULATION in arrays:
        wanted[POPULATION], found[POPULATION] = (N_ROWS, n), arrays[POPULATION].shape
    for name, shape in wanted.items():
        if found[name] != shape:
            raise InputError(f"{one_line(path)}: {name} has shape {found[name]}, not {shape}")
    if model.smoothing is not None and model.smoothing < 0:
        raise InputError(
            f"{one_line(path)}: smoothing is {model.smoothing:g}; it must be 0 or more"
        )
    if model.colour_statistics[1].min() <= 0:
        raise InputError(
            f"{one_line(path)}: colours: a standard deviation of "
            f"{model.colour_statistics[1].min():g}; it must be above 0"
        )
    return model


def load_landmark_detector(path: str | os.PathLike) -> Params:
    """Load the weights of the landmark detector alone from such a file.

    Raises:
        InputError: there is no such file, or it holds no landmark detector.
    """
    try:
        return _landmark_detector(_arrays(path))
    except (KeyError, ValueError) as error:
        raise InputError(f"{one_line(path)}: {reason(error)}") from None


def _arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    return read_npz(Path(path), MAX_BYTES)


def _assembled(arrays: dict[str, np.ndarray]) -> ExpressionModel:
    for name, array in arrays.items():
        if name != "aus" and (array.dtype.kind != "f" or not np.isfinite(array).all()):
            raise ValueError(f"{one_line(name)} is not an array of finite floats")

    aus = tuple(str(au) for au in arrays["aus"])
    if len(set(aus)) < len(aus):
        raise ValueError(f"aus names {one_line(Counter(aus).most_common(1)[0][0])} more than once")

    def single(name: str) -> np.ndarray:
        return arrays[name].astype(np.float32)

    rows = single(POPULATION) if POPULATION in arrays else np.zeros(0)

    return ExpressionModel(
        aus=aus,
        landmark_detector=_landmark_detector(arrays),
        template=single("template"),
        au_regressor=AuRegressor(*(single(f"reader/{name}") for name in REGRESSOR_NAMES_ON_DISK)),
        slope=single("slope"),
        noise=single("noise"),
        displacements=single("moves"),
        mean_shape=single("shape"),
        mouth_mask=single("mouth"),
        colour_statistics=single("colours"),
        residual=single("rest"),
        population=Population(*rows) if rows.ndim and len(rows) == N_ROWS else None,
        corrections=single(CORRECTIONS) if CORRECTIONS in arrays else None,
        smoothing=single(SMOOTHING) if SMOOTHING in arrays else None,
    )


def _landmark_detector(arrays: dict[str, np.ndarray]) -> Params:
    parameters = {name: arrays[f"finder/{name}"].astype(np.float32) for name in parameter_shapes()}
    if {name: value.shape for name, value in parameters.items()} != parameter_shapes():
        raise ValueError("the weights of the landmark detector have other shapes")
    return parameters
