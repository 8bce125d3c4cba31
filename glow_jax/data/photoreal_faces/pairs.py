"""Pairs: pictures of one person without and with an expression, kept if they pass checks.

A person's picture is first made neutral (the smile is removed in up to three steps). Then each of
six expressions, drawn for the person, is tried at increasing strengths, until the requested
blendshapes have risen by an amount that is drawn for it. Of these pictures the last one that passes
the checks is kept: the blendshapes rose enough, dlib's embedding is still that of the person, and
the head has not turned.
"""

import multiprocessing.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from glow_jax.data.photoreal_faces.card import PAIRS
from glow_jax.data.photoreal_faces.edits import EXPRESSIONS, Expression, edit_of, edits_sha256
from glow_jax.data.photoreal_faces.labels import Label
from glow_jax.data.photoreal_faces.people import Person
from glow_jax.data.photoreal_faces.singles import (
    LABELLED_AT_PX,
    NAME,
    Read,
    about_person,
    facts,
    label_values,
)
from glow_jax.data.photoreal_faces.workers import Made, Make, Plan, Rejected, resized

EXPRESSIONS_A_PERSON = 6
STRENGTHS = (0.6, 0.9, 1.3, 1.9)
SMILES_OFF = (0.0, 0.5, 1.0, 1.5)
NEUTRAL_AT_MOST = {"mouthSmile": 0.3, "jawOpen": 0.1, "mouthUpperUp": 0.2, "eyeBlink": 0.4}
MAX_DISTANCE = 0.45  # of embeddings; of one real person's pictures: median .52 (98 photographs)
MAX_TURN_DEG = 5.0  # largest change of yaw, pitch or roll
# Largest yaw of the neutral picture: beyond it MediaPipe guesses half of the face.
MAX_YAW_DEG = 30.0

Picture = UInt8[np.ndarray, "512 512 3"]
DrawEdited = Callable[[Person, Any], Picture]  # the edit is None, or generator.Edit
Embed = Callable[[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "68 2"]], Float[np.ndarray, "128"]]


@dataclass(frozen=True)
class Tools:
    """The functions that pairs are made with: the networks, or replacements in tests."""

    draw: DrawEdited
    read: Read
    embed: Embed


@dataclass(frozen=True)
class _Picture:
    """A picture, its label and its embedding."""

    picture: Picture
    label: Label
    embedding: Float[np.ndarray, "128"]


def pairs_plan(people: range, sizes_px: tuple[int, ...], seed: int) -> Plan:
    """The plan of a folder of pairs."""
    known = facts("pairs", seed)
    known["sha256"] = {**known["sha256"], "edits": edits_sha256()}
    recipe = ("identity", "picture", "seed", "truncation", "expression", "smile_off", "strength")
    return Plan(NAME, people, sizes_px, known, PAIRS, recipe)


def start_pairs(seed: int) -> Make:
    """`make_pairs` with the real networks; called in each worker process."""
    from glow_jax.data.photoreal_faces.generator import Generator
    from glow_jax.data.photoreal_faces.identity import Embedder
    from glow_jax.data.photoreal_faces.labels import Labeller

    generator, labeller = Generator(), Labeller()
    multiprocessing.util.Finalize(None, labeller.close, exitpriority=10)

    def draw(person: Person, edit: Any) -> Picture:
        return generator.picture(generator.style(person), edit)

    return make_pairs(seed, Tools(draw, labeller, Embedder()))


def make_pairs(seed: int, tools: Tools) -> Make:
    """A function from a person's number to the neutral picture and the expressions."""

    def make(number: int) -> Sequence[Made | Rejected]:
        person = Person(seed, number)
        about = about_person(person)
        found = _neutral(person, tools)
        if isinstance(found, str):
            return [Rejected({**about, "expression": "neutral", "reason": found})]
        smile_off, neutral = found
        about["neutral"] = f"{person.name}_neutral.webp"
        made = [
            _try(person, tools, {**about, "smile_off": smile_off}, neutral, name)
            for name in _drawn(person)
        ]
        if not any(isinstance(m, Made) for m in made):
            return made
        label = {
            **about,
            "picture": "neutral",
            "expression": "neutral",
            "smile_off": smile_off,
            "strength": 0.0,
            "distance": 0.0,
            **label_values(neutral.label),
        }
        return [Made(f"{person.name}_neutral", neutral.picture, label), *made]

    return make


def _drawn(person: Person) -> list[str]:
    """The names of the person's expressions, from a separate random stream."""
    random = np.random.Generator(np.random.PCG64([person.seed, person.number, 1]))
    chosen = random.choice(len(EXPRESSIONS), EXPRESSIONS_A_PERSON, replace=False)
    return [list(EXPRESSIONS)[i] for i in chosen]


def _neutral(person: Person, tools: Tools) -> tuple[float, _Picture] | str:
    """The strength of the removed smile, and the neutral picture; or why there is none."""
    for smile_off in SMILES_OFF:
        picture = tools.draw(person, edit_of(EXPRESSIONS["smile"], -smile_off))
        small = resized(picture, LABELLED_AT_PX)
        label = tools.read(small)
        if label is None:
            return "no face found"
        if abs(label.pose_deg[0]) > MAX_YAW_DEG:
            return "the head is turned too far"
        if all(label.mean(name) <= most for name, most in NEUTRAL_AT_MOST.items()):
            return smile_off, _Picture(picture, label, tools.embed(small, label.landmarks))
    return "not neutral"


def _try(
    person: Person, tools: Tools, about: Mapping[str, Any], neutral: _Picture, name: str
) -> Made | Rejected:
    """The picture with an expression, of those that pass the checks; or why there is none."""
    expression = EXPRESSIONS[name]
    asked = {**about, "picture": name.replace(" ", "_"), "expression": name}
    wanted = expression.least * _eagerness(person, name)
    best: Made | None = None
    reason = "moved too little"
    for strength in STRENGTHS:
        edit = edit_of(EXPRESSIONS["smile"], -about["smile_off"]) + edit_of(expression, strength)
        picture = tools.draw(person, edit)
        label = tools.read(small := resized(picture, LABELLED_AT_PX))
        rise = -np.inf if label is None else _rise(expression, neutral.label, label)
        if label is None or rise < expression.least:
            continue
        distance = np.linalg.norm(tools.embed(small, label.landmarks) - neutral.embedding)
        about_this = {**asked, "strength": strength, "distance": round(float(distance), 3)}
        if why := _why_not(float(distance), neutral.label, label):
            reason = why
            break
        label_of_it = {**about_this, **label_values(label)}
        best = Made(f"{person.name}_{asked['picture']}", picture, label_of_it)
        if rise >= wanted:
            break
    return best or Rejected({**asked, "reason": reason})


def _eagerness(person: Person, name: str) -> float:
    """The wanted rise, in units of the least one: 1 to 2.5, from a separate random stream."""
    index = list(EXPRESSIONS).index(name)
    random = np.random.Generator(np.random.PCG64([person.seed, person.number, 2, index]))
    return float(random.uniform(1.0, 2.5))


def _why_not(distance: float, before: Label, after: Label) -> str:
    """Why a picture fails the checks; empty if it passes them."""
    if distance > MAX_DISTANCE:
        return "another person"
    turn = np.abs(np.subtract(after.pose_deg, before.pose_deg)).max()
    return "the head turned" if turn > MAX_TURN_DEG else ""


def _rise(expression: Expression, before: Label, after: Label) -> float:
    return float(np.mean([after.mean(n) - before.mean(n) for n in expression.asked]))
