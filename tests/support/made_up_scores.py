"""Made-up scores of a transfer, as the judge writes them, and pictures for its report."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from eval.protocol.scores import any_names
from eval.table import AUS, COLUMNS, IDENTITY, OF


@any_names
def made_up(
    expressions: tuple[str, ...] = ("/e/smile.png", "/e/blink.png"),
    targets: tuple[str, ...] = ("ann", "bob"),
    alphas: tuple[float, ...] = (0.25, 0.5, 1.0),
    gain: float = 0.6,
) -> pd.DataFrame:
    """Scores of a transfer in which `gain` of the expression arrives, with a little noise."""
    rng, rows = np.random.default_rng(0), []
    for e, expression in enumerate(expressions):
        wanted = {au: 3.0 if i % (e + 2) == 0 else 0.1 for i, au in enumerate(AUS)}
        for target in targets:
            for alpha in alphas:
                a = 1.0 if np.isnan(alpha) else alpha
                row: dict = {"id": f"{len(rows)}", "expression": expression, "source": "eve"}
                row |= {"target": target, "alpha": alpha, "file": f"{len(rows)}.png", "faces": 1}
                row |= {"to_target_mean": 0.2 + 0.2 * a, "to_source_mean": 0.7 - 0.1 * a}
                row |= {"to_target_nearest": 0.2, "verified": float(a < 0.9)}
                for au in AUS:
                    row |= {f"{au}_expression": wanted[au], f"{au}_source": 0.1}
                    row |= {f"{au}_target": 0.2, f"{au}_present": float(wanted[au] > 1)}
                    value = 0.2 + gain * a * (wanted[au] - 0.1) + rng.normal(0, 0.05)
                    row[au] = float(np.clip(value, 0, 5))
                rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"alpha": float, "faces": float})


def without(scores: pd.DataFrame, identity: bool = False, aus: bool = False) -> pd.DataFrame:
    """The scores with one half unknown, or both."""
    columns = [*(IDENTITY if identity else ())]
    if aus:
        columns += [*AUS, *(f"{au}_{of}" for of in (*OF, "present") for au in AUS)]
    return scores.assign(**dict.fromkeys(columns, np.nan))


def picture(path: Path, colour: str = "teal", size: int = 64) -> Path:
    """A picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), colour).save(path)
    return path
