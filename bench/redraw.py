"""Draw the plots of the documentation again from stored results: `python -m bench.redraw`.

images/throughput.png, images/soak.png, images/truth_frontier.png and images/photoreal_frontier.png
from bench/results, and the training curve of the bundled model, models/faces64/curve.png, from its
log. Nothing is measured. Needs matplotlib (extra `bench`).
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

from bench import plots

ROOT = Path(__file__).parents[1]
MODEL = "faces64"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.redraw",
        description="Draw the plots of the documentation again from stored results.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--results", type=Path, default=ROOT / "bench" / "results", help="folder of JSON files"
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=ROOT / "docs", help="folder of the documentation"
    )
    args = parser.parse_args(argv)
    if not plots.is_available():
        print("bench.redraw: error: matplotlib is not installed (extra `bench`)", file=sys.stderr)
        return 2
    try:
        redraw(args.results, args.out)
    except (OSError, ValueError) as error:
        print(f"bench.redraw: error: {error}", file=sys.stderr)
        return 2
    return 0


def redraw(results: Path, out: Path) -> None:
    """Draw and write them all."""
    from bench.speed import soak, throughput
    from bench.truth import card, photoreal_pairs, pictures
    from bench.truth.__main__ import MAIN_K, plotted_rows

    made_by, images = "python -m bench.redraw", out / "images"
    stages = read(results / "throughput.json")["stages"]
    plots.save(images / "throughput.png", throughput.plot(stages), made_by)
    plots.save(images / "soak.png", soak.plot(read(results / "soak.json")), made_by)
    rows = plotted_rows(read(results / "truth.json")["rows"], MAIN_K)
    frontier = pictures.frontier(rows, "free", MAIN_K)
    plots.save(images / "truth_frontier.png", frontier, made_by)
    pairs = read(results / "photoreal_pairs_photo64_alphas.json")["rows"]
    plots.save(images / "photoreal_frontier.png", photoreal_pairs.frontier(pairs), made_by)
    with (ROOT / "glow_jax" / "models" / MODEL / "log.csv").open(newline="") as file:
        curve = card.curve(list(csv.DictReader(file)))
    plots.save(out / "models" / MODEL / "curve.png", curve, made_by)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
