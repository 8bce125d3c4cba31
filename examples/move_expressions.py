"""Move four expressions of one bundled person to two others.

python examples/move_expressions.py OUT
"""

import sys
from pathlib import Path

import transfer

DEMO = Path(transfer.__file__).parent / "demo"  # people who do not exist


def main(out: str) -> None:
    request = transfer.TransferRequest(
        expressions=[DEMO / "expressions"],
        source=DEMO / "people" / "person-41",
        targets=[DEMO / "people" / "person-16", DEMO / "people" / "person-36"],
        out=out,
        alphas=(0.5, 1.0),
    )
    summary = transfer.transfer(request, notify=print)
    print(f"{summary.made} images made; already there: {summary.kept}; sheet: {summary.sheet}")


if __name__ == "__main__":
    main(*sys.argv[1:])
