"""CPU seconds of each verb's first call: `python -m bench.speed.first_calls --out FILE.json`.

Each call is a process of its own, on the bundled pictures. "cold" has an empty cache folder, as the
first call on a machine; "cached" has what the cold call left there, as every later call. Seconds
are user and system time of the process and of those it starts, which other work on the machine
changes little. The hash of a verb's output files shows whether two commits make the same bytes.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.speed import measure

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "transfer" / "demo"
PEOPLE, FACES, PHOTOGRAPHS = DEMO / "people", DEMO / "expressions", DEMO / "photographs"
PICTURE, PHOTOGRAPH = PEOPLE / "person-16" / "neutral-0.png", PHOTOGRAPHS / "people/person-781.jpg"
CLIP = DEMO / "clips" / "smile-and-blink.mp4"
GOALS = {"cold": 6.0, "cached": 3.0}  # CPU seconds
COLD = ("encode", "decode", "sample")  # the verbs that have a goal when nothing is cached
STATES = tuple(GOALS)
PICTURES = (".png", ".webp", ".npz", ".gif", ".mp4")  # endings of the files that are hashed
Row = dict[str, Any]

# Name of a case -> the words after `glow-jax`. {out} is a path that does not exist yet, {job} a job
# of eight rows, {latents} what `encode` makes of one picture.
CASES: dict[str, list[str]] = {
    "info": ["info", "faces64"],
    "aus": ["aus"],
    "aus --out": ["aus", "-o", "{out}.png"],
    "encode": ["encode", str(PICTURE), "-o", "{out}.npz"],
    "decode": ["decode", "{latents}", "-o", "{out}"],
    "sample": ["sample", "-o", "{out}.png"],
    "transfer": [
        *("transfer", "--expression", str(FACES / "smile.png")),
        *("--source", str(PEOPLE / "person-41"), "--target", str(PEOPLE / "person-16")),
        *("-o", "{out}"),
    ],
    "transfer --method paper": [
        *("transfer", "--expression", str(FACES / "smile.png"), "--method", "paper"),
        *("--source", str(PEOPLE / "person-41"), "--target", str(PEOPLE / "person-16")),
        *("-o", "{out}"),
    ],
    "transfer --align": [
        *("transfer", "--align", "--expression", str(PHOTOGRAPHS / "expressions" / "smile.jpg")),
        *("--source", str(PHOTOGRAPHS / "people" / "person-461.jpg")),
        *("--target", str(PHOTOGRAPH), "-o", "{out}"),
    ],
    "edit": ["edit", str(PICTURE), "--smile", "0.8", "-o", "{out}"],
    "edit --align": ["edit", "--align", str(PHOTOGRAPH), "--smile", "0.8", "-o", "{out}"],
    "interpolate": [
        *("interpolate", str(PICTURE), str(PEOPLE / "person-36" / "neutral-0.png")),
        *("-o", "{out}"),
    ],
    "direction": [
        *("direction", str(PEOPLE / "person-36"), str(PEOPLE / "person-16"), "-o", "{out}.npz")
    ],
    "batch": ["batch", "{job}", "-o", "{out}"],
    "animate": [
        *("animate", "--driving", str(CLIP), "--target", str(PHOTOGRAPH), "-o", "{out}.mp4")
    ],
}


def main(argv: list[str] | None = None) -> None:
    """Measure the verbs, and write a JSON file and a table."""
    parser = argparse.ArgumentParser(prog="bench.speed.first_calls", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument(
        "--cases", nargs="+", choices=list(CASES), default=list(CASES), help="default: all"
    )
    parser.add_argument("--repeats", type=int, default=3, help="calls of each kind (default: 3)")
    args = parser.parse_args(argv)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        inputs = made_inputs(Path(folder))
        for name in args.cases:
            rows.append(measured(name, inputs, Path(folder), args.repeats))
            print(in_words(rows[-1]), flush=True)
            result = {"machine": measure.machine(), "goals": GOALS, "rows": rows}
            args.out.write_text(json.dumps(result, indent=1) + "\n")


def made_inputs(folder: Path) -> dict[str, str]:
    """Latents and a job file for the cases that need them."""
    latents, job = folder / "latents.npz", folder / "job.csv"
    call(["encode", str(PICTURE), "-o", str(latents)], folder / "cache-of-inputs")
    lines = ["expression,source,target,alpha,method"]
    for expression in ("smile", "blink", "disgust", "surprise"):
        for target in ("person-16", "person-36"):
            paths = FACES / f"{expression}.png", PEOPLE / "person-41", PEOPLE / target
            lines.append(f"{','.join(map(str, paths))},1,warp")
    job.write_text("\n".join(lines) + "\n")
    return {"latents": str(latents), "job": str(job)}


def measured(name: str, inputs: dict[str, str], folder: Path, repeats: int) -> Row:
    """Calls of one case: with an empty cache folder, then with the same folder again.

    Cases of `COLD` have an empty folder as often as a cached one, the others once.
    """
    seconds: dict[str, list[float]] = {state: [] for state in STATES}
    wall: dict[str, list[float]] = {state: [] for state in STATES}
    hashes = set()
    for i in range(repeats):
        cache = folder / f"cache-{list(CASES).index(name)}-{i if name in COLD else 0}"
        for state in STATES if i == 0 or name in COLD else STATES[1:]:
            out = folder / f"out-{list(CASES).index(name)}-{i}-{state}"
            words = [word.format(out=out, **inputs) for word in CASES[name]]
            cpu, waited = call(words, cache)
            seconds[state].append(round(cpu, 2))
            wall[state].append(round(waited, 2))
            hashes.add(hash_of(out))
    medians = {state: statistics.median(seconds[state]) for state in STATES}
    return {
        "case": name,
        "cpu_s": medians,
        "cpu_s_each": seconds,
        "wall_s": {state: statistics.median(wall[state]) for state in STATES},
        "reached": {
            state: medians[state] <= GOALS[state]
            for state in (STATES if name in COLD else STATES[1:])
        },
        "outputs": sorted(hashes),
    }


def call(words: list[str], cache: Path) -> tuple[float, float]:
    """CPU seconds, children included, and wall seconds of one `glow-jax` call.

    Raises:
        RuntimeError: the call failed.
    """
    environment = os.environ | {"GLOW_JAX_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "glow_jax.cli", *words],
        cwd=ROOT,
        env=environment | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"glow-jax {' '.join(words)}: {said[-500:]}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - begun


def hash_of(out: Path) -> str:
    """SHA-256, 16 digits, of the pictures and arrays at a path, whatever ending it was given."""
    digest = hashlib.sha256()
    for path in sorted([*out.parent.glob(f"{out.name}.*"), *out.rglob("*")]):
        if path.is_file() and path.suffix in PICTURES:
            inside = path.relative_to(out) if path.is_relative_to(out) else path.suffix
            digest.update(str(inside).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def in_words(row: Row) -> str:
    """One line of the table."""
    cpu = row["cpu_s"]
    return f"{row['case']:26} cold {cpu['cold']:6.2f}   cached {cpu['cached']:6.2f}"


if __name__ == "__main__":
    main()
