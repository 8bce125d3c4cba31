"""A stand-in flow whose latents are the grey levels, so that every output is known exactly."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from transfer.codec import Codec
from transfer.expression.model import ExpressionModel
from transfer.jobs.job import Job
from transfer.jobs.run import Run
from transfer.jobs.run import run as run_job
from transfer.methods.base import Models

SIZE = (8, 8)
VERSIONS = {"glow-jax": "test"}


def linear_codec(**changes: Any) -> Codec:
    """The flow's functions, some of them changed."""
    fields = {
        "name": "linear",
        "fingerprint": "f" * 64,
        "size": SIZE,
        "channels": 3,
        "precision": "exact",
        "encode": lambda images: (np.asarray(images, np.float32) + np.float32(0.5),),
        "encode_float": lambda values: (np.asarray(values, np.float32),),
        "decode": lambda latents: np.asarray(latents[0]),
        "bits_per_dim": lambda images: np.full(len(images), 8.0),
    }
    return Codec(**(fields | changes))


def linear_models(expression_model: ExpressionModel | None = None, **changes: Any) -> Models:
    """The flow, and an expression model if one is given."""
    return Models(linear_codec(**changes), expression_model)


def picture(seed: int) -> np.ndarray:
    """uint8 noise of SIZE."""
    return np.random.default_rng(seed).integers(60, 190, (*SIZE, 3), np.uint8)


def run(job: Job, models: Models, out: Path, **options: Any) -> Run:
    """As `glow-jax transfer` runs a job."""
    return run_job(job, models, out, references=True, versions=VERSIONS, **options)


def rows_of(out: Path, name: str = "results.csv") -> list[dict[str, str]]:
    """The rows of a table of a job's folder."""
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def contents(out: Path) -> dict[str, Any]:
    """Every file of a folder but for how long things took."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file() and not p.name.startswith(".")):
        name = str(path.relative_to(out))
        if name == "results.csv" or (name.startswith("rows/") and "inputs" not in name):
            rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
            found[name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        elif name != "results.parquet":
            found[name] = path.read_bytes()
    return found
