"""An option that would do nothing beside another option is an error, even with its default."""

import pytest

from tests.support.command_line import fails

EVAL, TRAIN = ["eval", "OUT"], ["train", "--data", "folder:.", "--debug", "-o", "OUT"]
BATCH = ["batch", "job.csv", "-o", "OUT"]
TRANSFER = ["transfer", "--expression", "e", "--source", "s", "--target", "t", "-o", "OUT"]
FIT = ["fit-expressions", "DIR"]
CASES = [
    *(
        ([*EVAL, "--published", option, value], f"{option} has no meaning with --published")
        for option, value in (
            ("--identity", "Dlib"),
            ("--detector", "ssd"),
            ("--metric", "cosine"),
            ("--aus", "rendered"),
            ("--cache", "DIR"),
            ("--workers", "2"),
        )
    ),
    ([*EVAL, "--identity", "none", "--metric=euclidean"], "--metric has no meaning with --ident"),
    ([*EVAL, "--identity", "none", "--detector", "ssd"], "--detector has no meaning with --ident"),
    ([*BATCH, "--dry-run", "--limit", "4"], "--limit has no meaning with --dry-run"),
    ([*BATCH, "--dry-run", "--retry-failed"], "--retry-failed has no meaning with --dry-run"),
    ([*BATCH, "--dry-run", "--shard", "1/2"], "--shard has no meaning with --dry-run"),
    ([*BATCH, "--dry-run", "--engine", "ray"], "--engine has no meaning with --dry-run"),
    ([*TRANSFER, "--face", "largest"], "--face needs --align"),
    ([*TRANSFER, "--min-sharpness", "0.6"], "--min-sharpness needs --align"),
    ([*FIT, "--population-of", "F", "--seed", "0"], "--seed has no meaning with --population-of"),
    ([*FIT, "--population-of", "F", "--steps", "9"], "--steps has no meaning with --population-of"),
    ([*FIT, "--finder-of", "F", "--steps", "9"], "--steps has no meaning with --landmark-detector"),
    ([*FIT, "--precision", "fast"], "unknown option --precision"),
    (["render", "-o", "OUT", "--setting", "matched", "--pictures", "5"], "--pictures has no mean"),
    ([*TRAIN, "--data-dir", "DIR"], "--data-dir has no meaning for folders"),
    ([*TRAIN, "--init", "faces64", "--init-images", "256"], "--init-images has no meaning with"),
    ([*TRAIN, "--trained-levels", "1"], "--trained-levels needs --init"),
    (
        [*TRAIN, "--distributed", "--coordinator", "h:1", "--process", "0/2"],
        "--distributed has no meaning with --coordinator",
    ),
]


@pytest.mark.parametrize(("words", "said"), CASES, ids=[said for _, said in CASES])
def test_an_option_without_meaning_is_refused(words: list[str], said: str, capsys) -> None:
    assert said in fails(capsys, words)
