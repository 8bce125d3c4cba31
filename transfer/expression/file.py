"""† `Expressions` on disk: one .npz beside a model's weights, of arrays only."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import one_line, reason
from transfer.expression.au_regressor import Reader
from transfer.expression.features import N_FEATURES
from transfer.expression.landmark_detector import Params, finder_shapes
from transfer.expression.model import Expressions

NAME = "expressions.npz"
MAX_BYTES = 2**30


def save_expressions(path: str | os.PathLike, known: Expressions) -> None:
    """Write the file, atomically; large arrays as float16."""
    arrays = {
        "aus": np.array(known.aus),
        "slope": known.slope.astype(np.float32),
        "noise": known.noise.astype(np.float32),
        "moves": known.moves.astype(np.float32),
        "template": known.template.astype(np.float32),
        "shape": known.shape.astype(np.float32),
        "mouth": known.mouth.astype(np.float16),
        "colours": known.colours.astype(np.float32),
        "rest": known.rest.astype(np.float16),
    }
    for name, value in known.reader._asdict().items():
        arrays[f"reader/{name}"] = np.asarray(value, np.float32 if name == "bias" else np.float16)
    for name, value in known.finder.items():
        arrays[f"finder/{name}"] = np.asarray(value, np.float16)
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    write_atomically(Path(path), out.getvalue())


def load_expressions(path: str | os.PathLike) -> Expressions:
    """Read the file that `save_expressions` wrote, in float32.

    Raises:
        InputError: it is not there, or is something else.
    """
    arrays = _arrays(path)
    try:
        known = _assembled(arrays)
    except (KeyError, ValueError, TypeError) as error:
        why = f"not expressions ({reason(error)})"
        raise InputError(f"{one_line(path)}: {why}") from None
    n = len(known.aus)
    side = known.rest.shape[2] if known.rest.ndim == 5 else 0
    wanted = {"slope": (n,), "noise": (n,), "moves": (n, 68, 2), "template": (68, 2)}
    wanted |= {"shape": (68, 2), "mouth": (side, side), "colours": (2, 3)}
    wanted |= {"rest": (2, 4 * n + 1, side, side, 3)}
    there = {name: getattr(known, name).shape for name in wanted}
    width = known.reader.bias.size
    shapes = ((N_FEATURES, n), (N_FEATURES, width), (width,), (width, n))
    for name, shape, array in zip(Reader._fields, shapes, known.reader, strict=True):
        wanted[f"reader/{name}"], there[f"reader/{name}"] = shape, array.shape
    for name, shape in wanted.items():
        if there[name] != shape:
            raise InputError(f"{one_line(path)}: {name} is {there[name]}, not {shape}")
    if known.colours[1].min() <= 0:
        raise InputError(f"{one_line(path)}: colours: a deviation of {known.colours[1].min():g}")
    return known


def load_finder(path: str | os.PathLike) -> Params:
    """The network that finds landmarks alone, of the same file.

    Raises:
        InputError: as `load_expressions`.
    """
    try:
        return _finder(_arrays(path))
    except (KeyError, ValueError) as error:
        raise InputError(f"{one_line(path)}: {reason(error)}") from None


def _arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    path = Path(path)
    try:
        if not path.is_file():  # a pipe would be waited for
            raise InputError(f"{one_line(path)}: no such file")
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise InputError(f"{one_line(path)}: unpacks to more than {MAX_BYTES} bytes")
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except InputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{one_line(path)}: not readable ({reason(error)})") from None
    except Exception as error:  # zlib, struct and others for a damaged archive
        raise InputError(f"{one_line(path)}: damaged ({reason(error)})") from None


def _assembled(arrays: dict[str, np.ndarray]) -> Expressions:
    for name, array in arrays.items():
        if name != "aus" and (array.dtype.kind != "f" or not np.isfinite(array).all()):
            raise ValueError(f"{one_line(name)} is not of finite numbers")

    def single(name: str) -> np.ndarray:
        return arrays[name].astype(np.float32)

    return Expressions(
        aus=tuple(str(au) for au in arrays["aus"]),
        finder=_finder(arrays),
        template=single("template"),
        reader=Reader(*(single(f"reader/{name}") for name in Reader._fields)),
        slope=single("slope"),
        noise=single("noise"),
        moves=single("moves"),
        shape=single("shape"),
        mouth=single("mouth"),
        colours=single("colours"),
        rest=single("rest"),
    )


def _finder(arrays: dict[str, np.ndarray]) -> Params:
    finder = {name: arrays[f"finder/{name}"].astype(np.float32) for name in finder_shapes()}
    if {name: value.shape for name, value in finder.items()} != finder_shapes():
        raise ValueError("the network that finds landmarks has another shape")
    return finder
