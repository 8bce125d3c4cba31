"""The columns of the scores table, which has one row per output.

id, expression, source, target   names: of the output, the expression picture, and both people
alpha                            how much of the expression was added
file                             the output's picture
faces                            how many faces were found in it
to_target_mean, to_source_mean   identity distance to the mean embedding of the target's (source's)
                                 photographs
to_target_nearest                identity distance to the target's nearest photograph
verified                         1 if to_target_mean is within the model's threshold, else 0
AU12                             intensity (0-5) of that Action Unit in the output
AU12_expression                  the same in the expression picture
AU12_source, AU12_target         the same in the reference picture of the source (target)
AU12_present                     1 if the AU is present in the expression picture, else 0

NaN is unknown: no face was found, or the reader does not read that AU.
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
"""What is read besides the output: the expression picture, and both reference pictures."""

KEYS = ("expression", "source", "target")
"""A series is one expression of one source moved to one target, over alpha."""

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
