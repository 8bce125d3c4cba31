"""Names of the scores table: one row an output, its identity distances and Action Units.

`AU12` is the intensity (0-5) read in the output; with a suffix of `OF` it is that of what the
output is compared with, repeated in every row that shares it; `AU12_present` is the presence
flag (1, 0) of the expression picture. NaN is unknown: no face, or a reader that abstains.
"""

AUS = tuple(f"AU{n:02d}" for n in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45))
NAMES = {
    "AU01": "inner brow raiser",
    "AU02": "outer brow raiser",
    "AU04": "brow lowerer",
    "AU05": "upper lid raiser",
    "AU06": "cheek raiser",
    "AU07": "lid tightener",
    "AU09": "nose wrinkler",
    "AU10": "upper lip raiser",
    "AU12": "lip corner puller",
    "AU14": "dimpler",
    "AU15": "lip corner depressor",
    "AU17": "chin raiser",
    "AU20": "lip stretcher",
    "AU23": "lip tightener",
    "AU25": "lips part",
    "AU26": "jaw drop",
    "AU45": "blink",
}
OF = ("expression", "source", "target")
"""What else is read: the source-expression picture, the source's and the target's mean face."""

KEYS = ("expression", "source", "target")
"""A series: one expression of one source moved to one target, over alpha."""

IDENTITY = ("to_target_mean", "to_source_mean", "to_target_nearest", "verified")
COLUMNS = (
    "id",
    *KEYS,
    "alpha",
    "file",
    "faces",
    *IDENTITY,
    *AUS,
    *(f"{au}_{of}" for of in OF for au in AUS),
    *(f"{au}_present" for au in AUS),
)
