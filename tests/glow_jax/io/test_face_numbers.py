"""The number of a face behind a path, and files whose names look like that."""

from pathlib import Path

import pytest

from glow_jax.io.face_numbers import split_face


@pytest.mark.parametrize(
    ("files", "text", "found"),
    [
        (["a.jpg"], "a.jpg", ("a.jpg", None)),
        (["a.jpg"], "a.jpg#2", ("a.jpg", 2)),
        (["a.jpg"], "a.jpg#9999", ("a.jpg", 9999)),
        (["a.jpg", "a.jpg#2"], "a.jpg#2", ("a.jpg#2", None)),
        (["a.jpg#2"], "a.jpg#2", ("a.jpg#2", None)),
        (["a.jpg", "a.jpg#2"], "a.jpg#2#1", ("a.jpg#2", 1)),
        (["#1.jpg"], "#1.jpg", ("#1.jpg", None)),
        (["#1.jpg"], "#1.jpg#1", ("#1.jpg", 1)),
        (["party #3"], "party #3", ("party #3", None)),
        ([], "a.jpg#2", ("a.jpg#2", None)),
        *(
            (["a.jpg"], f"a.jpg{end}", (f"a.jpg{end}", None))
            for end in ("#", "#0", "#01", "#-1", "#2 ", "#x", "#10000", "#2\n", "#\u0662", "##2")
        ),
        (["two\nlines.jpg"], "two\nlines.jpg#2", ("two\nlines.jpg", 2)),
        (["\udcff.jpg"], "\udcff.jpg#2", ("\udcff.jpg", 2)),
        ([], "", ("", None)),
        ([], "#2", ("#2", None)),
        ([], "a\0.jpg#2", ("a\0.jpg#2", None)),
    ],
)
def test_a_number_counts_where_its_file_is_there(
    files: list[str],
    text: str,
    found: tuple[str, int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in files:
        Path(name).touch()
    assert split_face(text) == found
    if text and "\0" not in text:
        assert split_face(Path(text)) == found


def test_a_folder_has_no_faces_by_number(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    assert split_face(tmp_path / "ann#2") == (f"{tmp_path}/ann#2", None)
    (tmp_path / "b.jpg#1").symlink_to("nowhere")
    (tmp_path / "b.jpg").touch()
    assert split_face(tmp_path / "b.jpg#1") == (f"{tmp_path}/b.jpg#1", None)
