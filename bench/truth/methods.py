"""The methods of the truth benchmark: each computes the latents, or the picture, of a transfer.

Latents here are flat vectors of the model's D numbers, finest level first (`glow_jax.flatten`). Two
of the methods are those of `transfer`; the others are for comparison.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

PCA = 64  # modes of the expression subspace
IDENTITY = 64  # modes between people


@dataclasses.dataclass(frozen=True)
class Material:
    """Quantities that methods learn from training people, and properties of the model.

    Attributes:
        levels: slices of a flat vector, finest level first.
        modes: (PCA, D) orthonormal: how latents change with expressions.
        identity: (IDENTITY, D) orthonormal: how latents differ between people.
        masks: (D,) 1 in the face, 0 outside, at every level's resolution.
        read, write: (A, D) latents to activations and back, by ridge regression.
        pixel_write, pixel_residual: (A, H, W, 3) activations to grey levels: what is added to
            neutral pictures, and to warped neutral pictures.
        latent_residual: (2 A, D) `transfer.expression.model.terms` to latents: what is added to
            warped neutral pictures, in the mean shape.
        pictures, vectors: some training pictures uint8 (T, H, W, 3) and their latents (T, D).
    """

    levels: list[slice]
    modes: np.ndarray
    identity: np.ndarray
    masks: np.ndarray
    read: np.ndarray
    write: np.ndarray
    pixel_write: np.ndarray
    pixel_residual: np.ndarray
    latent_residual: np.ndarray
    pictures: np.ndarray
    vectors: np.ndarray


@dataclasses.dataclass(frozen=True)
class Case:
    """The inputs of one transfer.

    Attributes:
        expression: uint8 picture of the source with the expression; z_expression its latents.
        source, target: (k, H, W, 3) photographs of each; z_source, z_target theirs (k, D).
        source_neutral, target_neutral: (k,) bool, which of them are neutral by the AU regressor.
        base: index of the target's photograph that is edited.
        others: (n, D) expression vectors of other people with the same expression.
        activations: (A,) activations estimated from the pictures.
        raw_vector, raw_target: (D,) the paper's expression vector and target mean in raw latents z.
    """

    expression: np.ndarray
    z_expression: np.ndarray
    source: np.ndarray
    target: np.ndarray
    z_source: np.ndarray
    z_target: np.ndarray
    source_neutral: np.ndarray
    target_neutral: np.ndarray
    base: int
    others: np.ndarray
    activations: np.ndarray
    raw_vector: np.ndarray
    raw_target: np.ndarray

    @property
    def vector(self) -> np.ndarray:
        """The paper's expression vector, (D,)."""
        return self.z_expression - self.z_source.mean(0)

    @property
    def neutral_vector(self) -> np.ndarray:
        """The same from the source's neutral pictures alone."""
        return self.z_expression - self.z_source[self.source_neutral].mean(0)

    @property
    def z_base(self) -> np.ndarray:
        return self.z_target[self.base]


Latent = Callable[[Case, Material, float], np.ndarray]


def paper(case: Case, material: Material, alpha: float) -> np.ndarray:
    """z̄_tgt + α (z_src − z̄_src) on eps. Valenzuela et al. 2021."""
    return case.z_target.mean(0) + alpha * case.vector


def neutral_means(case: Case, material: Material, alpha: float) -> np.ndarray:
    """The paper's formula with means over neutral pictures only."""
    return case.z_target[case.target_neutral].mean(0) + alpha * case.neutral_vector


def on_picture(case: Case, material: Material, alpha: float) -> np.ndarray:
    """One picture of the target instead of a mean: z_tgt + α (z_src − z̄_src)."""
    return case.z_base + alpha * case.neutral_vector


def coarse(case: Case, material: Material, alpha: float) -> np.ndarray:
    """α per level, finest first: 0.5, 0.9, 1.15, 1.15; 1 at any below."""
    scale = np.ones_like(case.z_base)
    for part, by in zip(material.levels, (0.5, 0.9, 1.15, 1.15), strict=False):
        scale[part] = by
    return case.z_base + alpha * scale * case.neutral_vector


def restored(case: Case, material: Material, alpha: float) -> np.ndarray:
    """The paper's formula, scaled to the variance of one picture. Bodin et al. 2024."""
    k = len(case.z_target)
    variance = 1 / k + alpha**2 * (1 + 1 / len(case.z_source))
    return paper(case, material, alpha) / np.sqrt(variance)


def averaged(case: Case, material: Material, alpha: float) -> np.ndarray:
    """The direction averaged over the source and other people with the same expression."""
    return case.z_base + alpha * np.vstack([case.neutral_vector[None], case.others]).mean(0)


def pca(case: Case, material: Material, alpha: float) -> np.ndarray:
    """The expression vector projected on the principal modes of expressions."""
    projected = (material.modes @ case.neutral_vector) @ material.modes
    return case.z_base + alpha * projected


def subspace(case: Case, material: Material, alpha: float) -> np.ndarray:
    """Activations estimated from eps and turned back into eps, both by ridge regression."""
    return case.z_base + alpha * (material.read @ case.neutral_vector) @ material.write


def orthogonal(case: Case, material: Material, alpha: float) -> np.ndarray:
    """The expression vector without its part in the principal modes between people."""
    vector = case.neutral_vector
    return case.z_base + alpha * (vector - (material.identity @ vector) @ material.identity)


def masked(case: Case, material: Material, alpha: float) -> np.ndarray:
    """The expression vector inside the face only."""
    return case.z_base + alpha * material.masks * case.neutral_vector


def read_written(case: Case, material: Material, alpha: float) -> np.ndarray:
    """Activations from the AU regressor, turned into eps linearly, without a warp."""
    return case.z_base + alpha * case.activations @ material.write


LATENT: dict[str, Latent] = {
    "paper": paper,
    "neutral means": neutral_means,
    "on a picture": on_picture,
    "per-level alpha": coarse,
    "variance restored": restored,
    "averaged direction": averaged,
    "pca subspace": pca,
    "regression subspace": subspace,
    "identity-orthogonal": orthogonal,
    "face mask": masked,
    "network code": read_written,
}


def pixel(case: Case, alpha: float) -> np.ndarray:
    """Addition in pixel space, grey levels: x_tgt + α (x_src − x̄_src)."""
    source = case.source[case.source_neutral].astype(np.float64).mean(0)
    return case.target[case.base] + alpha * (case.expression - source)


def pixel_code(case: Case, material: Material, alpha: float) -> np.ndarray:
    """Activations from the AU regressor, turned into pixels linearly: a baseline of the latents."""
    return case.target[case.base] + alpha * np.tensordot(case.activations, material.pixel_write, 1)


def nearest(case: Case, material: Material) -> np.ndarray:
    """The training picture nearest, in latents, to the sum that "on a picture" makes."""
    wanted = on_picture(case, material, 1.0)
    coarse_part = slice(material.levels[1].start, None)
    distance = ((material.vectors[:, coarse_part] - wanted[coarse_part]) ** 2).sum(1)
    return material.pictures[int(distance.argmin())]


def make_material(
    pairs: Any,
    z_neutral: np.ndarray,
    z_expressive: np.ndarray,
    latent_shapes: Sequence[tuple[int, int, int]],
    warped: np.ndarray,
    aligned: tuple[np.ndarray, np.ndarray, np.ndarray],
    penalty: float = 3e3,
) -> Material:
    """Learn from training people the quantities that the methods need.

    Args:
        pairs: `transfer.expression.pairs.Pairs`.
        z_neutral, z_expressive: (N, D) their latents.
        latent_shapes: of the model.
        warped: (N, H, W, 3) the neutral pictures, warped by the true activations.
        aligned: (N, 2 A) terms of the activations, and (N, D) latents of the warped pictures and
            of the expressive ones, both laid over the mean shape.
        penalty: of the ridge regressions.
    """
    sizes = [h * w * c for h, w, c in latent_shapes]
    ends = np.cumsum(sizes)
    levels = [slice(int(e - s), int(e)) for s, e in zip(sizes, ends, strict=True)]
    change = z_expressive - z_neutral
    read = _dual_ridge(change, pairs.aus, penalty).T
    normal = pairs.aus.T @ pairs.aus + 50.0 * np.eye(pairs.aus.shape[1])
    write = np.linalg.solve(normal, pairs.aus.T @ change)
    pixels = pairs.expressive.astype(np.float32) - pairs.neutral
    pixel_write = np.linalg.solve(normal, pairs.aus.T @ pixels.reshape(len(pixels), -1))
    left = (pairs.expressive.astype(np.float32) - warped).reshape(len(pixels), -1)
    pixel_residual = np.linalg.solve(normal, pairs.aus.T @ left)
    terms, before, after = aligned
    few = terms.T @ terms + 10.0 * np.eye(terms.shape[1])
    return Material(
        levels=levels,
        modes=_modes(change, PCA),
        identity=_modes(z_neutral - z_neutral.mean(0), IDENTITY),
        masks=np.concatenate([_face_mask(h, w, c).ravel() for h, w, c in latent_shapes]),
        read=read,
        write=write.astype(np.float32),
        pixel_write=pixel_write.reshape(-1, *pixels.shape[1:]).astype(np.float32),
        pixel_residual=pixel_residual.reshape(-1, *pixels.shape[1:]).astype(np.float32),
        latent_residual=np.linalg.solve(few, terms.T @ (after - before)).astype(np.float32),
        pictures=pairs.expressive,
        vectors=z_expressive,
    )


def _dual_ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """W of least |x W − y|² + penalty |W|², fewer rows than columns."""
    kernel = (x @ x.T).astype(np.float64) + penalty * np.eye(len(x))
    return x.T @ np.linalg.solve(kernel, y).astype(np.float32)


def _modes(x: np.ndarray, n: int) -> np.ndarray:
    """(n, D) principal directions of rows."""
    values, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    values = np.maximum(values, 1e-9)  # rounding leaves some below 0
    top = vectors[:, ::-1][:, :n]
    modes = (top.T.astype(np.float32) @ x) / np.sqrt(values[::-1][:n])[:, None]
    return modes.astype(np.float32)


def _face_mask(height: int, width: int, channels: int) -> np.ndarray:
    """(H, W, C): 1 in an ellipse where an aligned face is, falling to 0 around it."""
    y, x = np.mgrid[:height, :width]
    y, x = (y + 0.5) / height, (x + 0.5) / width
    radius = np.hypot((x - 0.5) / 0.27, (y - 0.58) / 0.36)
    inside = np.clip((1.25 - radius) / 0.25, 0, 1)
    return np.repeat(inside[..., None], channels, axis=2).astype(np.float32)
