"""Names of the compared methods for readers: in tables, plots and sheets, as docs/results/truth.md
has them. The results (truth.json) keep the short names by which methods are asked for."""

SHOWN_AS = {
    "none": "no transfer",
    "oracle": "the truth itself",
    "oracle, other noise": "the truth with other noise",
    "nearest": "nearest training picture",
    "pixel": "addition in pixel space",
    "raw z": "paper, on raw z instead of eps",
    "neutral means": "paper, neutral means",
    "on a picture": "paper, on a picture",
    "variance restored": "paper, variance restored",
    "averaged direction": "paper, averaged direction",
    "pca subspace": "paper, PCA subspace",
    "regression subspace": "paper, regression subspace",
    "identity-orthogonal": "paper, identity-orthogonal",
    "face mask": "paper, face mask",
    "per-level alpha": "paper, alpha per level",
    "network code": "activations added in latents",
    "pixel code": "activations added in pixels",
    "warp only": "warp by activations, nothing added",
    "warp, rest unaligned": "warp, residual added in place",
    "warp, rest in latents": "warp, residual added in aligned latents",
    "warp, true code": "warp of the true activations",
}
"""By the method's name in the results; one that is missing here is called as it is there."""

HEADINGS = {
    "pixel": "pixel addition",
    "averaged direction": "averaged direction",
    "warp only": "nothing added",
    "warp, true code": "true activations",
}
"""The same for the narrow columns of a sheet."""


def shown_as(method: str) -> str:
    """A method's name in tables and plots."""
    return SHOWN_AS.get(method, method)


def heading(method: str) -> str:
    """A method's name over a column of a sheet."""
    return HEADINGS.get(method, shown_as(method))
