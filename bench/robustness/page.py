"""docs/results/robustness.md of the results: `python -m bench.robustness.page`."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.robustness import __main__ as fuzz
from bench.robustness import faults as matrix
from bench.robustness.faults import FAULTS, LINE, SAME
from glow_jax.io.messages import counted

PAGE = Path(__file__).parents[2] / "docs" / "results" / "robustness.md"
FAULTS_ARE = (
    "These are, by kind of file (`bench/results/robustness.json` has their numbers and messages):"
)
NAMES = {
    "printed": ("further lines", "further lines"),
    "traceback": ("a traceback", "tracebacks"),
    "crash": ("a crash", "crashes"),
    "hang": ("a hang", "hangs"),
}
"""One result that is a fault, and several."""
SHORT = {"kill -9": "kill −9", "SIGSTOP, SIGCONT": "SIGSTOP", "read-only output": "read-only"}
INTRO = """# Robustness

What damaged or hostile files do, and what happens to a command that is killed or runs out of disk.

## Files

Every reader of a file gets three kinds of inputs:

- sound files;
- hostile files, made by hand;
- damaged files: bits flipped, the end cut off, pieces doubled or spliced, lengths replaced by
  extremes, or values replaced (of JSON, YAML, CSV, members of zips, headers of arrays, chunks of
  PNGs; checksums are made right again).

A reader should accept an input, or refuse it with one line. It is called by the function that the
command calls, in a process with 3 GiB of address space and 30 s of CPU for each input.
"""
MIDDLE = """
Read from it that {faults} of {inputs} inputs led to anything but a result or one line. The
most memory that an input took beyond what its process had is {mb:.0f} MB, the most CPU {s:.1f} s.
{listed}
Column *further lines*: the input is refused, and the C code of a library prints lines besides.
*Tracebacks*: the command would end with Python's traceback instead of one line. *Peak MB* is memory
beyond what the process had, *worst s* CPU seconds.

The damage is random, with a seed, and knows how the files are built. It is not guided by coverage,
as a fuzzer such as atheris is."""
FAULTS_INTRO = """
## Commands

Every command that writes is run on small inputs and disturbed at a random moment:

| column | disturbance |
| --- | --- |
| kill −9, SIGTERM, SIGINT | ended twice by this signal, and run again |
| SIGSTOP | stopped for a second, then continued |
| disk full | on a disk that holds half of the outputs, and again on one with room |
| read-only | on a read-only disk |
| input changed, input deleted | an input is cut or deleted during the run, then put back |
| second process | run twice at the same time |
| clock set back | run again with a clock that is a year behind |
| output truncated | run again after its largest output was cut to half |

*Same bytes*: in the end every output equals that of an undisturbed run, except for durations and
the fingerprint of a model's weights. *One line*: the command refused, with one line. *Not tried*
and a number: see the notes below the table; –: the disturbance does not apply or was not tried.
"""


def page(fuzzed: dict[str, Any], disturbed: dict[str, Any]) -> str:
    """The page's text."""
    rows = fuzzed["rows"]
    lines = [INTRO, _made_by(fuzzed, "python -m bench.robustness"), ""]
    names = ("inputs", "accepted", "one line", "further lines", "tracebacks", "crashes", "hangs")
    lines.append(f"| kind | {' | '.join(names)} | peak MB | worst s |")
    lines.append("| --- |" + " --- |" * (len(names) + 2))
    for row in rows:
        counts = [row["inputs"], *(row[result] for result in fuzz.RESULTS)]
        cells = [*map(str, counts), f"{row['peak_mb']:.0f}", f"{row['worst_s']:.1f}"]
        lines.append(f"| {row['kind']} | {' | '.join(cells)} |")
    faults = sum(row[result] for row in rows for result in fuzz.RESULTS[2:])
    listed = [line for row in rows for line in _faults(row)]
    text = MIDDLE.format(
        faults=faults or "none",
        inputs=f"{sum(row['inputs'] for row in rows):,}",
        mb=max(row["peak_mb"] for row in rows),
        s=max(row["worst_s"] for row in rows),
        listed="\n" + "\n".join([FAULTS_ARE, "", *listed, ""]) if listed else "",
    )
    lines += [text, FAULTS_INTRO, _made_by(disturbed, "python -m bench.robustness.faults"), ""]
    lines.append(f"| verb | {' | '.join(SHORT.get(f, f) for f in FAULTS)} |")
    lines.append("| --- |" + " --- |" * len(FAULTS))
    notes: list[str] = []
    for verb, cells in disturbed["table"].items():
        lines.append(f"| {verb} | {' | '.join(_cell(verb, cells, f, notes) for f in FAULTS)} |")
    every = [cell for row in disturbed["table"].values() for cell in row.values()]
    ended = Counter(cell.partition(":")[0] for cell in every)
    lines += [
        "",
        f"Read from it that {counted(ended[SAME], 'cell')} {'ends' if ended[SAME] == 1 else 'end'} "
        f"with the same bytes, {ended[LINE]} with one line, and {ended['fault']} with a fault.",
        *(f"\n{number}. {note}" for number, note in enumerate(notes, 1)),
        "",
    ]
    return "\n".join(lines)


def _cell(verb: str, cells: dict[str, str], fault: str, notes: list[str]) -> str:
    cell = cells.get(fault, "–")
    kind, colon, why = cell.partition(": ")
    if not colon:
        return cell
    note = f"{why}" if kind == "not tried" else f"{verb}, {fault}: {why}"[:200]
    if note not in notes:
        notes.append(note)
    return f"{kind} ({notes.index(note) + 1})"


def _made_by(result: dict[str, Any], command: str) -> str:
    machine = result["machine"]
    found = [row["commit"] for row in result.get("rows", [])]
    found += result.get("commits", {}).values()
    commits = ", ".join(sorted({str(commit)[:7] for commit in found}))
    packages = ", ".join(f"{name} {v}" for name, v in machine["versions"].items() if v)
    return (
        f"`{command}`, seed {result['seed']}, commit {commits}, "
        f"{machine['cores']} cores of {machine['cpu']} beside other work, Python "
        f"{machine['python']}, {packages}; {result['seconds'] / 60:.0f} min."
    )


def _faults(row: dict[str, Any]) -> list[str]:
    """How many inputs of a kind led to what, an item of a list; none without faults."""
    found = [(row[result], NAMES[result]) for result in fuzz.RESULTS[2:] if row[result]]
    told = ", ".join(f"{n} with {one if n == 1 else several}" for n, (one, several) in found)
    return [f"- {row['kind']}: {told}"] if found else []


def main() -> int:
    fuzzed, disturbed = (json.loads(path.read_text()) for path in (fuzz.OUT, matrix.OUT))
    PAGE.write_text(page(fuzzed, disturbed))
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
