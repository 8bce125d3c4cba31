"""† `Expressions` on disk: one .npz beside a model's weights, of arrays only."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np

from glow_jax.errors import InputError
from glow_jax.files import one_line, reason, write_atomically
from transfer.expressions import Expressions
from transfer.features import N_FEATURES
from transfer.landmarks import finder_shapes

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
        "read": known.read.astype(np.float16),
        "rest": known.rest.astype(np.float16),
    }
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
    path = Path(path)
    try:
        if not path.is_file():  # a pipe would be waited for
            raise InputError(f"{one_line(path)}: no such file")
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise InputError(f"{one_line(path)}: unpacks to more than {MAX_BYTES} bytes")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except InputError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{one_line(path)}: not readable ({reason(error)})") from None
    except Exception as error:  # zlib, struct and others for a damaged archive
        raise InputError(f"{one_line(path)}: damaged ({reason(error)})") from None
    try:
        known = _assembled(arrays)
    except (KeyError, ValueError, TypeError) as error:
        why = f"not expressions ({reason(error)})"
        raise InputError(f"{one_line(path)}: {why}") from None
    n = len(known.aus)
    side = known.rest.shape[1] if known.rest.ndim == 4 else 0
    wanted = {"slope": (n,), "noise": (n,), "moves": (n, 68, 2), "read": (N_FEATURES, n)}
    wanted |= {"template": (68, 2), "shape": (68, 2), "rest": (n, side, side, 3)}
    for name, shape in wanted.items():
        if getattr(known, name).shape != shape:
            raise InputError(
                f"{one_line(path)}: {name} is {getattr(known, name).shape}, not {shape}"
            )
    if {k: v.shape for k, v in known.finder.items()} != finder_shapes():
        raise InputError(f"{one_line(path)}: the network that finds landmarks has another shape")
    return known


def _assembled(arrays: dict[str, np.ndarray]) -> Expressions:
    for name, array in arrays.items():
        if name != "aus" and (array.dtype.kind != "f" or not np.isfinite(array).all()):
            raise ValueError(f"{one_line(name)} is not of finite numbers")

    def single(name: str) -> np.ndarray:
        return arrays[name].astype(np.float32)

    layers = sum(name.startswith("finder/w") for name in arrays)
    return Expressions(
        aus=tuple(str(au) for au in arrays["aus"]),
        finder={f"{kind}{i}": single(f"finder/{kind}{i}") for i in range(layers) for kind in "wb"},
        template=single("template"),
        read=single("read"),
        slope=single("slope"),
        noise=single("noise"),
        moves=single("moves"),
        shape=single("shape"),
        rest=single("rest"),
    )
