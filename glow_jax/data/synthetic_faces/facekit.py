"""Read ICT FaceKit's shapes from the OBJ files of a checkout, or from one packed .npz.

The *light* FaceKit is one mesh in many shapes: a mean head, 100 modes of identity and one
blendshape per expression, each an OBJ file with the same vertices in the same order. An identity or
expression is here the offset of its shape from the mean, in FaceKit's units (about 1 cm; y up, the
face towards +z). Offsets are rounded to float16, with an error of at most 0.001, so a checkout and
the file packed from it give exactly the same numbers.

Source: Li et al. 2020, "Learning Formation of Physically-Based Face Attributes";
github.com/ICT-VGL/ICT-FaceKit (README.md: topology, landmarks), MIT licence.
"""

import hashlib
import io
import json
import os
import re
import stat
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.messages import counted, one_line, reason
from glow_jax.io.npz import read_npz

IDENTITY_MODES = 100  # of the light model (its README.md)
ENVIRONMENT = "GLOW_JAX_FACEKIT"
NEUTRAL = "generic_neutral_mesh.obj"
INDICES = "vertex_indices.json"
MAX_FILE_BYTES = 2**28

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class FaceKit:
    """One mesh and its shapes; a head is neutral + sum a_i identity_i + sum w_j expression_j.

    Args:
        neutral: the mean head's vertices.
        identity: modes as offsets, for a ~ N(0, 1) at most.
        expression: blendshapes as offsets, for weights 0 to 1.
        expression_names: one per blendshape: ARKit's names, with `_L` or `_R`.
        faces: vertices of each quad; of a triangle the fourth is -1.
        material: of each face, an index into `material_names`.
        material_names: sorted.
        uv: texture coordinates.
        face_uv: indices into `uv`, laid out like `faces`.
        landmarks68: the vertices of the 68 Multi-PIE landmarks.
    """

    neutral: Float32[np.ndarray, "V 3"]
    identity: Float32[np.ndarray, "I V 3"]
    expression: Float32[np.ndarray, "E V 3"]
    expression_names: tuple[str, ...]
    faces: Int[np.ndarray, "F 4"]
    material: Int[np.ndarray, " F"]
    material_names: tuple[str, ...]
    uv: Float32[np.ndarray, "U 2"]
    face_uv: Int[np.ndarray, "F 4"]
    landmarks68: Int[np.ndarray, "68"]


def find_facekit(path: StrPath | None = None) -> Path:
    """The path given, or the one in the environment's GLOW_JAX_FACEKIT.

    Raises:
        InputError: there is no path, or nothing at the path.
    """
    found = os.fspath(path) if path is not None else os.environ.get(ENVIRONMENT, "")
    if not found:
        raise InputError(
            f"no FaceKit: give `facekit` or set {ENVIRONMENT}: a checkout of "
            "github.com/ICT-VGL/ICT-FaceKit (MIT licence) or a facekit.npz packed from one"
        )
    if not os.path.exists(found):
        raise InputError(
            f"{one_line(found)}: no such FaceKit; give a checkout of "
            "github.com/ICT-VGL/ICT-FaceKit (MIT licence) or a facekit.npz packed from one"
        )
    return Path(found)


def load_facekit(path: StrPath, *, partial: bool = False) -> FaceKit:
    """Read FaceKit from a packed .npz (0.3 s) or from a checkout's OBJ files (some 15 s).

    Args:
        path: an .npz of `pack`, or the folder `FaceXModel`, or the checkout that holds it.
        partial: whether to accept fewer than 100 identity modes and, in a checkout, fewer
            expressions; those that exist are read, in order.

    Raises:
        InputError: the path is no FaceKit, or a file in it is missing, malformed or inconsistent
            with the others; the message names the file and, for text, the line.
    """
    source = Path(path)
    kit = _load_checkout(source, partial) if source.is_dir() else _load_packed(source)
    _check(kit, one_line(path), partial)
    return kit


def pack(checkout: StrPath, out: StrPath, *, partial: bool = False) -> FaceKit:
    """Write a checkout's arrays into one compressed .npz (17 MB), atomically.

    Offsets are stored as float16. Equal input gives equal bytes.

    Raises:
        InputError: as `load_facekit`; or `out` does not end in .npz or cannot be written.
    """
    if Path(out).suffix.lower() != ".npz":
        raise InputError(f"{one_line(out)}: FaceKit is packed into an .npz file")
    kit = load_facekit(checkout, partial=partial)
    arrays: dict[str, Any] = {f.name: np.asarray(getattr(kit, f.name)) for f in fields(kit)}
    for name in ("identity", "expression"):
        arrays[name] = arrays[name].astype(np.float16)
    arrays["material"] = arrays["material"].astype(np.int8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(out, buffer.getvalue())
    return kit


def fingerprint(kit: FaceKit) -> str:
    """SHA-256 of all arrays and their names; equal for a checkout and its packed file."""
    digest = hashlib.sha256()
    for field in fields(kit):
        array = np.asarray(getattr(kit, field.name))
        digest.update(f"{field.name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


# A checkout: OBJ files and one JSON file.


def _load_checkout(path: Path, partial: bool) -> FaceKit:
    folder = path / "FaceXModel" if (path / "FaceXModel").is_dir() else path
    if not (folder / NEUTRAL).exists():
        raise InputError(
            f"{one_line(path)}: no {NEUTRAL} in this folder or in its FaceXModel; give a checkout "
            "of github.com/ICT-VGL/ICT-FaceKit"
        )
    names, landmarks = _read_indices(folder / INDICES)
    neutral = _read_obj(folder / NEUTRAL)
    vertices = neutral.vertices
    identities = _wanted(folder, [f"identity{i:03d}" for i in range(IDENTITY_MODES)], partial)
    expressions = _wanted(folder, names, partial)
    materials = tuple(sorted(set(neutral.materials)))
    return FaceKit(
        neutral=vertices,
        identity=_offsets(folder, identities, vertices),
        expression=_offsets(folder, expressions, vertices),
        expression_names=tuple(expressions),
        faces=neutral.faces,
        material=np.array([materials.index(m) for m in neutral.materials], np.int32),
        material_names=materials,
        uv=neutral.uv,
        face_uv=neutral.face_uv,
        landmarks68=landmarks,
    )


def _wanted(folder: Path, names: list[str], partial: bool) -> list[str]:
    """The shapes to read: all, or with `partial` those that have a file."""
    there = [name for name in names if (folder / f"{name}.obj").exists()]
    if partial and there:
        return there
    if missing := [name for name in names if name not in there]:
        raise InputError(
            f"{one_line(folder)}: {len(missing)} of {len(names)} shapes have no file, "
            f"{missing[0]}.obj first; the checkout is not whole"
        )
    return there


def _offsets(folder: Path, names: list[str], neutral: np.ndarray) -> np.ndarray:
    """Differences to the neutral in float32, rounded to float16 as the packed file has them."""
    offsets = np.empty((len(names), *neutral.shape), np.float32)
    for i, name in enumerate(names):
        file = folder / f"{name}.obj"
        vertices = _read_obj(file, vertices_only=True).vertices
        if vertices.shape != neutral.shape:
            raise InputError(
                f"{one_line(file)}: {len(vertices)} vertices; {NEUTRAL} has {len(neutral)}"
            )
        with np.errstate(over="ignore"):  # `_check` reports infinities
            offsets[i] = (vertices - neutral).astype(np.float16)
    return offsets


@dataclass(frozen=True)
class _Obj:
    """The content of an OBJ file; arrays as in `FaceKit`, one material name per face."""

    vertices: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    face_uv: np.ndarray
    materials: list[str]


def _read_obj(path: Path, vertices_only: bool = False) -> _Obj:
    """Source: Wavefront's "Object Files (.obj)": v, vt, f v/vt and usemtl; others are skipped."""
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    faces: list[list[list[int]]] = []
    materials: list[str] = []
    material = ""
    for number, line in enumerate(_read_bytes(path).splitlines(), 1):
        kind, *words = line.split() or [b""]
        try:
            if kind == b"v":
                vertices.append(_numbers(words, 3))
            elif vertices_only:
                continue
            elif kind == b"vt":
                uv.append(_numbers(words, 2))
            elif kind == b"usemtl":
                material = words[0].decode("ascii")
            elif kind == b"f":
                faces.append(_corners(words, len(vertices), len(uv)))
                if not material:
                    raise ValueError("no usemtl before it")
                materials.append(material)
        except (ValueError, IndexError) as error:
            text = one_line(line[:60].decode("utf-8", "backslashreplace"))
            raise InputError(
                f"{one_line(path)}: line {number} is not OBJ as FaceKit writes it "
                f"({reason(error)}): {text}"
            ) from error
    corners = np.array(faces, np.int32).reshape(-1, 4, 2)
    return _Obj(
        np.array(vertices, np.float32).reshape(-1, 3),
        np.array(uv, np.float32).reshape(-1, 2),
        np.ascontiguousarray(corners[..., 0]),
        np.ascontiguousarray(corners[..., 1]),
        materials,
    )


def _numbers(words: list[bytes], count: int) -> list[float]:
    """`count` finite numbers; further ones, which OBJ allows, are ignored."""
    values = [float(word) for word in words]
    if len(values) not in (count, count + 1) or not all(abs(v) < 1e6 for v in values):
        raise ValueError(f"{count} finite numbers expected")
    return values[:count]


def _corners(words: list[bytes], n_vertices: int, n_uv: int) -> list[list[int]]:
    """v/vt of three or four corners, counted from 1 in the file and from 0 here; -1 fills up."""
    if len(words) not in (3, 4):
        raise ValueError("a triangle or quad expected")
    corners = [[int(index) - 1 for index in word.split(b"/")[:2]] for word in words]
    if any(len(c) != 2 or not (0 <= c[0] < n_vertices and 0 <= c[1] < n_uv) for c in corners):
        raise ValueError("each corner needs v/vt, both defined above it")
    return corners + [[-1, -1]] * (4 - len(corners))


def _read_indices(path: Path) -> tuple[list[str], np.ndarray]:
    """The expressions' names, and the vertices of the 68 landmarks."""
    try:
        known = json.loads(_read_bytes(path))
        names, landmarks = known["expressions"], known["idx_to_landmark_verts"]
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{one_line(path)}: not FaceKit's index file ({reason(error)})") from error
    if not _is_list(names, str) or not all(re.fullmatch(r"\w+", name) for name in names):
        raise InputError(f"{one_line(path)}: its expressions are not a list of names")
    if len(set(names)) != len(names) or not names:
        raise InputError(f"{one_line(path)}: its expressions are none, or one is named twice")
    if not _is_list(landmarks, int) or len(landmarks) != 68:
        raise InputError(f"{one_line(path)}: its idx_to_landmark_verts are not 68 indices")
    if not all(0 <= index < 2**31 for index in landmarks):
        raise InputError(f"{one_line(path)}: its idx_to_landmark_verts are not 68 indices")
    return names, np.array(landmarks, np.int64)


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            raise InputError(
                f"{one_line(path)}: not an ordinary file of at most {MAX_FILE_BYTES >> 20} MiB"
            )
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{one_line(path)}: cannot be read ({reason(error)})") from error


# The packed form.


def _load_packed(path: Path) -> FaceKit:
    arrays = _read_npz(path)
    for name, kind in _KINDS.items():
        if arrays[name].dtype.kind != kind:
            raise InputError(f"{one_line(path)}: its {name} is {arrays[name].dtype}")
    shapes = {name: a.shape for name, a in arrays.items()}
    n_faces = shapes["faces"][:1]
    n_vertices, n_uv = shapes["neutral"][:1], shapes["uv"][:1]
    expected = {
        "neutral": (*n_vertices, 3),
        "identity": (*shapes["identity"][:1], *n_vertices, 3),
        "expression": (*shapes["expression_names"][:1], *n_vertices, 3),
        "expression_names": shapes["expression_names"][:1],
        "faces": (*n_faces, 4),
        "material": n_faces,
        "material_names": shapes["material_names"][:1],
        "uv": (*n_uv, 2),
        "face_uv": (*n_faces, 4),
        "landmarks68": (68,),
    }
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise InputError(f"{one_line(path)}: its {name} is {shapes[name]}; expected {shape}")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite; `_check` reports them
        return FaceKit(
            neutral=arrays["neutral"].astype(np.float32),
            identity=arrays["identity"].astype(np.float32),
            expression=arrays["expression"].astype(np.float32),
            expression_names=tuple(str(name) for name in arrays["expression_names"]),
            faces=arrays["faces"].astype(np.int32),
            material=arrays["material"].astype(np.int32),
            material_names=tuple(str(name) for name in arrays["material_names"]),
            uv=arrays["uv"].astype(np.float32),
            face_uv=arrays["face_uv"].astype(np.int32),
            landmarks68=arrays["landmarks68"].astype(np.int64),
        )


_KINDS = {
    "neutral": "f",
    "identity": "f",
    "expression": "f",
    "expression_names": "U",
    "faces": "i",
    "material": "i",
    "material_names": "U",
    "uv": "f",
    "face_uv": "i",
    "landmarks68": "i",
}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    """The archive's arrays, their names and sizes checked before anything is unpacked."""
    if not path.is_file():
        raise InputError(f"{one_line(path)}: no such file or folder")
    arrays = read_npz(path, MAX_FILE_BYTES)
    if missing := sorted(set(_KINDS) - set(arrays)):
        raise InputError(f"{one_line(path)}: not a packed FaceKit: no {', '.join(missing)}")
    return {name: arrays[name] for name in _KINDS}


def _check(kit: FaceKit, name: str, partial: bool) -> None:
    """Check a FaceKit of either form: finite, complete, and with valid indices."""
    if not partial and len(kit.identity) != IDENTITY_MODES:
        raise InputError(
            f"{name}: {counted(len(kit.identity), 'identity mode')}; FaceKit has {IDENTITY_MODES}"
        )
    if not len(kit.neutral) or not len(kit.faces) or not len(kit.expression):
        raise InputError(f"{name}: it has no vertices, no faces or no expressions")
    for part in ("neutral", "identity", "expression", "uv"):
        if not np.isfinite(getattr(kit, part)).all():
            raise InputError(f"{name}: its {part} has non-finite or too large values")
    limits = {
        "faces": (-1, len(kit.neutral)),
        "face_uv": (-1, len(kit.uv)),
        "material": (0, min(len(kit.material_names), 127)),
        "landmarks68": (0, len(kit.neutral)),
    }
    for part, (low, high) in limits.items():
        indices = getattr(kit, part)
        if indices.min() < low or indices.max() >= high:
            raise InputError(f"{name}: its {part} holds an index outside {low} to {high - 1}")
    if min(kit.faces[:, :3].min(), kit.face_uv[:, :3].min()) < 0:
        raise InputError(f"{name}: a face has fewer than three corners")
