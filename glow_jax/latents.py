"""Latents on disk: an `.npz` file of eps, with the fingerprint of the model that made them."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from glow_jax.graph_model import GraphGlow
from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import counted, one_line
from glow_jax.io.npz import read_npz
from glow_jax.model import Glow

Latents = tuple[Float[np.ndarray, "B _H _W _C"], ...]
MAX_UNPACKED_BYTES = 2**30  # beyond the file's own size, where somebody packed it


def save_latents(
    path: str | os.PathLike[str], eps: Latents, names: list[str], model: Glow | GraphGlow
) -> None:
    """Write the eps of some images, one array per level, atomically.

    Args:
        path: the file to write; its suffix must be .npz.
        eps: finest level first, float32, in `model.config.latent_shapes`.
        names: one per image, such as its file name.
        model: the model that encoded the images; its fingerprint is written into the file.

    Raises:
        InputError: the suffix is wrong, a number is not finite, or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".npz":
        raise InputError(f"{path}: latents are written as .npz")
    if not model.fingerprint:
        raise ValueError("the model has no fingerprint: save it and load it before saving latents")
    if any(len(a) != len(names) for a in eps):
        raise ValueError(f"{counted(len(names), 'name')} for {[len(a) for a in eps]} images")
    for i, a in enumerate(eps):
        if not np.isfinite(np.asarray(a)).all():
            raise InputError(f"{path}: not written: eps_{i} has non-finite values")
    arrays: dict[str, Any] = {f"eps_{i}": np.asarray(a, np.float32) for i, a in enumerate(eps)}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        **arrays,
        names=np.array(names, np.str_),
        model=np.str_(model.name),
        fingerprint=np.str_(model.fingerprint),
    )
    write_atomically(path, buffer.getvalue())


def load_latents(
    path: str | os.PathLike[str], model: Glow | GraphGlow, *, force: bool = False
) -> tuple[Latents, list[str]]:
    """Read eps and the names of the images.

    Args:
        path: a file of `save_latents`.
        model: the model that will decode them.
        force: accept latents of another model with the same shapes.

    Raises:
        InputError: not such a file, damaged, of other shapes, or of another model.
    """
    arrays = _read_arrays(Path(path), model)
    made_by = str(arrays["fingerprint"])
    if made_by != model.fingerprint and not force:
        raise InputError(
            f"{path}: these latents were made by model {str(arrays['model'])[:80]!r} "
            f"({made_by[:12]}), not by {model.name!r} ({model.fingerprint[:12]}); `force` "
            "decodes them all the same"
        )
    names = [str(name) for name in arrays["names"]]
    eps = tuple(arrays[f"eps_{i}"] for i in range(model.config.n_levels))
    for i, (a, shape) in enumerate(zip(eps, model.config.latent_shapes, strict=True)):
        if a.shape != (len(names), *shape) or a.dtype != np.float32:
            raise InputError(
                f"{path}: eps_{i} is {a.dtype} {a.shape}; the model needs float32 "
                f"{(len(names), *shape)}"
            )
        if not np.isfinite(a).all():
            raise InputError(f"{path}: eps_{i} has non-finite values")
    return eps, names


def _read_arrays(path: Path, model: Glow | GraphGlow) -> dict[str, np.ndarray]:
    """The archive's arrays, their names and sizes checked before anything is unpacked."""
    wanted = {f"eps_{i}" for i in range(model.config.n_levels)} | {"names", "model", "fingerprint"}
    if not path.is_file():
        raise InputError(f"{path}: no such file; give an .npz of latents")
    arrays = read_npz(path, path.stat().st_size + MAX_UNPACKED_BYTES)
    if set(arrays) != wanted:
        some = [one_line(name)[:80] for name in sorted(arrays)[:12]]
        raise InputError(
            f"{path}: not latents of this model: it holds {some}, expected {sorted(wanted)}"
        )
    scalars = all(
        arrays[n].ndim == 0 and arrays[n].dtype.kind == "U" for n in ("model", "fingerprint")
    )
    if not scalars or arrays["names"].ndim != 1 or arrays["names"].dtype.kind != "U":
        raise InputError(f"{path}: its names, model or fingerprint are not text")
    return arrays
