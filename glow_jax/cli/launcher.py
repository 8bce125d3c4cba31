"""The entry point of the command `glow-jax`: how the process ends at Ctrl-C or SIGTERM.

Python's own way is not enough. A call that does not return (XLA compiles for seconds) holds the
KeyboardInterrupt back, a library's import may swallow it, worker threads and processes are waited
for, and the interpreter's teardown crashes while XLA's threads live. So the system tells a thread
of the signal. The thread writes the line and ends the process after a grace of one second; within
it, the KeyboardInterrupt may unwind the main thread and close files, unless JAX is loaded or a
module is being imported. Nothing after the line reaches standard error. Files are safe at any
moment: each is written whole, then renamed, and what is being written is removed.

Nothing heavy is imported here, so that the handlers are in place at once.
"""

import atexit
import contextlib
import gc
import os
import select
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

GRACE_S = 1.0
CODES = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
# Verbs whose work is kept when they are interrupted.
CONTINUED = frozenset(
    {"demo", "transfer", "edit", "interpolate", "animate", "align", "batch", "merge", "eval"}
    | {"render", "generate", "train"}
)


def launch() -> NoReturn:
    """Run the process's command line, and end the process with its exit code.

    At SIGINT the exit code is 130, at SIGTERM 143, with one line on standard error; at a second
    signal at once. A signal that the parent has set to be ignored (nohup) stays ignored.
    """
    ending = _Ending()
    try:
        try:
            ending.listen()
            import ctypes  # noqa: F401 - for `_exit_later`

            # Imports make many objects and no garbage; `collect_garbage` turns this on again.
            gc.disable()
            from glow_jax.cli.main import main

            code: object = main()
        except SystemExit as error:
            code = error.code
        ending.may_unwind = False
        if not ending.number:
            ending.code = code or 0
            raise SystemExit(code)
    except BaseException:
        ending.may_unwind = False
        if not ending.number:
            raise
    ending.end()


class _Ending:
    """What a signal does.

    Attributes:
        number: of the first signal; 0 before it.
        may_unwind: whether a signal may raise KeyboardInterrupt in the main thread.
        code: the exit code, once the work is done.
    """

    def __init__(self) -> None:
        self.number = 0
        self.may_unwind = True
        self.code: object = None
        self._raised = False
        self._once = threading.Lock()
        self._said = threading.Event()
        self._stderr = -1 if sys.stderr is None else os.dup(2)

    def listen(self) -> None:
        """Handle the signals from now on."""
        atexit.register(self._finish)  # the first that is registered is the last that is called
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        # Python writes the signal's number there even while the main thread is in a native call.
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reader,), daemon=True).start()
        for number in CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def end(self) -> NoReturn:
        """End the process."""
        with contextlib.suppress(Exception):
            _end_workers(kill=True)
        if files := sys.modules.get("glow_jax.io.unfinished"):
            with contextlib.suppress(Exception):
                files.remove_unfinished()
        os._exit(CODES[signal.Signals(self.number)][0])

    def _finish(self) -> None:
        """Leave the interpreter's teardown out: a signal during it would kill the process."""
        if not isinstance(self.code, int):
            return
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                if not stream.closed:
                    stream.flush()
        except OSError:  # a full disk: Python reports it
            return
        os._exit(self.code)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, when it runs Python code."""
        self._begin(number)
        # Unwinding through XLA may crash too.
        if not self.may_unwind or _imports(frame) or "jaxlib" in sys.modules:
            self.end()
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def _watch(self, reader: int) -> None:
        """In a thread: end the process some time after a signal, or at the second."""
        while not (numbers := [n for n in os.read(reader, 1) if n in CODES]):
            pass  # a signal that somebody else handles
        self._begin(numbers[0])
        deadline = time.monotonic() + GRACE_S
        while (left := deadline - time.monotonic()) > 0:
            if select.select([reader], [], [], left)[0] and os.read(reader, 1)[0] in CODES:
                break
        self.end()

    def _begin(self, number: int) -> None:
        """Say the line, and let nothing else reach standard error."""
        self.number = self.number or number
        if not self._once.acquire(blocking=False):
            self._said.wait(0.5)  # another thread is saying it
            return
        code, what = CODES[signal.Signals(number)]
        verb = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        line = line_at_end("" if "--dry-run" in sys.argv else verb, what)
        with contextlib.suppress(Exception):
            _exit_later(code)
        if self._stderr >= 0:
            if os.isatty(self._stderr):
                line = f"\x1b[?25h\n{line}"  # a progress bar has hidden the cursor
            with contextlib.suppress(OSError):
                os.write(self._stderr, f"{line}\n".encode())
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        self._said.set()
        with contextlib.suppress(Exception):
            _end_workers(kill=False)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported: one in C, such as numpy's, may crash if broken off."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _exit_later(code: int) -> None:
    """Let the C library end the process, where a native call keeps Python's lock beyond the grace.

    Its timer calls `_exit` in a thread that does not need the lock.

    Source: timer_create(2), sigevent(7): SIGEV_THREAD is 2 in Linux.
    """
    if sys.platform != "linux":
        return
    import ctypes

    class Event(ctypes.Structure):
        _fields_ = (
            ("value", ctypes.c_void_p),
            ("number", ctypes.c_int),
            ("notify", ctypes.c_int),
            ("function", ctypes.c_void_p),
            ("attributes", ctypes.c_void_p),
            ("padding", ctypes.c_char * 64),
        )

    library = ctypes.PyDLL(None)  # which keeps the lock: another thread may not give it back
    function = ctypes.cast(library._exit, ctypes.c_void_p)
    event = Event(code, 0, 2, function, None)
    timer = ctypes.c_void_p()
    seconds, nanoseconds = divmod(int(1.5 * GRACE_S * 1e9), 10**9)
    after = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)
    if not library.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)):
        library.timer_settime(timer, 0, after, None)


def _end_workers(*, kill: bool) -> None:
    """End the processes of `multiprocessing`; with `kill` at once, and free what they share."""
    if "multiprocessing.util" not in sys.modules:
        return
    import multiprocessing
    import multiprocessing.util

    for process in multiprocessing.active_children():
        process.kill() if kill else process.terminate()
    if kill:
        # Else the process that tracks semaphores would warn of them.
        multiprocessing.util._run_finalizers(0)  # type: ignore[attr-defined]


def line_at_end(verb: str, what: str) -> str:
    """What is said when a verb is "interrupted" or "terminated"."""
    if verb not in CONTINUED:
        return f"glow-jax: {what}"
    return f"glow-jax {verb}: {what}; run the same command again to continue"
