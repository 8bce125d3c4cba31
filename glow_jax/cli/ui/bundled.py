"""The bundled pictures of people who do not exist."""

import functools
from pathlib import Path

from glow_jax.cli.ui.forms import Person

DEMO = Path(__file__).parents[3] / "transfer" / "demo"
CLIP = DEMO / "clips" / "smile-and-blink.mp4"
WEARER = "person-41"  # of the bundled expressions
FACE = "neutral-3.png"  # of each person, shown on the page


@functools.cache
def expressions() -> dict[str, Path]:
    """The pictures with expressions, by name."""
    return {path.stem: path for path in sorted((DEMO / "expressions").glob("*.png"))}


@functools.cache
def people() -> dict[str, Path]:
    """The folders of the people, by name."""
    return {path.name: path for path in sorted((DEMO / "people").iterdir()) if path.is_dir()}


def faces() -> dict[str, Path]:
    """A picture of each of the people, by name."""
    return {name: folder / FACE for name, folder in people().items()}


def pictures() -> dict[str, Path]:
    """A picture of each of the people, and the pictures with expressions, by name."""
    return faces() | expressions()


def picture(name: str) -> Person:
    """One of `pictures`."""
    return _person(pictures()[name])


def expression(name: str) -> Person:
    """A bundled expression's picture."""
    return _person(expressions()[name])


def person(name: str) -> Person:
    """A bundled person's folder."""
    return _person(people()[name])


def clip() -> Person:
    """The bundled clip of somebody who smiles and blinks."""
    return _person(CLIP)


def _person(path: Path) -> Person:
    """With a relative path where the working directory is the clone."""
    here = Path.cwd()
    return Person(path, str(path.relative_to(here) if path.is_relative_to(here) else path))
