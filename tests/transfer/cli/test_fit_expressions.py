"""The options of `fit-expressions`, and the photoreal folders that it reads."""

from pathlib import Path

import numpy as np
import pytest

from glow_jax.cli.main import main
from glow_jax.data.photoreal_faces.people import SIZES_PX
from glow_jax.data.photoreal_faces.shards import make_folder, read_made
from glow_jax.data.photoreal_faces.singles import people_plan
from glow_jax.io.errors import InputError
from tests.support.fake_people import start_people
from transfer.cli.fit_expressions import photoreal_pictures

AUS = ("AU12", "AU26")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photoreal") / "people"
    make_folder(path, people_plan(range(42), SIZES_PX, 0), start_people)
    return path


def test_splits_and_sizes_are_by_person(folder: Path) -> None:
    training, calibration = photoreal_pictures([folder], 64, AUS)
    assert [group.images.shape[1] for group in training] == [64, 128]
    assert [list(group.people) for group in calibration] == [[1, 41], [21]]
    people = [person for group in training for person in group.people]
    assert sorted(people) == [n for n in range(42) if n % 20 > 1 and n != 2]  # 2 has no face
    assert training[0].landmarks.shape == (17, 68, 2)
    assert np.abs(training[1].landmarks - training[1].landmarks[0]).max() == 0


def test_a_folder_may_be_unfinished(folder: Path) -> None:
    complete = read_made(folder)
    (folder / "64" / "labels.jsonl").unlink()
    (folder / "shards" / "000001.jsonl").rename(folder / "later")
    try:
        assert read_made(folder) == [row for row in complete if row["identity"] // 20 != 1]
    finally:
        (folder / "later").rename(folder / "shards" / "000001.jsonl")
    with pytest.raises(InputError, match="holds no pictures of `glow-jax generate`"):
        read_made(folder / "nothing")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--photoreal a --population-of b", "give --population-of or --photoreal, not both"),
        ("--photoreal a --steps 9", "--steps has no meaning with --photoreal"),
        ("--adapt a", "--adapt needs --photoreal"),
    ],
)
def test_options_that_mean_nothing_are_an_error(
    options: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit-expressions", "nowhere", *options.split()]) == 2
    assert words in capsys.readouterr().err
