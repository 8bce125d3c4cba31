"""Alignment of faces by a similarity transform of landmarks."""

import numpy as np


def similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """The similarity transform (2, 3) that maps (N, 2) points onto others.

    The rotation is the least-squares one; the scale is the ratio of the points' spreads, so that
    mapping back is the inverse (Procrustes; OpenFace `AlignShapesWithScale`).
    """
    centre, goal = points.mean(0), onto.mean(0)
    # As complex numbers: a rotation with a scale is one factor.
    source = (points - centre) @ (1, 1j)
    target = (onto - goal) @ (1, 1j)
    product = np.vdot(source, target)
    factor = product / abs(product) * np.linalg.norm(target) / np.linalg.norm(source)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, goal - turn @ centre])


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(N, 2) points, transformed by a (2, 3) affine map."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def warp(picture: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture, transformed by an affine map, bilinearly; black outside.

    Args:
        picture: (H, W, 3) uint8.
        matrix: (2, 3), from its pixels to those of the result.
        size: (height, width) of the result.
    """
    import cv2

    height, width = size
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR)
