"""docs/results/robustness.md of the results: `python -m bench.robustness.page`."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.robustness import __main__ as fuzz
from bench.robustness import faults as matrix
from bench.robustness.faults import FAULTS, LINE, SAME

PAGE = Path(__file__).parents[2] / "docs" / "results" / "robustness.md"
SHOWN = 3  # faults of a kind
SHORT = {"kill -9": "kill −9", "SIGSTOP, SIGCONT": "SIGSTOP", "read-only output": "read-only"}
INTRO = """# Robustness

What happens with files that are damaged or hostile, and to a command that is killed or runs out
of disk.

## Files

Readers are called by the functions that the verbs call, in worker processes with 3 GiB of
addresses and 30 s of CPU for an input. An input is accepted, or refused with one line. Inputs are
sound files, hostile ones made by hand, and damaged ones: bits flipped, ends cut off, pieces doubled
or spliced, lengths replaced by extremes, values of JSON, YAML, CSV, zip members, arrays' headers
and PNG chunks replaced with true checksums.
"""
MIDDLE = """
Read from it that {faults} of {inputs} inputs led to something else than a result or one line. The
most memory that an input took beyond what its process had is {mb:.0f} MB, the most CPU {s:.1f} s.
{listed}
"Further lines" are what a library's C code prints besides. The fuzz is seeded and knows the files'
structures; it is not guided by coverage: atheris 3.0.0 has a wheel for Python 3.11, but was not
tried, since guidance pays after hours of CPU. hypothesis would shrink an input that fails; here its
kind, seed and number repeat it, and damage is small already.
"""
FAULTS_INTRO = """
## Commands

Every verb that writes, on small inputs, disturbed at a random moment: killed twice and run again;
stopped for a second; on a disk on which half of the outputs fit, and again on one with room; on a
read-only disk; with an input cut or deleted meanwhile, then put back; twice at the same time; run
again with a clock that is a year behind; run again after its largest output was cut to half. "Same
bytes": in the end the outputs are those of an undisturbed run, byte by byte, but for how long
things took (of a model, its weights' fingerprint). "One line": the command refused, with one line.
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
        listed="\nThe faults:\n\n" + "\n".join(listed) + "\n" if listed else "",
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
        f"Read from it that {ended[SAME]} cells end with the same bytes, {ended[LINE]} with one "
        f"line, and {ended['fault']} with a fault.",
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
    """The first different faults of a kind, an item of a list each."""
    texts = dict.fromkeys(message.partition("\n")[0][:110] for *_, message in row["faults"])
    items = [f"* {row['kind']}: {text}".replace("|", "\\|") for text in texts]
    more = [f"* {row['kind']}: {len(items) - SHOWN} others"] if len(items) > SHOWN else []
    return [*items[:SHOWN], *more]


def main() -> int:
    fuzzed, disturbed = (json.loads(path.read_text()) for path in (fuzz.OUT, matrix.OUT))
    PAGE.write_text(page(fuzzed, disturbed))
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
