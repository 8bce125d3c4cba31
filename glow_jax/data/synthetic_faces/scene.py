"""Render a picture from its specification, with Mitsuba 3.

The head is rotated by its pose in the camera's frame; light and lens are not rotated. The crop is
that of CelebA-HQ, computed from the true landmarks. It is made by the camera's parameters (focal
length, principal point, roll), so that no picture is resampled.

Sources: Karras et al. 2018, appendix C (the crop); Mitsuba 3's documentation (`principled`,
`perspective`, `envmap`).
"""

import dataclasses
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from glow_jax.data.synthetic_faces.appearance import Head, Mesh, dress, normals
from glow_jax.data.synthetic_faces.facekit import FaceKit
from glow_jax.data.synthetic_faces.people import (
    AUS,
    BLENDSHAPES,
    Condition,
    PictureSpec,
    person,
    stream,
)
from glow_jax.io.errors import InputError
from glow_jax.io.messages import install_hint

SAMPLES = {64: 36, 128: 25, 256: 16}  # light paths per pixel, for pictures up to each size
LIGHT_SAMPLES = 2
# The point, in cm, at which the camera looks and about which heads rotate.
FACE_CENTRE = np.array([0.0, 1.0, 6.0])
GAZE = (("eyeLookOut_L", "eyeLookIn_R"), ("eyeLookIn_L", "eyeLookOut_R"))


@dataclasses.dataclass(frozen=True)
class Rendered:
    """A rendered picture with its mask and landmarks.

    Attributes:
        image: uint8 (H, W, 3), sRGB.
        mask: uint8 (H, W), 255 inside the face: the hull of the landmarks, brows raised.
        landmarks: (68, 2) float, pixels; (0.5, 0.5) is the centre of the first pixel.
    """

    image: np.ndarray
    mask: np.ndarray
    landmarks: np.ndarray


class Renderer:
    """Renders pictures of FaceKit heads; use one per process, because Mitsuba has global state."""

    def __init__(self, kit: FaceKit, threads: int = 1):
        """Prepare the head and Mitsuba.

        Args:
            kit: shapes.
            threads: of Mitsuba.

        Raises:
            InputError: Mitsuba is not installed.
        """
        try:
            import drjit
            import mitsuba
        except ImportError:
            raise InputError(f"mitsuba is not installed: {install_hint('render')}") from None
        mitsuba.set_variant("scalar_rgb")
        drjit.set_thread_count(threads)
        mitsuba.set_log_level(mitsuba.LogLevel.Error)
        self._mi = mitsuba
        self.head = Head(kit)

    def render(self, spec: PictureSpec, *, noise: int = 0) -> Rendered:
        """Render one picture; another `noise` draws other light paths, to measure their effect."""
        who = person(spec.seed, spec.identity)
        condition = spec.condition
        blend = self._blend(spec)
        points = self.head.geometry(who.shape, blend)
        turn = _rotation(condition.pose_deg)
        marks = self.head.kit.landmarks68
        held = spec.crop == "neutral"
        crop_points = self.head.geometry(who.shape, blend * 0) if held else points
        camera = _camera(_placed(crop_points[marks], turn), condition)
        meshes = dress(self.head, who, points)
        scene = self._scene(meshes, turn, camera, condition, spec)
        seed: Any = _noise_seed(spec) + noise
        pixels = np.array(self._mi.render(scene, seed=seed), np.float64)
        image = _developed(pixels, condition, self._background(spec), who.skin)
        landmarks = camera.project(_placed(points[marks], turn)) * spec.size_px
        return Rendered(image, face_mask(landmarks, spec.size_px), landmarks.astype(np.float32))

    def _blend(self, spec: PictureSpec) -> np.ndarray:
        """(53,) weights of FaceKit's expression shapes."""
        names = self.head.kit.expression_names
        weights = np.zeros(len(names))
        for au, value in spec.aus.items():
            weak = spec.asymmetry[AUS.index(au)]
            for side, share in (("_L", 1 - max(weak, 0)), ("_R", 1 + min(weak, 0))):
                shape = BLENDSHAPES[au]
                name = shape + side if shape + side in names else shape
                weights[names.index(name)] = value * share
        right, up = spec.condition.gaze
        for name in GAZE[0] if right > 0 else GAZE[1]:
            weights[names.index(name)] = abs(right)
        for side in ("_L", "_R"):
            weights[names.index(("eyeLookUp" if up > 0 else "eyeLookDown") + side)] = abs(up)
        return weights

    def _scene(
        self,
        meshes: list[Mesh],
        turn: np.ndarray,
        camera: "Camera",
        condition: Condition,
        spec: PictureSpec,
    ) -> Any:
        mi = self._mi
        shapes = {
            f"shape{i}": self._shape(f"shape{i}", mesh, turn) for i, mesh in enumerate(meshes)
        }
        direction = [-v for v in condition.key_direction]
        to_world = mi.ScalarTransform4f().look_at(
            origin=camera.origin.tolist(),
            target=(camera.origin - [0, 0, 1]).tolist(),
            up=[float(-np.sin(camera.roll)), float(np.cos(camera.roll)), 0.0],
        )
        side = next((s for s in sorted(SAMPLES) if spec.size_px <= s), 256)
        return mi.load_dict(
            {
                "type": "scene",
                "integrator": {
                    "type": "direct",
                    "emitter_samples": LIGHT_SAMPLES,
                    "bsdf_samples": 1,
                    "hide_emitters": True,
                },
                "sensor": {
                    "type": "perspective",
                    "fov": camera.fov_deg,
                    "near_clip": 1.0,
                    "far_clip": 1000.0,
                    "principal_point_offset_x": camera.offset[0],
                    "principal_point_offset_y": camera.offset[1],
                    "to_world": to_world,
                    "film": {
                        "type": "hdrfilm",
                        "width": spec.size_px,
                        "height": spec.size_px,
                        "pixel_format": "rgba",
                        "rfilter": {"type": "gaussian"},
                    },
                    "sampler": {"type": "multijitter", "sample_count": SAMPLES[side]},
                },
                "sky": {
                    "type": "envmap",
                    "bitmap": mi.Bitmap(_sky(condition)),
                },
                "key": {
                    "type": "directional",
                    "direction": direction,
                    "irradiance": {"type": "rgb", "value": [condition.key * 1.6] * 3},
                },
                **shapes,
            }
        )

    def _shape(self, name: str, mesh: Mesh, turn: np.ndarray) -> Any:
        mi = self._mi
        used, triangles = np.unique(mesh.triangles, return_inverse=True)
        triangles = triangles.reshape(-1, 3)
        points = _placed(mesh.points[used], turn)
        bsdf: dict[str, Any] = {
            "type": "principled",
            "base_color": {"type": "mesh_attribute", "name": "vertex_color"},
            "roughness": mesh.roughness,
            "specular": mesh.specular,
        }
        bsdf = {"type": "twosided", "bsdf": bsdf}
        properties = mi.Properties()
        properties["bsdf"] = mi.load_dict(bsdf)
        shape = mi.Mesh(
            name,
            vertex_count=len(points),
            face_count=len(triangles),
            has_vertex_normals=True,
            props=properties,
        )
        shape.add_attribute("vertex_color", 3, mesh.colours[used].astype(np.float32).ravel())
        parameters = mi.traverse(shape)
        parameters["vertex_positions"] = points.astype(np.float32).ravel()
        parameters["faces"] = triangles.astype(np.uint32).ravel()
        parameters["vertex_normals"] = normals(points, triangles).astype(np.float32).ravel()
        parameters.update()
        return shape

    def _background(self, spec: PictureSpec) -> np.ndarray:
        """(H, W, 3) linear RGB: a gradient, in most pictures with blurred shapes."""
        rng = stream(spec.condition.background, "background")
        size = spec.size_px
        base = rng.uniform(0.03, 0.6) * 0.7 + rng.uniform(0, 0.5, 3) * 0.3
        other = base * rng.uniform(0.5, 1.4)
        angle = rng.uniform(0, 2 * np.pi)
        y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
        t = np.clip(0.5 + 0.7 * (x * np.cos(angle) + y * np.sin(angle)), 0, 1)[..., None]
        backdrop = base * (1 - t) + other * t
        if spec.condition.number < 0 or rng.uniform() < 0.3:
            return backdrop
        for _ in range(rng.integers(2, 9)):
            colour = np.clip(base * rng.uniform(0.3, 1.9) + rng.normal(0, 0.08, 3), 0.01, 0.9)
            cx, cy = rng.uniform(-0.6, 0.6, 2)
            w, h = np.exp(rng.uniform(np.log(0.05), np.log(0.5), 2))
            inside = (np.abs(x - cx) < w) & (np.abs(y - cy) < h)
            backdrop = np.where(inside[..., None], colour, backdrop)
        blur = rng.uniform(0.015, 0.06) * size
        return gaussian_filter(backdrop, (blur, blur, 0), mode="nearest")


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along -z, whose square picture is the crop.

    Attributes:
        origin: (3,) cm.
        fov_deg: horizontal.
        offset: of the principal point, as Mitsuba counts it, in sides of the picture.
        roll: radians.
        centre, half: of the crop on the plane at depth 1, before the roll.
    """

    origin: np.ndarray
    fov_deg: float
    offset: tuple[float, float]
    roll: float
    centre: np.ndarray
    half: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) cm to (N, 2): 0-1 right and down across the picture."""
        flat = _flat(points, self.origin) - self.centre
        c, s = np.cos(self.roll), np.sin(self.roll)
        right = flat @ [c, s]
        up = flat @ [-s, c]
        return np.stack([0.5 + right / (2 * self.half), 0.5 - up / (2 * self.half)], 1)


def _flat(points: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Perspective: right and up on the plane at depth 1."""
    seen = points - origin
    return seen[:, :2] / -seen[:, 2:]


def _camera(landmarks: np.ndarray, condition: Condition) -> Camera:
    """The camera whose picture is CelebA-HQ's crop of these landmarks (68, 3), jittered.

    With e the vector between the eyes, m from the eyes' middle to the mouth's: the square is
    centred on the eyes' middle + 0.1 m, its half side is max(2 |e|, 1.8 |m|), and its x axis is
    e - rotated(m). Source: Karras et al. 2018, appendix C.
    """
    origin = np.array([0, 0, condition.distance_cm]) + FACE_CENTRE
    flat = _flat(landmarks, origin)
    one, other = flat[36:42].mean(0), flat[42:48].mean(0)
    eyes, apart = (one + other) / 2, other - one
    down = (flat[48] + flat[54]) / 2 - eyes
    axis = apart + np.array([-down[1], down[0]])
    roll = float(np.arctan2(axis[1], axis[0]))
    half = max(2.0 * np.hypot(*apart), 1.8 * np.hypot(*down)) * np.exp(condition.jitter[2])
    centre = eyes + 0.1 * down + 2 * half * np.array(condition.jitter[:2])
    roll += float(np.deg2rad(condition.jitter[3]))
    c, s = np.cos(roll), np.sin(roll)
    rolled = np.array([centre @ [c, s], centre @ [-s, c]])
    # Mitsuba shifts the picture's content by the offset: right and down are positive.
    offset = (rolled[0] / (2 * half), -rolled[1] / (2 * half))
    fov = 2 * float(np.rad2deg(np.arctan(half)))
    return Camera(origin, fov, (float(offset[0]), float(offset[1])), roll, centre, float(half))


def _rotation(pose_deg: tuple[float, float, float]) -> np.ndarray:
    """(3, 3): roll after pitch after yaw, of points as rows."""
    yaw, pitch, roll = np.deg2rad(pose_deg)
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).T


def _placed(points: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Points of a head, turned about its centre."""
    return (points - FACE_CENTRE) @ turn + FACE_CENTRE


def _sky(condition: Condition) -> np.ndarray:
    """(16, 32, 3) float32 light from all around: brighter above, tinted."""
    height = np.cos((np.arange(16) + 0.5) / 16 * np.pi)[:, None, None]  # 1 above, -1 below
    light = condition.ambient * (0.75 + 0.45 * height) * np.array(condition.tint)
    return np.ascontiguousarray(np.broadcast_to(light, (16, 32, 3)), np.float32)


def _developed(
    pixels: np.ndarray, condition: Condition, background: np.ndarray, skin: tuple
) -> np.ndarray:
    """Linear RGBA to sRGB bytes: exposed for the face, highlights compressed, over the background.

    Dark faces are rendered darker than light ones, as by cameras: half of the difference in albedo
    (in stops) remains.
    """
    alpha = np.clip(pixels[..., 3:], 0, 1)
    albedo = float(np.array(skin) @ (0.3, 0.59, 0.11))
    light = condition.ambient * 0.75 + condition.key * 1.6 / np.pi * 0.75
    wanted = condition.exposure * (albedo / 0.3) ** 0.75 * 0.5
    gain = wanted / max(albedo * light, 1e-3)
    linear = pixels[..., :3] * gain + (1 - alpha) * background
    linear = linear / (1 + np.maximum(linear - 0.55, 0) * 0.6)
    encoded = np.where(
        linear < 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    )
    return (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)


def face_mask(landmarks: np.ndarray, size_px: int) -> np.ndarray:
    """uint8 (H, W), 255 inside the hull of the landmarks with the brows raised to the forehead.

    Args:
        landmarks: (68, 2) pixels.
        size_px: side of the picture.
    """
    from PIL import Image, ImageDraw
    from scipy.spatial import ConvexHull

    eyes, chin = landmarks[36:48].mean(0), landmarks[8]
    raised = landmarks[17:27] + (eyes - chin) * 0.22
    points = np.concatenate([landmarks, raised])
    hull = points[ConvexHull(points).vertices]
    mask = Image.new("L", (size_px, size_px))
    ImageDraw.Draw(mask).polygon([(float(x) - 0.5, float(y) - 0.5) for x, y in hull], fill=255)
    return np.asarray(mask)


def _noise_seed(spec: PictureSpec) -> int:
    """The seed of the sampler, which is equal for all expressions of a person and condition."""
    return int(stream(spec.seed, spec.identity, spec.condition.number + 1, "noise").integers(2**31))
