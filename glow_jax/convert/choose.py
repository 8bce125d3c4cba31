"""Choose one of a file's sets of weights: the first complete one, with a note for the user."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from glow_jax.convert import pytorch
from glow_jax.convert.build import Parts, Source
from glow_jax.convert.locate import Files
from glow_jax.convert.options import Options
from glow_jax.convert.state_dict import MAX_LISTED, TRAINING, Candidate, not_read
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

MAX_TRIED = 16


class Asked(NamedTuple):
    """The user's arguments; `options` makes new `Options` for each set of weights."""

    format: str | None
    ema: bool
    key: str | None
    options: Callable[[], Options]


def first_whole(
    found: list[Candidate], asked: Asked, budget: Budget, files: Files
) -> tuple[str, Parts, list[str]]:
    """The format, the canonical parts and notes of the first set of weights that is complete.

    Raises:
        InputError: no set is complete, or the user's arguments fit none (the error is that of the
            largest set); or an argument is missing or has no meaning here.
    """
    order = _distinct(in_order(found, asked.ema, asked.key))
    if len(order) > MAX_TRIED:
        raise InputError(f"holds {len(order)} sets of weights: {_listed(order)}; `key` chooses")
    wrong: list[tuple[Candidate, InputError]] = []
    for place, candidate in enumerate(order):
        options = asked.options()
        try:
            name, parts, notes = _read(candidate, asked.format, options, budget, files)
        except InputError as error:
            wrong.append((candidate, error))
            continue
        tried = _distinct([*order, *found])[place + 1 :][:MAX_TRIED]
        others = [c for c in tried if _is_whole(c, candidate, asked, budget, files)]
        if asked.key is not None and ".".join(candidate.path) != asked.key:
            same = [candidate, *(c for c in others if c in order)]
            if len(same) > 1:
                raise InputError(f"`key` {one_line(asked.key)} fits each of {_listed(same)}")
        options.check()
        about = _about(candidate, others, wrong, asked)
        return name, parts, [*about, *options.notes, *notes]
    raise max(wrong, key=lambda w: len(w[0].leaves))[1]


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates, without those whose arrays are an earlier one's: a file can share them."""
    found: dict[frozenset[tuple[str, int]], Candidate] = {}
    for candidate in candidates:
        arrays = frozenset((name, id(leaf)) for name, leaf in candidate.leaves.items())
        found.setdefault(arrays, candidate)
    return list(found.values())


def in_order(found: list[Candidate], ema: bool, key: str | None) -> list[Candidate]:
    """The candidates that match the user's arguments: raw weights, averages, an optimiser's state.

    Raises:
        InputError: no candidate matches `ema` or `key`.
    """
    chosen = found
    if key is not None:
        exact = [c for c in found if key and ".".join(c.path) == key]
        chosen = exact or [c for c in found if c.answers_to(key)]
        if not chosen:
            raise InputError(
                f"`key` {one_line(key)[:80]}: the file has weights in {_listed(found)}"
            )
    if ema:
        chosen = [c for c in chosen if c.averaged]
        if not chosen:
            raise InputError(
                f"`ema`: the file has no averaged weights; it has weights in {_listed(found)}"
            )

    def place(candidate: Candidate) -> tuple[bool, bool]:
        state = not candidate.averaged and any(map(TRAINING.search, candidate.path))
        return state, candidate.averaged

    return sorted(chosen, key=place)  # stable


def _read(
    candidate: Candidate, format: str | None, options: Options, budget: Budget, files: Files
) -> tuple[str, Parts, list[str]]:
    """One set of weights in canonical parts.

    Raises:
        InputError: an array is missing, has another shape, or is damaged.
    """
    name = format or pytorch.family_of(list(candidate.leaves))
    assert name is not None  # by the candidate's definition
    family = pytorch.FAMILIES[name]
    if name == "glowip":
        _read_configs(files.main.parent / "configs.json", options)
    arrays = {
        n: array
        for n, array in candidate.arrays(budget, files.stored).items()
        if n.split(".", 1)[0] in family.roots
    }
    source = Source(arrays)
    try:
        parts = family.read(source, options)
        source.finish()
    except InputError as error:
        raise InputError(f"{error}{_unread(candidate)}") from None
    return name, parts, source.notes


def _is_whole(
    candidate: Candidate, model: Candidate, asked: Asked, budget: Budget, files: Files
) -> bool:
    """Whether this set is complete too."""
    if candidate.leaves.keys() == model.leaves.keys():
        return True
    try:
        _read(candidate, asked.format, asked.options(), budget, files)
    except InputError:
        return False
    return True


def _about(
    taken: Candidate,
    others: list[Candidate],
    wrong: list[tuple[Candidate, InputError]],
    asked: Asked,
) -> list[str]:
    """Notes for the user: the set that was chosen, and the others."""
    notes = []
    if others:
        notes.append(
            f"took the weights in {one_line(taken.name)[:80]}; {_listed(others)} "
            f"{'has' if len(others) == 1 else 'have'} others ({_chooses(taken, others, asked)})"
        )
    if taken.averaged and not asked.ema:
        notes.append(f"the weights taken ({one_line(taken.name)[:80]}) are moving averages")
    if taken.completed:
        notes.append(taken.completed)
    for candidate, error in wrong[:3]:
        notes.append(f"left out {one_line(candidate.name)[:80]}: {str(error)[:200]}")
    if taken.beside:
        more = len(taken.beside) - MAX_LISTED
        some = ", ".join(one_line(n)[:80] for n in taken.beside[:MAX_LISTED])
        notes.append(
            f"left out, because not part of the flow: {some}{f' and {more} more' * (more > 0)}"
        )
    return notes


def _chooses(taken: Candidate, others: list[Candidate], asked: Asked) -> str:
    """Text about the arguments that choose another set of weights than the one taken."""
    averages = [c for c in others if c.averaged]
    if taken.averaged or not averages or asked.key is not None:
        return "`key` chooses"
    if len(others) == 1:
        return "`ema` or `key` chooses" if averages[0].path else "`ema` chooses"
    return f"`key` chooses; `ema` takes {one_line(averages[0].name)[:80]}"


def _listed(found: list[Candidate]) -> str:
    more = len(found) - MAX_LISTED
    some = ", ".join(one_line(c.name)[:80] for c in found[:MAX_LISTED])
    return f"{some} and {more} more" if more > 0 else some


def _unread(candidate: Candidate) -> str:
    """Text for an error about missing arrays: values that were not arrays."""
    if not candidate.unread:
        return ""
    return f"; its tensors, such as {not_read(*next(iter(candidate.unread.items())))}"


def _read_configs(path: Path, options: Options) -> None:
    """Read GlowIP's configs.json, which its training writes beside the weights."""
    if not path.is_file() or path.stat().st_size > 2**20:
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        size, bits = content.get("size"), content.get("n_bits_x")
    except (ValueError, AttributeError, RecursionError):
        raise InputError("configs.json beside it is not readable JSON") from None
    if isinstance(size, int):
        options.suggest_size(size, size)
    if isinstance(bits, int):
        options.found_bits(bits)
    for name in ("last_zeros", "squeeze_contig", "coupling_bias"):
        if isinstance(content.get(name), bool):
            options.found(name, str(content[name]).lower())
        elif isinstance(content.get(name), int | float):
            options.found(name, str(content[name]))
