"""† Run a job into a folder: encode each image once, move expressions, write, resume.

job.json       everything needed to repeat the job
inputs.csv     every image read: role, bits/dim, round-trip error
results.csv    one row an output
failures.csv   inputs that could not be used, and why (when there are any)
means/         every person's reference face, decoded: what an expression is added to
images/        the outputs
sheet.png      rows expressions, columns source, means, alphas
"""

import csv
import dataclasses
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from glow_jax.errors import InputError
from glow_jax.files import one_line, reason, write_atomically
from glow_jax.images import Provenance, read_image, write_image
from transfer import apply, arithmetic
from transfer.codec import Codec, Latents, to_bytes
from transfer.job import Item, Job, Person, Picture, file_name

ROUND_TRIP_BOUND = 0.5  # grey levels: below it every byte comes back
RESULT_FIELDS = [
    "id",
    "expression",
    "source",
    "target",
    "alpha",
    "file",
    "seconds",
    "round_trip_error",
    "bits_per_dim",
    "non_finite_pixels",
    "clipped_share",
    "edit_kept",
]
INPUT_FIELDS = [
    "file",
    "role",
    "sha256",
    "bits_per_dim",
    "round_trip_error",
    "round_trip_mean_error",
    "redone_in_exact",
]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """An input's latents and how well they give it back, in grey levels of 255."""

    latents: Latents
    bits_per_dim: float
    max_error: float
    mean_error: float
    redone: bool


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        made, kept: outputs written now, and found from an earlier run.
        seconds: from the first encode to the last output.
        max_error: largest round-trip error of an input, grey levels.
        redone: inputs encoded again by the exact codec.
        non_finite: outputs with a non-finite pixel.
        failures: inputs that could not be used.
    """

    made: int
    kept: int
    seconds: float
    max_error: float
    redone: int
    non_finite: int
    failures: int


def run_job(
    job: Job,
    codec: Codec,
    out: Path,
    *,
    batch_size: int,
    versions: dict[str, str],
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Summary:
    """Make every output of `job` in `out` that is not there yet.

    Args:
        job: from `read_job`.
        codec: the model.
        out: a new folder, or one that holds an interrupted run of the same job.
        batch_size: images encoded or decoded at once.
        versions: of the software, for job.json.
        progress: called with a stage and how far it is.

    Raises:
        InputError: `out` holds something else, or cannot be written.
    """
    _claim(out, job, codec, versions)
    done = _results_on_disk(out, job, codec)
    pending = [item for item in job.items if item.id not in done]
    started = time.perf_counter()
    encoded = _encode_all(job, codec, batch_size, progress)
    bases = {person: _base(job, person, encoded, codec) for person in (job.source, *job.targets)}
    codes = _codes(job, codec) if pending else {}
    _write_means(out, job, bases, codec)
    _write_csv(out / "inputs.csv", INPUT_FIELDS, _input_rows(job, encoded))
    if job.failures:
        _write_csv(out / "failures.csv", ["path", "reason"], map(dataclasses.asdict, job.failures))
    rows = dict(done)
    for start in range(0, len(pending), batch_size):
        items = pending[start : start + batch_size]
        for row in _make(job, items, encoded, bases, codes, codec, out, batch_size):
            rows[row["id"]] = row
        ordered = [rows[item.id] for item in job.items if item.id in rows]
        _write_csv(out / "results.csv", RESULT_FIELDS, ordered)
        progress("transfer", min(start + batch_size, len(pending)), len(pending))
    return Summary(
        made=len(pending),
        kept=len(done),
        seconds=time.perf_counter() - started,
        max_error=max(e.max_error for e in encoded.values()),
        redone=sum(e.redone for e in encoded.values()),
        non_finite=sum(str(row["non_finite_pixels"]) != "0" for row in rows.values()),
        failures=len(job.failures),
    )


def _pictures(job: Job) -> dict[str, tuple[str, Picture]]:
    """Every picture of a job once, by the hash of its pixels, with the role it came in."""
    found: dict[str, tuple[str, Picture]] = {}
    for shot in job.expressions:
        found.setdefault(shot.sha256, ("expression", shot))
    for role, person in [("source", job.source), *(("target", t) for t in job.targets)]:
        for picture in person.pictures:
            found.setdefault(picture.sha256, (f"{role} {person.name}", picture))
    return found


def _encode_all(job: Job, codec: Codec, batch_size: int, progress: Callable) -> dict[str, Encoded]:
    pictures = [picture for _, picture in _pictures(job).values()]
    encoded: dict[str, Encoded] = {}
    for start in range(0, len(pictures), batch_size):
        chunk = pictures[start : start + batch_size]
        for picture, result in zip(chunk, _encode_batch(chunk, codec, batch_size), strict=True):
            encoded[picture.sha256] = result
        progress("encode", len(encoded), len(pictures))
    return encoded


def _encode_batch(pictures: Sequence[Picture], codec: Codec, batch_size: int) -> list[Encoded]:
    """Encode, decode again and compare; what misses the bound is redone by the exact codec."""
    images = _padded(np.stack([p.pixels for p in pictures]), batch_size)
    latents = codec.encode(images)
    grey = np.asarray(codec.decode(latents), np.float64)
    errors = np.abs(grey - (images + 0.5)).reshape(len(images), -1)
    errors = np.where(np.isfinite(errors), errors, np.inf)
    bits = np.asarray(codec.bits_per_dim(images))
    results = []
    for i, picture in enumerate(pictures):
        if errors[i].max() >= ROUND_TRIP_BOUND and codec.exact is not None:
            (exact,) = _encode_batch([picture], codec.exact, batch_size)
            results.append(dataclasses.replace(exact, redone=True))
            continue
        one = jax.tree.map(lambda a, i=i: np.asarray(a[i]), latents)
        worst, mean = float(errors[i].max()), float(errors[i].mean())
        results.append(Encoded(one, float(bits[i]), worst, mean, redone=False))
    return results


@dataclasses.dataclass(frozen=True)
class Base:
    """What a person's expressions are measured from and added to.

    Attributes:
        latents: of the mean face (the paper's method), or of one picture.
        picture: that picture; None where it is a mean.
    """

    latents: Latents
    picture: Picture | None = None


def _base(job: Job, person: Person, encoded: dict[str, Encoded], codec: Codec) -> Base:
    if job.method == "paper":
        latents = [encoded[picture.sha256].latents for picture in person.pictures]
        stacked = jax.tree.map(lambda *a: np.stack(a), *latents)
        return Base(jax.tree.map(np.asarray, arithmetic.mean(stacked)))
    assert codec.expressions is not None
    which = apply.most_neutral(codec.expressions, np.stack([p.pixels for p in person.pictures]))
    picture = person.pictures[which]
    return Base(encoded[picture.sha256].latents, picture)


@jax.jit
def _transfer(z_tgt_mean: Latents, z_src: Latents, z_src_mean: Latents, alphas: Any) -> Latents:
    return jax.vmap(arithmetic.transfer)(z_tgt_mean, z_src, z_src_mean, alphas)


def _codes(job: Job, codec: Codec) -> dict[str, np.ndarray]:
    """What method "warp" reads from each expression's picture, by the hash of its pixels."""
    if job.method == "paper" or codec.expressions is None:
        return {}
    source = np.stack([p.pixels for p in job.source.pictures])
    return {
        shot.sha256: apply.code_of(codec.expressions, shot.pixels, source)
        for shot in job.expressions
    }


def _decoded(
    job: Job,
    items: Sequence[Item],
    encoded: dict[str, Encoded],
    bases: dict[Person, Base],
    codes: dict[str, np.ndarray],
    codec: Codec,
    batch_size: int,
) -> apply.Decoded:
    """Transfer and decode a batch, padded to `batch_size`."""

    def stack(latents: Sequence[Latents]) -> Latents:
        return jax.tree.map(lambda *a: _padded(np.stack(a), batch_size), *latents)

    alphas = _padded(np.array([item.alpha for item in items], np.float32), batch_size)
    if job.method == "warp":
        known = codec.expressions
        assert known is not None
        code = np.stack([codes[item.expression.sha256] for item in items])
        pictures = [bases[item.target].picture for item in items]
        pixels = np.stack([p.pixels for p in pictures if p is not None])
        return apply.paint_safely(
            known, codec, _padded(pixels, batch_size), _padded(code, batch_size) * alphas[:, None]
        )
    base = stack([bases[item.target].latents for item in items])
    edited = _transfer(
        base,
        stack([encoded[item.expression.sha256].latents for item in items]),
        stack([bases[item.source].latents for item in items]),
        alphas,
    )
    return apply.decode_safely(codec.decode, base, jax.tree.map(np.asarray, edited))


def _make(
    job: Job,
    items: Sequence[Item],
    encoded: dict[str, Encoded],
    bases: dict[Person, Base],
    codes: dict[str, np.ndarray],
    codec: Codec,
    out: Path,
    batch_size: int,
) -> Iterator[dict[str, Any]]:
    """Transfer, decode and write one batch; a row an item."""
    started = time.perf_counter()
    grey, kept, lost = _decoded(job, items, encoded, bases, codes, codec, batch_size)
    images = to_bytes(grey)
    bits = np.asarray(codec.bits_per_dim(images))
    seconds = (time.perf_counter() - started) / len(items)
    for i, item in enumerate(items):
        recipe = {
            "id": item.id,
            "method": job.method,
            "alpha": item.alpha,
            "expression": item.expression.path.name,
            "source": item.source.name,
            "target": item.target.name,
            "model_fingerprint": codec.fingerprint,
        }
        provenance = Provenance("compositeWithTrainedAlgorithmicMedia", codec.name, recipe)
        write_image(out / item.file, images[i], provenance)
        used = [item.expression, *item.source.pictures, *item.target.pictures]
        yield {
            "id": item.id,
            "expression": str(item.expression.path),
            "source": item.source.name,
            "target": item.target.name,
            "alpha": repr(item.alpha),
            "file": item.file,
            "seconds": f"{seconds:.4f}",
            "round_trip_error": f"{max(encoded[p.sha256].max_error for p in used):.3g}",
            "bits_per_dim": f"{bits[i]:.4f}",
            "non_finite_pixels": int(lost[i]),
            "clipped_share": f"{((grey[i] < 0) | (grey[i] >= 256)).mean():.4f}",
            "edit_kept": f"{kept[i]:g}",
        }


def _write_means(out: Path, job: Job, bases: dict[Person, Base], codec: Codec) -> None:
    for role, person in [("source", job.source), *(("target", t) for t in job.targets)]:
        grey = np.asarray(codec.decode(jax.tree.map(lambda a: a[None], bases[person].latents)))
        picture = bases[person].picture
        pictures = person.pictures if picture is None else [picture]
        recipe = {"mean_of": [p.path.name for p in pictures]}
        provenance = Provenance("compositeWithTrainedAlgorithmicMedia", codec.name, recipe)
        write_image(mean_file(out, role, person), to_bytes(grey)[0], provenance)


def mean_file(out: Path, role: str, person: Person) -> Path:
    """Where a person's decoded reference face lies; `role` is "source" or "target"."""
    return out / "means" / f"{role}_{file_name(person.name)}.png"


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    """Repeat the first entry up to `size`, so that one compiled shape serves every batch."""
    missing = size - len(array)
    return np.concatenate([array, np.repeat(array[:1], missing, axis=0)]) if missing else array


def _input_rows(job: Job, encoded: dict[str, Encoded]) -> Iterator[dict[str, Any]]:
    for sha256, (role, picture) in _pictures(job).items():
        result = encoded[sha256]
        yield {
            "file": str(picture.path),
            "role": role,
            "sha256": sha256,
            "bits_per_dim": f"{result.bits_per_dim:.4f}",
            "round_trip_error": f"{result.max_error:.3g}",
            "round_trip_mean_error": f"{result.mean_error:.3g}",
            "redone_in_exact": int(result.redone),
        }


def _description(job: Job, codec: Codec, versions: dict[str, str]) -> dict[str, Any]:
    def listed(pictures: Sequence[Picture]) -> list[dict[str, str]]:
        return [{"file": str(p.path), "sha256": p.sha256} for p in pictures]

    people = {p.name: listed(p.pictures) for p in job.targets}
    return {
        "model": {"name": codec.name, "fingerprint": codec.fingerprint},
        "precision": codec.precision,
        "method": job.method,
        "alphas": list(job.alphas),
        "expressions": listed(job.expressions),
        "source": {job.source.name: listed(job.source.pictures)},
        "targets": people,
        "items": {item.id: item.file for item in job.items},
        "versions": versions,
    }


def _claim(out: Path, job: Job, codec: Codec, versions: dict[str, str]) -> None:
    """Make the output folder, or check that it holds this very job."""
    description = _description(job, codec, versions)
    file = out / "job.json"
    _check_claim(out, file, description)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            write_atomically(file, (json.dumps(description, indent=2) + "\n").encode())
        for folder in ("images", "means"):
            (out / folder).mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{one_line(out)}: cannot be made ({reason(error)})") from None


def _check_claim(out: Path, file: Path, description: dict[str, Any]) -> None:
    if file.exists():
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
            same = there["items"] == description["items"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{file}: not a readable job; choose a new output folder") from None
        if not same:
            raise InputError(f"{out}: holds another job; choose a new output folder")
        return
    # A hidden file is all that a run killed before its job.json leaves.
    taken = out.exists() and not out.is_dir()
    if taken or (out.is_dir() and any(not p.name.startswith(".") for p in out.iterdir())):
        raise InputError(f"{out}: exists and holds no job of ours; choose a new output folder")


def _results_on_disk(out: Path, job: Job, codec: Codec) -> dict[str, dict[str, Any]]:
    """Whole rows of an earlier run whose picture is there, by item id.

    Anything else in the table is left out, so its item is made again, with the same bytes.
    """
    files = {item.id: item.file for item in job.items}
    try:
        with (out / "results.csv").open(newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {
        row["id"]: row
        for row in rows
        if list(row) == RESULT_FIELDS
        and None not in row.values()
        and files.get(row["id"]) == row["file"]
        and row["non_finite_pixels"].isdigit()
        and row["clipped_share"][-5:-4] == "."
        and _is_whole(out / row["file"], codec)
    }


def _is_whole(file: Path, codec: Codec) -> bool:
    try:
        read_image(file, codec.size, codec.channels)
    except InputError:
        return False
    return True


def _write_csv(path: Path, fields: list[str], rows: Any) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
