"""The bundled pictures of people who do not exist."""

import functools
from pathlib import Path

from glow_jax.cli.ui.forms import Person

DEMO = Path(__file__).parents[3] / "transfer" / "demo"
PHOTOGRAPHS = DEMO / "photographs"
CLIP = DEMO / "clips" / "smile-and-blink.mp4"
# Who shows the bundled expressions: of the renders, and of the photographs.
WEARER, PHOTOGRAPHED = "person-41", "photo-461"
FACE = "neutral-3.png"  # of each rendered person, shown on the page


@functools.cache
def expressions() -> dict[str, Path]:
    """The pictures with expressions, by name: renders, then photographs."""
    renders = {path.stem: path for path in sorted((DEMO / "expressions").glob("*.png"))}
    return renders | _photographs("expressions")


@functools.cache
def people() -> dict[str, Path]:
    """The people, by name: folders of renders, then single photographs."""
    folders = sorted(path for path in (DEMO / "people").iterdir() if path.is_dir())
    return {path.name: path for path in folders} | _photographs("people")


def _photographs(folder: str) -> dict[str, Path]:
    paths = sorted((PHOTOGRAPHS / folder).glob("*.jpg"))
    return {f"photo-{path.stem.removeprefix('person-')}": path for path in paths}


def faces() -> dict[str, Path]:
    """A picture of each of the people, by name."""
    return {name: path / FACE if path.is_dir() else path for name, path in people().items()}


def pictures() -> dict[str, Path]:
    """A picture of each of the people, and those with expressions, by name: renders first."""
    found = (faces() | expressions()).items()
    return dict(sorted(found, key=lambda item: item[1].is_relative_to(PHOTOGRAPHS)))


def picture(name: str) -> Person:
    """One of `pictures`."""
    return _person(pictures()[name])


def expression(name: str) -> Person:
    """A bundled expression's picture."""
    return _person(expressions()[name])


def wearer(name: str) -> Person:
    """Who shows the bundled expression."""
    photographed = expressions()[name].is_relative_to(PHOTOGRAPHS)
    return person(PHOTOGRAPHED if photographed else WEARER)


def person(name: str) -> Person:
    """A bundled person's folder or photograph."""
    return _person(people()[name])


def clip() -> Person:
    """The bundled clip of somebody who smiles and blinks."""
    return _person(CLIP)


def _person(path: Path) -> Person:
    """With a relative path where the working directory is the clone."""
    here = Path.cwd()
    return Person(path, str(path.relative_to(here) if path.is_relative_to(here) else path))
