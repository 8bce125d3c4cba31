"""An animation from the page: a clip and a photograph up, a video down."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glow_jax.cli.ui import bundled
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.finish import recipe_of, write_zip
from glow_jax.cli.ui.forms import (
    FOR_ALIGNED,
    FOR_PHOTOGRAPHS,
    MIN_FACE_PX,
    Person,
    alpha_words,
    inputs_of,
    photograph_settings,
    portable,
)
from glow_jax.cli.ui.gather import ALIGNED, BY_SIZE, SUITABLE
from glow_jax.cli.ui.staging import stage_file, stage_person
from glow_jax.io.containers import scan_file
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from transfer.methods import default_method

if TYPE_CHECKING:
    from transfer.video.animate import Animated
    from transfer.video.request import AnimateRequest

OUT = "result.mp4"
MAX_CLIP_BYTES = 100 * 10**6
MAX_FRAMES = 1800  # a minute, 30 a second
MAX_FRAME_PIXELS = 3840 * 2160
MAX_MADE_PIXELS = 4 * 10**9  # of all frames that are made: 1800 of 1920 x 1080
LONGER = "the command line, glow-jax animate, makes longer ones"

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class AnimateForm:
    """A clip that drives a picture.

    Attributes:
        driving: the clip.
        target: the picture.
        source_neutral, method, alpha, neutralise, mark: as in `transfer.AnimateRequest`.
        model: a bundled name, or a checkpoint directory.
        photographs: whether faces are looked for in the frames and in the picture.
        paste_back: whether the frames are the photograph.
    """

    driving: Person
    target: Person
    source_neutral: str = "auto"
    method: str = "warp"
    alpha: float = 1.0
    model: str = FOR_ALIGNED
    photographs: bool = False
    paste_back: bool = False
    neutralise: bool = False
    mark: str = ""

    def request(self, out: Path) -> "AnimateRequest":
        """The request that makes the video.

        Raises:
            InputError: a field has a value that it cannot have.
        """
        from transfer.video.request import AnimateRequest

        return AnimateRequest(
            driving=self.driving.path,
            target=self.target.path,
            out=out,
            source_neutral=self.source_neutral,
            model=self.model,
            method=self.method,
            alpha=self.alpha,
            photographs=photograph_settings() if self.photographs else None,
            paste_back=self.paste_back,
            neutralise=self.neutralise,
            mark=self.mark,
        )

    @property
    def words(self) -> list[str]:
        """The command line that makes the same files."""
        align = ["--min-face", str(MIN_FACE_PX)] if self.photographs else ["--no-align"]
        return [
            *("glow-jax", "animate", "--driving", self.driving.shown),
            *("--target", self.target.shown, "--source-neutral", self.source_neutral),
            *("--method", self.method, *alpha_words(self.alpha), "--model", self.model, *align),
            *(["--paste-back"] if self.paste_back else []),
            *(["--neutralise"] if self.neutralise else []),
            *(["--mark", self.mark] if self.mark else []),
            *("-o", OUT),
        ]


def gather(engine: Engine, values: Mapping[str, Any]) -> AnimateForm:
    """The form of the fields, by name, with the uploads in a folder of their own.

    Raises:
        InputError: the clip or the picture is missing, too large or of no known format, or the
            extra `video` is not installed.
    """
    clip, target = values["clip"], values["target_name"] or values["target"]
    if clip is None and not values["bundled"]:
        raise InputError("no clip: drop a video, record one, or choose the bundled one")
    if target is None:
        raise InputError("no picture: drop one, or choose one of the bundled people")
    folder = engine.new_folder("staged")
    if values["bundled"]:
        driving = bundled.clip()
    else:
        path = stage_file(clip, folder, MAX_CLIP_BYTES, "a clip")
        driving = Person(path, path.name)
    if isinstance(target, str):
        picture = bundled.picture(target)
    else:
        path = stage_person((target,), folder, "target", [driving.path.name])
        picture = Person(path, path.name)
    photographs = _are_photographs(engine, driving, picture, values)
    model = values["model"]
    if model == SUITABLE:
        model = FOR_PHOTOGRAPHS if photographs else FOR_ALIGNED
    method = values["method"]
    if method == SUITABLE:
        method = default_method(engine.models(model), photographs)
    return AnimateForm(
        driving,
        picture,
        str(values["source_neutral"]).strip() or "auto",
        method,
        round(float(values["alpha"]), 4),
        model,
        photographs,
        bool(values["paste_back"]) and photographs,
        bool(values["neutralise"]),
        "AI-edited" if values["mark"] else "",
    )


def _are_photographs(
    engine: Engine, driving: Person, picture: Person, values: Mapping[str, Any]
) -> bool:
    """Whether faces are looked for; checks the sizes of the clip and of the picture."""
    from glow_jax.io.video_reader import read_clip

    clip, scan = read_clip(driving.path), scan_file(picture.path)
    name = one_line(driving.shown)
    if clip.width * clip.height > MAX_FRAME_PIXELS:
        raise InputError(
            f"{name}: frames of {clip.width} x {clip.height} pixels; at most {MAX_FRAME_PIXELS} "
            "pixels here: reduce the clip"
        )
    frames = clip.declared or round(float(clip.rate) * (clip.seconds or 0))
    if frames > MAX_FRAMES:
        raise InputError(f"{name}: {frames} frames; at most {MAX_FRAMES} here; {LONGER}")
    if values["pictures"] != BY_SIZE:
        photographs = values["pictures"] != ALIGNED
    else:
        named = FOR_ALIGNED if values["model"] == SUITABLE else values["model"]
        size = engine.models(named).codec.size
        photographs = {(clip.height, clip.width), (scan.height, scan.width)} != {size}
    made = frames * scan.width * scan.height
    if photographs and values["paste_back"] and made > MAX_MADE_PIXELS:
        raise InputError(
            f"{one_line(picture.shown)}: {frames} frames of {scan.width} x {scan.height} pixels "
            "are too many here: reduce the photograph, do not paste the result into it, or use "
            "the command line"
        )
    return photographs


def run(engine: Engine, form: AnimateForm, progress: Progress) -> "Animated":
    """Make the video of a form.

    Args:
        engine: of the page.
        form: the clip, the picture and the settings.
        progress: called with "read" or "make", the number of frames done, and their total;
            meanwhile, others who wait have their turn. What it raises ends the animation.

    Raises:
        InputError: the clip or the picture cannot be used, or the clip has more than MAX_FRAMES
            frames, which it did not declare.
    """
    from transfer.video.animate import animate

    def step(stage: str, done: int, total: int) -> None:
        if done > MAX_FRAMES:
            name = one_line(form.driving.shown)
            raise InputError(f"{name}: more than {MAX_FRAMES} frames; {LONGER}")
        progress(stage, done, total)
        engine.turns.pause()

    out = engine.new_folder("animations") / OUT
    with engine.turns.mine():
        return animate(form.request(out), models=engine.models(form.model), progress=step)


def pack(done: "Animated", form: AnimateForm) -> Path:
    """A ZIP with the video, its table, the inputs, and the recipe, whose command runs there."""
    named = portable(form)
    inputs = {name: path.read_bytes() for name, path in inputs_of(named).items()}
    files = {path.name: path.read_bytes() for path in (done.out, done.table)}
    path = done.out.with_suffix(".zip")
    write_zip(path, inputs | files | recipe_of(named.words, inputs, files))
    return path


def held_rows(done: "Animated") -> Sequence[tuple[str, str]]:
    """The frames without a usable face, and why."""
    return [(f"{a} to {b}" if b > a else str(a), why) for a, b, why in done.held]
