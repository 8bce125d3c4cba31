"""Moving averages that trainers keep without the weights' names, or of a part of the weights.

LitEma (latent diffusion)          a buffer for each parameter, named without dots, beside the
                                   buffers `decay` and `num_updates`
torch_ema, diffusers' EMAModel     `shadow_params`: a list in the order of the parameters
averages written by hand           a dict by name, of what is trained and without buffers
Lightning's WeightAveraging        the averages; the weights are in `current_model_state`

Their names are those of weights in the same file. What an average lacks is taken from those
weights where it can be a buffer, which is not trained: of each module, a state_dict names the
buffers after the parameters.

Source: CompVis/latent-diffusion `ldm/modules/ema.py`; fadel/pytorch_ema `torch_ema/ema.py`;
huggingface/diffusers `training_utils.py`; Lightning-AI `callbacks/weight_averaging.py`.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from glow_jax.convert.state_dict import (
    AVERAGED,
    MAX_DEPTH,
    Candidate,
    children_of,
    is_array,
)
from glow_jax.io.budget import Budget
from glow_jax.io.messages import counted, one_line

MAX_TABLES = 16  # averages without names, in one file
LIT_EMA = ("decay", "num_updates")


class _Nameless(NamedTuple):
    """Averages without the weights' names: by undotted names, or in order."""

    path: tuple[str, ...]
    undotted: dict[str, Any] | None
    ordered: list[Any]


def with_averages(sets: list[Candidate], found: Any, budget: Budget) -> list[Candidate]:
    """The sets of weights of a file, and those averages that get their names from them.

    Args:
        sets: with names, from `candidates`.
        found: what the file holds.
        budget: for the search.
    """
    sets = [c._replace(averaged=True) if _is_lightnings(c, sets) else c for c in sets]
    raw = [c for c in sets if not c.averaged]
    result = [_completed(c, raw) if c.averaged else c for c in sets]
    named: list[Candidate] = []
    for nameless in _nameless(found, budget):
        for weights in raw:
            budget.step(4 * len(weights.leaves) * (len(weights.path) + 1))
            leaves = _named(nameless, weights)
            if leaves is None:
                continue
            about = _completed(Candidate(nameless.path, leaves, {}, [], averaged=True), [weights])
            if len(about.leaves) == len(weights.leaves):
                named.append(about)
                break
    prefixes = tuple(".".join(c.path) + "." for c in named)
    return [c._replace(beside=_without(c, prefixes)) for c in result] + named


def _without(candidate: Candidate, prefixes: tuple[str, ...]) -> list[str]:
    """The names beside a set of weights that belong to no average either."""
    return (
        [
            name
            for name in candidate.beside
            if not any(
                f"{'.'.join((*candidate.path[:k], name))}".startswith(prefixes)
                for k in range(len(candidate.path) + 1)
            )
        ]
        if prefixes
        else candidate.beside
    )


def _is_lightnings(candidate: Candidate, sets: list[Candidate]) -> bool:
    """Whether a set is the averages beside Lightning's `current_model_state`."""
    if "state_dict" not in candidate.path:
        return False
    at = candidate.path.index("state_dict")
    raw = (*candidate.path[:at], "current_model_state", *candidate.path[at + 1 :])
    return any(c.path == raw for c in sets)


def _completed(average: Candidate, raw: list[Candidate]) -> Candidate:
    """An average with what it lacks of the first weights that it is part of."""
    present = average.leaves.keys()
    for weights in raw:
        missing = [name for name in weights.leaves if name not in present]
        if present <= weights.leaves.keys() and _are_buffers(weights, set(missing)):
            if not missing:
                return average
            leaves = {name: average.leaves.get(name, w) for name, w in weights.leaves.items()}
            note = (
                f"{one_line(average.name)[:80]} lacks {counted(len(missing), 'array')} that "
                f"training leaves as they are, such as {one_line(missing[0])[:80]}: taken from "
                f"{one_line(weights.name)[:80]}"
            )
            return average._replace(leaves=leaves, completed=note)
    return average


def _are_buffers(weights: Candidate, missing: set[str]) -> bool:
    """Whether arrays can be buffers: the last of modules that have others, or of no module."""
    for module, names in _modules(weights):
        lacks = [name in missing for name in names]
        if lacks != sorted(lacks) or (module and all(lacks)):
            return False
    return True


def _modules(weights: Candidate) -> Iterator[tuple[str, list[str]]]:
    """Modules in order, with the names of their own arrays."""
    for module, names in groupby(weights.leaves, lambda name: name.rpartition(".")[0]):
        yield module, list(names)


def _nameless(found: Any, budget: Budget) -> list[_Nameless]:
    """Averages without names, anywhere in a file."""
    stack: list[tuple[tuple[str, ...], Any]] = [((), found)]
    seen: set[int] = set()
    result: list[_Nameless] = []
    while stack and len(result) < MAX_TABLES:
        path, item = stack.pop()
        children = children_of(item, opaque=False)
        if children is None or id(item) in seen or len(path) > MAX_DEPTH:
            continue
        seen.add(id(item))
        budget.step(len(children) + 1)
        if isinstance(item, list | tuple) and all(is_array(value) for _, value in children):
            if children and any(AVERAGED.search(part) for part in path):
                result.append(_Nameless(path, None, [value for _, value in children]))
            continue
        arrays = {k: v for k, v in children if isinstance(k, str) and is_array(v)}
        for prefix in [n.removesuffix(LIT_EMA[0]) for n in arrays if n.endswith(LIT_EMA[0])]:
            if prefix + LIT_EMA[1] in arrays and (not prefix or prefix.endswith(".")):
                budget.step(len(arrays))
                table = {
                    name.removeprefix(prefix): value
                    for name, value in arrays.items()
                    if name.startswith(prefix) and name.removeprefix(prefix) not in LIT_EMA
                }
                parts = tuple(part for part in prefix.split(".") if part)
                result.append(_Nameless((*path, *parts), table, []))
        stack.extend(((*path, str(k)[:200]), v) for k, v in reversed(children) if not is_array(v))
    return result


def _named(nameless: _Nameless, weights: Candidate) -> dict[str, Any] | None:
    """Averages by the names of weights; None where they are not those weights'."""
    if nameless.undotted is None:
        return _in_order(nameless.ordered, weights)
    bare = {name: name.replace(".", "") for name in weights.leaves}
    for start in range(len(weights.path) + 1):
        for wrapper in ("", "module", "_orig_mod"):
            before = "".join(weights.path[start:]).replace(".", "") + wrapper
            leaves = {
                name: nameless.undotted[before + short]
                for name, short in bare.items()
                if before + short in nameless.undotted
            }
            used = {before + bare[name] for name in leaves}
            if leaves and len(used) == len(leaves) == len(nameless.undotted):
                return leaves
    return None


def _in_order(arrays: list[Any], weights: Candidate) -> dict[str, Any] | None:
    """A list in the order of the parameters, by name; None unless it fits in exactly one way.

    Of each module the list has the first arrays, whose shapes must be the same.
    """
    shapes = [_shape(array) for array in arrays]
    ways: dict[int, tuple[int, tuple[str, ...]]] = {0: (1, ())}  # by how much of the list is used
    for module, names in _modules(weights):
        following: dict[int, tuple[int, tuple[str, ...]]] = {}
        for used, (count, chosen) in ways.items():
            for n in range(len(names) + 1):
                if n and (
                    used + n > len(shapes) or not _same(weights, names[n - 1], shapes[used + n - 1])
                ):
                    break
                if n or not module:
                    before = following.get(used + n, (0, ()))[0]
                    following[used + n] = (before + count, (*chosen, *names[:n]))
        ways = following
    count, chosen = ways.get(len(shapes), (0, ()))
    return dict(zip(chosen, arrays, strict=True)) if count == 1 else None


def _same(weights: Candidate, name: str, shape: tuple[int, ...] | None) -> bool:
    return shape is not None and _shape(weights.leaves[name]) == shape


def _shape(array: Any) -> tuple[int, ...] | None:
    """The shape that a file states; None where that is no shape."""
    stated = getattr(array, "shape", None)
    if isinstance(stated, tuple | list) and all(isinstance(n, int) for n in stated):
        return tuple(stated)
    return None
