"""A made-up point distribution model, and its file as OpenFace writes it."""

import numpy as np

from eval.pdm import MODES, POINTS, PointModel


def made_up_model(seed: int = 0) -> PointModel:
    """A face-sized cloud of points with orthonormal components, as a real model has."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 1, (POINTS, 3)) * (40, 45, 20)
    basis = np.linalg.qr(rng.normal(size=(3 * POINTS, MODES)))[0]
    return PointModel(
        mean - mean.mean(0), basis.reshape(POINTS, 3, MODES), 900 / 1.1 ** np.arange(34)
    )


def text_of(model: PointModel) -> str:
    """As OpenFace writes it: comments, then rows, columns, type (6: float64) and numbers."""
    rows = [model.mean.T.reshape(-1, 1), model.components.transpose(1, 0, 2).reshape(204, MODES)]
    rows.append(model.eigenvalues[None])
    names = ("mean", "components", "eigenvalues")
    return "".join(
        f"# The {name} of the model\n{len(m)}\n{m.shape[1]}\n6\n"
        + "".join(" ".join(f"{v:.17g}" for v in row) + "\n" for row in m)
        for name, m in zip(names, rows, strict=True)
    )
