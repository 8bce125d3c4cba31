"""What the server refuses before Gradio sees it, and the headers of every answer."""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from glow_jax.cli.ui.private_folder import size_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_UPLOAD_BYTES = 220 * 10**6  # of one request
MAX_CALL_BYTES = 2 * 10**6  # of a request that is no upload
MAX_FOLDER_BYTES = 2 * 10**9  # of all uploads and results
API = "/gradio_api"
# What the page's own script asks for; everything else that Gradio serves is refused.
PATHS = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/(assets|static)/[\w./-]+"
    rf"|{API}/(upload|upload_progress|heartbeat/\w+|queue/(join|data)|run/predict|startup-events|app_id"
    r"|reset|cancel|info|token|component_server|file=.+)"
)
REMOTE = re.compile(r"\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)  # a scheme: http:, file:, ...
HEADERS = {
    "content-security-policy": "default-src 'self'; script-src 'self' blob: "
    "'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Guard:
    """An ASGI application around another one."""

    def __init__(self, inner: Application, folder: Path, hosts: Iterable[str] | None):
        """Nothing is served yet.

        Args:
            inner: the page's application.
            folder: private folder, whose size is bounded.
            hosts: names by which a browser may call this server, without ports; None is any. They
                keep pages of other sites from calling it by a name of their own that leads here.
        """
        self._inner, self._folder = inner, folder
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        refused = self._refused(scope, headers)
        if refused:
            await _answer(send, *refused)
            return
        is_upload = scope["path"] == f"{API}/upload"
        most = MAX_UPLOAD_BYTES if is_upload else MAX_CALL_BYTES
        if is_upload:
            receive = _bounded(receive, most)
        elif scope["method"] == "POST":
            body = await _whole(receive, most)
            if body is None or names_remote_file(body):
                await _answer(send, 400, "not accepted")
                return
            receive = _again(body, receive)
        await self._inner(scope, receive, _with_headers(send, scope["path"]))

    def _refused(self, scope: Message, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Status and text of a refusal; None is no refusal."""
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            return 421, "unknown host"
        origin = headers.get("origin")
        if origin and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "another site's page may not call this one"
        if not PATHS.fullmatch(scope["path"]) or REMOTE.match(scope["path"].partition("file=")[2]):
            return 404, "not found"
        if scope["path"] != f"{API}/upload":
            return None
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > MAX_UPLOAD_BYTES:
            return 413, f"at most {MAX_UPLOAD_BYTES} bytes can be uploaded at once"
        if size_of(self._folder) > MAX_FOLDER_BYTES:
            return 507, "too many files are kept already; try again in an hour"
        return None


def names_remote_file(body: bytes) -> bool:
    """Whether a call's JSON names a file by an address, which Gradio would fetch."""
    try:
        waiting = [json.loads(body or b"null")]
    except (ValueError, RecursionError):
        return True
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and REMOTE.match(path):
                return True
            waiting += value.values()
    return False


def _name(host: str) -> str:
    """A host without its port."""
    return re.sub(r":\d+$", "", host).lower()


def _bounded(receive: Receive, most: int) -> Receive:
    """A receiver that ends the connection where more than `most` bytes arrive."""
    n = 0

    async def some() -> Message:
        nonlocal n
        message = await receive()
        n += len(message.get("body", b""))
        return message if n <= most else {"type": "http.disconnect"}

    return some


async def _whole(receive: Receive, most: int) -> bytes | None:
    """A request's body; None if it has more than `most` bytes, or does not arrive."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return body


def _again(body: bytes, receive: Receive) -> Receive:
    """A receiver of a body that was received already."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def some() -> Message:
        return messages.pop() if messages else await receive()

    return some


def _with_headers(send: Send, path: str) -> Send:
    """A sender that adds HEADERS; what the page consists of may be kept by the browser."""
    kept = path.startswith(("/assets/", "/static/"))
    own = {k: v for k, v in HEADERS.items() if not (kept and k == "cache-control")}

    async def some(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [(k, v) for k, v in message["headers"] if k.decode().lower() not in own]
            message["headers"] = [*others, *((k.encode(), v.encode()) for k, v in own.items())]
        await send(message)

    return some


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
