"""Draw people and the conditions of pictures from a seed.

A *person* is shape, skin, brows, lips, iris, hair, beard, glasses and age. A *condition* is how a
picture is taken: head pose, gaze, light, lens, background, crop. An *expression* is activations of
Action Units. A picture is a person, a condition and an expression. Every part has its own random
stream, so that one part can change while the others stay the same.
"""

import dataclasses
import functools
import zlib
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from glow_jax.io.blendshapes import BLENDSHAPES
from glow_jax.io.errors import InputError

Setting = Literal["free", "pairs", "matched", "truth"]
Crop = Literal["own", "neutral"]
HairStyle = Literal["bald", "short", "fringe", "long"]
Colour = tuple[float, float, float]  # linear RGB, 0-1

AUS = tuple(BLENDSHAPES)

# Canonical expressions: Ekman & Friesen's prototypes, with the AUs that these shapes have.
CANONICAL: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {"AU6": 0.6, "AU12": 0.8},
    "bigsmile": {"AU6": 0.9, "AU12": 1.0, "AU25": 0.6, "AU26": 0.25},
    "surprise": {"AU1": 0.9, "AU2": 0.9, "AU5": 0.9, "AU25": 0.2, "AU26": 0.6},
    "anger": {"AU4": 1.0, "AU7": 0.7, "AU9": 0.2, "AU24": 0.7},
    "sad": {"AU1": 0.8, "AU4": 0.5, "AU15": 0.9, "AU17": 0.4},
    "disgust": {"AU4": 0.5, "AU9": 1.0, "AU10": 0.7, "AU17": 0.3},
    "fear": {"AU1": 0.8, "AU2": 0.5, "AU4": 0.6, "AU5": 1.0, "AU20": 0.7, "AU26": 0.35},
    "kiss": {"AU18": 0.9},
    "blink": {"AU45": 1.0},
}
FIRST_EXPRESSION_CONDITION = 1000  # number of the first condition of the benchmark's expressions
# Pairs of AUs that move one part of the face in opposite directions: the second is left out.
OPPOSED = (("AU45", "AU5"), ("AU24", "AU25"), ("AU24", "AU26"), ("AU18", "AU20"))

# Colours of skin from light to dark, in linear RGB; people are drawn uniformly along them.
SKIN = np.array(
    [
        (0.64, 0.43, 0.34),
        (0.56, 0.35, 0.26),
        (0.46, 0.27, 0.185),
        (0.35, 0.19, 0.12),
        (0.23, 0.115, 0.07),
        (0.125, 0.062, 0.040),
        (0.062, 0.034, 0.024),
    ]
)
HAIR: dict[str, Colour] = {
    "black": (0.010, 0.009, 0.008),
    "dark brown": (0.030, 0.018, 0.011),
    "brown": (0.075, 0.042, 0.022),
    "blond": (0.33, 0.21, 0.095),
    "red": (0.20, 0.065, 0.022),
    "grey": (0.34, 0.33, 0.32),
}
IRIS: dict[str, Colour] = {
    "dark brown": (0.045, 0.022, 0.010),
    "brown": (0.11, 0.055, 0.022),
    "hazel": (0.13, 0.12, 0.05),
    "green": (0.10, 0.17, 0.09),
    "blue": (0.10, 0.20, 0.34),
    "grey": (0.20, 0.24, 0.27),
}


@dataclasses.dataclass(frozen=True)
class Person:
    """The properties of a person, which are the same in all pictures of the person.

    Attributes:
        shape: (100,) coefficients of FaceKit's identity modes, in standard deviations.
        skin, lips, hair_colour, iris, cloth: linear RGB.
        age: 0 young to 1 old; lines, grey hair, uneven skin.
        brow: (thickness, darkness), 0-1.
        hairline_cm: height above the nose bridge at which hair begins.
        volume_cm: thickness of the hair.
        beard: 0 none to 1 full; up to 0.35 a stubble.
        texture: seed of freckles, mottling, strands.
    """

    identity: int
    shape: np.ndarray
    skin: Colour
    lips: Colour
    lip_strength: float
    age: float
    brow: tuple[float, float]
    iris: Colour
    hair: HairStyle
    hair_colour: Colour
    hairline_cm: float
    volume_cm: float
    curl: float
    beard: float
    glasses: bool
    cloth: Colour
    gloss: float
    texture: int


@dataclasses.dataclass(frozen=True)
class Condition:
    """How a picture is taken.

    Attributes:
        pose_deg: yaw (to the person's left), pitch (up), roll, degrees.
        gaze: to the right of the picture, and up; 1 is the largest turn of the eyes.
        distance_cm: from the camera to the face; the face's size in the crop does not change.
        key_direction: unit vector from the face to the main light, camera frame (x right, y up).
        key, ambient: their strengths; tint: linear RGB of the ambient light.
        exposure: target grey level of the brighter parts of the face, 0-1.
        background: seed of the background.
        jitter: of the crop: right and up in sides of the crop, log scale, and roll in degrees.
    """

    number: int
    pose_deg: tuple[float, float, float]
    gaze: tuple[float, float]
    distance_cm: float
    key_direction: tuple[float, float, float]
    key: float
    ambient: float
    tint: Colour
    exposure: float
    background: int
    jitter: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class PictureSpec:
    """Everything that determines a picture's pixels.

    Attributes:
        crop: aligned by the landmarks of this picture ("own"), as photographs are, or by those
            of the same person and condition without expression ("neutral"), so that pictures
            of one condition differ in the expression alone.
        asymmetry: (18,) by which AUs of the left side are weaker; if negative, of the right side.
    """

    seed: int
    identity: int
    picture: str
    condition: Condition
    expression: str
    aus: Mapping[str, float]
    asymmetry: tuple[float, ...]
    crop: Crop
    size_px: int

    @property
    def name(self) -> str:
        """The picture's file name, without ending."""
        return f"id{self.identity:05d}_{self.picture}"

    def label(self) -> dict[str, Any]:
        """The picture's entry in labels.jsonl, without its file and landmarks."""
        c = self.condition
        return {
            "identity": self.identity,
            "picture": self.picture,
            "expression": self.expression,
            "aus": {au: round(float(v), 4) for au, v in self.aus.items()},
            "condition": c.number,
            "pose_deg": [round(v, 2) for v in c.pose_deg],
            "gaze": [round(v, 3) for v in c.gaze],
            "distance_cm": round(c.distance_cm, 1),
            "light": {
                "key_direction": [round(v, 3) for v in c.key_direction],
                "key": round(c.key, 3),
                "ambient": round(c.ambient, 3),
                "tint": [round(v, 3) for v in c.tint],
                "exposure": round(c.exposure, 3),
            },
            "crop": self.crop,
            "seed": self.seed,
        }


def stream(seed: int, *path: int | str) -> np.random.Generator:
    """The random stream of one quantity, so that a new quantity changes no other."""
    words = [zlib.crc32(p.encode()) if isinstance(p, str) else p for p in path]
    return np.random.default_rng([seed, *words])


def person(seed: int, identity: int) -> Person:
    """A person; equal seeds and identities give equal people."""

    def draw(part: str) -> np.random.Generator:
        return stream(seed, identity, part)

    age = float(draw("age").beta(1.1, 1.6))
    tone = float(draw("skin").uniform(0, 1))
    skin = _skin(tone, draw("skin tint"))
    r = draw("hair")
    style, colour = _hair(r, tone, age)
    bearded = r.uniform() < 0.3
    lip_strength = float(draw("lips").uniform(0.15, 0.85))
    return Person(
        identity=identity,
        shape=draw("shape").normal(size=100) * np.where(np.arange(100) < 60, 0.9, 0.5),
        skin=skin,
        lips=_scaled((0.50, 0.15, 0.14), draw("lip colour").uniform(0.6, 1.15)),
        lip_strength=lip_strength,
        age=age,
        brow=(float(draw("brow").uniform(0.2, 1)), float(draw("brow tint").uniform(0.55, 1))),
        iris=_iris(draw("iris"), tone),
        hair=style,
        hair_colour=colour,
        hairline_cm=float(r.uniform(7.0, 7.5) if style == "fringe" else r.uniform(8.2, 9.6)),
        volume_cm=float(0 if style == "bald" else r.uniform(0.4, 1.7)),
        curl=float(r.uniform(0, 1)),
        beard=float(r.uniform(0.1, 1) if bearded and lip_strength < 0.6 else 0),
        glasses=bool(draw("glasses").uniform() < 0.12),
        cloth=_triple(draw("cloth").uniform(0.02, 0.4) * draw("cloth tint").uniform(0.6, 1.1, 3)),
        gloss=float(draw("gloss").uniform(0.42, 0.65)),
        texture=int(draw("texture").integers(1 << 30)),
    )


def free_condition(seed: int, identity: int, number: int) -> Condition:
    """A condition like that of a casual photograph: free pose, light, lens and background."""

    def draw(part: str) -> np.random.Generator:
        return stream(seed, identity, "condition", number, part)

    yaw, pitch, roll = draw("pose").normal(size=3) * (9, 5, 2)
    key_x, key_y = draw("light").normal(0, 0.7), draw("light height").uniform(0, 1)
    direction = np.array([key_x, key_y, 1.0])
    return Condition(
        number=number,
        pose_deg=(
            float(np.clip(yaw, -22, 22)),
            float(np.clip(pitch, -12, 12)),
            float(np.clip(roll, -5, 5)),
        ),
        gaze=_pair(np.clip(draw("gaze").normal(0, 0.3, 2), -0.8, 0.8)),
        distance_cm=float(np.exp(draw("lens").uniform(np.log(45), np.log(160)))),
        key_direction=_triple(direction / np.linalg.norm(direction)),
        key=float(draw("key").uniform(0.5, 2.2)),
        ambient=float(draw("ambient").uniform(0.5, 1.0)),
        tint=_triple(1 + draw("tint").normal(0, 0.06, 3)),
        exposure=float(draw("exposure").uniform(0.36, 0.62)),
        background=int(draw("background").integers(1 << 30)),
        jitter=_four(draw("crop").normal(size=4) * (0.012, 0.012, 0.02, 0.6)),
    )


def studio_condition() -> Condition:
    """The same condition for all people: frontal, evenly lit, plain background."""
    direction = np.array([0.35, 0.45, 1.0])
    return Condition(
        number=-1,
        pose_deg=(0.0, 0.0, 0.0),
        gaze=(0.0, 0.0),
        distance_cm=90.0,
        key_direction=_triple(direction / np.linalg.norm(direction)),
        key=1.1,
        ambient=0.6,
        tint=(1.0, 1.0, 1.0),
        exposure=0.5,
        background=77,
        jitter=(0.0, 0.0, 0.0, 0.0),
    )


def random_aus(rng: np.random.Generator) -> dict[str, float]:
    """Random activations; half of them are a canonical expression, weakened, plus further AUs."""
    if rng.uniform() < 0.5:
        names = [name for name in CANONICAL if name != "neutral"]
        strength = rng.uniform(0.4, 1.05)
        base = CANONICAL[names[rng.integers(len(names))]]
        aus = {au: min(1.0, v * strength) for au, v in base.items()}
        extra = 0.10
    else:
        aus, extra = {}, 0.22
    for au in AUS:
        if rng.uniform() < extra:
            aus[au] = min(1.0, aus.get(au, 0) + rng.uniform(0.1, 1.0))
    for kept, dropped in OPPOSED:
        if aus.get(kept, 0) > 0.2:
            aus.pop(dropped, None)
    return {au: float(aus[au]) for au in AUS if au in aus}


def picture(
    seed: int,
    identity: int,
    condition: Condition,
    name: str,
    *,
    expression: str = "random",
    aus: Mapping[str, float] | None = None,
    crop: Crop = "neutral",
    size_px: int = 64,
) -> PictureSpec:
    """One picture; without `aus`, those of the canonical expression, or random ones."""
    if aus is None:
        aus = CANONICAL.get(expression) if expression != "random" else None
    if aus is None and expression != "random":
        raise InputError(f"expression {expression!r}: use one of {', '.join(CANONICAL)}, random")
    if aus is None:
        aus = random_aus(stream(seed, identity, name, "aus"))
    spread = stream(seed, identity, name, "asymmetry").normal(0, 0.08, len(AUS))
    even = expression in CANONICAL
    asymmetry = tuple(0.0 if even else float(v) for v in np.clip(spread, -0.3, 0.3))
    return PictureSpec(
        seed, identity, name, condition, expression, dict(aus), asymmetry, crop, size_px
    )


def specs(
    people: range, pictures: int, size_px: int, setting: Setting, seed: int
) -> list[PictureSpec]:
    """Pictures of people.

    Args:
        people: identity numbers.
        pictures: of each person; not in "matched".
        size_px: side of the square pictures.
        setting: "free": every picture has its own condition, and the first is neutral. "pairs": two
            pictures share condition and crop, the first neutral and the second not. "matched":
            every canonical expression in the studio condition. "truth": the pictures of the
            benchmark: "matched", `pictures` photographs as in "free" of which half are neutral,
            every canonical expression in a condition of its own ("shot"), and every canonical
            expression in the condition and crop of the first photograph ("truth").
        seed: seed of everything.

    Raises:
        InputError: the setting is unknown, or a number is out of range.
    """
    if setting not in get_args(Setting):
        raise InputError(f"setting {setting!r}: use one of {', '.join(get_args(Setting))}")
    if size_px < 16 or pictures < 1:
        raise InputError(f"pictures {pictures}, size {size_px}: use 1 or more, and 16 or more")
    found = []
    for identity in people:
        who = functools.partial(picture, seed, identity, size_px=size_px)
        taken = functools.partial(free_condition, seed, identity)
        if setting in ("matched", "truth"):
            for name in CANONICAL:
                found.append(who(studio_condition(), f"studio_{name}", expression=name))
        if setting == "truth":
            for i in range(pictures):
                plain = i == 0 or stream(seed, identity, "plain", i).uniform() < 0.5
                crop: Crop = "own" if i else "neutral"
                expression = "neutral" if plain else "random"
                found.append(who(taken(i), f"photo_{i}", expression=expression, crop=crop))
            for i, name in enumerate(list(CANONICAL)[1:]):
                shot = taken(FIRST_EXPRESSION_CONDITION + i)
                found.append(who(shot, f"shot_{name}", expression=name, crop="own"))
                found.append(who(taken(0), f"truth_{name}", expression=name))
        for i in range(pictures if setting == "free" else 0):
            expression = "random" if i else "neutral"
            found.append(who(taken(i), str(i), expression=expression, crop="own"))
        for i in range(pictures if setting == "pairs" else 0):
            found.append(who(taken(i // 2), str(i), expression="random" if i % 2 else "neutral"))
    return found


def _skin(tone: float, rng: np.random.Generator) -> Colour:
    at = tone * (len(SKIN) - 1)
    low = min(int(at), len(SKIN) - 2)
    colour = SKIN[low] + (at - low) * (SKIN[low + 1] - SKIN[low])
    return _triple(colour * rng.uniform(0.92, 1.08) * rng.normal(1, (0.01, 0.03, 0.05)))


def _hair(rng: np.random.Generator, tone: float, age: float) -> tuple[HairStyle, Colour]:
    styles: tuple[HairStyle, ...] = ("bald", "short", "fringe", "long")
    style = styles[rng.choice(4, p=(0.10 + 0.08 * age, 0.36, 0.20, 0.34 - 0.08 * age))]
    names = list(HAIR)
    light = np.array((0.20, 0.24, 0.24, 0.20, 0.12, 0.0))
    dark = np.array((0.66, 0.28, 0.06, 0.0, 0.0, 0.0))
    chances = light + (dark - light) * min(1.0, tone * 1.8)
    chances = chances / chances.sum()
    colour = np.array(HAIR[names[rng.choice(6, p=chances)]]) * rng.uniform(0.8, 1.25)
    grey = np.clip((age - 0.55) * 2.2, 0, 1) * rng.uniform(0, 1)
    return style, _triple(colour + grey * (np.array(HAIR["grey"]) - colour))


def _iris(rng: np.random.Generator, tone: float) -> Colour:
    light = np.array((0.16, 0.26, 0.16, 0.10, 0.22, 0.10))
    dark = np.array((0.72, 0.26, 0.02, 0.0, 0.0, 0.0))
    chances = light + (dark - light) * min(1.0, tone * 2)
    chances = chances / chances.sum()
    return _triple(np.array(list(IRIS.values())[rng.choice(6, p=chances)]) * rng.uniform(0.8, 1.2))


def _scaled(colour: Colour, by: float) -> Colour:
    return _triple(np.array(colour) * by)


def _triple(values: np.ndarray) -> Colour:
    a, b, c = (float(v) for v in values)
    return a, b, c


def _pair(values: np.ndarray) -> tuple[float, float]:
    a, b = (float(v) for v in values)
    return a, b


def _four(values: np.ndarray) -> tuple[float, float, float, float]:
    a, b, c, d = (float(v) for v in values)
    return a, b, c, d
