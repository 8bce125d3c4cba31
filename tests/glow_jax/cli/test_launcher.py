"""How the command ends at Ctrl-C and SIGTERM: one line and an exit code, at any moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from glow_jax.cli.launcher import CONTINUED, line_at_end
from glow_jax.cli.main import VERBS
from tests.support.paths import ROOT

LIMIT_S = 10  # the grace of 1 s, and what a busy machine adds

# Each begins as the command does; `main` is what a verb may be doing when the signal comes.
BEGIN = """
import signal, sys, threading, time
import glow_jax.cli.main as cli
from glow_jax.cli.launcher import launch

def ready():
    print("ready", flush=True)
"""
WORK = {
    "python": """
def main():
    ready()
    while True: time.sleep(0.01)
""",
    "closes files": """
def main():
    try:
        ready()
        time.sleep(60)
    finally:
        print("closed", file=sys.stderr)
        open(sys.argv[2], "w").close()
""",
    "a call that does not return": """
import ctypes
def main():
    ready()
    ctypes.CDLL(None).sleep(60)
    ctypes.CDLL(None).sleep(60)
""",
    "a call that keeps Python's lock": """
import ctypes
def main():
    ready()
    try: time.sleep(60)
    except KeyboardInterrupt: ctypes.PyDLL(None).sleep(60)
""",
    "swallowed": """
def main():
    ready()
    while True:
        try: time.sleep(60)
        except KeyboardInterrupt: pass
""",
    "another error": """
def main():
    ready()
    try: time.sleep(60)
    except KeyboardInterrupt: raise ImportError("numpy failed to import")
""",
    "reported": """
def main():
    ready()
    try: time.sleep(60)
    except KeyboardInterrupt:
        print("error: cannot be imported", file=sys.stderr)
        return 2
""",
    "a finaliser": """
class Thing:
    def __del__(self):
        ready()
        time.sleep(60)
def main():
    Thing()
    time.sleep(60)
""",
    "worker threads": """
from concurrent.futures import ThreadPoolExecutor
def main():
    with ThreadPoolExecutor(4) as pool:
        for _ in range(8): pool.submit(time.sleep, 60)
        ready()
""",
    "the end": """
import atexit
def main():
    atexit.register(time.sleep, 60)
    atexit.register(ready)
    return 0
""",
}


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """A shell's background jobs ignore SIGINT, and so would what they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def started(code: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], *numbers: int) -> tuple[int, str]:
    """The exit code and standard error after signals to all processes, as Ctrl-C sends them."""
    begun = time.monotonic()
    for number in numbers:
        os.killpg(process.pid, number)
        time.sleep(0.05)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - begun < LIMIT_S
    return process.returncode, said


@pytest.mark.parametrize("work", sorted(WORK))
def test_an_interrupt_is_one_line_at_any_moment(work: str, tmp_path: Path) -> None:
    if "lock" in work and sys.platform != "linux":
        pytest.skip("the C library's timer is Linux's")
    mark = tmp_path / "closed"
    process = started(f"{BEGIN}{WORK[work]}\ncli.main = main\nlaunch()", "demo", str(mark))
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    line = "glow-jax demo: interrupted; run the same command again to continue\n"
    assert ended(process, signal.SIGINT) == (130, line)
    assert mark.exists() == (work == "closes files")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_half_written_is_left_where_nothing_may_unwind(number: int, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("before")
    code = f"""{BEGIN}
from pathlib import Path
from glow_jax.io.unfinished import unfinished
sys.modules["jaxlib"] = sys  # as if XLA's threads lived
def main():
    at = Path(sys.argv[2])
    with unfinished(at / ".file.tmp") as file, unfinished(at / ".folder") as folder:
        with unfinished(at / "kept"):
            pass
        (folder / "inside").mkdir(parents=True)
        (folder / "inside" / "a").write_text("a")
        file.write_text("half")
        ready()
        time.sleep(60)
cli.main = main
launch()"""
    process = started(code, "convert", str(tmp_path))
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[signal.Signals(number)]
    assert ended(process, number) == (128 + number, f"glow-jax: {word}\n")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_the_end_is_at_once_at_the_second_signal() -> None:
    code = BEGIN.replace("import launch", "import launch\nimport glow_jax.cli.launcher as launcher")
    code += f"launcher.GRACE_S = 1000\n{WORK['swallowed']}\ncli.main = main\nlaunch()"
    process = started(code, "info")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert ended(process, signal.SIGINT, signal.SIGINT) == (130, "glow-jax: interrupted\n")


def test_sigterm_ends_it_in_the_same_way() -> None:
    process = started(f"{BEGIN}{WORK['python']}\ncli.main = main\nlaunch()", "info")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert ended(process, signal.SIGTERM) == (143, "glow-jax: terminated\n")


def test_an_interrupt_during_imports_is_one_line() -> None:
    code = """
import sys
class Slow:  # an import of a library's, which swallows the interrupt
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print("ready", flush=True)
            import time
            try: time.sleep(60)
            except BaseException: time.sleep(60)
sys.meta_path.insert(0, Slow())
from glow_jax.cli.launcher import launch
launch()
"""
    process = started(code, "info", "faces64")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert ended(process, signal.SIGINT) == (130, "glow-jax: interrupted\n")


POOL = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from glow_jax.io.signals import end_with_parent, interrupts_blocked

def work(seconds):
    os.write(1, b"at work\\n")  # in one piece, which print does not promise
    time.sleep(seconds)

def main():
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        with interrupts_blocked():
            pool.submit(work, 60)
            pool.submit(work, 60)
        print("ready", flush=True)

if __name__ == "__main__":
    import glow_jax.cli.main as cli
    from glow_jax.cli.launcher import launch
    cli.main = main
    launch()
"""


@pytest.mark.parametrize("at", ["their imports", "work"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_worker_processes_end_without_a_word(at: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(POOL)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "run.py"), "render"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    if at == "work":
        assert process.stdout.readline() == process.stdout.readline() == "at work\n"
    what = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
    code, word = what[signal.Signals(number)]
    # `ended` waits until no process has standard error open, the workers neither.
    assert ended(process, number) == (code, f"{line_at_end('render', word)}\n")


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = f"{BEGIN}\ndef main():\n    ready()\n    time.sleep(0.3)\n    return 0\n"
    process = started(f"{code}\ncli.main = main\nlaunch()", "info")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    assert ended(process, signal.SIGINT) == (0, "")


def test_importing_installs_no_handler() -> None:
    code = """
import signal
before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
import eval, glow_jax, glow_jax.cli.launcher, glow_jax.cli.main, glow_jax.io.signals, transfer
assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
assert signal.set_wakeup_fd(-1) == -1
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_continued_verbs_are_verbs() -> None:
    assert not CONTINUED - set(VERBS)


@pytest.mark.parametrize("end", ["return 1", "return 0", "raise SystemExit(3)", "raise OSError"])
def test_without_a_signal_the_exit_code_is_the_commands(end: str) -> None:
    code = f"""{BEGIN}
import atexit
def main():
    atexit.register(print, "at exit")
    print("done")
    {end}
cli.main = main
launch()"""
    process = started(code, "info")
    printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == ({"0": 0, ")": 3}.get(end[-1], 1), "done\nat exit\n")
    assert said.count("OSError") == (end == "raise OSError")
