"""Methods on photoreal people: `python -m bench.truth.photoreal_pairs PAIRS -o OUT.json`.

PAIRS is a folder of `glow-jax generate --setting pairs`, at 128 and 256 pixels and at the model's
size. Every expression of a person is moved to the next person who has it, from one neutral picture
of each, and pasted into the target's picture at 256 pixels. The truth is the target's own picture
with the expression. `--pictures neutral all` adds rows of the same methods that see all pictures of
each person except the one with the expression that is transferred. With `many` the means of the
paper's formula are of MANY pictures, as its authors had: those pictures, and copies whose crop and
light are varied. With `one` the source has no picture but the one with the expression, which is
estimated absolutely. With `--spoiled` the methods see worse copies of all pictures, and "no
transfer" and "the truth" are such copies; changes and distances are against the originals. Needs
the extra `photoreal`: MediaPipe reads Action Units (AUs), dlib's network knows people.

- gain, r: slope and correlation of the AUs' change in the outputs on the change in the source's
  pictures, and on that in the truth (`truth_`), with 95 % intervals over targets.
- to_target: median distance of dlib's embeddings to the target's neutral picture; nearer: share
  of the outputs that are nearer to the target's than to the source's.
- mouth_mae, mouth_ssim, mouth_sharpness: medians inside the truth's lips, of pictures whose mouth
  opens: error in grey levels, structural similarity, and energy of the Laplacian over the truth's.
"""

import argparse
import functools
import itertools
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from bench import plots
from bench.truth.scores import ssim_map
from bench.truth.spoiled import KINDS, spoiled
from bench.truth.varied import varied
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from transfer.grey import LUMA
from transfer.photos.aligned_faces import READ_PX

SIDE = 256  # pixels of the photographs
MIN_OPENING = 0.0015  # area between the lips, as a share of the picture: 98 pixels of 256 x 256
TILE, TITLE, GAP = 120, 14, 4  # pixels of the contact sheet
CHUNK = 16  # outputs that are computed at once
COLUMNS: tuple[str, ...] = ("gain", "r", "truth_gain", "truth_r", "to_target", "nearer")
COLUMNS += ("mouth_mae", "mouth_ssim", "mouth_sharpness")
MANY = 20  # pictures of each person in the means of rows `many`
# What ends the title of a row, by the pictures that its method saw.
ENDINGS = {
    "neutral": "",
    "one": ", one picture of each",
    "all": ", all pictures",
    "many": f", {MANY} pictures",
}
ALPHAS = {"paper": 0.5}  # the others: 1


class Case(NamedTuple):
    """One transfer: names of the pictures, without suffix.

    `source` and `target` also name the people, as `Album` explains.
    """

    source: str
    shown: str
    target: str
    truth: str

    def seen(self, kind: str) -> "Case":
        """The same transfer, from the pictures of a key of ENDINGS."""
        if kind == "one":  # the album has no other picture of the source
            return self._replace(source=self.shown)
        if kind == "neutral":
            return self
        return self.from_all

    @property
    def from_all(self) -> "Case":
        """The same transfer, from all pictures of both people but `shown` and `truth`."""
        return Case(self.shown, self.shown, self.truth, self.truth)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.photoreal_pairs", description=__doc__.splitlines()[0]
    )
    parser.add_argument("pairs", type=Path, help="folder of generate --setting pairs")
    parser.add_argument("--model", default="faces64", help="(default: %(default)s)")
    parser.add_argument(
        "--expressions", metavar="MODEL", help="whose expression model is used (default: --model)"
    )
    parser.add_argument("--splits", nargs="+", default=["test"], help="(default: test)")
    parser.add_argument("--methods", nargs="+", default=["warp", "paper", "glow"])
    parser.add_argument(
        "--alphas",
        nargs="+",
        type=float,
        metavar="A",
        help="of every method (default: 0.5 of paper, 1 of the others)",
    )
    parser.add_argument(
        "--pictures",
        nargs="+",
        default=["neutral"],
        choices=ENDINGS,
        help="pictures of each person that the methods see (default: neutral)",
    )
    parser.add_argument(
        "--spoiled",
        choices=KINDS,
        help="show the methods worse copies of all pictures, of this kind",
    )
    parser.add_argument(
        "--cases", type=int, help="transfers at most, drawn by --seed (default: all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument(
        "--sheet",
        type=Path,
        help="also write a contact sheet, PNG, of all rows but those of --pictures all and many",
    )
    parser.add_argument(
        "--frontier", type=Path, help="also plot gain against the distance to the target, PNG"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON")
    args = parser.parse_args(argv)
    from glow_jax.io.errors import InputError

    try:
        found = measure(args)
    except (InputError, OSError) as error:
        print(f"bench.truth.photoreal_pairs: error: {error}", file=sys.stderr)
        return 2
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    if args.frontier is not None:
        plots.save(args.frontier, frontier(found["rows"]), "python -m bench.truth.photoreal_pairs")
    return 0


def frontier(rows: dict[str, dict[str, Any]]) -> np.ndarray:
    """Gain on the source's change (y) against the distance to the target (x), by alpha.

    Args:
        rows: figures of `measure` by title; those of several pictures are left out.

    Returns:
        uint8 (1000, 1500, 3).
    """
    curves = defaultdict[str, list[plots.Interval]](list)
    for title, row in rows.items():
        name, _, alpha = title.partition(", alpha ")
        if "," not in alpha and not alpha.endswith(" pictures"):
            point = row["to_target"], row["gain"], *row["gain_95"], alpha
            curves[name].append(plots.Interval(*point))
    return plots.frontier(
        "Photoreal pairs, one neutral picture of each person; numbers are alpha",
        "distance to the target's neutral picture (dlib)",
        "AU gain on the source's change (MediaPipe)",
        curves,
        ends=("no transfer", "the truth"),
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Every method's figures, and where they come from."""
    import dataclasses

    from glow_jax.data.photoreal_faces.identity import Embedder
    from glow_jax.data.photoreal_faces.labels import Labeller
    from glow_jax.data.photoreal_faces.shards import read_labels
    from glow_jax.io.errors import InputError
    from transfer.models import load_models

    labels = {Path(row["file"]).stem: row for row in read_labels(args.pairs, SIDE, "pairs")}
    labels = {name: row for name, row in labels.items() if row["split"] in args.splits}
    cases = drawn(cases_of(labels), args.cases, args.seed)
    if not cases:
        raise InputError(f"{args.pairs}: no expression of two people in {args.splits}")
    models = load_models(args.model)
    if args.expressions:
        other = load_models(args.expressions).expression_model
        models = dataclasses.replace(models, expression_model=other)
    labeller, embed = Labeller(), Embedder()
    album = functools.partial(Album, args.pairs, models.codec, labels)
    seen = album(kind=args.spoiled)
    albums = {
        "one": album(alone=True, kind=args.spoiled),
        "many": album(MANY, kind=args.spoiled),
    }
    judge = Judge(labels, album(), labeller, embed)
    outputs: dict[str, Iterable[np.ndarray]] = {
        "no transfer": [seen.large(case.target) for case in cases],
        "the truth": [seen.large(case.truth) for case in cases],
    }
    for name, kind in itertools.product(args.methods, args.pictures):
        few = [case.seen(kind) for case in cases]
        for alpha in args.alphas or [ALPHAS.get(name, 1.0)]:
            title = f"{name}, alpha {alpha:g}" + ENDINGS[kind]
            outputs[title] = pasted(name, alpha, models, albums.get(kind, seen), few)
    rows, made = {}, {}
    for name, pictures in outputs.items():
        made[name] = list(pictures)
        rows[name] = judge.row(made[name], cases, args.seed)
        print_row(name, rows[name])
    labeller.close()
    if args.sheet is not None:
        shown = {name: made[name] for name in made if not name.endswith(" pictures")}
        write_sheet(args.sheet, labels, seen, cases, shown)
    return {
        "commit": commit(),
        "model": models.codec.name,
        "cases": len(cases),
        "people": len({case.target for case in cases}),
        "open_mouths": sum(opens(labels, case) for case in cases),
        "splits": args.splits,
        "spoiled": args.spoiled,
        "seed": args.seed,
        "rows": rows,
    }


def cases_of(labels: dict[str, Any]) -> list[Case]:
    """Each expression of each person, moved to the next person who has it."""
    by_expression = defaultdict(list)
    for name, row in sorted(labels.items()):
        neutral = Path(row["neutral"]).stem
        if row["expression"] != "neutral" and neutral in labels:
            by_expression[row["expression"]].append((neutral, name))
    return [
        Case(*one, *other)
        for people in by_expression.values()
        if len(people) > 1
        for one, other in zip(people, [*people[1:], people[0]], strict=True)
    ]


def drawn(cases: list[Case], n: int | None, seed: int) -> list[Case]:
    """At most n cases, drawn at random, in their order."""
    if n is None or n >= len(cases):
        return cases
    chosen = np.random.default_rng(seed).choice(len(cases), n, replace=False)
    return [cases[i] for i in np.sort(chosen)]


class Album:
    """The pictures as those of a job: `transfer.methods.base.Pictures` and `Photographs`.

    Picture i is names[i]. If it is neutral, person i has picture i alone. Otherwise person i has
    all other pictures of the same person, the neutral one first.

    Means are of at least `at_least` pictures: where a person has fewer, copies of them whose crop
    and light are varied are added. With `alone` person i has picture i alone, whatever it shows.
    With a `kind` of `bench.truth.spoiled.KINDS` all pictures are worse copies.
    """

    def __init__(
        self,
        folder: Path,
        codec: Any,
        labels: dict[str, Any],
        at_least: int = 1,
        alone: bool = False,
        kind: str | None = None,
    ):
        self._folder, self._codec, self._labels = folder, codec, labels
        self._at_least, self._alone, self._kind = at_least, alone, kind
        self.names = sorted(labels)
        self.number = {name: i for i, name in enumerate(self.names)}
        self._shapes: list[tuple[int, ...]] = []
        self._same: defaultdict[str, list[int]] = defaultdict(list)
        for name, i in self.number.items():
            self._same[Path(labels[name]["neutral"]).stem].append(i)

    def usable(self, person: int) -> list[int]:
        neutral = Path(self._labels[self.names[person]]["neutral"]).stem
        if self._alone or neutral == self.names[person]:
            return [person]
        others = [i for i in self._same[neutral] if i != person]
        return sorted(others, key=lambda i: self.names[i] != neutral)

    def pixels(self, pictures: Sequence[int]) -> np.ndarray:
        return self._stack(pictures, self._codec.size[0])

    def detailed(self, pictures: Sequence[int]) -> np.ndarray:
        return self._stack(pictures, READ_PX)

    def _stack(self, pictures: Sequence[int], side: int) -> np.ndarray:
        return np.stack([self._read(self.names[i], side) for i in pictures])

    def large(self, name: str) -> np.ndarray:
        """uint8 (SIDE, SIDE, 3)."""
        return self._read(name, SIDE)

    def _read(self, name: str, side: int) -> np.ndarray:
        if self._kind is None:
            return self._original(name, side)
        rng = np.random.default_rng(self.number[name])
        worse = Image.fromarray(spoiled(self._kind, rng, self._original(name, SIDE)))
        return np.asarray(worse.resize((side, side), Image.Resampling.BOX))

    def _original(self, name: str, side: int) -> np.ndarray:
        with Image.open(self._folder / str(side) / f"{name}.webp") as image:
            return np.asarray(image.convert("RGB"))

    def latents(self, pictures: Sequence[int]) -> np.ndarray:
        return self._encoded(self.pixels(pictures))

    def _encoded(self, images: np.ndarray) -> np.ndarray:
        levels = [np.asarray(level) for level in self._codec.encode(images)]
        self._shapes = [level.shape[1:] for level in levels]
        return np.concatenate([level.reshape(len(level), -1) for level in levels], 1)

    def mean(self, person: int) -> np.ndarray:
        own = self.usable(person)
        images, rng = self.pixels(own), np.random.default_rng(person)
        missing = range(len(own), self._at_least)
        names = [self.names[own[k % len(own)]] for k in missing]
        copies = [varied(rng, self.large(name), images.shape[1]) for name in names]
        return np.asarray(self._encoded(np.stack([*images, *copies])).mean(0))

    def tree(self, vectors: np.ndarray) -> tuple[np.ndarray, ...]:
        ends = np.cumsum([np.prod(shape) for shape in self._shapes])[:-1]
        parts = zip(np.split(vectors, ends, axis=1), self._shapes, strict=True)
        return tuple(part.reshape(-1, *shape) for part, shape in parts)

    def photograph(self, picture: int) -> Any:
        from transfer.methods.base import Photograph
        from transfer.photos.align import Aligned
        from transfer.photos.pose import pose_of

        name = self.names[picture]
        marks = np.array(self._labels[name]["landmarks"], float)
        whole = np.array([[1 / SIDE, 0, 0], [0, 1 / SIDE, 0]])
        box = (*marks.min(0).tolist(), *marks.max(0).tolist())
        small = self.pixels([picture])[0]
        details = self.detailed([picture])[0]
        face = Aligned(small, whole, marks, box, 1, 1, pose_of(marks), 1.0, 0.0, details)
        return Photograph(picture, self.large(name), face)


def pasted(
    name: str, alpha: float, models: Any, album: Album, cases: Sequence[Case]
) -> Iterator[np.ndarray]:
    """The outputs of a method in the targets' pictures, uint8 (SIDE, SIDE, 3)."""
    from transfer.methods import method_class
    from transfer.methods.base import Rows

    method = method_class(name)(models, album)
    for start in range(0, len(cases), CHUNK):
        some = list(cases[start : start + CHUNK])
        padded = some + some[:1] * (CHUNK - len(some))  # one shape is compiled
        rows = Rows(
            [album.number[case.shown] for case in padded],
            [album.number[case.source] for case in padded],
            [album.number[case.target] for case in padded],
        )
        edited = method.edit(method.prepare(rows), np.full(CHUNK, alpha, np.float32))
        small = edited.images
        for i in range(len(some)):
            photograph = album.photograph(method.photograph(rows.targets[i]))
            numbers = rows.expressions[i], rows.sources[i]
            yield method.paste(*numbers, photograph, alpha, small[i : i + 1])


class Judge:
    """Reads pictures, and compares them with the truth."""

    def __init__(self, labels: dict[str, Any], album: Album, labeller: Any, embed: Any):
        self._labels, self._album, self._labeller, self._embed = labels, album, labeller, embed
        self._known = functools.cache(self._embedding)
        self._units = list(next(iter(labels.values()))["aus"])

    def row(self, pictures: list[np.ndarray], cases: list[Case], seed: int) -> dict[str, Any]:
        """The figures of a method's outputs, one per case."""
        read = [self._labeller(picture) for picture in pictures]
        got = [
            np.full(len(self._units), np.nan) if label is None else self._vector(label.aus())
            for label in read
        ]
        changes = np.array(got) - self._aus([case.target for case in cases])
        shown = self._aus([c.shown for c in cases]) - self._aus([c.source for c in cases])
        true = self._aus([c.truth for c in cases]) - self._aus([c.target for c in cases])
        targets = np.unique([case.target for case in cases], return_inverse=True)[1]
        row: dict[str, Any] = {"no_face": sum(label is None for label in read)}
        row |= _gain("", shown, changes, targets, seed) | _gain(
            "truth_", true, changes, targets, seed
        )
        distances = [self._distances(*both) for both in zip(pictures, read, cases, strict=True)]
        to_target, to_source = np.array(distances).T
        row["to_target"] = float(np.nanmedian(to_target))
        known = np.isfinite(to_target)
        row["nearer"] = float((to_target < to_source)[known].mean())
        opened = [self._mouth(*both) for both in zip(pictures, cases, strict=True)]
        figures = np.array([one for one in opened if one is not None]).reshape(-1, 3)
        names = ("mouth_mae", "mouth_ssim", "mouth_sharpness")
        return row | dict(zip(names, np.median(figures, 0).tolist(), strict=True))

    def _vector(self, aus: dict[str, float]) -> np.ndarray:
        return np.array([aus[unit] for unit in self._units])

    def _aus(self, names: Sequence[str]) -> np.ndarray:
        return np.stack([self._vector(self._labels[name]["aus"]) for name in names])

    def _distances(self, picture: np.ndarray, label: Any, case: Case) -> tuple[float, float]:
        if label is None:
            return np.nan, np.nan
        vector = self._embed(picture, label.landmarks)
        others = (self._known(case.target), self._known(case.source))
        first, second = (float(np.linalg.norm(vector - other)) for other in others)
        return first, second

    def _embedding(self, name: str) -> np.ndarray:
        marks = np.array(self._labels[name]["landmarks"]) / SIDE
        return np.asarray(self._embed(self._album.large(name), marks))

    def _mouth(self, picture: np.ndarray, case: Case) -> tuple[float, float, float] | None:
        if not opens(self._labels, case):
            return None
        truth, inside = (
            self._album.large(case.truth),
            lips_mask(self._labels[case.truth]["landmarks"]),
        )
        return mouth_figures(picture, truth, inside)


def mouth_figures(
    picture: np.ndarray, truth: np.ndarray, inside: np.ndarray
) -> tuple[float, float, float]:
    """Mean absolute error, mean SSIM and ratio of the Laplacians' energy, inside a mask."""
    one, other = picture @ LUMA, truth @ LUMA
    error = np.abs(picture.astype(float) - truth)[inside].mean()
    energy = [(ndimage.laplace(luma)[inside] ** 2).sum() for luma in (one, other)]
    return float(error), float(ssim_map(one, other)[inside].mean()), float(energy[0] / energy[1])


def opens(labels: dict[str, Any], case: Case) -> bool:
    """Whether the mouth is open in the truth, and at most half as much in the edited picture."""
    before, after = (
        lips_mask(labels[name]["landmarks"]).mean() for name in (case.target, case.truth)
    )
    return bool(after > MIN_OPENING and before < after / 2)


def lips_mask(landmarks: Any, side: int = SIDE) -> np.ndarray:
    """(side, side) bool: between the lips, of landmarks (68, 2) in pixels of SIDE."""
    from glow_jax.io.landmarks68 import INNER_LIPS

    image = Image.new("1", (side, side))
    lips = np.array(landmarks, float)[INNER_LIPS] * side / SIDE - 0.5
    ImageDraw.Draw(image).polygon([tuple(point) for point in lips.tolist()], fill=1)
    return np.asarray(image)


def _gain(
    prefix: str, wanted: np.ndarray, got: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, Any]:
    from eval.protocol.statistics import bootstrap, gain_and_correlation, moments

    sums = moments(wanted, got, groups)
    rng = np.random.default_rng(seed)
    low, high = bootstrap(sums, gain_and_correlation, rng, 2000)
    found: dict[str, Any] = {}
    for i, name in enumerate(("gain", "r")):
        found[prefix + name] = float(gain_and_correlation(sums.sum(0))[i])
        found[f"{prefix}{name}_95"] = [float(low[i]), float(high[i])]
    return found


def print_row(name: str, row: dict[str, Any]) -> None:
    cells = (f"{column} {row[column]:.3f}" for column in COLUMNS)
    print(f"{name:18s} {', '.join(cells)}", flush=True)


def write_sheet(
    path: Path,
    labels: dict[str, Any],
    album: Album,
    cases: list[Case],
    outputs: dict[str, list[np.ndarray]],
    rows: int = 12,
) -> None:
    """Write `rows` of the cases, at equal steps: the source's pictures, and every output."""
    shown = np.linspace(0, len(cases) - 1, min(rows, len(cases))).astype(int)
    names = ["source", "with expression", *outputs]
    names[names.index("no transfer")] = "target"
    width = (TILE + GAP) * len(names)
    sheet = Image.new("RGB", (width, TITLE + (TILE + TITLE) * len(shown)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(names):
        draw.text((column * (TILE + GAP) + 2, 2), name, fill="black")
    for row, i in enumerate(shown):
        case, top = cases[i], TITLE + row * (TILE + TITLE)
        draw.text((2, top + 2), labels[case.shown]["expression"], fill="black")
        pictures = [album.large(case.source), album.large(case.shown)]
        for column, picture in enumerate([*pictures, *(made[i] for made in outputs.values())]):
            tile = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * (TILE + GAP), top + TITLE))
    recipe = {"sheet": "bench.truth.photoreal_pairs", "commit": commit()}
    write_image(path, np.asarray(sheet), Provenance("trainedAlgorithmicMedia", "several", recipe))


def commit() -> str:
    root = Path(__file__).parents[2]
    command = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
