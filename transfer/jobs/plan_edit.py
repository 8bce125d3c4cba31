"""Plans without a transfer: edits of single pictures, and the way from one picture to another."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.picture_folders import Listing, list_pictures
from transfer.jobs.names import distinct_names
from transfer.jobs.plan import Plan, plan_of


def plan_edits(
    pictures: Sequence[Path],
    alphas: Sequence[float],
    method: str,
    title: str,
    reference: Path | None = None,
) -> Plan:
    """Every picture at every alpha. Each picture is its own target, expression and source.

    Args:
        pictures: pictures, or folders of them.
        alphas: how much of the edit; NaN means "auto".
        method: a name in `transfer.methods.EDITS`.
        title: the edit in words.
        reference: neutral pictures of the person in the pictures, a folder or one picture: the
            source of every row. None reads each picture by itself.

    Raises:
        InputError: a path is missing or holds no pictures.
    """
    found = [list_pictures(path) for path in pictures]
    edited = list(dict.fromkeys(str(path) for one in found for path in one.paths))
    who = [os.path.realpath(path) for path in edited]
    own = [[path] for path in edited]
    if reference is not None:
        found.append(list_pictures(reference))
        who.append(os.path.realpath(found[-1].folder))
        own.append([str(path) for path in found[-1].paths])
    files = {path: i for i, path in enumerate(dict.fromkeys(p for some in own for p in some))}
    pictures_of = zip(distinct_names(who), own, strict=True)
    people = {name: [files[path] for path in some] for name, some in pictures_of}
    last = len(people) - 1
    rows = [
        (i, i if reference is None else last, i, alpha)
        for i in range(len(edited))
        for alpha in alphas
    ]
    return _noted(plan_of("edit", rows, list(files), people, method), found, title)


def plan_interpolation(first: Path, second: Path, alphas: Sequence[float], title: str) -> Plan:
    """From one picture, the target of every row, to another, its expression and source.

    Raises:
        InputError: a path is missing, or is not of one picture.
    """
    found = [list_pictures(path) for path in (first, second)]
    for path, one in zip((first, second), found, strict=True):
        if len(one.paths) != 1:
            raise InputError(f"{one_line(path)}: {len(one.paths)} pictures; one is needed")
    paths = list(dict.fromkeys(str(one.paths[0]) for one in found))
    names = distinct_names([os.path.realpath(path) for path in paths])
    other = len(paths) - 1  # 0 where both are one picture
    rows = [(other, other, 0, alpha) for alpha in alphas]
    people = {name: [i] for i, name in enumerate(names)}
    return _noted(plan_of("interpolate", rows, paths, people, "interpolate"), found, title)


def _noted(plan: Plan, found: Sequence[Listing], title: str) -> Plan:
    notes = dict.fromkeys(one.note for one in found)
    return dataclasses.replace(plan, notes=tuple(filter(None, notes)), title=title)
