"""The plan of a job: its outputs as columns of numbers, a few bytes per output."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from glow_jax.io.errors import InputError
from glow_jax.io.picture_folders import Listing, list_pictures
from transfer.jobs.names import distinct_names, file_name, own_name
from transfer.methods import METHODS, method_names

METHOD_OF_MODEL = -1  # in a row without a method: the model's default method

Keep = Callable[[Sequence[str]], Sequence[str]]
"""A function from the paths of a person's pictures to the paths that are used."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The outputs of a job: N rows, which use P pictures.

    Attributes:
        origin: name of the job file, or of the command.
        files: (P,) paths of the pictures, each once.
        names: names of the people, each once.
        pictures: for each person, the indices of the person's pictures in `files`.
        expression: (N,) int32, index in `files` of the expression's picture.
        source, target: (N,) int32, indices in `names`.
        alpha: (N,) float64, NaN for "auto".
        method: (N,) int8, index in `transfer.methods.method_names`, or METHOD_OF_MODEL.
        line: (N,) int32, line number in the job file; 0 without a job file.
        user_ids: (N,) the column id of the job file; None without one.
        notes: one line for each folder in which files were left out.
        title: of a plan of edits: the edit in words, for labels and tables.
    """

    origin: str
    files: list[str]
    names: list[str]
    pictures: list[tuple[int, ...]]
    expression: np.ndarray
    source: np.ndarray
    target: np.ndarray
    alpha: np.ndarray
    method: np.ndarray
    line: np.ndarray
    user_ids: list[str] | None = None
    notes: tuple[str, ...] = ()
    title: str = ""

    def __len__(self) -> int:
        return len(self.expression)


def plan_of(
    origin: str,
    rows: Sequence[tuple[int, int, int, float]],
    files: Sequence[str],
    people: Mapping[str, Sequence[int]],
    method: str | None = None,
) -> Plan:
    """Make a plan of rows (expression, source, target, alpha).

    Args:
        origin: name of the job file or of the command, for messages.
        rows: one tuple per output; expression is an index in `files`, source and target are
            indices in `people`.
        files: paths of the pictures.
        people: from the name of each person to the indices of the person's pictures in `files`.
        method: method of all rows; None is the model's default.
    """
    expression, source, target, alpha = zip(*rows, strict=True) if rows else ((),) * 4
    number = METHOD_OF_MODEL if method is None else method_names().index(method)
    return Plan(
        origin,
        list(files),
        list(people),
        [tuple(p) for p in people.values()],
        np.array(expression, np.int32),
        np.array(source, np.int32),
        np.array(target, np.int32),
        np.array(alpha, np.float64),
        np.full(len(rows), number, np.int8),
        np.zeros(len(rows), np.int32),
    )


def plan_transfer(
    expressions: Sequence[Path],
    source: Path | None,
    targets: Sequence[Path],
    alphas: Sequence[float],
    method: str | None = None,
    keep: Keep | None = None,
) -> Plan:
    """Every expression of one source on every target, at every alpha.

    Args:
        expressions: pictures of the source person, each showing an expression, or folders.
        source: a folder of the source person's pictures, or one picture; None if there is no
            picture but the expression's, whose name the person then has.
        targets: for each target person, a folder of pictures, or one picture.
        alphas: how much of the expression to add; NaN means "auto".
        method: a name in `transfer.methods.method_names`; None is the model's default.
        keep: selects which of a person's pictures are used, where there are several; None uses
            all.

    Raises:
        InputError: a path is missing or holds no pictures, or two targets have the same name.
    """
    expression_files = [list_pictures(path) for path in expressions]
    shown = list(dict.fromkeys(str(p) for found in expression_files for p in found.paths))
    if source is None:  # a picture that cannot be read is reported when it is read
        sources = [Listing(Path(picture), [Path(picture)]) for picture in shown]
    else:
        sources = [list_pictures(source)]
    people_files = [*sources, *map(list_pictures, targets)]
    folders = [found.folder for found in people_files]
    pictures = [tuple(map(str, found.paths)) for found in people_files]
    if keep is not None:
        several = [own for own in dict.fromkeys(pictures) if len(own) > 1]
        kept = {own: tuple(keep(own)) for own in several}
        pictures = [kept.get(own, own) for own in pictures]
    _check_names(folders[len(sources) :])
    paths = dict.fromkeys(shown + [p for own in pictures for p in own])
    files = {path: i for i, path in enumerate(paths)}
    who = {own: os.path.realpath(folder) for own, folder in zip(pictures, folders, strict=True)}
    names = dict(zip(who, distinct_names(list(who.values())), strict=True))
    order = {own: i for i, own in enumerate(names)}
    people = {names[own]: [files[p] for p in own] for own in names}
    owners = pictures[:1] * len(shown) if source is not None else pictures[: len(shown)]
    rows = [
        (files[picture], order[owner], order[target], alpha)
        for target in pictures[len(sources) :]
        for picture, owner in zip(shown, owners, strict=True)
        for alpha in alphas
    ]
    plan = plan_of("transfer", rows, list(files), people, method)
    notes = dict.fromkeys(found.note for found in [*expression_files, *people_files])
    return dataclasses.replace(plan, notes=tuple(filter(None, notes)))


def with_method(plan: Plan, method: str) -> Plan:
    """A plan whose rows without a method have this one.

    Raises:
        InputError: the method is unknown.
    """
    if method not in METHODS:
        raise InputError(f"`method` is {method!r}; use {' or '.join(METHODS)}")
    number = method_names().index(method)
    named = np.where(plan.method == METHOD_OF_MODEL, number, plan.method).astype(np.int8)
    return dataclasses.replace(plan, method=named)


def kept(plan: Plan, keep: Keep) -> Plan:
    """A plan in which each person with several pictures has those that `keep` selects."""

    def of(own: tuple[int, ...]) -> tuple[int, ...]:
        numbers = {plan.files[i]: i for i in own}
        return tuple(numbers[path] for path in keep(list(numbers))) if len(own) > 1 else own

    return dataclasses.replace(plan, pictures=[of(own) for own in plan.pictures])


def _check_names(targets: Sequence[Path]) -> None:
    names = [file_name(own_name(folder)).casefold() for folder in targets]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two targets are called {name!r} in file names; rename one of them")
