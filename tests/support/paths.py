"""Where the files that tests share lie."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
FOREIGN = GOLDEN / "foreign"
HEADS = ROOT / "tests" / "heads"
FACES = ROOT / "tests" / "faces"
DEMO = ROOT / "transfer" / "demo"
