"""A process that reads inputs of one kind under a limit of memory, and answers a line each.

    python -m bench.robustness.worker KIND SEED FIRST COUNT FOLDER

Lines are JSON: {"begin": number} before an input, then its `Outcome`. Whatever the readers print
goes to FOLDER/printed, which must not grow: a refusal is one line.
"""

import json
import os
import resource
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

MEMORY_LIMIT = 3 * 2**30  # bytes of addresses, above what is used before the first input
MAX_LINE = 2200  # characters of a message
MUTED = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def main(argv: list[str]) -> None:
    """Read inputs FIRST to COUNT - 1."""
    from bench.robustness.kind import inputs
    from bench.robustness.kinds import find

    name, (seed, first, count) = argv[0], map(int, argv[1:4])
    folder = Path(argv[4])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    printed = os.open(folder / "printed", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    warnings.simplefilter("always")
    for kind_of_warning in MUTED:
        warnings.simplefilter("ignore", kind_of_warning)
    kind = find(name)
    made = list(inputs(kind, seed, count))
    tried(kind, made[0](), folder)  # what is imported, compiled or kept once
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_LIMIT, used + MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, count):
        files = made[number]()
        print(json.dumps({"begin": number}), file=answers)
        print(json.dumps(tried(kind, files, folder)), file=answers)
    shutil.rmtree(folder / "input", ignore_errors=True)


def tried(kind: Any, files: Any, folder: Path) -> dict[str, Any]:
    """One input's outcome: result, message, MB, seconds of CPU."""
    from bench.robustness.kind import write
    from glow_jax.io.errors import InputError

    place = folder / "input"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    write(place, files)
    before_printed = os.fstat(1).st_size
    before, start = _reset_peak(), time.process_time()
    result, message = "accepted", ""
    try:
        kind.read(place)
    except InputError as error:
        result, message = "refused", str(error)
        if not message.isprintable() or len(message) > MAX_LINE:
            result, message = "traceback", f"no single line: {message[:300]!r}"
    except OSError as error:  # `main` prints its reason on one line
        result, message = "refused", f"{type(error).__name__}: {error}"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        result, message = "traceback", f"{type(error).__name__} at {at}: {str(error)[:300]}"
    seconds = time.process_time() - start
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fstat(1).st_size > before_printed and result != "traceback":
        text = os.pread(1, 300, before_printed).decode(errors="replace")
        result, message = "printed", f"{result}, and printed {text!r}"
    return {
        "result": result,
        "message": message[:500],
        "mb": max(0.0, _peak() - before),
        "s": seconds,
    }


def _reset_peak() -> float:
    """Begin to measure anew; MB resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    """The most MB of 10^6 bytes resident since the last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main(sys.argv[1:])
