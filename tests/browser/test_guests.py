"""Who the page talks to; several users; damaged files; many requests."""

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.page import actions
from bench.page.driver import Server
from bench.page.requests import requests_in_a_row
from glow_jax.cli.ui import bundled

pytestmark = pytest.mark.slow
GROWTH_MB = 60


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = (path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir())
    return {match[1] for p in found if (match := re.match(r"socket:\[(\d+)\]", str(p)))}


def addresses(pid: int) -> list[tuple[str, str, bool]]:
    """(own address, other address, listening) of a process's IPv4 connections."""
    own, rows = sockets_of(pid), []
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        cells = line.split()
        if cells[9] in own:
            here, there = (
                socket.inet_ntoa(bytes.fromhex(cell.split(":")[0])[::-1]) for cell in cells[1:3]
            )
            rows.append((here, there, cells[3] == "0A"))
    return rows


def test_only_this_machine_is_talked_to(page: Any, server: Server) -> None:
    """The page's own requests are checked by the fixture, in every test."""
    actions.go_to(page, "Sample")
    actions.drawn(page)
    found = addresses(server.pid)
    assert [here for here, _, listening in found if listening] == ["127.0.0.1"]
    assert {there for _, there, listening in found if not listening} <= {"127.0.0.1"}
    config = page.request.get(server.url + "/config").json()
    assert config["analytics_enabled"] is False and not config.get("share_url")
    assert page.request.get(server.url + "/monitoring").status == 404
    for word in ("Use via API", "Built with Gradio"):
        assert not page.get_by_text(word).is_visible()
    elsewhere = {"Host": "example.org"}
    assert page.request.get(server.url, headers=elsewhere).status == 421


def test_several_users_wait_for_each_other(open_page: Callable[..., Any]) -> None:
    """A slider answers while another user's animation runs; each sees only what is theirs."""
    ann, bob, eve = open_page(), open_page(), open_page()
    for page, expression in ((ann, 1), (bob, 3)):
        actions.choose(page, "expression", expression)
        actions.choose(page, "target", 0)
        page.locator("#go").click()
    for page in (ann, bob):
        page.locator("#transfer-result img.after").wait_for(timeout=actions.FIRST_MS)
    actions.go_to(eve, "Animate")
    eve.locator("#clip-bundled input").check()
    shown = eve.locator("#animate-command pre")
    for number, name in ((2, "person-41"), (3, "person-42")):  # the first one compiles programs
        actions.choose(eve, "animate-target", number)
        eve.locator("#animate-go").click()
        if name == "person-42":
            actions.moved(ann, "transfer", "alpha", "ArrowLeft")
            actions.moved(bob, "transfer", "alpha", "ArrowLeft")
            assert name not in shown.inner_text(), "they waited for the whole animation"
        shown.filter(has_text=f"{name}/").wait_for(timeout=actions.FIRST_MS)
    texts = [page.locator("#transfer-command pre").inner_text() for page in (ann, bob)]
    assert "disgust.png" in texts[0] and "surprise.png" in texts[1]


@pytest.mark.parametrize("end", ["", "cut", "bomb"])
def test_a_damaged_direction_or_clip_is_one_line(page: Any, tmp_path: Path, end: str) -> None:
    whole = bundled.CLIP.read_bytes()
    data = {"": b"", "cut": whole[: len(whole) // 2], "bomb": b"PK\x03\x04" + bytes(10**6)}[end]
    for ending in ("npz", "mp4"):
        (tmp_path / f"bad.{ending}").write_bytes(data)
    actions.go_to(page, "Edit")
    actions.choose(page, "edit-picture", 0)
    page.get_by_text("A direction in place of Action Units").click()
    actions.upload(page, "direction", tmp_path / "bad.npz")
    page.locator("#edit-go").click()
    assert "bad.npz" in actions.refused(page)
    actions.go_to(page, "Animate")
    actions.upload(page, "clip", tmp_path / "bad.mp4")
    actions.choose(page, "animate-target", 0)
    page.wait_for_timeout(1500)
    if page.locator(".toast-body.error").count():  # the browser cannot play it
        actions.refused(page)
    page.locator("#animate-go").click()
    said = actions.refused(page)
    assert "bad.mp4" in said, said


def test_200_requests_leave_memory_flat(page: Any, server: Server) -> None:
    found = requests_in_a_row(page, server, 200)
    assert len(found.seconds) == 200 and len(found.rss_mb) == 21
    late = found.rss_mb[10:]  # the first half fills the caches of previews and programs
    assert late[-1] - late[0] < GROWTH_MB, found.rss_mb
