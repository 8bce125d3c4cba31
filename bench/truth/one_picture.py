"""One picture of each person, against the truth: `python -m bench.truth.one_picture FACES`.

FACES are rendered people whom nothing was fitted on (`glow-jax render --setting truth`). Prints two
tables. First, how well activations of single pictures are estimated absolutely, and for comparison
against one neutral picture of the person: correlation r with the true ones, regression slope of
the estimates on them, root mean square error, the last also of neutral pictures alone. Second, what
arrives of an expression that method `warp` moves to the next person, where only its own picture is
there of the source and one picture of the target, as the judge reads it (gain and r of the change
of Action Units against the truth, with 95 % intervals over targets).
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SMILE = "bigsmile"  # what the target's one picture shows, where it is not neutral


class Case(NamedTuple):
    """One transfer: names of pictures, without suffix.

    Attributes:
        expression: of the source.
        neutral: of the source, where one is used.
        edited: of the target.
        neutralise: whether the target's own expression is taken off.
        base, truth: of the target, without and with the expression, taken as `edited`.
        target: identity.
    """

    expression: str
    neutral: str | None
    edited: str
    neutralise: bool
    base: str
    truth: str
    target: int


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.one_picture", description=__doc__.splitlines()[0]
    )
    parser.add_argument("faces", type=Path, help="rendered with --setting truth")
    parser.add_argument("--model", default="faces64", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    args = parser.parse_args(argv)
    from bench.truth.__main__ import read_faces
    from glow_jax.io.errors import InputError
    from transfer.models import load_expressions

    try:
        model = load_expressions(args.model)
        if model.population is None:
            raise InputError(f"{args.model}: its expression model has no population")
        pictures, labels = read_faces(args.faces)
        people = sorted({label["identity"] for label in labels.values()})
        if len(people) < 2:
            raise InputError(f"{args.faces}: {len(people)} people; use 2 or more")
        estimates(model, pictures, labels)
        transfers(model, pictures, people, args.seed)
    except (InputError, OSError) as error:
        print(f"bench.truth.one_picture: error: {error}", file=sys.stderr)
        return 2
    return 0


def estimates(model: Any, pictures: dict[str, np.ndarray], labels: dict[str, Any]) -> None:
    """Print how well activations of pictures in a condition of their own are estimated."""
    from transfer.expression.estimate import absolute_activations, read

    names = [n for n in sorted(pictures) if n.partition("_")[2].startswith(("photo_", "shot_"))]
    seen = {name: read(model, pictures[name][None]) for name in names}
    absolute = np.stack([absolute_activations(model, seen[name])[0] for name in names])
    true = np.array([[labels[n]["aus"].get(au, 0.0) for au in model.aus] for n in names])
    shown = true.any(1)
    against = np.stack([_relative(model, seen, name) for name in names])
    print(f"{len(names)} pictures of {len({labels[n]['identity'] for n in names})} people")
    print("estimate                 r   slope    rms   rms of neutral ones")
    rows = {"absolute": (absolute, true), "absolute, expressions": (absolute[shown], true[shown])}
    rows["against 1 neutral one"] = (against[shown], true[shown])
    for name, (found, wanted) in rows.items():
        r = np.corrcoef(found.ravel(), wanted.ravel())[0, 1]
        slope = (found * wanted).sum() / (wanted**2).sum()
        plain = f"{_rms(absolute[~shown]):8.3f}" if name == "absolute" else ""
        print(f"{name:22s} {r:.2f}  {slope:5.2f}  {_rms(found - wanted):6.3f}{plain}")
    units = zip(model.aus, absolute.T, true.T, strict=True)
    cells = [f"{au} {np.corrcoef(a, t)[0, 1]:.2f}" for au, a, t in units if t.any()]
    print("r of each unit: " + ", ".join(cells))


def _relative(model: Any, seen: dict[str, Any], name: str) -> np.ndarray:
    from transfer.expression.estimate import expression_activations

    neutral = seen[f"{name.partition('_')[0]}_photo_0"]
    return expression_activations(model, seen[name], neutral)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def transfers(model: Any, pictures: dict[str, np.ndarray], people: list[int], seed: int) -> None:
    """Print what arrives of expressions, as the judge reads it."""
    from bench.truth.aus import reader
    from bench.truth.scores import change_read
    from eval.files import Picture
    from eval.protocol.statistics import bootstrap, gain_and_correlation, moments

    def read(pixels: np.ndarray) -> Any:
        return reader("rendered").read([Picture(Path(), "", pixels)])[0]

    print("\ntransfer                                 n   gain (95 %)          r (95 %)")
    for name, cases in _cases(people).items():
        bases = {case.base: read(pictures[case.base]) for case in cases}
        wanted = [change_read(read(pictures[c.truth]), bases[c.base]) for c in cases]
        got = [change_read(read(output(model, pictures, c)), bases[c.base]) for c in cases]
        sums = moments(np.array(wanted), np.array(got), np.array([c.target for c in cases]))
        gain, r = gain_and_correlation(sums.sum(0))
        rng = np.random.default_rng(seed)
        low, high = bootstrap(sums, gain_and_correlation, rng, 2000)
        ends = [f"({a:.2f} to {b:.2f})" for a, b in zip(low, high, strict=True)]
        print(f"{name:38s} {len(cases):3d}  {gain:.2f} {ends[0]}  {r:.2f} {ends[1]}")


def output(model: Any, pictures: dict[str, np.ndarray], case: Case) -> np.ndarray:
    """uint8 (H, W, 3): what method `warp` makes at alpha 1."""
    from transfer.codec import to_bytes
    from transfer.expression import estimate
    from transfer.expression.paint import with_expression

    def read(name: str) -> estimate.Read:
        return estimate.read(model, pictures[name][None])

    if case.neutral is None:
        activations = estimate.absolute_activations(model, read(case.expression))[0]
    else:
        neutral = read(case.neutral)
        activations = estimate.expression_activations(model, read(case.expression), neutral)
    if case.neutralise:
        activations = activations - estimate.absolute_activations(model, read(case.edited))[0]
    return to_bytes(with_expression(model, pictures[case.edited][None], activations[None]))[0]


def _cases(people: list[int]) -> dict[str, list[Case]]:
    """Every canonical expression from each person to the next one, by what there is of them."""
    from glow_jax.data.synthetic_faces.people import CANONICAL

    found: dict[str, list[Case]] = {
        "a neutral picture of the source": [],
        "one picture of each": [],
        "one of each, the target smiling": [],
        "one of each, the smile taken off": [],
    }
    for source, target in zip(people, [*people[1:], people[0]], strict=True):
        for expression in [name for name in CANONICAL if name != "neutral"]:
            shown, base = f"id{source:05d}_shot_{expression}", f"id{target:05d}_photo_0"
            truth, smile = (f"id{target:05d}_truth_{name}" for name in (expression, SMILE))
            neutral = f"id{source:05d}_photo_0"
            ways = [(neutral, base, False), (None, base, False), (None, smile, False)]
            for cases, way in zip(found.values(), [*ways, (None, smile, True)], strict=True):
                if way[1] == base or expression != SMILE:
                    cases.append(Case(shown, *way, base, truth, target))
    return found


if __name__ == "__main__":
    sys.exit(main())
