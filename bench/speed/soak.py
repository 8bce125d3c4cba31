"""Test batch jobs that are killed: `python -m bench.speed.soak --out FILE.json --plot FILE.png`.

The same job of the demo's people runs three times: undisturbed; killed by `kill -9` every few
seconds and started again until it ends; and with two Ray workers, one of which is killed from time
to time. The outputs must be exactly those of the plan, with the same bytes every time. Memory is
recorded.
"""

import argparse
import contextlib
import csv
import dataclasses
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import transfer
from bench.speed import measure
from glow_jax.io.messages import counted

DEMO = Path(transfer.__file__).parent / "demo"
SOURCE = "person-41"
METHODS = ("warp", "paper")
KILLS = (3.0, 20.0)  # range of the seconds from a process's start to its kill
RAY_KILLS = (15.0, 30.0)  # seconds from one kill of a worker to the next
PAUSE = 0.5  # seconds between samples
MARK = "GLOW_JAX_SOAK"  # environment variable that marks the processes that may be killed
NAMES = {"undisturbed": "undisturbed", "killed": "killed ({})", "ray": "Ray ({})"}
Row = dict[str, Any]


def write_table(path: Path, rows: int, methods: Sequence[str] = METHODS) -> None:
    """A table of `rows` outputs: every demo expression on every demo person, at many alphas."""
    shots = sorted((DEMO / "expressions").glob("*.png"))
    people = sorted((DEMO / "people").iterdir())
    kinds = list(itertools.product(methods, shots, people))
    steps = -(-rows // len(kinds))
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["expression", "source", "target", "alpha", "method"])
        every = itertools.product(range(steps), kinds)
        for step, (method, shot, person) in itertools.islice(every, rows):
            alpha = round((step + 1) / steps, 6)
            table.writerow([shot, DEMO / "people" / SOURCE, person, alpha, method])


@dataclasses.dataclass(frozen=True)
class Look:
    """A sample of a run: seconds since its start, committed outputs, MB of memory by process."""

    seconds: float
    outputs: int
    memory_mb: tuple[float, ...]


@dataclasses.dataclass
class Watched:
    """The samples of a run, and the kills.

    Attributes:
        looks: samples every PAUSE seconds; `memory_mb` is that of the process, or of the workers.
        kills: times of the kills, seconds.
        starts: number of processes that were started.
        seconds: duration of the run.
    """

    looks: list[Look]
    kills: list[float]
    starts: int = 0
    seconds: float = 0.0


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process, in MB of 10^6 bytes; None if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def committed(out: Path, chunk_size: int) -> int:
    """The number of outputs in chunks whose tables exist, in whole chunks."""
    with contextlib.suppress(OSError):
        names = (entry.name for entry in os.scandir(out / "rows"))
        return chunk_size * sum(n.endswith(".csv") and "inputs" not in n for n in names)
    return 0


def workers(mark: str) -> list[int]:
    """Process ids of the Ray workers whose environment has `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            title = (path / "cmdline").read_bytes()
            if b"MapWorker" in title and mark.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:  # the process has ended
            continue
    return sorted(found)


class Runs:
    """One job's runs, in folders of their own."""

    def __init__(self, table: Path, scratch: Path, seed: int):
        self._scratch, self._seed = scratch, seed
        self._words = ["batch", str(table), "--no-likelihood"]
        self._environment = os.environ | {
            "XDG_CACHE_HOME": str(scratch / "cache"),  # a separate compile cache
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self.chunk_size = 64

    def undisturbed(self, out: Path) -> Watched:
        """An undisturbed run."""
        watched, start = Watched([], []), time.perf_counter()
        with self._started(out, watched) as process:
            for _ in _until_ended(process):
                watched.looks.append(self._look(start, out, [process.pid]))
        return self._ended(process, watched, start)

    def killed(self, out: Path) -> Watched:
        """A run that is killed at random moments and started again until it ends by itself."""
        watched, start, chance = Watched([], []), time.perf_counter(), random.Random(self._seed)
        while True:
            end = time.perf_counter() + chance.uniform(*KILLS)
            with self._started(out, watched) as process:
                for _ in _until_ended(process):
                    watched.looks.append(self._look(start, out, [process.pid]))
                    if time.perf_counter() > end:
                        process.send_signal(signal.SIGKILL)
                        watched.kills.append(time.perf_counter() - start)
                        process.wait()
            if process.returncode != -signal.SIGKILL:
                return self._ended(process, watched, start)

    def ray(self, out: Path) -> Watched:
        """A run by two workers of a Ray cluster, which are killed in turn."""
        watched, start, chance = Watched([], []), time.perf_counter(), random.Random(self._seed)
        mark, sockets = uuid.uuid4().hex, tempfile.mkdtemp()  # short, as names of sockets must be
        more = {MARK: mark, "RAY_TMPDIR": sockets}
        last, due = 0, time.perf_counter() + chance.uniform(*RAY_KILLS)
        words = ("--engine", "ray", "--workers", "2")
        try:
            with self._started(out, watched, words, more) as process:
                for _ in _until_ended(process):
                    pids = workers(mark)
                    watched.looks.append(self._look(start, out, pids))
                    turn = [pid for pid in pids if pid != last]
                    if time.perf_counter() > due and len(pids) == 2:
                        last = next(pid for pid in pids if pid not in turn[:1])
                        os.kill(turn[0], signal.SIGKILL)
                        watched.kills.append(time.perf_counter() - start)
                        due = time.perf_counter() + chance.uniform(*RAY_KILLS)
            return self._ended(process, watched, start)
        finally:
            shutil.rmtree(sockets, ignore_errors=True)

    @contextlib.contextmanager
    def _started(
        self, out: Path, watched: Watched, more: Sequence[str] = (), also: Row | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        watched.starts += 1
        code = "import sys; from glow_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"
        log = open(self._scratch / f"{out.name}.log", "ab")  # noqa: SIM115 - closed below
        process = subprocess.Popen(
            [sys.executable, "-c", code, *self._words, "-o", str(out), *more],
            env=self._environment | (also or {}),
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            log.close()
            if process.poll() is None:
                process.kill()
            process.wait()

    def _look(self, start: float, out: Path, pids: Sequence[int]) -> Look:
        memory = tuple(m for m in map(resident_mb, pids) if m is not None)
        return Look(time.perf_counter() - start, committed(out, self.chunk_size), memory)

    def _ended(self, process: Any, watched: Watched, start: float) -> Watched:
        watched.seconds = time.perf_counter() - start
        if process.returncode:
            log = sorted(self._scratch.glob("*.log"), key=lambda p: p.stat().st_mtime)[-1]
            raise SystemExit(f"bench.speed.soak: a run failed:\n{log.read_text()[-2000:]}")
        return watched


def _until_ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    while process.poll() is None:
        yield
        time.sleep(PAUSE)


# -- what is checked


def planned_files(table: Path) -> list[str]:
    """Names of the outputs of a table, from the plan alone."""
    from transfer.jobs.batch import prepare
    from transfer.jobs.plan_file import read_plan
    from transfer.requests import BatchRequest

    job = prepare(BatchRequest(table, f"{table}.out"), read_plan(table)).job
    return [item.file for item in job.items]


def hashes(out: Path) -> dict[str, str]:
    """SHA-256 of every file of a job's images, by name."""
    files = sorted(p for p in (out / "images").rglob("*") if p.is_file())
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def compared(planned: Iterable[str], truth: dict[str, str], found: dict[str, str]) -> Row:
    """Compare a run's outputs with the plan's names and with an undisturbed run's bytes."""
    wanted = set(planned)
    return {
        "outputs": len(found),
        "missing": len(wanted - found.keys()),
        "unplanned": len(found.keys() - wanted),
        "other_bytes": sum(found[name] != truth.get(name) for name in wanted & found.keys()),
    }


def half_written(out: Path) -> int:
    """Files of a folder that a killed run left behind."""
    return sum(1 for _ in out.rglob(".*.tmp"))


def growth(looks: Sequence[Look], total: int) -> Row | None:
    """Growth of memory from the second to the last quarter of a run's outputs, in MB."""

    def median(low: float, high: float) -> float | None:
        seen = [k for k in looks if k.memory_mb and low <= k.outputs / total < high]
        inside = [max(k.memory_mb) for k in seen]
        return statistics.median(inside) if inside else None

    early, late = median(0.25, 0.5), median(0.75, 1.0)
    if early is None or late is None:
        return None
    return {"second_quarter_mb": early, "last_quarter_mb": late, "growth_mb": late - early}


def figures_of(watched: Watched, total: int) -> Row:
    """The figures of a run."""
    peaks = [max(k.memory_mb) for k in watched.looks if k.memory_mb]
    gaps = [b - a for a, b in itertools.pairwise([0.0, *watched.kills])]
    return {
        "seconds": round(watched.seconds, 1),
        "outputs_per_s": round(total / watched.seconds, 1),
        "starts": watched.starts,
        "kills": len(watched.kills),
        "seconds_between_kills": round(statistics.median(gaps), 1) if watched.kills else None,
        "kills_at": [round(k, 1) for k in watched.kills],
        "peak_mb": round(max(peaks), 1) if peaks else None,
        "memory": growth(watched.looks, total),
        "looks": [
            [round(k.seconds, 1), k.outputs, *(round(m) for m in k.memory_mb)]
            for k in watched.looks[:: max(1, len(watched.looks) // 150)]
        ],
    }


def plot(result: Row) -> np.ndarray:
    """A plot of memory by outputs; a dot is a kill, at which the line breaks.

    Args:
        result: content of the file --out.
    """
    from bench.plots import Curve, lines

    curves = []
    for kind, run in result["runs"].items():
        looks = [(when, outputs, max(mb)) for when, outputs, *mb in run["looks"] if any(mb)]
        points: list[tuple[float, float]] = []
        marks: list[tuple[float, float]] = []
        kills = list(run["kills_at"])
        for (when, outputs, mb), (later, _, _) in itertools.pairwise([*looks, (np.inf, 0, 0)]):
            points.append((outputs, mb))
            fallen = [kill for kill in kills if when <= kill < later]
            if fallen:
                marks.append((outputs, mb))
                points.append((np.nan, np.nan))
        curves.append(Curve(NAMES[kind].format(counted(len(kills), "kill")), points, marks))
    title = "Memory of the largest process; a dot is a kill -9"
    return lines(title, "outputs committed", "resident memory, MB", curves)


def _when(look: Look) -> float:
    return look.seconds


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed.soak", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000, help="outputs of the job")
    parser.add_argument("--seed", type=int, default=1, help="seed of the times of kills")
    parser.add_argument(
        "--ray",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run with Ray too (default: yes)",
    )
    parser.add_argument(
        "--scratch",
        type=Path,
        help="new folder for the runs, which is kept (default: a temporary folder)",
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--plot", type=Path, help=".png file for the plot")
    args = parser.parse_args(argv)
    with contextlib.ExitStack() as stack:
        scratch = args.scratch or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scratch.mkdir(parents=True, exist_ok=True)
        scratch = scratch.resolve()
        table = scratch / "job.csv"
        write_table(table, args.rows)
        runs, planned = Runs(table, scratch, args.seed), planned_files(table)
        kinds = ["undisturbed", "killed", *(["ray"] if args.ray else [])]
        watched: dict[str, Watched] = {}
        truth: dict[str, str] = {}
        result: Row = {"machine": measure.machine(), "rows": args.rows, "seed": args.seed}
        result |= {"methods": METHODS, "runs": {}}
        for kind in kinds:
            out = scratch / kind
            load = os.getloadavg()[0]
            watched[kind] = getattr(runs, kind)(out)
            found = hashes(out)
            truth = truth or found
            with (out / "results.csv").open(newline="") as file:
                listed = [row["file"] for row in csv.DictReader(file)]
            row: Row = {"planned": len(planned), "in_results_csv": len(listed)}
            row |= compared(planned, truth, found) | {"half_written": half_written(out)}
            row |= {"load_before": load} | figures_of(watched[kind], args.rows)
            result["runs"][kind] = row
            print(kind, json.dumps({k: v for k, v in row.items() if k != "looks"}), flush=True)
    result["sound"] = all(
        row["planned"] == row["outputs"] == row["in_results_csv"]
        and not any(row[k] for k in ("missing", "unplanned", "other_bytes", "half_written"))
        for row in result["runs"].values()
    )
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    if args.plot:
        from bench.plots import is_available, save

        if is_available():
            save(args.plot, plot(result), "python -m bench.speed.soak")
        else:
            print("no plot: matplotlib is not installed (extra `bench`)", file=sys.stderr)
    print("sound" if result["sound"] else "NOT SOUND")
    return 0 if result["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())
