"""Find the sets of weights in a checkpoint, in any nesting and with any prefixes of wrappers.

Trainers put the arrays of a model into dicts and lists, add prefixes to their names, and store
averages, losses and metrics beside them. A set of weights is the arrays of one dict whose names,
after a common prefix, are those of a known family.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from glow_jax.convert.pickle_machine import Dict, Opaque
from glow_jax.convert.pytorch import FAMILIES, family_of
from glow_jax.convert.torch_tensors import PickledArray, Tensor
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

MAX_DEPTH = 32
MAX_NAME = 1000  # characters
MAX_LISTED = 6
MAX_SETS = 64  # in one dict
MAX_PLACES = 4  # of one dict, each of which is a name for `key`
META = "torch._utils._rebuild_meta_tensor_no_storage"
# Parts of names that torch.compile, FSDP, checkpointing and DataParallel insert.
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module")
AVERAGED = re.compile(
    r"(?i:(^|[^a-z])(ema|swa)([^a-z]|$)|^ema|averag|polyak|shadow)"
    r"|[a-z](EMA|Ema|SWA|Swa|Avg)([^a-z]|$)|(?i:(^|(?<!exp)[^a-z])avg([^a-z]|$))"
)
# Arrays of an optimiser by the weights' names, which are no weights.
TRAINING = re.compile(r"(^|[^a-z])(optim\w*|grads?|gradients?|exp_avg\w*)([^a-z]|$)", re.IGNORECASE)
MODULE = (
    "holds a pickled module ({name}), whose code is not run: load it where its class is, and "
    "torch.save its state_dict()"
)


class Candidate(NamedTuple):
    """One set of weights.

    Attributes:
        path: keys of the enclosing dicts, then the parts of the common prefix of the names.
        leaves: tensors by name, without the prefix.
        unread: values that are no arrays: name, and name of their class.
        beside: names in the same dict that belong to no set of weights.
        averaged: moving averages, by their name or by a count that stands beside them.
        completed: in words, what averages lacked and where it was taken from (`averages`).
    """

    path: tuple[str, ...]
    leaves: dict[str, Any]
    unread: dict[str, str]
    beside: list[str]
    averaged: bool
    completed: str = ""

    @property
    def name(self) -> str:
        """The path as text, for messages and for the argument `key`."""
        return ".".join(self.path) or "its top level"

    def answers_to(self, key: str) -> bool:
        """Whether `key` selects this set: it is some adjacent parts of the path."""
        return bool(key) and f".{key}." in f".{'.'.join(self.path)}."

    def arrays(self, budget: Budget, stored: int) -> dict[str, np.ndarray]:
        """The arrays by name.

        Args:
            budget: limit for arrays that are not stored as they are in the file.
            stored: size of the file in bytes.

        Raises:
            InputError: an array is damaged, or the arrays are much larger than the file.
        """
        arrays = {}
        for name, leaf in self.leaves.items():
            try:
                arrays[name] = leaf if isinstance(leaf, np.ndarray) else leaf.array(budget)
            except InputError as error:
                raise InputError(f"{one_line(name)[:200]}: {error}") from None
        unstored = max(sum(a.nbytes for a in arrays.values()) - 2 * stored, 0)
        budget.allocate(4 * unstored)  # the weights will be copied
        return arrays


def candidates(found: Any, budget: Budget) -> list[Candidate]:
    """All sets of weights in the content of a file, in the file's order.

    Values of unknown classes are searched only if nothing else has weights.

    Raises:
        InputError: there are none; the message describes the content.
    """
    dicts = list(_dicts(found, budget, opaque=False))
    sets = [c for path, values in dicts for c in _sets(path, values, budget)]
    if sets:
        return sets
    inside = list(_dicts(found, budget, opaque=True))
    sets = [c for path, values in inside for c in _sets(path, values, budget)]
    if sets:
        return sets
    module = _module(found, budget)
    if module is not None:
        raise InputError(MODULE.format(name=one_line(module)[:200]))
    named = [name for _, values in inside for name in values if is_array(values[name])]
    if not named:
        made = _unread_tensor(found, budget)
        if made is not None:
            raise InputError(f"its tensors, such as {not_read(*made)}")
        what = f": it is a {one_line(found.name)[:200]}" if isinstance(found, Opaque) else ""
        raise InputError(f"holds no state_dict{what}")
    largest = max((values for _, values in inside), key=len)
    from_one = [name for name in largest if is_array(largest[name])] or named
    family_of(from_one)  # says why, where they are a known derivative's
    some = ", ".join(one_line(n)[:80] for n in from_one[:3])
    raise InputError(f"none of the known implementations has names like {some}")


# -- searching the content of a file


def _dicts(
    found: Any, budget: Budget, opaque: bool
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The path and the values by name of every dict, outer ones first, at up to MAX_PLACES."""
    stack: list[tuple[tuple[str, ...], Any]] = [((), found)]
    places: Counter[int] = Counter()
    while stack:
        path, item = stack.pop()
        children = children_of(item, opaque)
        if children is None or places[id(item)] == MAX_PLACES or len(path) > MAX_DEPTH:
            continue
        places[id(item)] += 1
        budget.step(len(children) + 1)
        named = {key: value for key, value in children if isinstance(key, str)}
        named = {key: value for key, value in named.items() if len(key) <= MAX_NAME}
        if any(is_array(value) for value in named.values()):
            yield path, named
        nested = [
            ((*path, str(key)[:200]), value)
            for key, value in children
            if _is_name(key) and not is_array(value)
        ]
        stack.extend(reversed(nested))


def children_of(item: Any, opaque: bool) -> list[tuple[Any, Any]] | None:
    """Keys and values of a container; a list of pairs with names is taken for a dict."""
    if isinstance(item, Dict):
        return item.pairs
    if isinstance(item, Mapping):  # of a safetensors file
        return list(item.items())
    if isinstance(item, list | tuple):
        pairs = [i for i in item if isinstance(i, list | tuple) and len(i) == 2]
        if len(pairs) == len(item) and any(isinstance(k, str) and is_array(v) for k, v in pairs):
            return [(k, v) for k, v in pairs]
        return list(enumerate(item))
    if opaque and isinstance(item, Opaque):
        state = [("", item.state)] if item.state is not None else []
        return [*item.pairs, *state, *((i, a) for i, a in enumerate(_tuple(item.args)))]
    return None


def _tuple(args: Any) -> tuple[Any, ...]:
    return args if isinstance(args, tuple) else ()


def _is_name(key: Any) -> bool:
    return isinstance(key, str) or (isinstance(key, int) and abs(key) < 2**63)


def is_array(value: Any) -> bool:
    return isinstance(value, Tensor | PickledArray | np.ndarray)


def not_read(name: str, what: str) -> str:
    """Text about a tensor that is not read: its name, and the function that makes it."""
    name = one_line(name)[:200]
    if what == META:
        return (
            f"{name}, have no numbers (device meta): load the weights into the model before its "
            "state_dict() is saved"
        )
    return f"{name}, are made by {one_line(what)[:80]}, which is not read"


def _unread_tensor(found: Any, budget: Budget) -> tuple[str, str] | None:
    """Name and making function of the first tensor that is not read, if there is one."""
    stack, seen = [found], set()
    while stack:
        item = stack.pop()
        children = children_of(item, opaque=True)
        if children is None or id(item) in seen:
            continue
        seen.add(id(item))
        budget.step(len(children) + 1)
        for key, value in children:
            if isinstance(key, str) and isinstance(value, Opaque) and "_rebuild" in value.name:
                return key, value.name
        stack.extend(value for _, value in reversed(children))
    return None


def _module(found: Any, budget: Budget) -> str | None:
    """Name of the class of a pickled torch.nn.Module anywhere in the content, if there is one."""
    stack, seen = [found], set()
    while stack:
        item = stack.pop()
        children = children_of(item, opaque=True)
        if children is None or id(item) in seen:
            continue
        seen.add(id(item))
        budget.step(len(children) + 1)
        if isinstance(item, Opaque) and isinstance(item.state, Dict):
            keys = {key for key, _ in item.state.pairs if isinstance(key, str)}
            if {"_parameters", "_modules"} <= keys:
                return item.name
        stack.extend(value for _, value in children)
    return None


# -- sets of weights in one dict


def _sets(path: tuple[str, ...], values: dict[str, Any], budget: Budget) -> list[Candidate]:
    """The sets of weights in one dict, by prefix."""
    budget.step(len(values) * len(FAMILIES))
    names = _unwrapped(values)
    prefixes = _prefixes([n for n in names if is_array(values[names[n]])])
    taken: set[str] = set()
    sets = []
    for prefix, roots in prefixes.items():
        budget.step(len(values))
        inside = {
            name.removeprefix(prefix): values[original]
            for name, original in names.items()
            if name.startswith(prefix) and name.removeprefix(prefix).split(".", 1)[0] in roots
        }
        taken |= {prefix + name for name in inside}
        leaves = {name: value for name, value in inside.items() if is_array(value)}
        unread = {n: v.name for n, v in inside.items() if isinstance(v, Opaque)}
        parts = [part for part in prefix.split(".")[:-1] if part != "module"]
        where = tuple(part for part in (*path, *parts) if part)
        counted = any(n in names for n in ("n_averaged", f"{'.'.join(parts)}.n_averaged"))
        averaged = counted or any(AVERAGED.search(part) for part in where)
        sets.append(Candidate(where, leaves, unread, [], averaged))
    counts = ("n_averaged", "initted", "step")  # of torch's AveragedModel and of ema_pytorch
    beside = [n for n in names if n not in taken and n not in counts and is_array(values[names[n]])]
    return [c._replace(beside=beside) for c in sets]


def _unwrapped(values: Mapping[str, Any]) -> dict[str, str]:
    """Names without the parts of wrappers -> original names; unchanged names if two collide."""
    found = {name: name for name in values}
    for wrappers in (WRAPPERS, WRAPPERS[:-1]):
        short = {
            ".".join(part for part in name.split(".") if part not in wrappers): name
            for name in values
        }
        if len(short) == len(values):
            return short
    return found


def _prefixes(names: list[str]) -> dict[str, set[str]]:
    """Prefixes after which some name is one of a family, with the first parts of its names."""
    found: dict[str, set[str]] = {}
    for family in FAMILIES.values():
        pattern = re.compile(rf"((?:[^.]*\.)*?){family.key}")
        for name in names:
            match = pattern.fullmatch(name)
            if match and (match[1] in found or len(found) < MAX_SETS):
                found.setdefault(match[1], set()).update(family.roots)
    return found
