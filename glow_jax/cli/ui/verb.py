"""The verb `ui`: open the page, and serve it until Ctrl-C."""

import argparse
import os
import sys
import threading

from glow_jax.cli.options import add_compile_cache_option, start_jax, whole_number

PORT = 7860


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ui`."""
    parser.description = (
        "Serves a page on which expressions are transferred with the mouse: pictures are dropped, "
        "a slider sets alpha, and results are downloaded with the command line that makes them. "
        "Only this machine reaches it, unless --host says otherwise, and nothing is fetched from "
        "or sent to other machines. Pictures are kept in a private folder and deleted after an "
        "hour, and at the end. Ctrl-C ends it."
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to serve at; 0.0.0.0 lets other machines use the page, without a password "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=whole_number(0, 65535),
        default=PORT,
        metavar="N",
        help="port to serve at; 0 chooses a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--open",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="open the page in the web browser (default: no)",
    )
    add_compile_cache_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve the page until a signal, and end the process with exit code 0."""
    from glow_jax.cli.ui.private_folder import private_folder, swept
    from glow_jax.cli.ui.server import application, is_loopback, serve
    from glow_jax.io.packages import need

    need("ui", "gradio")
    start_jax(args.compile_cache)
    shown = f"[{args.host}]" if ":" in args.host else args.host

    def started(port: int) -> None:
        url = f"http://{shown}:{port}"
        print(f"page: {url} (Ctrl-C ends it)", flush=True)
        if not is_loopback(args.host):
            print("other machines can use this page, without a password", file=sys.stderr)
        if args.open:
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    with private_folder() as folder, swept(folder):
        serve(application(folder, args.host, args.port), args.host, args.port, started)
    print("ended; uploads and results are deleted", file=sys.stderr, flush=True)
    os._exit(0)  # threads may be at work for users whose page is gone; they would report errors
