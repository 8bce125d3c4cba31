"""Every verb that writes, under every fault: `python -m bench.robustness.faults --help`.

A cell runs a command in a fresh folder, disturbs it, and runs it again where it did not end well.
The outputs then equal those of an undisturbed run ("same bytes"), or the command said on one line
why not ("one line"); anything else is a fault, in words. Commands run in forks of a process that
has imported everything but started nothing.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.robustness.pool import cpu_seconds
from bench.robustness.verbs import Verb, make_inputs, outputs, verbs
from bench.speed import measure
from glow_jax.cli.launcher import launch
from glow_jax.io.messages import one_line

OUT = Path(__file__).parents[1] / "results" / "faults.json"
LIMIT = 900.0  # seconds by the clock of one run, on a busy machine
PAGE, DISK_PAGES = 4096, 16_384
SAME, LINE = "same bytes", "one line"
SIGNALS = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
FAULTS = (
    *SIGNALS,
    "SIGSTOP, SIGCONT",
    "disk full",
    "read-only output",
    "input changed",
    "input deleted",
    "second process",
    "clock set back",
    "output truncated",
)


class FaultError(Exception):
    """What a cell found, in words."""


@dataclasses.dataclass
class Child:
    """A command that runs in a fork."""

    pid: int
    folder: Path
    log: Path
    code: int | None = None

    def wait(self) -> int:
        """The exit code; minus the signal's number where one ended it."""
        end = time.monotonic() + LIMIT
        while self.code is None and time.monotonic() < end:
            self.poll()
            time.sleep(0.02)
        if self.code is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise FaultError(f"no end after {LIMIT:g} s")
        return self.code

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)  # what it left running
        return self.code

    def at_cpu(self, seconds: float) -> bool:
        """Wait until it has used so much CPU; False where it ended before."""
        while self.poll() is None:
            if cpu_seconds(self.pid) >= seconds:
                return True
            time.sleep(0.005)
        return False

    @property
    def printed(self) -> str:
        """What it wrote to standard error."""
        return self.log.read_text(errors="replace")

    def errors(self) -> list[str]:
        """The lines in which it ended."""
        marks = ("error: ", "interrupted", "terminated")
        return [line for line in self.printed.splitlines() if any(m in line for m in marks)]

    def check(self, codes: tuple[int, ...]) -> None:
        """Raise FaultError unless it ended with one of the codes, and on at most one line."""
        code = self.wait()
        if code not in codes:
            raise FaultError(f"exit code {code}: {one_line(self.printed[-200:])}")
        if "Traceback" in self.printed or len(self.errors()) > 1:
            raise FaultError(f"more than one line: {one_line(self.printed[-200:])}")


def started(words: list[str], folder: Path, before: Callable[[], object] = lambda: None) -> Child:
    """Start a command in a fork of this process.

    Args:
        words: of its command line.
        folder: to work in.
        before: called in the fork first.
    """
    log = folder / ".log" / f"{time.monotonic_ns()}"
    log.parent.mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, folder, log)
    try:
        os.setsid()
        os.chdir(folder)
        for number in (1, 2):
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if number == 2 else -1
            os.dup2(os.open(os.devnull, os.O_WRONLY) if file < 0 else file, number)
        before()
        sys.argv[1:] = words
        launch()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _main(words: list[str]) -> int:
    from glow_jax.cli.main import main

    try:
        return main(words)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1


@dataclasses.dataclass
class Cell:
    """A verb in a fresh folder, its undisturbed outputs, and when it is disturbed.

    Attributes:
        verb: what is run.
        folder: with its inputs.
        expected: outputs of an undisturbed run.
        cpu: seconds that it took.
        chance: decides the moments.
    """

    verb: Verb
    folder: Path
    expected: dict[str, bytes]
    cpu: float
    chance: random.Random

    def start(self, before: Callable[[], object] = lambda: None) -> Child:
        """Start the command."""
        return started(self.verb.words, self.folder, before)

    def disturbed(self) -> tuple[Child, bool]:
        """Start it and wait for a random moment; whether it still runs then."""
        child = self.start()
        return child, child.at_cpu(self.chance.uniform(0.02, 0.95) * self.cpu)

    def finish(self) -> str:
        """Run the command again: its outputs must be whole, or it must say so on one line."""
        child = self.start()
        child.check((0, 1, 2))
        return self.judge(child)

    def judge(self, child: Child) -> str:
        """Compare the outputs; a refusal counts where there are no half-made ones."""
        if child.code == 2:
            if outputs_of(self.folder).items() <= self.expected.items():
                return SAME if outputs_of(self.folder) == self.expected else LINE
            raise FaultError("refused, and left other outputs")
        found = outputs_of(self.folder)
        if found != self.expected:
            names = {n for n in {*found, *self.expected} if found.get(n) != self.expected.get(n)}
            raise FaultError(f"other outputs: {', '.join(sorted(names)[:4])}")
        return SAME


def outputs_of(folder: Path) -> dict[str, bytes]:
    """The outputs of a folder of inputs, read in a fork: reading models starts JAX."""
    pipe, end = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(pipe)
        try:
            found = {n: d.hex() for n, d in outputs(folder / "out").items()}
            with os.fdopen(end, "w") as file:
                json.dump(found, file)
            os._exit(0)
        except BaseException as error:
            os.write(end, json.dumps({f"unreadable: {error!r}": ""}).encode())
            os._exit(0)
    os.close(end)
    with os.fdopen(pipe) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return {n: bytes.fromhex(d) for n, d in json.loads(text).items()}


# -- the faults


def by_signal(number: signal.Signals) -> Callable[[Cell], str]:
    """Killed at a random moment, twice, and run again."""

    def fault(cell: Cell) -> str:
        for _ in range(2):
            child, runs = cell.disturbed()
            if runs:
                os.kill(child.pid, number)
            child.wait()
            if number == signal.SIGKILL or not runs:
                continue
            child.check((0, 1, 2, 128 + number, -number))
        return cell.finish()

    return fault


def stopped(cell: Cell) -> str:
    """Stopped for a second, and continued."""
    child, runs = cell.disturbed()
    if runs:
        os.killpg(child.pid, signal.SIGSTOP)
        time.sleep(1.0)
        os.killpg(child.pid, signal.SIGCONT)
    child.check((0, 1))
    return cell.judge(child)


def full(cell: Cell) -> str:
    """A disk on which half of the outputs fit; then one with room."""
    whole = sum(p.stat().st_size for p in (cell.folder / ".whole").rglob("*") if p.is_file())
    with _disk(cell.folder / "out", f"size={DISK_PAGES * PAGE}"):
        filler = cell.folder / "out" / ".filler"
        filler.write_bytes(bytes(PAGE * (DISK_PAGES - whole // 2 // PAGE)))
        child = cell.start()
        child.check((1, 2))
        if not child.errors():
            raise FaultError(f"exit code {child.code} and no line")
        filler.unlink()
        return LINE if cell.finish() in (SAME, LINE) else ""


def read_only(cell: Cell) -> str:
    """A disk that cannot be written to."""
    with _disk(cell.folder / "out", "ro"):
        child = cell.start()
        child.check((2,))
        return LINE


@contextlib.contextmanager
def _disk(place: Path, options: str) -> Iterator[None]:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
        check=True,
        capture_output=True,
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def changed(cell: Cell) -> str:
    """An input is cut to half at a random moment, and put back before the second run."""
    return _without_input(cell, lambda path, data: path.write_bytes(data[: len(data) // 2]))


def deleted(cell: Cell) -> str:
    """An input is deleted at a random moment, and put back before the second run."""
    return _without_input(cell, lambda path, data: path.unlink())


def _without_input(cell: Cell, change: Callable[[Path, bytes], object]) -> str:
    path = cell.folder / cell.verb.damage
    data = path.read_bytes()
    child, _ = cell.disturbed()
    change(path, data)
    child.check((0, 1, 2))
    again = cell.start()
    again.check((0, 1, 2))
    path.write_bytes(data)
    last = cell.start()
    last.check((0, 1, 2))
    # A folder whose first run knew other inputs is another job's, and is refused as such.
    return LINE if last.code == 2 else cell.judge(last)


def twice(cell: Cell) -> str:
    """The same command twice at one time; then once more."""
    one, other = cell.start(), cell.start()
    for child in (one, other):
        child.check((0, 1, 2))
    if 2 in (one.code, other.code) and one.code == other.code:
        raise FaultError("neither of two went on")
    return cell.finish() if outputs_of(cell.folder) != cell.expected else SAME


def set_back(cell: Cell) -> str:
    """Killed, and run again with a clock that is a year behind."""

    def before() -> None:
        true = time.time
        time.time = lambda: true() - 3e7
        ns = time.time_ns
        time.time_ns = lambda: ns() - 3 * 10**16

    child, runs = cell.disturbed()
    if runs:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    again = cell.start(before)
    again.check((0, 1, 2))
    return cell.judge(again)


def truncated(cell: Cell) -> str:
    """The largest output is cut to half after the run, and the command run again."""
    cell.start().check((0, 1))
    files = [p for p in (cell.folder / "out").rglob("*") if p.is_file()]
    largest = max(files, key=lambda p: p.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)
    again = cell.start()
    again.check((0, 1, 2))
    return LINE if again.code == 2 else cell.judge(again)


CELLS: dict[str, Callable[[Cell], str]] = {
    **{name: by_signal(number) for name, number in SIGNALS.items()},
    "SIGSTOP, SIGCONT": stopped,
    "disk full": full,
    "read-only output": read_only,
    "input changed": changed,
    "input deleted": deleted,
    "second process": twice,
    "clock set back": set_back,
    "output truncated": truncated,
}


def row(verb: Verb, inputs: Path, scratch: Path, faults: list[str], seed: int) -> dict[str, str]:
    """The cells of a verb."""
    if verb.missing:
        return dict.fromkeys(faults, f"not tried: {verb.missing}")

    def fresh(name: str) -> Path:
        folder = scratch / f"{verb.name} {name}".replace(",", "")
        shutil.copytree(inputs, folder)
        (folder / "out").mkdir()
        return folder

    whole = fresh("whole")
    for _ in range(2):  # the second without compiling
        shutil.rmtree(whole / "out")
        (whole / "out").mkdir()
        child = started(verb.words, whole)
        used = _cpu_of(child)
        if child.code not in (0, 1):
            return dict.fromkeys(faults, f"fault: does not run: {one_line(child.printed[-200:])}")
    expected = outputs_of(whole)
    found: dict[str, str] = {}
    for fault in faults:
        if (verb.few and fault not in verb.few) or (not verb.damage and fault.startswith("input")):
            found[fault] = "–"
            continue
        folder = fresh(fault)
        shutil.copytree(whole / "out", folder / ".whole")
        chance = random.Random(f"{verb.name} {fault} {seed}")
        try:
            found[fault] = CELLS[fault](Cell(verb, folder, expected, used, chance))
        except (FaultError, OSError, subprocess.CalledProcessError) as error:
            found[fault] = f"fault: {error}"
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{verb.name}: {fault}: {found[fault]}", file=sys.stderr, flush=True)
    return found


def _cpu_of(child: Child) -> float:
    """CPU seconds of a run that is not disturbed."""
    used = 0.0
    while child.poll() is None:
        used = max(used, cpu_seconds(child.pid))
        time.sleep(0.01)
    return used


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.robustness.faults",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--verb", action="append", help="one row; repeatable (default: all)")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="one column; repeatable")
    parser.add_argument("--out", type=Path, default=OUT, help="a JSON file")
    parser.add_argument(
        "--add",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="keep the file's rows of other verbs",
    )
    args = parser.parse_args(argv)
    begun = time.perf_counter()
    before = json.loads(args.out.read_text()) if args.add and args.out.exists() else {}
    table: dict[str, dict[str, str]] = before.get("table", {})
    commits: dict[str, str] = before.get("commits", {})
    faults = args.fault or list(FAULTS)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        scratch = Path(name)
        os.environ |= {"GLOW_JAX_CACHE": str(scratch / "cache"), "JAX_PLATFORMS": "cpu"}
        _import_all()
        inputs = scratch / "inputs"
        inputs.mkdir()
        _fill(inputs)
        for verb in verbs():
            if args.verb and verb.name not in args.verb:
                continue
            table[verb.name] = row(verb, inputs, scratch, faults, args.seed)
            seconds = before.get("seconds", 0) + time.perf_counter() - begun
            machine = measure.machine()
            commits[verb.name] = str(machine["commit"])
            about = {"machine": machine, "seed": args.seed, "seconds": round(seconds)}
            about["commits"] = commits
            in_order = {v.name: table[v.name] for v in verbs() if v.name in table}
            args.out.write_text(json.dumps(about | {"table": in_order}, indent=1) + "\n")
    cells = [cell for cells in table.values() for cell in cells.values()]
    n_faults = sum(cell.startswith("fault") for cell in cells)
    print(f"{len(cells)} cells, {n_faults} faults: {args.out}")
    return 1 if n_faults else 0


def _import_all() -> None:
    """What every verb imports, once; JAX's backends are not started."""
    import importlib

    for name in ("glow_jax", "transfer.api", "transfer.cli.batch", "glow_jax.training.run"):
        importlib.import_module(name)


def _fill(inputs: Path) -> None:
    """Make the inputs in a fork, since that starts JAX."""

    def run(words: list[str]) -> int:
        here = os.getcwd()
        os.chdir(inputs)
        try:
            return _main(words)
        finally:
            os.chdir(here)

    pid = os.fork()
    if not pid:
        try:
            make_inputs(inputs, run)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the inputs could not be made")


if __name__ == "__main__":
    sys.exit(main())
