"""One picture of each person, as the generator makes it, with its label."""

import multiprocessing.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from glow_jax.data.photoreal_faces.card import PEOPLE
from glow_jax.data.photoreal_faces.files import (
    FILES,
    OF_PEOPLE,
    network_file,
    package_folder,
    versions,
)
from glow_jax.data.photoreal_faces.labels import Label
from glow_jax.data.photoreal_faces.people import Person
from glow_jax.data.photoreal_faces.workers import Made, Make, Plan, Rejected, resized

NAME = "photoreal_faces"
LABELLED_AT_PX = 256
RECIPE = 1  # increased whenever the same numbers give other pictures or labels

Draw = Callable[[Person], UInt8[np.ndarray, "512 512 3"]]
Read = Callable[[UInt8[np.ndarray, "H W 3"]], Label | None]


def check_installed(pairs: bool) -> None:
    """Raise InputError unless all packages that generate and label pictures are installed."""
    for package in ("openvino", "mediapipe", *(("dlib",) if pairs else ())):
        package_folder(package)
    for name in FILES if pairs else OF_PEOPLE:
        network_file(name)


def people_plan(people: range, sizes_px: tuple[int, ...], seed: int) -> Plan:
    """The plan of a folder of single pictures."""
    recipe = ("identity", "picture", "seed", "truncation", "expression")
    return Plan(NAME, people, sizes_px, facts("people", seed), PEOPLE, recipe)


def facts(kind: str, seed: int) -> dict[str, Any]:
    """What determines pixels and labels, beside the people's numbers, as JSON values."""
    names = FILES if kind == "pairs" else OF_PEOPLE
    hashes = {name: FILES[name][2] for name in names}
    return {"kind": kind, "seed": seed, "recipe": RECIPE, "sha256": hashes, "versions": versions()}


def make_people(seed: int, draw: Draw, read: Read) -> Make:
    """A function from a person's number to the person's one picture."""

    def make(number: int) -> Sequence[Made | Rejected]:
        person = Person(seed, number)
        picture = draw(person)
        about = {**about_person(person), "picture": "0", "expression": "as generated"}
        label = read(resized(picture, LABELLED_AT_PX))
        if label is None:
            return [Rejected({**about, "reason": "no face found"})]
        return [Made(f"{person.name}_0", picture, {**about, **label_values(label)})]

    return make


def start_people(seed: int) -> Make:
    """`make_people` with the real networks; called in each worker process."""
    from glow_jax.data.photoreal_faces.generator import Generator
    from glow_jax.data.photoreal_faces.labels import Labeller

    generator, labeller = Generator(), Labeller()
    multiprocessing.util.Finalize(None, labeller.close, exitpriority=10)
    return make_people(seed, lambda p: generator.picture(generator.style(p)), labeller)


def about_person(person: Person) -> dict[str, Any]:
    """The part of every label that describes the person."""
    return {
        "identity": person.number,
        "seed": person.seed,
        "truncation": person.draw()[1],
        "split": person.split,
    }


def label_values(label: Label) -> Mapping[str, Any]:
    """A label as JSON values; landmarks as shares of the picture's sides."""
    return {
        "aus": {unit: round(v, 4) for unit, v in label.aus().items()},
        "blendshapes": {name: round(v, 4) for name, v in label.blendshapes.items()},
        "landmarks": (np.round(label.landmarks, 5) + 0.0).tolist(),  # no -0.0
        "pose_deg": [round(v, 2) + 0.0 for v in label.pose_deg],
    }
