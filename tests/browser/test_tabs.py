"""Each tab used as a person would; what is downloaded is what the command beside it makes."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.page import actions
from glow_jax.cli.main import main
from glow_jax.cli.ui import bundled
from glow_jax.io.pictures import read_image
from tests.support.paths import ROOT
from tests.support.videos import write_video
from transfer.preview import PHOTOGRAPH_PX

pytestmark = pytest.mark.slow
HEADS = ROOT / "tests" / "heads"


def made_again(archive: Path, monkeypatch: pytest.MonkeyPatch, shown: str) -> dict[str, bytes]:
    """Unpack a ZIP, run its command; returns its outputs, after they were compared.

    Args:
        archive: that the page gave.
        monkeypatch: changes the working directory.
        shown: the command line on the page.
    """
    folder = archive.parent / "unpacked"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    monkeypatch.chdir(folder)
    recipe = json.loads(Path("recipe.json").read_text())
    said = shown.replace("\\\n", " ").split()
    assert said[:2] == recipe["command"][:2] and said[-1] == recipe["command"][-1]
    outputs = {name: (folder / name).read_bytes() for name in recipe["outputs_sha256"]}
    for name in outputs:
        (folder / name).unlink()
    assert main(recipe["command"][1:]) == 0
    made = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    compared = 0
    for name, data in outputs.items():
        if Path(name).suffix in (".png", ".jpg", ".mp4", ".npz"):
            found = [d for path, d in made.items() if path.endswith(name)]
            assert data in found, name
            compared += 1
    assert compared
    return outputs


def shown_command(page: Any, tab: str) -> str:
    return str(page.locator(f"#{tab}-command pre").inner_text())


def test_transfer(page: Any, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actions.choose(page, "expression", 2)
    actions.choose(page, "target", 0)
    actions.transferred(page)
    for _ in range(4):
        actions.moved(page, "transfer", "alpha", "ArrowLeft")
    page.locator("#transfer-figures .figures").filter(has_text="at 80 %").wait_for(
        timeout=actions.FIRST_MS
    )
    said = page.locator("#transfer-figures").inner_text()
    assert "Identity: the result still counts as the target" in said and "AU12" in said
    assert "bits/dim" in page.locator("#transfer-notes").inner_text()
    archive = actions.downloaded(page, "transfer-file-1", downloads)
    picture = actions.downloaded(page, "transfer-file-0", downloads)
    outputs = made_again(archive, monkeypatch, shown_command(page, "transfer"))
    assert picture.read_bytes() in outputs.values()
    # The slider in the picture stays where it was put when the picture changes.
    wipe = page.locator("#transfer-result .wipe input")
    wipe.fill("20")
    actions.moved(page, "transfer", "alpha")
    after = page.locator("#transfer-result img.after")
    assert after.evaluate("e => getComputedStyle(e).clipPath") == "inset(0px 0px 0px 20%)"


def test_photographs(page: Any, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two uploads of other sizes: faces are found, and the result is pasted back."""
    actions.upload(page, "expression", HEADS / "29_0.webp")
    actions.upload(page, "target", HEADS / "36_0.webp")
    actions.transferred(page)
    archive = actions.downloaded(page, "transfer-file-1", downloads)
    assert "--align" in shown_command(page, "transfer")
    shown = page.locator("#transfer-result img.after").evaluate("e => e.naturalWidth")
    outputs = made_again(archive, monkeypatch, shown_command(page, "transfer"))
    (pasted,) = [name for name in outputs if name.startswith("pasted/")]
    whole = read_image(downloads / "unpacked" / "result" / pasted)
    assert whole.shape == read_image(HEADS / "36_0.webp").shape
    assert shown == min(whole.shape[1], PHOTOGRAPH_PX)


def test_bundled_photographs(page: Any, downloads: Path) -> None:
    """JPEG in, JPEG out: the whole photograph is shown, and can be downloaded."""
    photographs = {n: p for n, p in enumerate(bundled.people().values()) if p.suffix == ".jpg"}
    number, path = next(iter(photographs.items()))
    actions.choose(page, "expression", 7)
    actions.choose(page, "target", number)
    actions.transferred(page)
    picture = actions.downloaded(page, "transfer-file-0", downloads)
    height, width = read_image(path).shape[:2]
    assert picture.suffix == ".jpg" and read_image(picture).shape == (height, width, 3)
    shown = page.locator("#transfer-result img.after").evaluate("e => e.naturalWidth")
    assert shown == round(width * min(1, PHOTOGRAPH_PX / max(width, height)))


def test_edit(page: Any, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actions.go_to(page, "Edit")
    actions.choose(page, "edit-picture", 6)  # a smile
    actions.opened_for_edit(page)
    assert "Nothing is edited yet" in page.locator("#edit-notes").inner_text()
    page.locator("#take-off input").check()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End"):
        actions.moved(page, "edit", "AU4", key)
    page.locator("#edit-command pre").filter(has_text="AU4+1.2").wait_for()
    page.locator("#set-surprise").click()
    page.locator("#edit-command pre").filter(has_text="AU26+0.8").wait_for()
    assert page.locator("#AU4 input[type=range]").input_value() == "0"
    page.locator("#edit-figures .figures").wait_for(timeout=actions.FIRST_MS)
    assert "asked for" in page.locator("#edit-figures").inner_text()
    archive = actions.downloaded(page, "edit-file-1", downloads)
    assert "--neutral" in shown_command(page, "edit")
    made_again(archive, monkeypatch, shown_command(page, "edit"))
    page.locator("#set-reset").click()
    page.get_by_text("Nothing is edited yet").wait_for()
    assert not page.locator("#take-off input").is_checked()


def test_direction(
    page: Any, downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = bundled.people()
    words = ["direction", str(people["person-16"]), str(people["person-36"])]
    assert main([*words, "-o", str(tmp_path / "hair.npz")]) == 0
    actions.go_to(page, "Edit")
    actions.choose(page, "edit-picture", 3)
    page.get_by_text("A direction in place of Action Units").click()
    actions.upload(page, "direction", tmp_path / "hair.npz")
    actions.opened_for_edit(page)
    assert not page.locator("#AU12").is_visible()
    actions.moved(page, "edit", "direction-alpha", "ArrowLeft")
    archive = actions.downloaded(page, "edit-file-1", downloads)
    assert "--direction hair.npz" in shown_command(page, "edit")
    made_again(archive, monkeypatch, shown_command(page, "edit"))


def test_animate(
    page: Any, downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions.go_to(page, "Animate")
    page.locator("#clip-bundled input").check()
    actions.choose(page, "animate-target", 1)
    page.locator("#animate-go").click()
    page.locator("#animate-command pre").wait_for(timeout=actions.FIRST_MS)
    assert "50 frames" in page.locator("#animate-state").inner_text()
    playing = "() => document.querySelector('#animation video').videoWidth == 64"
    page.wait_for_function(playing, timeout=actions.SOON_MS)
    archive = actions.downloaded(page, "animate-file-1", downloads)
    outputs = made_again(archive, monkeypatch, shown_command(page, "animate"))
    assert set(outputs) == {"result.mp4", "result.csv"}
    # An upload without a face is the command line's line.
    noise = np.random.default_rng(0).integers(0, 256, (6, 80, 96, 3), np.uint8)
    write_video(tmp_path / "wall.mp4", list(noise))
    page.locator("#clip-bundled input").uncheck()
    actions.upload(page, "clip", tmp_path / "wall.mp4")
    page.locator("#animate-go").click()
    assert "wall.mp4: no face can be used in any of 6 frames" in actions.refused(page)


def test_a_recording_of_the_webcam_drives(open_page: Any) -> None:
    """Chromium's fake camera shows a pattern, in which there is no face: the line says so."""
    page = open_page(permissions=["camera", "microphone"])
    actions.go_to(page, "Animate")
    actions.choose(page, "animate-target", 0)
    page.locator("#clip").get_by_label("Capture from camera").click()
    page.locator("#clip").get_by_text("Click to Access Webcam").click()
    page.locator("#clip").get_by_label("start recording").click()
    page.wait_for_timeout(2000)
    with page.expect_response(lambda answer: "/upload" in answer.url):
        page.locator("#clip").get_by_text("Stop", exact=True).click()
    page.wait_for_timeout(500)
    page.locator("#animate-go").click()
    assert "no face can be used in any of" in actions.refused(page)


def test_batch(page: Any, downloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job.csv").write_text(
        "expression,source,target,alpha\n"
        "shots/smile.png,wearer,other,1\nshots/blink.png,wearer,other,0.5\n"
    )
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        for name in ("smile", "blink"):
            archive.write(bundled.expressions()[name], f"shots/{name}.png")
        for name, person in (("wearer", "person-41"), ("other", "person-42")):
            for path in bundled.people()[person].iterdir():
                archive.write(path, f"{name}/{path.name}")
    actions.go_to(page, "Batch")
    actions.upload(page, "table", tmp_path / "job.csv")
    actions.upload(page, "batch-pictures", tmp_path / "people.zip")
    page.locator("#run").click()
    page.get_by_text("2 pictures made").wait_for(timeout=actions.FIRST_MS)
    results = actions.downloaded(page, "batch-file-0", downloads)
    with zipfile.ZipFile(results) as opened:
        made = {n: opened.read(n) for n in opened.namelist() if n.endswith(".png")}
        command = json.loads(opened.read("recipe.json"))["command"]
    with zipfile.ZipFile(tmp_path / "people.zip") as opened:
        opened.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(command[1:]) == 0
    assert made == {name: Path(name).read_bytes() for name in made} and len(made) == 2


def test_sample(page: Any, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actions.go_to(page, "Sample")
    page.locator("#seed input").fill("7")
    actions.drawn(page)
    archive = actions.downloaded(page, "sample-file-1", downloads)
    picture = actions.downloaded(page, "sample-file-0", downloads)
    assert "--seed 7" in shown_command(page, "sample")
    outputs = made_again(archive, monkeypatch, shown_command(page, "sample"))
    assert outputs == {"samples.png": picture.read_bytes()}
