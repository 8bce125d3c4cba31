"""Scores of a transfer against the truth: a render of the target with the expression.

Every output gets three kinds of scores. *Action Units* are read by `eval.rendered` as the change
from the picture that was edited, and compared with the change in the truth, with the activations
that the truth was rendered with, and with the change in the source. *Identity* is the distance
between DeepFace's embeddings, of the output and of a person's photographs. *Pixels* are compared
inside the face: errors, structure, and edges, which AU readers ignore (`PixelFigures`).

AU readings and embeddings are slow (about ten pictures a second), so each picture is written to a
folder once, under the hash of its pixels, and `eval.scoring` keeps its scores there: a run that
was killed continues where it stopped.
"""

import dataclasses
import functools
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from transfer.grey import LUMA

SIDE = 64  # lengths below are in pixels of a picture of this height, and scale with the height
EDGE_SIGMA = 0.7
# Pixels: radius for edges in the wrong place, and for edges that neither picture has.
NEAR, NEARISH = 1, 2
STEEPEST_NOISE = 1.0  # grey levels per pixel: slopes below it are not edges
DIRECTIONS = 8
WINDOW_SIGMA = 2.0
VISIBLE = 4.0  # grey levels: changes below it in a window do not count
UNEXPLAINED = 0.03  # share of the change's energy that a blend leaves unexplained
FHOG_CELLS = (4, 8)

Key = tuple[str, int, int, str]


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """What the outputs of one setting, source, target and expression are compared with.

    Pictures are uint8 (H, W, 3) RGB, all of one size but the photographs.

    Attributes:
        setting: "matched" (source and target share pose, light and background) or "free".
        source, target: identities.
        expression: its name.
        base: the target's neutral picture, which is edited.
        truth: the target with the expression; pose, light, lens and background of `base`.
        mask: (H, W) bool, the skin of the face in `base` or in `truth`.
        activations: true AUs of `truth`, "AU12" (or "AU1", "AU01") to 0-1; absent is 0.
        target_photos, source_photos: pictures of the two people, for their mean embeddings.
        source_expression, source_neutral: the source with the expression and without.
    """

    setting: str
    source: int
    target: int
    expression: str
    base: np.ndarray
    truth: np.ndarray
    mask: np.ndarray
    activations: Mapping[str, float]
    target_photos: Sequence[np.ndarray]
    source_photos: Sequence[np.ndarray]
    source_expression: np.ndarray
    source_neutral: np.ndarray

    def __post_init__(self) -> None:
        for name in ("base", "truth"):
            _check_picture(getattr(self, name), f"{name} of {self.key}", self.base.shape)
        if self.mask.shape != self.base.shape[:2] or self.mask.dtype != bool:
            raise ValueError(
                f"mask of {self.key}: {self.mask.dtype} {self.mask.shape}; "
                f"use bool {self.base.shape[:2]}"
            )
        if not self.mask.any():
            raise ValueError(f"mask of {self.key}: empty; it needs a pixel at least")

    @property
    def key(self) -> Key:
        return self.setting, self.source, self.target, self.expression


@dataclasses.dataclass(frozen=True, eq=False)
class Output:
    """One transfer.

    Attributes:
        method: its name; `none`, `pixel`, `nearest` and `oracle` are the baselines.
        setting, source, target, expression: of its `Reference`.
        k: number of pictures of a person that the method used.
        alpha: how much of the expression was added; NaN where the method has no such number.
        image: uint8 (H, W, 3) RGB.
        non_finite, clipped: shares of its pixels that were not finite, or out of range, 0-1.
        bits_per_dim: of the image, by the flow; NaN unknown.
    """

    method: str
    setting: str
    k: int
    alpha: float
    expression: str
    source: int
    target: int
    image: np.ndarray
    non_finite: float = 0.0
    clipped: float = 0.0
    bits_per_dim: float = float("nan")

    @property
    def key(self) -> Key:
        return self.setting, self.source, self.target, self.expression


@dataclasses.dataclass(frozen=True)
class PixelFigures:
    """An output against the truth, inside the mask. All but psnr and ssim: 0 is best.

    An edge is the slope of luma (Gaussian, sigma 0.7) towards each of 8 directions, less 1 grey
    level a pixel. Directions have a sign: the two sides of a brow are two edges. What is new at a
    place is what exceeds the steepest edge of that direction which the other picture has nearby.
    Nearby is 1 pixel for `surplus` and `missing`, so that they show edges in the wrong place, and
    2 for `ghosts`, so that a movement half done is none. Pixels are those of a picture 64 high.

    Attributes:
        mae: mean absolute error, grey levels.
        psnr: dB; infinite where nothing differs.
        ssim: structural similarity of luma, 1 where nothing differs.
        fhog: distance of gradient-orientation histograms, 0-1, `fhog_distance`.
        surplus: edges that the truth has not, over the truth's.
        missing: edges that only the truth has, over the truth's.
        ghosts: edges that neither the truth nor the base has, over the truth's.
        crossfade: how far the change is a double exposure of base and truth, 0-1, `crossfade`.
        blur: edge energy below that of both truth and base, `blur`, 0-1.
    """

    mae: float
    psnr: float
    ssim: float
    fhog: float
    surplus: float
    missing: float
    ghosts: float
    crossfade: float
    blur: float


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """An output's scores. AU changes are (17,) in the order of `eval.table.AUS`, 0-5; NaN unread.

    Attributes:
        method … target: of the `Output`.
        au_output, au_truth, au_source: change read from the base to the output, from the base
            to the truth, and from the source's neutral picture to that with the expression.
        au_true: 5 times the true activations.
        to_target, to_source: distances of embeddings to a person's mean; NaN without a face.
        face: whether the AU reader's detector found one.
        pixels: against the truth.
        non_finite, clipped, bits_per_dim: of the `Output`.
    """

    method: str
    setting: str
    k: int
    alpha: float
    expression: str
    source: int
    target: int
    au_output: np.ndarray
    au_truth: np.ndarray
    au_source: np.ndarray
    au_true: np.ndarray
    to_target: float
    to_source: float
    face: bool
    pixels: PixelFigures
    non_finite: float
    clipped: float
    bits_per_dim: float


# ---- of pixels


def pixel_figures(image: np.ndarray, reference: Reference) -> PixelFigures:
    """Every figure of `PixelFigures`.

    Raises:
        ValueError: the image is not uint8, or not of the reference's size.
    """
    _check_picture(image, f"output for {reference.key}", reference.base.shape)
    mask, truth = reference.mask, _looked_at(reference)
    error = image[mask].astype(float) - reference.truth[mask]
    mse = float((error**2).mean())
    luma = _luma(image)
    seen = _edges(luma)
    total = max(float((truth.edges * mask).sum()), 1e-9)
    return PixelFigures(
        mae=float(np.abs(error).mean()),
        psnr=10 * float(np.log10(255**2 / mse)) if mse else float("inf"),
        ssim=float(ssim_map(luma, truth.luma)[mask].mean()),
        fhog=fhog_distance(image, reference.truth, mask),
        surplus=_beyond(seen, truth.near, mask) / total,
        missing=_beyond(truth.edges, _nearby(seen, NEAR), mask) / total,
        ghosts=_beyond(seen, truth.nearish, mask) / total,
        crossfade=crossfade(luma, truth.base_luma, truth.luma, mask),
        blur=blur(luma, truth.base_luma, truth.luma, mask),
    )


def ssim_map(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Structural similarity at every pixel of two (H, W) pictures of 0-255.

    (2 m n + C1)(2 cov + C2) / ((m² + n² + C1)(var + var' + C2)), moments in a Gaussian window of
    11 x 11 pixels and sigma 1.5; C1 = (0.01 · 255)², C2 = (0.03 · 255)². Edges are reflected.

    Source: Wang, Bovik, Sheikh & Simoncelli, IEEE TIP 2004, section III.
    """
    x, y = np.asarray(one, float), np.asarray(other, float)

    def window(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, 1.5, mode="mirror", radius=5)

    mx, my = window(x), window(y)
    vx, vy, cov = window(x * x) - mx * mx, window(y * y) - my * my, window(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))


def fhog_distance(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Distance of two pictures' FHOG features inside the mask; it is no learned metric like LPIPS.

    Σ w |f − g|² / Σ w (|f|² + |g|²) over cells, |·| the length of a cell's 31 features and w how
    much edge energy the cell has in the mask, in the picture that has more; mean over cells of 4
    and of 8 pixels (of a picture 64 high). The features are locally normalised orientations of
    gradients: they heed structure, neither light nor contrast. Unweighted, the noise of flat skin
    would be structure too.

    Args:
        one, other: (H, W, 3), 0-255.
        mask: (H, W) bool.

    Returns:
        0 for equal pictures, 1 for features with nothing in common.
    """
    from eval.fhog import fhog

    slopes = [(_slopes(_luma(x)) ** 2).sum(0) for x in (one, other)]
    energy = np.where(mask, np.maximum(*slopes), 0.0)
    found = []
    for cell in FHOG_CELLS:
        size = max(1, round(cell * _scale(mask)))
        around = [(size, size), (size, size)]  # the outermost cells are dropped
        f, g = (fhog(np.pad(x, [*around, (0, 0)], "edge"), size) for x in (one, other))
        weight = _in_cells(np.pad(energy, around), size, f.shape[:2])
        apart, both = ((f - g) ** 2).sum(-1), (f**2 + g**2).sum(-1)
        found.append((weight * apart).sum() / max((weight * both).sum(), 1e-9))
    return float(np.mean(found))


def _in_cells(values: np.ndarray, cell: int, shape: tuple[int, int]) -> np.ndarray:
    """Mean of padded values in each inner cell."""
    rows, columns = shape
    inner = values[cell : cell * (rows + 1), cell : cell * (columns + 1)]
    inner = np.pad(inner, [(0, cell * rows - len(inner)), (0, cell * columns - inner.shape[1])])
    return inner.reshape(rows, cell, columns, cell).mean((1, 3))


def crossfade(one: np.ndarray, base: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """The share (0-1) to which a picture is a double exposure of base and truth.

    In a window (Gaussian, sigma 2 pixels of a picture 64 high) the change v = one − base is fitted
    by t · d, d = truth − base; what that leaves is ρ = |v − t d|² / |d|². The window counts
    4 t (1 − t) exp(−ρ / 0.03): 1 for a blend of halves, 0 for base, truth, overshoot, and
    features that moved half the way, which no blend explains (ρ). Windows weigh by |d|², those
    below 4 grey levels nothing. Movements smaller than an edge is wide are blends to any eye.

    Args:
        one, base, truth: (H, W), 0-255.
        mask: (H, W) bool.
    """
    window = functools.partial(ndimage.gaussian_filter, sigma=WINDOW_SIGMA * _scale(mask))
    d, v = truth - base, one - base
    dd, vd, vv = window(d * d), window(v * d), window(v * v)
    weight = np.where(mask & (dd > VISIBLE**2), dd, 0.0)
    if not weight.any():
        return 0.0
    safe = np.maximum(dd, VISIBLE**2)
    t = np.clip(vd / safe, 0, 1)
    left = np.maximum(0, vv / safe - (vd / safe) ** 2)
    return float((weight * 4 * t * (1 - t) * np.exp(-left / UNEXPLAINED)).sum() / weight.sum())


def blur(one: np.ndarray, base: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """The share (0-1) of edge energy that a picture lacks, which both base and truth have nearby.

    Energy is the squared slope of luma, in windows like those of `crossfade`: it does not matter
    where in a window an edge is. 0 for base, truth and sharp pictures between, 1 for a flat one.
    """
    low = np.minimum(_energy(base), _energy(truth))
    short = np.maximum(0, low - _energy(one))
    return float((short * mask).sum() / max((low * mask).sum(), 1e-9))


@dataclasses.dataclass(frozen=True, eq=False)
class _LookedAt:
    luma: np.ndarray
    base_luma: np.ndarray
    edges: np.ndarray
    near: np.ndarray
    nearish: np.ndarray


@functools.lru_cache(maxsize=64)
def _looked_at(reference: Reference) -> _LookedAt:
    """Quantities of a reference, which are shared by all outputs that are compared with it."""
    luma, base = _luma(reference.truth), _luma(reference.base)
    edges = _edges(luma)
    nearish = _nearby(np.maximum(edges, _edges(base)), NEARISH)
    return _LookedAt(luma, base, edges, _nearby(edges, NEAR), nearish)


def _luma(picture: np.ndarray) -> np.ndarray:
    return picture @ LUMA


def _scale(picture: np.ndarray) -> float:
    return picture.shape[0] / SIDE


def _slopes(luma: np.ndarray) -> np.ndarray:
    """d/dx and d/dy, grey levels per pixel of a picture 64 high: (2, H, W)."""
    scale = _scale(luma)
    orders = ((0, 1), (1, 0))
    return scale * np.stack(
        [ndimage.gaussian_filter(luma, EDGE_SIGMA * scale, order=o) for o in orders]
    )


def _edges(luma: np.ndarray) -> np.ndarray:
    """Slope in each direction, minus the noise level: (8, H, W), not below 0."""
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    towards = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.maximum(0, np.tensordot(towards, _slopes(luma), 1) - STEEPEST_NOISE)


def _nearby(edges: np.ndarray, within: float) -> np.ndarray:
    """The steepest edge of each direction within a radius."""
    reach = max(1, round(within * _scale(edges[0])))
    away = np.arange(-reach, reach + 1)
    disk = away[:, None] ** 2 + away**2 <= reach**2 + 0.5
    return ndimage.grey_dilation(edges, footprint=disk[None])


def _beyond(edges: np.ndarray, near: np.ndarray, mask: np.ndarray) -> float:
    """The sum of edges in the mask that exceed the edges nearby."""
    return float((np.maximum(0, edges - near) * mask).sum())


def _energy(luma: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter((_slopes(luma) ** 2).sum(0), WINDOW_SIGMA * _scale(luma))


def _check_picture(picture: np.ndarray, what: str, shape: tuple[int, ...]) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"{what}: {picture.dtype} {picture.shape}; use uint8 (H, W, 3)")
    if picture.shape != shape:
        raise ValueError(f"{what}: {picture.shape}; the base is {shape}")


# ---- of Action Units and identity


def score_outputs(
    outputs: Iterable[Output],
    references: Iterable[Reference],
    folder: Path,
    *,
    workers: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Scores]:
    """Score every output, in order.

    Args:
        outputs: an iterable; only one image is in memory at a time.
        references: one for each (setting, source, target, expression) of the outputs.
        folder: folder for pictures and `scores.sqlite`, made if it does not exist. Use the same
            folder to continue an interrupted run.
        workers: number of processes that score faces; 0 scores in this process.
        progress: called with the number of pictures done, and their total.

    Raises:
        ValueError: an output has no reference, or is of another size.
        InputError: the extra `eval` is not installed, or the folder cannot be used.
    """
    by_key = {reference.key: reference for reference in references}
    files = _Files(folder / "pictures")
    made: list[tuple[Output, Path, PixelFigures]] = []
    for output in outputs:
        if output.key not in by_key:
            raise ValueError(f"output of {output.method}: no reference for {output.key}")
        pixels = pixel_figures(output.image, by_key[output.key])
        path = files.keep(output.image)
        made.append((dataclasses.replace(output, image=np.empty(0)), path, pixels))
    judged = {key: _judged_pictures(by_key[key], files) for key in {o.key for o, _, _ in made}}
    paths = [path for _, path, _ in made]
    paths += [path for group in judged.values() for path in group.all]
    faces = _judge(paths, folder, workers, progress)
    compared = {key: _compared(by_key[key], group, faces) for key, group in judged.items()}
    return [_scores(output, faces[path], px, compared[output.key]) for output, path, px in made]


class _Files:
    """Pictures as PNGs under the hash of their pixels, each written once."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, picture: np.ndarray) -> Path:
        from glow_jax.io.files import write_atomically

        name = hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
        path = self._folder / f"{name[:40]}.png"
        if not path.exists():
            data = io.BytesIO()
            Image.fromarray(picture).save(data, "PNG")
            write_atomically(path, data.getvalue())
        return path


@dataclasses.dataclass(frozen=True)
class _Pictures:
    """Files of a reference."""

    base: Path
    truth: Path
    source_expression: Path
    source_neutral: Path
    target_photos: list[Path]
    source_photos: list[Path]

    @property
    def all(self) -> list[Path]:
        return [
            *(self.base, self.truth, self.source_expression, self.source_neutral),
            *(*self.target_photos, *self.source_photos),
        ]


def _judged_pictures(reference: Reference, files: _Files) -> _Pictures:
    return _Pictures(
        files.keep(reference.base),
        files.keep(reference.truth),
        files.keep(reference.source_expression),
        files.keep(reference.source_neutral),
        [files.keep(photo) for photo in reference.target_photos],
        [files.keep(photo) for photo in reference.source_photos],
    )


def _judge(
    paths: list[Path], folder: Path, workers: int, progress: Callable[[int, int], None]
) -> Mapping[Path, Any]:
    """`eval.scoring.Scored` of every picture, with the judge's offline defaults."""
    from eval.identity import IdentityModel
    from eval.judge import check
    from eval.scoring import Judges, score
    from glow_jax.io.cache_folders import cache_folder

    judges = Judges(IdentityModel(home=cache_folder()), "rendered")
    reader, cache = check(judges), folder / "scores.sqlite"
    return score(paths, judges, reader, cache, workers=workers, progress=progress)


@dataclasses.dataclass(frozen=True, eq=False)
class _Compared:
    """Readings and embeddings with which the outputs of a reference are compared."""

    base: Any  # eval.reading.Reading
    truth: np.ndarray
    source: np.ndarray
    true: np.ndarray
    target_embedding: np.ndarray | None
    source_embedding: np.ndarray | None


def _compared(reference: Reference, group: _Pictures, faces: Mapping[Path, Any]) -> _Compared:
    base, neutral = faces[group.base].reading, faces[group.source_neutral].reading
    return _Compared(
        base,
        change_read(faces[group.truth].reading, base),
        change_read(faces[group.source_expression].reading, neutral),
        true_change(reference.activations),
        mean_embedding([faces[path].embedding for path in group.target_photos]),
        mean_embedding([faces[path].embedding for path in group.source_photos]),
    )


def change_read(picture: Any, neutral: Any) -> np.ndarray:
    """(17,) AU change from one `eval.reading.Reading` to another; NaN where either is unread.

    The picture is read relative to the neutral one, within 0-5, less the neutral one's own level.
    """
    from eval.reading import relative

    return relative(picture, neutral) - np.clip(neutral.level, 0, 5)


def true_change(activations: Mapping[str, float]) -> np.ndarray:
    """(17,) 5 times the activations of the AUs that the judge has, 0 where none is given."""
    from eval.table import AUS

    numbers = {int(name.removeprefix("AU")): value for name, value in activations.items()}
    return np.array([5.0 * numbers.get(int(au[2:]), 0.0) for au in AUS])


def mean_embedding(embeddings: Sequence[Any]) -> np.ndarray | None:
    """Mean of `eval.identity.Embedding`s with a face; None if there is none."""
    found = [one.vector for one in embeddings if one is not None and one.vector.size]
    return np.mean(found, axis=0) if found else None


def _scores(output: Output, face: Any, pixels: PixelFigures, to: _Compared) -> Scores:
    fields = {f.name: getattr(output, f.name) for f in dataclasses.fields(Output)}
    del fields["image"]
    return Scores(
        **fields,
        au_output=change_read(face.reading, to.base),
        au_truth=to.truth,
        au_source=to.source,
        au_true=to.true,
        to_target=_distance(face.embedding.vector, to.target_embedding),
        to_source=_distance(face.embedding.vector, to.source_embedding),
        face=face.reading.faces > 0,
        pixels=pixels,
    )


def _distance(vector: np.ndarray, mean: np.ndarray | None) -> float:
    """Euclidean, DeepFace's metric for the judge's default; NaN if either is unknown."""
    return float("nan") if mean is None or not vector.size else float(np.linalg.norm(vector - mean))
