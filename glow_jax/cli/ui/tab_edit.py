"""The tab Edit: a slider for each Action Unit, neutral, and directions of the latent space."""

from collections.abc import Iterator, Sequence
from typing import Any

from glow_jax.cli.ui import bundled, words
from glow_jax.cli.ui.choosers import chooser, neutral_box, picture_settings
from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.forms import EditForm, Stated, command_text
from glow_jax.cli.ui.gather import EditFields, gather_edit
from glow_jax.cli.ui.live import Live, Wires, connect
from glow_jax.cli.ui.outcome import files_of, result_html, warnings_html
from glow_jax.cli.ui.parts import QUICK, downloads, file_box, off
from transfer.expression.action_units import ACTION_UNITS, COMBINATIONS

EMPTY = "Choose a picture, then press Edit: a slider appears for each movement of the face."
UNTOUCHED = "Nothing is edited yet: move a slider, or choose Neutral."
STRENGTH = 0.8  # activation of each unit of a combination
MAX_ALPHA = 2.0  # of a direction
STEP = 0.05
GROUPS = {
    "Brows": ("AU1", "AU2", "AU4"),
    "Eyes": ("AU5", "AU6", "AU7", "AU45"),
    "Mouth and nose": tuple(
        name
        for name in ACTION_UNITS
        if name not in ("AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU45")
    ),
}
UNITS = tuple(name for names in GROUPS.values() for name in names)  # in the order of the sliders


def stated(form: EditForm, neutral: bool, alpha: float, levels: Sequence[float]) -> Stated:
    """What the sliders say: `levels` are those of UNITS; of a direction, only alpha counts."""
    if form.direction is not None:
        return Stated(alpha=round(float(alpha), 4))
    pairs = zip(UNITS, levels, strict=True)
    added = tuple((name, round(float(level), 4)) for name, level in pairs)
    return Stated(bool(neutral), tuple((name, level) for name, level in added if level))


def levels_of(combination: str) -> list[float]:
    """The sliders' values, in the order of UNITS, of a combination; "" is none: all are 0."""
    names = COMBINATIONS.get(combination, ())
    return [STRENGTH if name in names else 0.0 for name in UNITS]


def build(gr: Any, engine: Engine) -> None:
    """Add the tab's components and events to the open page."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            fields, go = _inputs(gr)
        with gr.Column(scale=7, min_width=320):
            result = gr.HTML(words.placeholder(EMPTY), elem_id="edit-result")
            with gr.Column(visible=False) as below:
                with gr.Column() as by_units:
                    neutral, sliders, buttons = _unit_sliders(gr)
                with gr.Column(visible=False) as by_direction:
                    alpha = gr.Slider(
                        *(-MAX_ALPHA, MAX_ALPHA, 1.0),
                        step=STEP,
                        label="How much of the direction (alpha)",
                        info="0 is the picture itself, 1 adds the attribute, -1 the opposite",
                        elem_id="direction-alpha",
                    )
                notes = gr.HTML(elem_id="edit-notes")
                files = downloads(gr, "edit", "Picture", "Picture, inputs and recipe (.zip)")
                figures = gr.HTML(elem_id="edit-figures")
                command = gr.HTML(elem_id="edit-command")

    def opened(form: EditForm) -> list[Any]:
        of_units = form.direction is None
        return [gr.Column(visible=shown) for shown in (True, of_units, not of_units)]

    tab = Live(
        gather=lambda values: gather_edit(engine, EditFields.of(values)),
        asked=lambda form, neutral, alpha, *levels: stated(form, neutral, alpha, levels),
        opened=opened,
        now=lambda form, asked: _now(engine, form, asked),
        files=lambda form, asked: _files(gr, engine, form, asked),
    )
    wires = Wires(
        starts=[go.click],
        moves=[neutral.input, alpha.input, *(slider.input for slider in sliders)],
        after=[_pressed(button, name, neutral, sliders) for name, button in buttons.items()],
        fields=fields,
        sliders=[neutral, alpha, *sliders],
        columns=[below, by_units, by_direction],
        now=[result, notes, command],
        files=[figures, *files],
    )
    connect(gr, engine, tab, wires, "edit")


def _pressed(button: Any, name: str, neutral: Any, sliders: Sequence[Any]) -> Any:
    """The event of a button that sets all sliders; the one without a name unsets Neutral too."""
    if name:
        return button.click(lambda: levels_of(name), None, list(sliders), **QUICK)
    return button.click(lambda: [False, *levels_of("")], None, [neutral, *sliders], **QUICK)


def _now(engine: Engine, form: EditForm, asked: Stated) -> tuple[str, str, str]:
    """The result, what to know of it, and the command, before files are made."""
    preview, shown, note = engine.edited(form, asked)
    warnings = warnings_html(preview, form.model)
    if _is_empty(form, asked):
        return result_html(preview, shown, "as it is"), warnings + words.lines([UNTOUCHED]), ""
    notes = words.lines(words.remarks(note, 1.0, shown.kept))
    return (
        result_html(preview, shown, "edited"),
        warnings + notes,
        words.command(command_text(form.words(asked))),
    )


def _files(gr: Any, engine: Engine, form: EditForm, asked: Stated) -> Iterator[Any]:
    if _is_empty(form, asked):
        yield gr.skip(), "", *off(gr, 2)
        return
    yield from files_of(gr, engine, form, asked, "Measured in the result", "asked for")


def _is_empty(form: EditForm, asked: Stated) -> bool:
    return form.direction is None and asked.edit.is_empty


def _inputs(gr: Any) -> tuple[dict[str, Any], Any]:
    """The fields on the left, by the names of `EditFields.of`, and the button that starts."""
    picture, name = chooser(gr, "Picture", bundled.pictures(), "edit-picture")
    gr.HTML(f'<p class="consent">{words.CONSENT}</p>')
    go = gr.Button("Edit", variant="primary", elem_id="edit-go")
    with gr.Accordion("Neutral pictures of the person (they make Neutral more exact)", open=False):
        reference = neutral_box(gr, "edit-reference")
    with gr.Accordion("A direction in place of Action Units", open=False):
        direction = file_box(
            gr, label="Direction (.npz) of glow-jax direction", height=160, elem_id="direction"
        )
    with gr.Accordion("Settings", open=False):
        settings = picture_settings(gr, "Paste the result into the photograph")
    fields = {
        "picture": picture,
        "picture_name": name,
        "reference": reference,
        "direction": direction,
    }
    return fields | settings, go


def _unit_sliders(gr: Any) -> tuple[Any, list[Any], dict[str, Any]]:
    """Neutral, the sliders in the order of UNITS, and the buttons by the combination they set."""
    with gr.Row(elem_classes="presets"):
        names = {"": "Reset", **{name: name.capitalize() for name in COMBINATIONS}}
        buttons = {
            name: gr.Button(
                text.replace("-", " "), size="sm", min_width=60, elem_id=f"set-{name or 'reset'}"
            )
            for name, text in names.items()
        }
    neutral = gr.Checkbox(
        False,
        label="Neutral: first remove the expression",
        info="the expression that the face shows is read and subtracted",
        elem_id="take-off",
    )
    sliders = []
    for title, units in GROUPS.items():
        gr.HTML(f'<h4 class="group">{title}</h4>')
        with gr.Row(elem_classes="units"):
            for name in units:
                sliders.append(_unit_slider(gr, name))
    return neutral, sliders, buttons


def _unit_slider(gr: Any, name: str) -> Any:
    unit = ACTION_UNITS[name]
    return gr.Slider(
        *(unit.low, unit.high, 0.0),
        step=STEP,
        label=f"{unit.word.replace('-', ' ').capitalize()} ({name})",
        info=unit.moves,
        min_width=200,
        elem_id=name,
    )
