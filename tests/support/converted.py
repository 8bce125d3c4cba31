"""What a file converts to, without the self-check and without writing a model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glow_jax.convert import SelfCheck

UNCHECKED = SelfCheck(0.0, 0.0, 0, 1.0, 1.0, "not looked at")


class Made(NamedTuple):
    """Weights of our model, and the notes for the user."""

    weights: dict[str, np.ndarray]
    notes: list[str]
    expected: Any

    def equals(self, state: Mapping[str, np.ndarray]) -> bool:
        """Whether these are the weights that this state_dict makes, bit by bit."""
        want = flat(self.expected(state))
        same = [np.array_equal(self.weights[name], array) for name, array in want.items()]
        return self.weights.keys() == want.keys() and all(same)


class Converted:
    """Converts a file in a folder of the test's own."""

    def __init__(self, folder: Path, run: Any, expected: Any):
        self.folder, self._run, self._expected = folder, run, expected

    def __call__(self, path: Path, **options: Any) -> Made:
        weights, notes = self._run(path, **options)
        return Made(flat(weights), notes, self._expected)


def flat(tree: Any, name: str = "") -> dict[str, np.ndarray]:
    """Arrays by the names that lead to them."""
    if not isinstance(tree, Mapping):
        return {name: np.asarray(tree)}
    return {k: v for key, value in tree.items() for k, v in flat(value, f"{name}/{key}").items()}
