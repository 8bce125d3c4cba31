"""Serve the page until the process is told to stop."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.guard import Guard
from glow_jax.cli.ui.page import blocks, import_gradio, look
from glow_jax.cli.ui.staging import MAX_ZIP_BYTES
from glow_jax.io.errors import InputError
from glow_jax.io.messages import reason, silenced

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
STOP_S = 2  # for requests that are being answered


def application(folder: Path, host: str, port: int) -> Any:
    """The page as an ASGI application.

    Args:
        folder: private folder.
        host: address that the server is bound to.
        port: of the server.

    Raises:
        InputError: Gradio is not installed.
    """
    gr = import_gradio(folder / "uploads")
    from fastapi import FastAPI

    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    engine = Engine(folder)
    page = blocks(gr, engine)
    threading.Thread(target=engine.warm_up, daemon=True, name="warm-up").start()
    gr.mount_gradio_app(
        outer,
        page,
        path="/",
        server_name=host,
        server_port=port,
        footer_links=[],
        run_history=False,
        max_file_size=MAX_ZIP_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        show_error=True,
        **look(gr),
    )
    return Guard(outer, folder, (*LOOPBACK, host) if is_loopback(host) else None)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    return host in ("localhost", "::1") or host.startswith("127.")


def serve(app: Any, host: str, port: int, started: Callable[[int], None]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP (its terminal is closed).

    Args:
        app: from `application`.
        host: address to bind to.
        port: 0 chooses a free one.
        started: called with the port, once the page can be opened.

    Raises:
        InputError: the address cannot be bound to.
    """
    import socket

    import uvicorn

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as bound, _signalled() as stopped:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError as error:
            raise InputError(f"{host}, port {port}: cannot be used ({reason(error)})") from None
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=STOP_S
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([bound],), name="server")
        thread.start()
        while not server.started and thread.is_alive():
            thread.join(0.05)
        if server.started:
            started(bound.getsockname()[1])
        while thread.is_alive() and not stopped.wait(0.2):
            pass
        with silenced("uvicorn.error"):  # it would report each open page as an error
            server.should_exit = True
            thread.join(2 * STOP_S)


@contextlib.contextmanager
def _signalled() -> Iterator[threading.Event]:
    """An event that is set by the signals that end a page; a second signal acts as before.

    SIGHUP stays ignored where it is (nohup).
    """
    stopped = threading.Event()
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        stopped.set()
        signal.signal(number, before[number])

    wakeup = signal.set_wakeup_fd(-1)  # `glow_jax.cli.launcher` ends the process through it
    ending = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    for one in ending:
        before[one] = signal.signal(one, handle)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
