"""Uploads: their names, their bounds, and archives that are hostile."""

import stat
import zipfile
from pathlib import Path

import pytest

from glow_jax.cli.ui import staging
from glow_jax.cli.ui.staging import Upload, safe_name, stage_person, unzip
from glow_jax.io.errors import InputError


@pytest.mark.parametrize(
    ("name", "taken", "expected"),
    [
        ("smile.png", (), "smile.png"),
        ("Ann smile.JPG", (), "Ann smile.JPG"),
        ("../../etc/passwd", (), "passwd"),
        ("C:\\pictures\\ann.png", (), "ann.png"),
        ("a\nb\0.png", (), "a-b-.png"),
        (".hidden.png", (), "hidden.png"),
        ("-o.png", (), "o.png"),
        ("", (), "picture"),
        ("..", (), "picture"),
        ("ann.png", ("ANN.jpg",), "ann-2.png"),
        ("ann.png", ("ann", "ann-2.webp"), "ann-3.png"),
        ("x" * 300 + ".png", (), "x" * 80 + ".png"),
    ],
)
def test_names_keep_what_is_safe(name: str, taken: tuple[str, ...], expected: str) -> None:
    assert safe_name(name, taken) == expected


def upload(tmp_path: Path, name: str, data: bytes = b"1") -> Upload:
    path = tmp_path / f"raw-{name}"
    path.write_bytes(data)
    return Upload(path, name)


def test_one_picture_is_a_file_and_several_are_a_folder(tmp_path: Path) -> None:
    one = stage_person([upload(tmp_path, "a.png")], tmp_path, "neutral", ())
    assert one == tmp_path / "a.png" and one.read_bytes() == b"1"
    both = [upload(tmp_path, "b.png"), upload(tmp_path, "b.png", b"2")]
    folder = stage_person(both, tmp_path, "neutral", ("a.png",))
    assert sorted(p.name for p in folder.iterdir()) == ["b-2.png", "b.png"]


def test_pictures_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "MAX_PICTURE_BYTES", 3)
    with pytest.raises(InputError, match=r"^large.png: 4 bytes; at most 3 in a picture$"):
        stage_person([upload(tmp_path, "large.png", b"1234")], tmp_path, "x", ())
    many = [upload(tmp_path, f"{i}.png") for i in range(17)]
    with pytest.raises(InputError, match="17 pictures of one person; at most 16"):
        stage_person(many, tmp_path, "x", ())


def archive(tmp_path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members:
            opened.writestr(name, data)
    return path


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = archive(tmp_path, ("people/", b""), ("people/ann/1.png", b"a"), ("smile.png", b"b"))
    found = unzip(path, tmp_path / "out")
    assert [str(p.relative_to(tmp_path / "out")) for p in found] == [
        "people/ann/1.png",
        "smile.png",
    ]
    assert found[1].read_bytes() == b"b"


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ("../out.png", "leads out"),
        ("a/../../out.png", "leads out"),
        ("/etc/out.png", "leads out"),
        ("..\\out.png", "leads out"),
        ("C:\\out.png", "leads out"),
        (link("etc"), "a link in the ZIP"),
        ("/".join("abcdefghijk"), "too long a path"),
        ("x" * 200 + ".png", "too long a path"),
    ],
)
def test_a_hostile_member_is_refused(
    tmp_path: Path, member: zipfile.ZipInfo | str, why: str
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=why):
        unzip(archive(tmp_path, ("fine.png", b""), (member, b"/etc/passwd")), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir()) and not (tmp_path / "out.png").exists()


def test_the_size_is_counted_and_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "MAX_ZIP_BYTES", 1000)
    path = archive(tmp_path, ("bomb.png", bytes(2000)))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="unpacks to 2000 bytes; at most 1000"):
        unzip(path, tmp_path / "out")
    said = path.read_bytes().replace((2000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    path.write_bytes(said)
    with pytest.raises(InputError, match="not a ZIP file|more than 1000"):
        unzip(path, tmp_path / "out")
    monkeypatch.setattr(staging, "MAX_ZIP_FILES", 2)
    many = archive(tmp_path, *((f"{i}.png", b"") for i in range(3)))
    with pytest.raises(InputError, match="3 files; at most 2"):
        unzip(many, tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x05\x06" + bytes(17)])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "some.zip"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"^some\.zip: not a ZIP file"):
        unzip(path, tmp_path)


def test_a_repeated_name_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, ("a.png", b"1"), ("b.png", b"2"))
    path.write_bytes(path.read_bytes().replace(b"b.png", b"a.png"))
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="not a ZIP file"):
        unzip(path, tmp_path / "out")
