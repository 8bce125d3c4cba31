"""Moving pictures: frames and record come back, equal input gives equal bytes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glow_jax.io.animations import (
    KINDS,
    check_kind,
    read_animation_provenance,
    up_and_down,
    write_animation,
)
from glow_jax.io.errors import InputError, OutputError
from glow_jax.io.provenance import Provenance

MADE_UP = Provenance("compositeWithTrainedAlgorithmicMedia", "test", {"alpha": [0.0, 1.0]})


def frames(n: int = 5, height: int = 33, width: int = 47) -> np.ndarray:
    """Plain colours, from dark to light."""
    levels = np.linspace(20, 230, n).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (n, height, width, 3)).copy()


def decoded(path: Path) -> np.ndarray:
    """(N, H, W, 3), by the libraries that play such files."""
    if path.suffix == ".mp4":
        av = pytest.importorskip("av")
        with av.open(str(path)) as container:
            return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    with Image.open(path) as picture:
        found = []
        for i in range(picture.n_frames):
            picture.seek(i)
            found.append(np.asarray(picture.convert("RGB")))
        return np.stack(found)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_and_the_record_come_back(tmp_path: Path, kind: str) -> None:
    if kind == "mp4":
        pytest.importorskip("av")
    path, want = tmp_path / f"a.{kind}", frames()
    write_animation(path, want, 0.06, MADE_UP)
    got = decoded(path)
    assert len(got) == 5
    np.testing.assert_allclose(got[:, :33, :47].astype(int), want, atol=3)
    assert read_animation_provenance(path) == MADE_UP
    first = path.read_bytes()
    write_animation(path, want, 0.06, MADE_UP)
    assert path.read_bytes() == first


def test_an_mp4_has_even_sides_and_shows_each_frame_as_long(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    write_animation(tmp_path / "a.mp4", frames(), 0.06, MADE_UP)
    got = decoded(tmp_path / "a.mp4")
    assert got.shape == (5, 34, 48, 3)
    np.testing.assert_allclose(got[:, 33, 47].astype(int), got[:, 32, 46], atol=2)
    with av.open(str(tmp_path / "a.mp4")) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
        assert container.duration == 300_000
    assert times == pytest.approx([0, 0.06, 0.12, 0.18, 0.24])
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_an_mp4_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("av")
    with pytest.raises(OutputError, match=r"none.a\.mp4: cannot be written"):
        write_animation(tmp_path / "none" / "a.mp4", frames(), 0.06, MADE_UP)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match=r"folder\.mp4: cannot be written"):
        write_animation(tmp_path / "folder.mp4", frames(), 0.06, MADE_UP)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]


def test_a_gif_does_not_flicker_where_nothing_moves(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    some = np.repeat(rng.integers(0, 256, (1, 32, 32, 3), np.uint8), 6, 0)
    some[:, 8:12, 8:12] = np.arange(0, 180, 30, dtype=np.uint8)[:, None, None, None]
    write_animation(tmp_path / "a.gif", some, 0.1, MADE_UP)
    got = decoded(tmp_path / "a.gif")
    still = np.ones((32, 32), bool)
    still[8:12, 8:12] = False
    assert (got[:, still] == got[:1, still]).all()


def test_a_file_without_a_record_has_none(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.gif")
    assert read_animation_provenance(tmp_path / "a.gif") is None
    (tmp_path / "b.gif").write_bytes(b'<?xpacket begin="x"?><!DOCTYPE a><?xpacket end="r"?>')
    assert read_animation_provenance(tmp_path / "b.gif") is None


def test_what_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="`animate` is 'avi'; use gif or webp or mp4"):
        check_kind("avi")
    with pytest.raises(InputError, match=r"shape \(4, 4, 3\); \(N, H, W, 3\) is needed"):
        write_animation(tmp_path / "a.gif", frames()[0, :4, :4], 0.1, MADE_UP)
    monkeypatch.setattr("glow_jax.io.packages.installed", lambda module: False)
    with pytest.raises(InputError, match="av is not installed: install the extra `video`"):
        check_kind("mp4")


def test_up_and_down_holds_the_ends() -> None:
    assert list(up_and_down(4, 2)) == [0, 0, 1, 2, 3, 3, 2, 1]
