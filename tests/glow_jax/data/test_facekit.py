"""FaceKit's shapes: OBJ files and the packed form agree; damaged files end in one clear line."""

import json
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glow_jax.cli.main import main
from glow_jax.data.synthetic_faces.facekit import (
    IDENTITY_MODES,
    FaceKit,
    find_facekit,
    fingerprint,
    load_facekit,
    pack,
)
from glow_jax.io.errors import InputError

N_VERTICES, N_UV = 9, 7
NAMES = ["jawOpen", "mouthSmile_L"]
FACES = [[0, 1, 2, 3], [3, 2, 4], [5, 6, 7, 8]]
FACE_UV = [[0, 1, 2, 3], [3, 2, 4], [3, 4, 5, 6]]
MATERIALS = ["M_Face", "M_Face", "M_Eyes"]


def vertices_of(seed: int) -> np.ndarray:
    """Six significant digits, as FaceKit's files have them."""
    return np.random.default_rng(seed).normal(0, 4, (N_VERTICES, 3)).round(5)


def obj_text(vertices: np.ndarray) -> str:
    lines = ["# ICT FaceKit", "", "mtllib ICTFaceModelMaterial.mtl"]
    lines += [f"v {x:g} {y:g} {z:g}" for x, y, z in vertices]
    lines += [f"vt {i / N_UV:g} {i / 10:g}" for i in range(N_UV)]
    for face, uv, material in zip(FACES, FACE_UV, MATERIALS, strict=True):
        lines += [
            f"usemtl {material}",
            "f " + " ".join(f"{v + 1}/{t + 1}" for v, t in pairs(face, uv)),
        ]
    return "\n".join(lines) + "\n"


def pairs(face: list[int], uv: list[int]) -> list[tuple[int, int]]:
    return list(zip(face, uv, strict=True))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A whole checkout of a mesh of nine vertices."""
    folder = tmp_path / "ICT-FaceKit" / "FaceXModel"
    folder.mkdir(parents=True)
    (folder / "generic_neutral_mesh.obj").write_text(obj_text(vertices_of(0)))
    shapes = [f"identity{i:03d}" for i in range(IDENTITY_MODES)] + NAMES
    for i, name in enumerate(shapes):
        vertices = vertices_of(0) + vertices_of(1 + i) / 10
        (folder / f"{name}.obj").write_text(obj_text(vertices))
    landmarks = [i % N_VERTICES for i in range(68)]
    known = {"expressions": NAMES, "idx_to_landmark_verts": landmarks}
    (folder / "vertex_indices.json").write_text(json.dumps(known))
    return folder.parent


def assert_same(a: FaceKit, b: FaceKit) -> None:
    for field in fields(FaceKit):
        one, other = getattr(a, field.name), getattr(b, field.name)
        assert np.array_equal(one, other) and type(one) is type(other), field.name
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None), field.name


def test_a_checkout_is_its_neutral_and_the_differences_to_it(checkout: Path) -> None:
    kit = load_facekit(checkout)
    neutral = np.array([[f"{v:g}" for v in row] for row in vertices_of(0)], np.float32)
    assert np.array_equal(kit.neutral, neutral)
    assert kit.identity.shape == (100, N_VERTICES, 3) and kit.identity.dtype == np.float32
    assert np.abs(kit.identity[7] - vertices_of(8) / 10).max() < 2e-3
    assert np.abs(kit.expression[1] - vertices_of(102) / 10).max() < 2e-3
    assert kit.expression_names == tuple(NAMES)
    assert kit.faces.tolist() == [[0, 1, 2, 3], [3, 2, 4, -1], [5, 6, 7, 8]]
    assert kit.face_uv.tolist() == [[0, 1, 2, 3], [3, 2, 4, -1], [3, 4, 5, 6]]
    assert [kit.material_names[m] for m in kit.material] == MATERIALS
    assert kit.material_names == ("M_Eyes", "M_Face")
    assert kit.landmarks68[:3].tolist() == [0, 1, 2]


def test_the_inner_folder_is_the_same_checkout(checkout: Path) -> None:
    assert_same(load_facekit(checkout), load_facekit(checkout / "FaceXModel"))


def test_packed_is_the_same_to_the_bit(checkout: Path, tmp_path: Path) -> None:
    packed, again = tmp_path / "facekit.npz", tmp_path / "again.npz"
    kit = pack(checkout, packed)
    pack(checkout, again)
    assert packed.read_bytes() == again.read_bytes()
    assert_same(kit, load_facekit(packed))
    assert_same(kit, load_facekit(checkout))
    assert fingerprint(kit) == fingerprint(load_facekit(packed))
    with np.load(packed, allow_pickle=False) as file:
        assert file["identity"].dtype == np.float16 and file["neutral"].dtype == np.float32


def test_fingerprints_differ_with_any_array(checkout: Path) -> None:
    before = fingerprint(load_facekit(checkout))
    path = checkout / "FaceXModel" / "identity099.obj"
    path.write_text(obj_text(vertices_of(5)))
    assert fingerprint(load_facekit(checkout)) != before


def test_an_incomplete_checkout_is_refused_unless_told(checkout: Path, tmp_path: Path) -> None:
    folder = checkout / "FaceXModel"
    (folder / "identity050.obj").unlink()
    with pytest.raises(InputError, match=r"1 of 100 shapes have no file, identity050\.obj first"):
        load_facekit(checkout)
    assert len(load_facekit(checkout, partial=True).identity) == 99
    pack(checkout, tmp_path / "part.npz", partial=True)
    with pytest.raises(InputError, match=r"part\.npz: 99 identity modes; FaceKit has 100"):
        load_facekit(tmp_path / "part.npz")
    assert len(load_facekit(tmp_path / "part.npz", partial=True).identity) == 99


def test_a_missing_expression_is_named(checkout: Path) -> None:
    (checkout / "FaceXModel" / "mouthSmile_L.obj").unlink()
    with pytest.raises(InputError, match=r"1 of 2 shapes have no file, mouthSmile_L\.obj first"):
        load_facekit(checkout)
    assert load_facekit(checkout, partial=True).expression_names == ("jawOpen",)


BAD_LINES = {
    "v 1 2": "3 finite numbers expected",
    "v 1 2 x": "could not convert",
    "v 1 nan 3": "3 finite numbers expected",
    "v 1 2 1e30": "3 finite numbers expected",
    "vt 1": "2 finite numbers expected",
    "usemtl": "",
    "f 1/1 2/2": "a triangle or quad expected",
    "f 1/1 2/2 3/3 4/4 5/5": "a triangle or quad expected",
    "f 1 2 3": "each corner needs v/vt",
    "f 1/1 2/2 99/3": "both defined above it",
    "f 1/1 2/2 -1/3": "both defined above it",
    "f 1//1 2//2 3//3": "invalid literal",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_named(line: str, checkout: Path) -> None:
    path = checkout / "FaceXModel" / "generic_neutral_mesh.obj"
    text = path.read_text()
    n_lines = len(text.splitlines())
    path.write_text(f"{text}{line}\n")
    where = re.escape(f"generic_neutral_mesh.obj: line {n_lines + 1} is not OBJ")
    with pytest.raises(InputError, match=where) as error:
        load_facekit(checkout)
    assert BAD_LINES[line] in str(error.value) and "\n" not in str(error.value)


def test_a_face_before_any_material_is_named(checkout: Path) -> None:
    path = checkout / "FaceXModel" / "generic_neutral_mesh.obj"
    path.write_text(path.read_text().replace("usemtl", "#"))
    with pytest.raises(InputError, match="line 21 is not OBJ.*no usemtl before it"):
        load_facekit(checkout)


def test_another_number_of_vertices_is_refused(checkout: Path) -> None:
    path = checkout / "FaceXModel" / "jawOpen.obj"
    path.write_text(obj_text(vertices_of(3)[:8]))
    with pytest.raises(InputError, match=r"jawOpen\.obj: 8 vertices; generic_neutral.* has 9"):
        load_facekit(checkout)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not FaceKit's index file"),
        ("[1]", "not FaceKit's index file"),
        ("[" * 100_000, "not FaceKit's index file"),
        ('{"expressions": []}', "not FaceKit's index file"),
        ('{"expressions": ["../x"], "idx_to_landmark_verts": []}', "not a list of names"),
        ('{"expressions": ["a", "a"], "idx_to_landmark_verts": []}', "named twice"),
        ('{"expressions": ["jawOpen"], "idx_to_landmark_verts": [true]}', "not 68 indices"),
        ('{"expressions": ["jawOpen"], "idx_to_landmark_verts": [1, 2]}', "not 68 indices"),
    ],
)
def test_a_bad_index_file_is_named(text: str, message: str, checkout: Path) -> None:
    (checkout / "FaceXModel" / "vertex_indices.json").write_text(text)
    with pytest.raises(InputError, match=f"vertex_indices.json: .*{message}"):
        load_facekit(checkout)


def test_a_landmark_outside_the_mesh_is_refused(checkout: Path) -> None:
    known = {"expressions": NAMES, "idx_to_landmark_verts": [N_VERTICES] * 68}
    (checkout / "FaceXModel" / "vertex_indices.json").write_text(json.dumps(known))
    with pytest.raises(InputError, match="landmarks68 holds an index outside 0 to 8"):
        load_facekit(checkout)


def test_a_folder_of_something_else_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no generic_neutral_mesh\.obj .*ICT-VGL/ICT-FaceKit"):
        load_facekit(tmp_path)


@pytest.fixture
def packed(checkout: Path, tmp_path: Path) -> Path:
    pack(checkout, tmp_path / "facekit.npz")
    return tmp_path / "facekit.npz"


def rewritten(path: Path, **changes: Any) -> Path:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **{name: a for name, a in arrays.items() if a is not None})
    return path


def test_any_truncation_of_the_packed_file_is_one_line(packed: Path) -> None:
    data = packed.read_bytes()
    for size in (0, 1, 100, len(data) // 2, len(data) - 1):
        packed.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"facekit\.npz: not a readable .npz") as e:
            load_facekit(packed)
        assert "\n" not in str(e.value)


def test_flipped_bytes_of_the_packed_file_are_one_line_or_harmless(packed: Path) -> None:
    data = packed.read_bytes()
    for position in range(0, len(data), 101):
        packed.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        try:
            load_facekit(packed)
        except InputError as error:
            assert "\n" not in str(error)


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


def test_pickled_objects_are_never_loaded(
    packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"facekit\.npz: not a readable .npz"):
        load_facekit(rewritten(packed, material_names=np.array([Bomb()], object)))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uv": None}, "not a packed FaceKit: no uv"),
        ({"uv": np.zeros((7, 3), np.float32)}, r"its uv is \(7, 3\); expected \(7, 2\)"),
        ({"neutral": np.zeros((8, 3), np.float32)}, r"its identity is .*; expected \(100, 8, 3\)"),
        ({"expression_names": np.array(["a"])}, r"its expression is .*; expected \(1, 9, 3\)"),
        ({"neutral": np.zeros((9, 3), int)}, "its neutral is int64"),
        ({"neutral": np.full((9, 3), np.nan)}, "its neutral has non-finite"),
        ({"neutral": np.full((9, 3), 1e300)}, "its neutral has non-finite or too large"),
        ({"faces": np.full((3, 4), 9)}, "its faces holds an index outside -1 to 8"),
        ({"faces": np.full((3, 4), -1)}, "a face has fewer than three corners"),
        ({"material": np.array([0, 1, 2])}, "its material holds an index outside 0 to 1"),
        ({"landmarks68": np.arange(67)}, r"its landmarks68 is \(67,\); expected \(68,\)"),
        ({"landmarks68": np.int64(3)}, r"its landmarks68 is \(\); expected \(68,\)"),
        ({"identity": np.zeros((3, 9, 3), np.float16)}, "3 identity modes; FaceKit has 100"),
    ],
)
def test_a_packed_file_of_other_arrays_is_refused(
    changes: dict[str, Any], message: str, packed: Path
) -> None:
    with pytest.raises(InputError, match=rf"facekit\.npz: {message}"):
        load_facekit(rewritten(packed, **changes))


def test_packing_needs_npz(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"kit\.zip: FaceKit is packed into an \.npz file"):
        pack(checkout, tmp_path / "kit.zip")


def test_where_facekit_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GLOW_JAX_FACEKIT", raising=False)
    with pytest.raises(InputError, match=r"github\.com/ICT-VGL/ICT-FaceKit \(MIT.*facekit\.npz"):
        find_facekit()
    with pytest.raises(InputError, match=r"none\.npz: no such FaceKit; give a checkout of"):
        find_facekit(tmp_path / "none.npz")
    assert find_facekit(tmp_path) == tmp_path
    monkeypatch.setenv("GLOW_JAX_FACEKIT", str(tmp_path))
    assert find_facekit() == tmp_path


@pytest.mark.weights
@pytest.mark.skipif("GLOW_JAX_FACEKIT" not in os.environ, reason="set GLOW_JAX_FACEKIT")
def test_the_real_facekit_is_what_its_readme_says() -> None:
    """Counts as in ICT-FaceKit's README.md; symmetric landmarks; a mouth that opens down."""
    kit = load_facekit(find_facekit())
    assert kit.neutral.shape == (26719, 3) and kit.faces.shape == (26384, 4)
    assert (kit.faces[:, 3] < 0).sum() == 548
    counts = dict(zip(*np.unique(kit.material, return_counts=True), strict=True))
    by_name = {kit.material_names[m]: int(n) for m, n in counts.items()}
    assert by_name["M_Face"] == 9230 and by_name["M_Teeth"] == 4490
    assert len(kit.expression_names) == 53
    assert kit.landmarks68[:3].tolist() == [1225, 1888, 1052]
    chin = kit.landmarks68[8]
    assert kit.expression[kit.expression_names.index("jawOpen"), chin, 1] < -1


@pytest.mark.weights
@pytest.mark.skipif("GLOW_JAX_FACEKIT_SAMPLE" not in os.environ, reason="set ..._SAMPLE")
def test_packing_original_files_gives_the_packed_arrays(tmp_path: Path) -> None:
    """GLOW_JAX_FACEKIT: the packed file; GLOW_JAX_FACEKIT_SAMPLE: some of the original OBJs."""
    whole = load_facekit(find_facekit())
    part = pack(os.environ["GLOW_JAX_FACEKIT_SAMPLE"], tmp_path / "part.npz", partial=True)
    for name in ("neutral", "faces", "material", "uv", "face_uv", "landmarks68"):
        assert np.array_equal(getattr(whole, name), getattr(part, name)), name
    assert whole.material_names == part.material_names
    n = len(part.identity)
    assert np.array_equal(whole.identity[:n], part.identity)
    for name, offsets in zip(part.expression_names, part.expression, strict=True):
        assert np.array_equal(whole.expression[whole.expression_names.index(name)], offsets), name


def test_the_verb_packs(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "facekit.npz"
    assert main(["facekit", str(checkout), "-o", str(out)]) == 0
    assert "9 vertices, 100 identity modes, 2 expressions" in capsys.readouterr().out
    assert_same(load_facekit(out), load_facekit(checkout))
