"""The appearance of a person on FaceKit's mesh: colours of vertices, hair, beard, glasses.

Regions are weights of vertices, computed once on the neutral mean head in cm (x to the person's
left, y up, z to the front); they apply to every shape and expression.
"""

import dataclasses
import functools

import numpy as np
from scipy import sparse
from scipy.spatial import ConvexHull, Delaunay

from glow_jax.data.synthetic_faces.facekit import FaceKit
from glow_jax.data.synthetic_faces.people import Person

Points = np.ndarray  # (N, 3), cm
SCLERA = (0.42, 0.385, 0.365)
IRIS_CM = 0.58  # radius
LASH_REACH_CM = 0.24  # width of the skin around the eye that lashes darken
TEETH = (0.52, 0.47, 0.39)
GUMS = (0.32, 0.09, 0.09)


@dataclasses.dataclass(frozen=True)
class Mesh:
    """Triangles with a colour per vertex.

    Attributes:
        points: (N, 3) cm; triangles: (T, 3) indices; colours: (N, 3) linear RGB.
        roughness, specular: of the principled BSDF.
    """

    points: Points
    triangles: np.ndarray
    colours: np.ndarray
    roughness: float
    specular: float


@dataclasses.dataclass(frozen=True)
class Regions:
    """Regions of the face: weights 0-1 of every vertex, from the neutral mean head."""

    face: np.ndarray
    lips: np.ndarray
    cheeks: np.ndarray
    nose: np.ndarray
    under_eyes: np.ndarray
    sockets: np.ndarray
    lashes: np.ndarray
    nostrils: np.ndarray
    jaw: np.ndarray
    moustache: np.ndarray
    lines: np.ndarray
    brow_distance: np.ndarray
    brow_along: np.ndarray
    ear: np.ndarray
    cloth: np.ndarray


class Head:
    """FaceKit's head, prepared for `dress`: triangles by material, regions, smooth normals."""

    def __init__(self, kit: FaceKit):
        self.kit = kit
        self.skin = self._triangles("M_Face", "M_BackHead")
        self.eyes = self._eye_triangles()
        self.teeth = self._triangles("M_Teeth")
        self.gums = self._triangles("M_GumsTongue")
        self.regions = _regions(kit, self._vertices("M_Face"))

    def geometry(self, shape: np.ndarray, blend: np.ndarray) -> Points:
        """Vertices of a person with an expression: neutral + identity + blendshapes."""
        return self._of_shape(shape.tobytes()) + np.tensordot(
            blend.astype(np.float32), self.kit.expression, 1
        )

    @functools.lru_cache(maxsize=2)  # noqa: B019 - one head lives as long as its process
    def _of_shape(self, shape: bytes) -> Points:
        coefficients = np.frombuffer(shape).astype(np.float32)
        return self.kit.neutral + np.tensordot(coefficients, self.kit.identity, 1)

    def _quads(self, names: tuple[str, ...]) -> np.ndarray:
        wanted = [self.kit.material_names.index(name) for name in names]
        return self.kit.faces[np.isin(self.kit.material, wanted)]

    def _triangles(self, *names: str) -> np.ndarray:
        quads = self._quads(names)
        second = quads[quads[:, 3] >= 0][:, [0, 2, 3]]
        return np.concatenate([quads[:, :3], second])

    def _vertices(self, *names: str) -> np.ndarray:
        quads = self._quads(names)
        return np.unique(quads[quads >= 0])

    def _eye_triangles(self) -> np.ndarray:
        """Eyeballs without the cornea, which is opaque here and would hide the iris."""
        kept = []
        for side in ("Left", "Right"):
            white = self._triangles(f"M_Sclera{side}")
            middle = self.kit.neutral[white].mean(1)
            off_axis = np.linalg.norm((middle - self._pupil(side))[:, :2], axis=1)
            cornea = (off_axis < IRIS_CM + 0.02) & (middle[:, 2] > self._pupil(side)[2])
            kept += [self._triangles(f"M_Iris{side}"), white[~cornea]]
        return np.concatenate(kept)

    def _pupil(self, side: str) -> np.ndarray:
        """(3,) the middle of an eyeball; the iris lies before it on the z axis."""
        return self.kit.neutral[self._vertices(f"M_Iris{side}")].mean(0)

    def eye_colours(self, person: Person) -> np.ndarray:
        """(V, 3): white, iris with a dark ring, pupil."""
        colours = np.tile(SCLERA, (len(self.kit.neutral), 1))
        iris = np.array(person.iris)
        for side in ("Left", "Right"):
            vertices = self._vertices(f"M_Iris{side}")
            offset = self.kit.neutral[vertices] - self._pupil(side)
            q = (np.linalg.norm(offset[:, :2], axis=1) / IRIS_CM)[:, None]
            ring = np.where(q < 0.85, iris * (1 + 0.7 * (q - 0.4)), iris * 0.35)
            ring = np.where(q < 0.36, 0.006, ring)
            front = (q < 1.0) & (offset[:, 2:] > 0)
            colours[vertices] = np.where(front, ring, SCLERA)
        return colours


def normals(points: Points, triangles: np.ndarray) -> np.ndarray:
    """(N, 3) unit normals, area-weighted means of the triangles' around a vertex."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    of_triangle = np.cross(b - a, c - a)
    rows = triangles.T.ravel()
    columns = np.tile(np.arange(len(triangles)), 3)
    shape = (len(points), len(triangles))
    summed = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape) @ of_triangle
    return summed / (np.linalg.norm(summed, axis=1, keepdims=True) + 1e-9)


def dress(head: Head, person: Person, points: Points) -> list[Mesh]:
    """All meshes of a person whose head has the vertices `points`: skin, eyes, hair, ..."""
    colours, displaced = _skin(head, person, points)
    whole = np.ones((len(points), 1))
    meshes = [
        Mesh(displaced, head.skin, colours, person.gloss, 0.2),
        Mesh(points, head.eyes, head.eye_colours(person), 0.10, 0.6),
        Mesh(points, head.teeth, whole * TEETH, 0.25, 0.4),
        Mesh(points, head.gums, whole * GUMS, 0.3, 0.4),
    ]
    if person.hair == "long":
        meshes.append(_curtain(person, head.kit.neutral, points))
    if person.glasses:
        meshes.append(_glasses(person, points[head.kit.landmarks68]))
    return meshes


def _skin(head: Head, person: Person, points: Points) -> tuple[np.ndarray, Points]:
    """Colours of the skin's vertices, and their positions after hair and beard displace them."""
    r, neutral = head.regions, head.kit.neutral
    skin, hair = np.array(person.skin), np.array(person.hair_colour)
    noise = _noise(person.texture)
    coarse, fine = noise(neutral, 0.9, 16), noise(neutral, 4.5, 24)
    colours = (
        skin
        * (1 + (0.05 + 0.05 * person.age) * coarse + (0.03 + 0.05 * person.age) * fine)[:, None]
    )
    flush = np.clip(r.cheeks + 0.7 * r.nose, 0, 1)[:, None]
    colours *= 1 - (0.10 + 0.18 * (person.texture % 97) / 97) * flush * (0.1, 0.6, 0.55)
    colours *= 1 - (0.12 + 0.22 * person.age) * r.under_eyes[:, None] * (0.8, 1.0, 0.9)
    colours *= 1 - 0.42 * r.sockets[:, None] * (0.9, 1.0, 1.0)
    colours *= 1 - 0.5 * person.age * r.lines[:, None] * (0.75, 1.0, 1.0)
    lips = skin * (0.75, 0.55, 0.55) + np.array(person.lips) * skin.max() * 0.45
    colours = _mixed(colours, lips, r.lips * (0.45 + 0.55 * person.lip_strength))
    colours = _mixed(colours, np.minimum(hair * 0.7, skin * 0.3) + 0.003, _brow(person, r, fine))
    made_up = 0.8 + 0.2 * ((person.texture // 5) % 5 == 0)
    colours = _mixed(colours, np.array((0.012, 0.010, 0.009)), r.lashes * made_up)
    colours = _mixed(colours, skin * 0.12, r.nostrils)
    cloth = np.array(person.cloth) * (1 + 0.1 * fine)[:, None]
    scalp, lift = _scalp(person, r, neutral, coarse, fine)
    beard = np.clip(r.jaw + r.moustache, 0, 1) * (1 - r.lips) * person.beard
    full = max(0.0, person.beard - 0.35) / 0.65
    strands = hair * (1 + 0.45 * fine + 0.3 * coarse)[:, None]
    colours = _mixed(colours, skin * 0.35 + strands * 0.5, np.clip(beard * 1.3, 0, 0.75))
    colours = _mixed(colours, strands, np.clip((beard - 0.35) * 2.2, 0, 0.95))
    colours = _mixed(colours, strands, scalp)
    colours = _mixed(colours, cloth, r.cloth)
    lift = lift + beard * full * 0.45 * (1 + 0.6 * fine)
    displaced = points + normals(points, head.skin) * lift[:, None]
    return np.clip(colours, 0.004, 0.9), displaced


def _scalp(
    person: Person, r: Regions, neutral: Points, coarse: np.ndarray, fine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For every vertex, the share of hair (0-1), and the thickness of the hair, cm."""
    x, y, z = neutral.T
    # The hairline runs from the forehead to the temples, in front of the ears, to the nape.
    sink = np.clip(8 - z, 0, 20) * (0.42 if person.hair == "long" else 0.55)
    line = person.hairline_cm - 0.03 * x**2 - sink
    line += 0.30 * coarse + (0.35 if person.hair == "fringe" else 0.18) * fine
    if person.hair == "fringe":
        line -= 0.35 * np.sin(x * 1.7 + person.texture % 7)
    scalp = _smooth(-0.35, 0.4, y - line) * (1 - r.ear)
    if person.hair == "bald":
        return scalp * 0.22, np.zeros_like(scalp)
    parting = np.exp(-(((x - (person.texture % 5 - 2) * 0.9) / 0.5) ** 2)) * (y > 10)
    bumps = 1 + person.curl * (0.8 * fine + 0.6 * coarse) + 0.2 * coarse - 0.45 * parting
    return scalp, scalp * person.volume_cm * np.clip(bumps, 0.15, 2.2)


def _brow(person: Person, r: Regions, fine: np.ndarray) -> np.ndarray:
    thickness, darkness = person.brow
    width = 0.24 + 0.26 * thickness
    taper = 1 - 0.55 * r.brow_along  # thinner towards the temple
    inside = 1 - _smooth(0.5, 1.1, r.brow_distance / (width * taper))
    return inside * darkness * np.clip(0.85 + 0.35 * fine, 0, 1)


def _curtain(person: Person, neutral: Points, points: Points) -> Mesh:
    """Long hair: a sheet from the scalp around the back of the head to the shoulders."""
    rows, columns = 26, 90
    down = np.linspace(0, 1, rows)[:, None]
    around = np.linspace(-1, 1, columns)[None]
    opening = np.deg2rad(50 + 18 * down**0.7 - 20 * (person.texture % 11) / 11 * down)
    angle = np.pi + around * (np.pi - opening)
    strands = _noise(person.texture + 1)(
        np.stack(np.broadcast_arrays(around * 9, down * 0.4, around * 0), -1).reshape(-1, 3),
        3.0,
        24,
    ).reshape(rows, columns)
    length = 10 + 11 * ((person.texture // 13) % 10) / 10
    y = 10.0 - down * length + 0 * around
    flare = 1 + 0.10 * np.sin(down * np.pi) + person.curl * 0.05 * np.sin(down * 22 + around * 8)
    radius_x = (7.8 + 0.6 * person.volume_cm) * flare + 0.35 * strands
    radius_z = (8.6 + 0.5 * person.volume_cm) * flare + 0.35 * strands
    x, z = radius_x * np.sin(angle), 0.4 + radius_z * np.cos(angle)
    sheet = np.stack([x, y, z], -1).reshape(-1, 3)
    sheet += (points - neutral)[neutral[:, 1] > 2].mean(0)  # scaled and moved to this head
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    shade = 1 + 0.55 * strands.reshape(-1, 1)
    colours = np.clip(np.array(person.hair_colour) * shade, 0.003, 0.9)
    return Mesh(sheet, triangles, colours, 0.45, 0.4)


def _glasses(person: Person, landmarks: Points) -> Mesh:
    """Frames of thin tube around the eyes, with a bridge and temples."""
    right, left = landmarks[36:42].mean(0), landmarks[42:48].mean(0)
    apart = np.linalg.norm(left - right)
    half_w, half_h = apart * 0.37, apart * (0.26 + 0.08 * (person.texture % 3) / 2)
    square = 2.0 + 2.5 * ((person.texture // 3) % 2)  # exponent of a superellipse
    front = np.array([0, -0.15, 1.15])
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    curve = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** (2 / square)
    rise = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** (2 / square)
    ring = np.stack([curve * half_w, rise * half_h, 0 * t], 1)
    tubes = [(ring + right + front, True), (ring + left + front, True)]
    middle = (right + left) / 2 + front
    bridge = np.linspace(-1, 1, 8)[:, None] * [apart / 2 - half_w, 0, 0]
    tubes.append(
        (middle + bridge + (1 - np.linspace(-1, 1, 8)[:, None] ** 2) * [0, 0.2, 0.2], False)
    )
    for eye, side in ((right, -1), (left, 1)):
        hinge = eye + front + [side * half_w, half_h * 0.4, 0]
        tip = np.array([side * 7.9, hinge[1] + 0.1, -1.0])
        tubes.append((hinge + np.linspace(0, 1, 10)[:, None] * (tip - hinge), False))
    width = 0.11 + 0.07 * ((person.texture // 7) % 3)
    parts = [_tube(path, width, closed) for path, closed in tubes]
    offsets = np.cumsum([0, *(len(p) for p, _ in parts[:-1])])
    points = np.concatenate([p for p, _ in parts])
    triangles = np.concatenate([t + o for (_, t), o in zip(parts, offsets, strict=True)])
    dark = (0.012, 0.011, 0.010) if person.texture % 4 else (0.16, 0.09, 0.04)
    return Mesh(points, triangles, np.tile(dark, (len(points), 1)), 0.25, 0.5)


def _tube(path: Points, radius: float, closed: bool) -> tuple[Points, np.ndarray]:
    """A tube of six sides along a path."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    ahead = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    side = np.cross(ahead, [0, 0, 1.0]) + np.cross(ahead, [0, 1.0, 0]) * 1e-3
    side = side / np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, ahead)
    t = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    points = path[:, None] + radius * (
        np.cos(t)[None, :, None] * side[:, None] + np.sin(t)[None, :, None] * up[:, None]
    )
    n = len(path)
    i, j = np.meshgrid(np.arange(n if closed else n - 1), np.arange(6), indexing="ij")
    a, b = i * 6 + j, i * 6 + (j + 1) % 6
    c, d = (i + 1) % n * 6 + (j + 1) % 6, (i + 1) % n * 6 + j
    quads = np.stack([a, b, c, d], -1).reshape(-1, 4)
    return points.reshape(-1, 3), np.concatenate([quads[:, :3], quads[:, [0, 2, 3]]])


def _regions(kit: FaceKit, face_vertices: np.ndarray) -> Regions:
    points = kit.neutral.astype(np.float64)
    x, y, z = points.T
    marks = points[kit.landmarks68]
    face = np.zeros(len(points))
    face[face_vertices] = 1
    front = face * (z > 5)
    outline = marks[48:60]
    flat = outline[:, :2]
    within = Delaunay(flat[ConvexHull(flat).vertices]).find_simplex(points[:, :2]) >= 0
    from_lips = _polyline_distance(points[:, :2], flat, closed=True)
    # The mouth's outline is not convex: its cupid's bow is left out by height.
    within &= ~((y > np.interp(x, flat[:7, 0], flat[:7, 1])) & (np.abs(x) < 2.4))
    lips = np.where(within, 1, 1 - _smooth(0.0, 0.12, from_lips)) * front

    def blob(centre: np.ndarray, size: float) -> np.ndarray:
        return np.exp(-((points - centre) ** 2).sum(1) / (2 * size**2)) * face

    cheeks = blob(np.array([4.2, -1.5, 7.8]), 1.7) + blob(np.array([-4.2, -1.5, 7.8]), 1.7)
    below = np.array([0, -0.95, 0])
    eyes = [marks[36:42].mean(0), marks[42:48].mean(0)]
    under = blob(eyes[0] + below, 0.7) + blob(eyes[1] + below, 0.7)
    above = np.array([0, 0.75, 0])
    sockets = blob(eyes[0] + above, 0.85) + blob(eyes[1] + above, 0.85)
    jaw = _smooth(-2.6, -4.6, y - 0.16 * np.abs(x) ** 1.25) * _smooth(0.5, 3.5, z) * face
    neck = _smooth(-9.5, -8.2, y)
    nose_to_lip = np.exp(-(((y + 1.95) / 0.55) ** 2)) * _smooth(3.2, 2.2, np.abs(x)) * front
    brow = np.full(len(points), np.inf)
    along = np.zeros(len(points))
    for part in (marks[17:22], marks[26:21:-1]):
        distance = _polyline_distance(points, part, closed=False)
        nearer = distance < brow
        brow = np.where(nearer, distance, brow)
        reach = np.abs(points[:, 0]) - np.abs(part[-1, 0])
        whole = np.abs(part[0, 0]) - np.abs(part[-1, 0])
        along = np.where(nearer, np.clip(reach / whole, 0, 1), along)
    ear = (np.abs(x) > 6.6) & (y < 3.5) & (y > -4) & (z > -3.5)
    return Regions(
        face=face,
        lips=lips,
        cheeks=cheeks,
        nose=blob(marks[30], 0.9),
        under_eyes=under,
        sockets=np.clip(sockets, 0, 1),
        lashes=_lashes(points, marks) * front,
        nostrils=np.clip(_nostrils(points, marks), 0, 1) * front,
        jaw=jaw * neck,
        moustache=nose_to_lip,
        lines=_lines(points, marks) * front,
        brow_distance=np.where(face > 0, brow, np.inf),
        brow_along=along,
        ear=ear.astype(float),
        cloth=_smooth(-12.2, -12.7, y + 0.10 * np.abs(x) - 0.14 * np.clip(z, 0, None)),
    )


def _lashes(points: Points, marks: Points) -> np.ndarray:
    """The rims of the lids, the upper ones darker: the lashes that small pictures can show."""
    found = np.zeros(len(points))
    for start in (36, 42):
        upper, lower = marks[start : start + 4], marks[[start + 3, start + 4, start + 5, start]]
        for lid, strength in ((upper, 1.0), (lower, 0.5)):
            near = 1 - _smooth(0.0, LASH_REACH_CM, _polyline_distance(points, lid, False))
            found = np.maximum(found, strength * near)
    return found


def _nostrils(points: Points, marks: Points) -> np.ndarray:
    found = np.zeros(len(points))
    for side in (32, 34):
        centre = marks[side] + (0.25 * (side - 33), 0.12, -0.05)
        found += np.exp(-(((points - centre) / (0.28, 0.16, 0.5)) ** 2).sum(1))
    return found


def _lines(points: Points, marks: Points) -> np.ndarray:
    """Folds of age: beside the nose, on the forehead, at the corners of the eyes."""
    found = np.zeros(len(points))
    for wing, corner, side in ((marks[31], marks[48], -1), (marks[35], marks[54], 1)):
        fold = np.add(
            [wing, corner, corner],
            [(side * 0.55, 0.3, 0), (side * 0.75, 0.5, 0), (side * 0.8, -0.8, 0)],
        )
        found = np.maximum(found, np.exp(-((_polyline_distance(points, fold, False) / 0.22) ** 2)))
    y = points[:, 1]
    for height in (7.4, 8.2, 9.0):
        bend = height + 0.02 * points[:, 0] ** 2
        found = np.maximum(
            found, 0.7 * np.exp(-(((y - bend) / 0.13) ** 2)) * (abs(points[:, 0]) < 5)
        )
    for corner, side in ((marks[36], -1), (marks[45], 1)):
        for slope in (-0.5, 0.0, 0.5):
            foot = np.add([corner, corner], [(side * 0.35, 0, 0), (side * 1.3, slope, -0.6)])
            near = np.exp(-((_polyline_distance(points, foot, False) / 0.12) ** 2))
            found = np.maximum(found, 0.8 * near)
    return found


def _polyline_distance(points: Points, line: Points, closed: bool) -> np.ndarray:
    """Distance of points to a line through (n, d) corners."""
    ends = np.roll(line, -1, axis=0) if closed else line[1:]
    nearest = np.full(len(points), np.inf)
    for a, b in zip(line, ends, strict=False):
        ab = b - a
        t = np.clip(((points - a) @ ab) / (ab @ ab + 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - (a + t[:, None] * ab), axis=1))
    return nearest


def _noise(seed: int):
    """Smooth noise in space, about N(0, 1/2): a sum of plane waves drawn from the seed."""

    def noise(points: Points, frequency: float, waves: int) -> np.ndarray:
        rng = np.random.default_rng([seed, round(frequency * 1000)])
        directions = rng.normal(size=(3, waves)) * frequency
        phases = rng.uniform(0, 2 * np.pi, waves)
        return np.sin(points @ directions + phases).sum(1) / np.sqrt(waves)

    return noise


def _mixed(colours: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return colours + np.clip(weight, 0, 1)[:, None] * (other - colours)


def _smooth(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """A smooth step from 0 at `low` to 1 at `high`; `low` may be the larger one."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
