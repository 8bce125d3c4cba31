"""Write a job's table, make its outputs, and list the ones to look at first.

python examples/batch.py OUT
"""

import csv
import itertools
import sys
from pathlib import Path

import transfer

DEMO = Path(transfer.__file__).parent / "demo"  # people who do not exist


def main(out: str) -> None:
    job = Path(out).with_suffix(".job.csv")
    expressions = sorted((DEMO / "expressions").glob("*.png"))
    targets = [DEMO / "people" / name for name in ("person-16", "person-36", "person-42")]
    with job.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["expression", "source", "target", "alpha"])
        for expression, target in itertools.product(expressions, targets):
            table.writerow([expression, DEMO / "people" / "person-41", target, 0.75])

    summary = transfer.batch(transfer.BatchRequest(job=job, out=out))
    print(f"{summary.made} made; already there: {summary.kept}; {summary.totals.failed} failed")

    with (Path(out) / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: -float(row["bits_per_dim"]))
    print("least likely under the flow:")
    for row in rows[:3]:
        print(f"  {row['file']}  {float(row['bits_per_dim']):.3f} bits/dim")


if __name__ == "__main__":
    main(*sys.argv[1:])
