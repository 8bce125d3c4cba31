"""What the server refuses: other sites, other paths, files of addresses, and too much."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from glow_jax.cli.ui import guard
from glow_jax.cli.ui.guard import HEADERS, Guard, names_remote_file

HOSTS = ("127.0.0.1", "localhost", "[::1]")


def call(
    path: str,
    folder: Path,
    *,
    method: str = "GET",
    body: bytes = b"",
    hosts: tuple[str, ...] | None = HOSTS,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """The answer: status, headers, body. The application behind answers 200 with what it gets."""
    sent: list[Any] = []
    parts = [body[i : i + 100] for i in range(0, max(1, len(body)), 100)]
    waiting = [
        {"type": "http.request", "body": part, "more_body": i + 1 < len(parts)}
        for i, part in enumerate(parts)
    ]

    async def receive() -> Any:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        got, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            got, more = got + message["body"], message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
        await send({"type": "http.response.body", "body": got})

    all_headers = {"host": "127.0.0.1:7860"} | headers
    scope = {
        "type": "http",
        "path": path,
        "method": method,
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in all_headers.items()],
    }
    asyncio.run(Guard(inner, folder, hosts)(scope, receive, send))
    if not sent:
        return 0, {}, b""
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/config",
        "/theme.css",
        "/assets/index-abc.js",
        "/gradio_api/queue/join",
        "/gradio_api/file=/tmp/x.png",
    ],
)
def test_the_pages_own_paths_are_served(tmp_path: Path, path: str) -> None:
    status, headers, _ = call(path, tmp_path)
    assert status == 200 and headers["x-a"] == "b"
    assert HEADERS.keys() - headers.keys() <= {"cache-control"}
    assert "default-src 'self'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/process_recording",
        "/gradio_api/vibe-edit/",
        "/gradio_api/deep_link",
        "/gradio_api/mcp/sse",
        "/gradio_api/proxy=https://example.com",
        "/gradio_api/file=https://example.com/x.png",
        "/gradio_api/file=FILE:///etc/passwd",
        "/monitoring/x",
        "/login",
        "/assets/../config%00",
    ],
)
def test_other_paths_are_not(tmp_path: Path, path: str) -> None:
    assert call(path, tmp_path)[0] == 404


def test_only_known_hosts_may_be_named(tmp_path: Path) -> None:
    assert call("/", tmp_path, host="localhost:1")[0] == 200
    assert call("/", tmp_path, host="[::1]:7860")[0] == 200
    assert call("/", tmp_path, host="evil.example:7860")[0] == 421
    assert call("/", tmp_path, host="evil.example:7860", hosts=None)[0] == 200


def test_other_sites_may_not_call(tmp_path: Path) -> None:
    upload = "/gradio_api/upload"
    assert call(upload, tmp_path, origin="http://127.0.0.1:7860")[0] == 200
    assert call(upload, tmp_path, origin="http://evil.example")[0] == 403
    assert call(upload, tmp_path, origin="null")[0] == 403


def test_uploads_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_UPLOAD_BYTES", 250)
    post = {"method": "POST"}
    assert call("/gradio_api/upload", tmp_path, body=bytes(250), **post)[2] == bytes(250)
    assert call("/gradio_api/upload", tmp_path, content_length="251", **post)[0] == 413
    assert call("/gradio_api/upload", tmp_path, body=bytes(251), **post)[0] == 0  # ended
    monkeypatch.setattr(guard, "MAX_FOLDER_BYTES", 3)
    (tmp_path / "kept.png").write_bytes(b"1234")
    assert call("/gradio_api/upload", tmp_path, **post)[0] == 507


def test_calls_are_bounded_and_name_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    join, post = "/gradio_api/queue/join", {"method": "POST"}
    fine = json.dumps({"data": [{"path": "/tmp/a.png", "url": "http://127.0.0.1/a.png"}]}).encode()
    assert call(join, tmp_path, body=fine, **post)[0::2] == (200, fine)
    remote = json.dumps({"data": [[{"path": "HTTP://example.com/a.png"}]]}).encode()
    assert call(join, tmp_path, body=remote, **post)[0] == 400
    monkeypatch.setattr(guard, "MAX_CALL_BYTES", 10)
    assert call(join, tmp_path, body=fine, **post)[0] == 400


@pytest.mark.parametrize("body", [b"not json", b"[" * 100_000, b'{"path": "file:///etc/passwd"}'])
def test_odd_calls_are_refused(body: bytes) -> None:
    assert names_remote_file(body)


@pytest.mark.parametrize("body", [b"", b"null", b'{"path": "/a"}', b'{"path": [1, {"url": "a:"}]}'])
def test_plain_calls_are_not(body: bytes) -> None:
    assert not names_remote_file(body)
