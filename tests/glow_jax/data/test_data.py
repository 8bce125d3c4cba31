"""Training data: TFDS without TensorFlow, folders, TFRecords, and threads that keep order."""

import io
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_jax.checkpoints import read_card
from glow_jax.cli.main import main
from glow_jax.data import (
    ArraySource,
    FolderSource,
    check_data,
    default_held_out,
    load_folder,
    open_data,
    prefetched,
    registered,
    sources,
)
from glow_jax.data.sources import fitted, read_all
from glow_jax.data.tfds_source import TfdsSource
from glow_jax.data.tfrecord import Shard, TFRecords
from glow_jax.io.errors import InputError

tfds = pytest.importorskip("tensorflow_datasets")
SHAPE = (8, 8, 3)


def pictures(n: int, seed: int, height: int = 12, width: int = 8) -> np.ndarray:
    """Wide bands of colour, so that a crop and a resize can be told apart."""
    rng = np.random.default_rng(seed)
    return np.broadcast_to(
        rng.integers(0, 256, (n, 1, 1, 3), np.uint8), (n, height, width, 3)
    ).copy()


def png(image: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    file.seek(0)
    return file


class TinyBands(tfds.core.GeneratorBasedBuilder):
    """A data set of the tests' own: 12x8 pictures in one colour, framed."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(shape=(12, 8, 3)), "label": np.int64}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: object) -> dict:
        return {"train": self._generate_examples(20, 0), "test": self._generate_examples(6, 1)}

    def _generate_examples(self, n: int, seed: int) -> Iterator:
        for i, image in enumerate(pictures(n, seed)):
            yield i, {"image": png(image), "label": i}


class NoPictures(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"label": np.int64})
        )

    def _split_generators(self, dl_manager: object) -> dict:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator:
        yield 0, {"label": 0}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tfds")


# -- TFDS


def test_a_tfds_set_is_prepared_and_read_by_index(data_dir: Path) -> None:
    source = open_data("tfds:tiny_bands", SHAPE, data_dir=data_dir)
    assert len(source) == 20 and "tiny_bands/1.0.0@train" in source.name
    images = source.read([3, 0, 3])
    assert images.shape == (3, *SHAPE) and images.dtype == np.uint8
    np.testing.assert_array_equal(images[0], images[2])
    every = {tuple(i[0, 0]) for i in source.read(np.arange(20))}
    assert every == {tuple(i[0, 0]) for i in pictures(20, 0)}
    assert "tensorflow" not in sys.modules


def test_a_split_and_a_share_of_one(data_dir: Path) -> None:
    assert len(open_data("tfds:tiny_bands@test", SHAPE, data_dir=data_dir)) == 6
    share = open_data("tfds:tiny_bands@train[:50%]", SHAPE, data_dir=data_dir)
    whole = open_data("tfds:tiny_bands@train", SHAPE, data_dir=data_dir)
    np.testing.assert_array_equal(share.read(range(10)), whole.read(range(10)))
    assert len(share) == 10 and share.sha256() != whole.sha256()
    assert default_held_out("tfds:tiny_bands", 8, data_dir) == "tfds:tiny_bands@test"


def test_large_sets_are_decoded_as_they_are_read(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = open_data("tfds:tiny_bands", SHAPE, data_dir=data_dir)
    monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 0)
    large = open_data("tfds:tiny_bands", SHAPE, data_dir=data_dir)
    assert isinstance(small, ArraySource) and isinstance(large, TfdsSource)
    np.testing.assert_array_equal(small.read(range(20)), large.read(range(20)))
    again = open_data("tfds:tiny_bands", SHAPE, data_dir=data_dir)
    assert large.sha256() == again.sha256()


def tfrecord(records: list[bytes]) -> bytes:
    return b"".join(struct.pack("<Q", len(r)) + b"CRC1" + r + b"CRC2" for r in records)


def test_tfrecords_are_read_by_index(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / str(i)).write_bytes(tfrecord([b"%d-%d" % (i, j) * j for j in range(5)]))
    records = TFRecords([Shard(f"{tmp_path}/0", 1, 3), Shard(f"{tmp_path}/1", 0, 5)])
    assert len(records) == 8
    assert records[0] == b"0-1" and records[2] == b"0-3" * 3 and records[7] == b"1-4" * 4
    assert records[3] == b""
    with pytest.raises(InputError, match="too few records"):
        TFRecords([Shard(f"{tmp_path}/0", 3, 3)])
    (tmp_path / "0").write_bytes((tmp_path / "0").read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"):
        TFRecords([Shard(f"{tmp_path}/0", 0, 1)])


def test_a_set_prepared_as_tfrecord_is_the_same(data_dir: Path, tmp_path: Path) -> None:
    """What TFDS prepares by default, made here of the same records without TensorFlow."""
    source = TfdsSource("tiny_bands", "train", (8, 8), data_dir=data_dir)
    folder = tmp_path / "tiny_bands" / "1.0.0"
    folder.mkdir(parents=True)
    original = data_dir / "tiny_bands" / "1.0.0"
    for name in ("dataset_info.json", "features.json"):
        text = (original / name).read_text().replace("array_record", "tfrecord")
        (folder / name).write_text(text)
    records = [source._records[i] for i in range(20)]
    (folder / "tiny_bands-train.tfrecord-00000-of-00001").write_bytes(tfrecord(records))
    same = TfdsSource("tiny_bands", "train[5:]", (8, 8), data_dir=tmp_path)
    assert type(same._records) is TFRecords
    np.testing.assert_array_equal(same.read(range(15)), source.read(range(5, 20)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("tfds:", "use folder:DIR, tfds:NAME"),
        ("tfds:@train", "use folder:DIR, tfds:NAME"),
        ("cifar10", "use folder:DIR, tfds:NAME"),
        ("tfds:no_such_set", "no such data set; its catalogue"),
        ("tfds:tiny_bands/blue", "tfds:tiny_bands/blue: .*blue"),
        ("tfds:tiny_bands@dev", "no split dev .*it has train, test"),
        ("tfds:tiny_bands@train[", r"no split train\["),
        ("tfds:no_pictures", "0 picture features"),
        ("tfds:celeb_a_hq/256", r"tfds:celeb_a_hq/256: "),
    ],
)
def test_what_cannot_be_opened_says_why_in_one_line(
    data_dir: Path, words: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_data(words, SHAPE, data_dir=data_dir)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 900


def test_tfds_own_rules_for_manual_downloads_are_relayed(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(self: object, dl_manager: tfds.download.DownloadManager) -> dict:
        return {"train": self._generate_examples(1, dl_manager.manual_dir)}  # type: ignore[attr-defined]

    class ByHand(TinyBands):
        MANUAL_DOWNLOAD_INSTRUCTIONS = "Put data256x256.tar\n  into it by hand."
        _split_generators = ask

    with pytest.raises(InputError, match=r"manual.*Put data256x256.tar into it by hand") as caught:
        open_data("tfds:by_hand", SHAPE, data_dir=data_dir)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("word", registered.DATA_SETS)
def test_the_data_sets_of_ours_are_known_by_one_table(word: str, data_dir: Path) -> None:
    sizes = registered.sizes_px(word)
    assert sizes and list(sizes) == sorted(sizes)
    check_data(word)
    check_data(f"{word}@validation")
    with pytest.raises(InputError, match=f"use folder:DIR, .* or {word}"):
        check_data(f"{word}:rest")


def test_a_folder_of_data_must_exist_and_hold_images(tmp_path: Path) -> None:
    for words in (f"folder:{tmp_path}", f"folder:{tmp_path}/none"):
        with pytest.raises(InputError, match=str(tmp_path)):
            check_data(words)


def test_a_set_without_a_test_split_asks_for_one(data_dir: Path) -> None:
    with pytest.raises(InputError, match=r"no test split \(it has train\).*train\[90%:\]"):
        default_held_out("tfds:no_pictures", 8, data_dir)
    with pytest.raises(InputError, match="held_out"):
        default_held_out("folder:somewhere", 8)


def test_without_tfds_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match="install the extra `train`.*in a clone"):
        open_data("tfds:cifar10", SHAPE)


@pytest.mark.slow
def test_training_on_a_tfds_set_holds_out_its_test_split(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["train", "--data", "tfds:tiny_bands", "--data-dir", str(data_dir), "--crop", "8"]
    words += ["--preset", "debug", "--width", "8", "--steps", "1", "--batch-size", "4"]
    words += ["--pictures", "0", "--no-tensorboard", "-o", f"{tmp_path}/run"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "20 training images (tfds:tiny_bands/1.0.0@train), 6 held out" in said
    data = read_card(tmp_path / "run" / "model")["data"]
    assert data["held_out"] == "tfds:tiny_bands/1.0.0@test"


# -- fitting


def test_fitting_crops_the_centre_to_the_aspect() -> None:
    image = np.zeros((218, 178, 3), np.uint8)
    image[20:198] = 200  # the square in the middle
    assert (fitted(image, (64, 64), 3) == 200).all()
    image = np.zeros((218, 178, 3), np.uint8)
    image[35:183, 15:163] = 90
    assert (fitted(image, (64, 64), 3, crop=148) == 90).all()
    assert fitted(image, (32, 64), 1).shape == (32, 64, 1)
    assert fitted(image[..., :1], (16, 16), 3).shape == (16, 16, 3)
    rgba = np.dstack([image, np.zeros((218, 178), np.uint8)])
    assert (fitted(rgba, (64, 64), 3, crop=148) == 90).all()


def test_shrinking_averages() -> None:
    checkers = np.indices((64, 64)).sum(0) % 2 * 255
    image = np.repeat(checkers[..., None], 3, -1).astype(np.uint8)
    assert np.abs(fitted(image, (8, 8), 3).astype(int) - 127)[1:-1, 1:-1].max() < 10


# -- folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, image in enumerate(pictures(12, 0, 8, 8)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.jsonl").write_text('{"file": "0.png"}\n')
    return tmp_path


def test_a_folder_in_the_order_of_its_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_array_equal(load_folder(folder, (8, 8)), pictures(12, 0, 8, 8))
    small = open_data(f"folder:{folder}", SHAPE)
    monkeypatch.setattr(sources, "IN_MEMORY_BYTES", 0)
    large = open_data(f"folder:{folder}", SHAPE)
    assert isinstance(large, FolderSource) and large.name == f"folder:{folder.name}"
    np.testing.assert_array_equal(small.read([11, 2]), large.read([11, 2]))
    before = large.sha256()
    (folder / "11.png").unlink()
    assert open_data(f"folder:{folder}", SHAPE).sha256() != before


def test_a_folder_of_another_aspect_or_a_damaged_file(folder: Path) -> None:
    Image.fromarray(pictures(1, 1, 12, 8)[0]).save(folder / "12.png")
    with pytest.raises(InputError, match=r"12.png: 8x12 pixels; training needs the aspect"):
        open_data(f"folder:{folder}", SHAPE)
    assert len(open_data(f"folder:{folder}", SHAPE, crop=8)) == 13
    (folder / "12.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"12.png"):
        read_all(FolderSource(folder, (8, 8)), SHAPE)


# -- prefetching


def test_prefetching_keeps_order_and_is_bounded() -> None:
    lock, started = threading.Lock(), []

    def load(step: int) -> int:
        with lock:
            started.append(step)
        time.sleep(0.002 * (step % 3))
        return step * step

    for n, value in enumerate(prefetched(load, range(40), depth=5, threads=3)):
        assert value == n * n
        with lock:
            assert len(started) <= n + 1 + 5
    assert sorted(started) == list(range(40))


def test_an_error_arrives_at_its_step_and_ends_the_threads() -> None:
    def load(step: int) -> int:
        if step == 3:
            raise InputError("3 is damaged")
        return step

    batches = prefetched(load, range(100), depth=4)
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="3 is damaged"):
        next(batches)
    batches = prefetched(load, range(3), depth=1)
    assert next(batches) == 0
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("glow-jax-data")]
