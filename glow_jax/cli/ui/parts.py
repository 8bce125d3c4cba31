"""Components that several tabs share, and how functions of the page fail.

`gr` is the module gradio everywhere: only `page` imports it, when the page is made.
"""

import argparse
import functools
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from glow_jax.cli.options import TOLD, flags_of
from glow_jax.cli.options import error_line as of_command
from glow_jax.cli.ui.private_folder import PREFIX
from glow_jax.cli.ui.staging import Upload
from glow_jax.io.messages import reason

PRIVATE = {"api_visibility": "private"}
QUICK = {**PRIVATE, "show_progress": "hidden", "queue": False}
_PRIVATE_PATH = re.compile(rf"\S*{PREFIX}[^/\s]*/(?:[a-z]+/[0-9a-f]+/)?")


def error_line(error: Exception, flags: Mapping[str, str] = {}) -> str:
    """An error as the command line says it, without the private folder's path.

    Args:
        error: of a request.
        flags: of the verb, from `glow_jax.cli.options.flags_of`.
    """
    told = isinstance(error, TOLD)
    line = of_command(error, flags) if told else f"{type(error).__name__}: {reason(error)}"
    return _PRIVATE_PATH.sub("", line)


def failing(gr: Any, function: Callable[..., Any], flags: Mapping[str, str] = {}) -> Any:
    """The function, whose errors the page shows as one line that stays until it is closed."""

    def shown(error: Exception) -> Exception:
        if not isinstance(error, TOLD):
            traceback.print_exception(error, file=sys.stderr)
        line = error_line(error, flags)
        return gr.Error(line, duration=None, title="Not done", print_exception=False)

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def steps(*args: Any) -> Iterator[Any]:
            try:
                yield from function(*args)
            except Exception as error:
                raise shown(error) from None

        return steps

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except Exception as error:
            raise shown(error) from None

    return call


def picture_box(gr: Any, **how: Any) -> Any:
    """A place for one picture, which gives its file as it is: nothing decodes it but our reader."""
    box = gr.Image(type="filepath", buttons=["fullscreen"], **how)
    box.preprocess = _upload
    return box


def clip_box(gr: Any, **how: Any) -> Any:
    """A place for a clip, which gives its file as it is."""
    box = gr.Video(
        sources=["upload", "webcam"],
        include_audio=True,
        webcam_options=gr.WebcamOptions(mirror=False),
        buttons=[],
        **how,
    )
    box.preprocess = _upload
    return box


def video_box(gr: Any, **how: Any) -> Any:
    """A place where a video is shown, as it is: no other program converts it."""
    from gradio.data_classes import FileData

    box = gr.Video(interactive=False, buttons=[], loop=True, autoplay=True, **how)
    box.postprocess = lambda path: path and FileData(path=str(path), orig_name=Path(path).name)
    return box


def file_box(gr: Any, **how: Any) -> Any:
    """A place for files, which gives them as uploads."""
    box = gr.File(**how)
    box.preprocess = _uploads
    return box


def _upload(payload: Any) -> Upload | None:
    """The upload of Gradio's description of a file."""
    if payload is None or not payload.path:
        return None
    path = Path(payload.path)
    return Upload(path, payload.orig_name or path.name)


def _uploads(payload: Any) -> tuple[Upload, ...]:
    """The uploads of Gradio's description of one or several files."""
    if payload is None:
        return ()
    several = getattr(payload, "root", None)
    files = several if isinstance(several, list) else [payload]
    return tuple(upload for upload in map(_upload, files) if upload is not None)


def downloads(gr: Any, key: str, *labels: str) -> list[Any]:
    """Buttons for files, which are off until there are any."""
    with gr.Row():
        return [
            gr.DownloadButton(label, interactive=False, size="md", elem_id=f"{key}-file-{i}")
            for i, label in enumerate(labels)
        ]


def off(gr: Any, n: int) -> list[Any]:
    """The values of `n` `downloads` without files."""
    return [gr.DownloadButton(value=None, interactive=False) for _ in range(n)]


def flags_of_verb(verb: str) -> dict[str, str]:
    """The flags of a verb, by parameter."""
    from glow_jax.cli.main import VERBS

    parser = argparse.ArgumentParser()
    importlib.import_module(VERBS[verb][0]).add_options(parser)
    return flags_of(parser)


def ready(gr: Any, *paths: Path) -> list[Any]:
    """The values of `downloads` for files."""
    return [gr.DownloadButton(value=str(path), interactive=True) for path in paths]
