"""Where pictures are chosen, and the settings that say what they are."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from glow_jax.cli.ui.gather import ALIGNED, BY_SIZE, PHOTOGRAPHS, SUITABLE
from glow_jax.cli.ui.parts import QUICK, file_box, picture_box
from glow_jax.model_card import bundled_names

MODELS = [("suitable for the pictures", SUITABLE), *bundled_names()]
METHODS = {
    SUITABLE: "suitable: glow for photographs, warp for aligned faces",
    "warp": "warp: the picture is warped",
    "glow": "glow: as warp, with the inside of the mouth that shows the expression; takes longer",
    "paper": "paper: addition in latent space (needs neutral pictures of the expression's person)",
}
SIZES = [("decide by their size", BY_SIZE), PHOTOGRAPHS, ALIGNED]


def chooser(gr: Any, label: str, options: dict[str, Path], key: str) -> tuple[Any, Any]:
    """A place for an upload, and bundled pictures below it, of which one can be chosen."""
    picture = picture_box(
        gr, label=label, height=230, elem_id=key, sources=["upload", "webcam", "clipboard"]
    )
    name = gr.Radio(
        [(one.removeprefix("person-").replace("-", " "), one) for one in options],
        label="or somebody who does not exist",
        elem_id=f"{key}-bundled",
        elem_classes="faces",
    )
    name.input(lambda chosen: str(options[chosen]), name, picture, **QUICK)
    picture.input(lambda: None, None, name, **QUICK)
    return picture, name


def neutral_box(gr: Any, key: str) -> Any:
    """A place for neutral pictures of a person."""
    return file_box(
        gr,
        label="One or more pictures of the same person without an expression",
        file_count="multiple",
        height=160,
        elem_id=key,
    )


def method_radio(gr: Any, names: Iterable[str]) -> Any:
    """The choice of a transfer method, of SUITABLE and `names`."""
    choices = [(METHODS[name], name) for name in (SUITABLE, *names)]
    return gr.Radio(choices, value=SUITABLE, label="Method")


def picture_settings(gr: Any, paste: str) -> dict[str, Any]:
    """What the pictures are, the model, and whether results are pasted; `paste` is its label."""
    return {
        "pictures": gr.Radio(SIZES, value=BY_SIZE, label="The pictures are"),
        "model": gr.Radio(MODELS, value=SUITABLE, label="Model"),
        "paste_back": gr.Checkbox(True, label=paste),
    }
