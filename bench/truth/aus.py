"""Quality of AU readers on rendered people: `python -m bench.truth.aus FACES [--openface DIR]`.

FACES holds pictures and `labels.jsonl` (file, identity, aus as activations 0-1; a person's first
picture is neutral), as for `eval.fit_rendered`. Prints, for each AU, the correlation r of the
readings with the truth: by the bundled models from a picture alone (*level*) and relative to
the person's neutral picture (*relative*), and by OpenFace's static models if their folder is
given.
"""

import argparse
import functools
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.aus", description=__doc__.split("\n")[0]
    )
    parser.add_argument("faces", type=Path, help="folder of pictures and labels.jsonl")
    parser.add_argument("--openface", metavar="DIR", help="OpenFace's AU_predictors folder")
    parser.add_argument(
        "--people", type=int, default=100, help="only identities below this (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    from eval.table import AUS
    from glow_jax.io.errors import InputError

    try:
        lines = (args.faces / "labels.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if row["identity"] < args.people]
        paths = [args.faces / row["file"] for row in rows]
        truth = np.array(
            [[5 * row["aus"].get(f"AU{int(au[2:])}", 0) for au in AUS] for row in rows]
        )
        ours = read("rendered", paths)
        theirs = read(f"openface:{args.openface}", paths) if args.openface else None
    except (InputError, OSError, ValueError, KeyError, TypeError) as error:
        print(f"bench.truth.aus: error: {error}", file=sys.stderr)
        return 2
    first: dict[int, int] = {}
    for i, row in enumerate(rows):
        first.setdefault(row["identity"], i)
    neutral = np.array([first[row["identity"]] for row in rows])
    others = neutral != np.arange(len(rows))
    relative = np.clip(ours[:, 0][neutral] + ours[:, 1] - ours[:, 1][neutral], 0, 5)
    print(f"{len(rows)} pictures of {len(first)} people")
    print("AU     level relative" + ("  OpenFace" if theirs is not None else ""))
    for i, au in enumerate(AUS):
        cells = [r(ours[:, 0, i], truth[:, i]), r(relative[others, i], truth[others, i])]
        cells += [r(theirs[:, 0, i], truth[:, i])] if theirs is not None else []
        print(au, "  ", "     ".join(f"{cell:5.2f}" for cell in cells))
    return 0


def r(read: np.ndarray, truth: np.ndarray) -> float:
    """Pearson's, over pictures that were read; NaN where either does not vary."""
    ok = np.isfinite(read)
    if not ok.any() or np.ptp(read[ok]) == 0 or np.ptp(truth[ok]) == 0:
        return float("nan")
    return float(np.corrcoef(read[ok], truth[ok])[0, 1])


def read(choice: str, paths: list[Path]) -> np.ndarray:
    """(N, 2, 17): level and change coordinate of every picture; NaN without a face."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return np.array(list(pool.map(functools.partial(read_one, choice), paths, chunksize=25)))


def read_one(choice: str, path: Path) -> np.ndarray:
    from eval.files import read_picture

    reading = reader(choice).read([read_picture(path)])[0]
    return np.stack([reading.level, reading.change])


@functools.cache
def reader(choice: str) -> Any:
    from eval.action_units import make_reader

    return make_reader(choice)


if __name__ == "__main__":
    sys.exit(main())
