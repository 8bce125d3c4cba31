"""Throughput of the judge with its offline defaults: DeepFace's Dlib and the `rendered` AUs."""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DEMO = Path(__file__).parents[2] / "transfer" / "demo"
SIDE = 128
Row = dict[str, Any]


def judge_rows(quick: bool, cores: int) -> list[Row]:
    """Score pictures of 128 pixels without a cache, and again with the cached scores.

    Peak memory is that of this process and of the largest of its workers.
    """
    from eval.action_units import make_reader
    from eval.identity import IdentityModel
    from eval.scoring import Judges, score
    from glow_jax.io.cache_folders import cache_folder

    judges = Judges(IdentityModel(home=cache_folder()), "rendered")
    judges.identity.check() if judges.identity else None
    reader = make_reader(judges.reader)
    rows = []
    for n in (20,) if quick else (100, 400):
        with tempfile.TemporaryDirectory() as folder:
            paths = make_pictures(Path(folder), n)
            cache = Path(folder, "scores.sqlite")
            seconds = []
            for _ in range(2):
                started = time.perf_counter()
                found = score(paths, judges, reader, cache, workers=cores)
                seconds.append(time.perf_counter() - started)
            faces = sum(bool(s.embedding and s.embedding.faces) for s in found.values())
        peak = [resource.getrusage(who).ru_maxrss / 1024 for who in (SELF, CHILDREN)]
        rows.append(
            {
                "images": n,
                "side": SIDE,
                "workers": cores,
                "faces": faces,
                "seconds": seconds[0],
                "again_seconds": seconds[1],
                "peak_mb": peak[0],
                "worker_peak_mb": peak[1],
            }
        )
    return rows


SELF, CHILDREN = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN


def make_pictures(folder: Path, n: int) -> list[Path]:
    """The demo's people at 128 pixels, with noise, so that no two pictures are equal."""
    people = sorted(DEMO.glob("people/*/*.png"))
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        image = Image.open(people[i % len(people)]).convert("RGB")
        pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), float)
        noisy = np.clip(pixels + rng.normal(0, 1, pixels.shape), 0, 255).astype(np.uint8)
        made.append(folder / f"{i}.png")
        Image.fromarray(noisy).save(made[-1])
    return made
