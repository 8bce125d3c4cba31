"""What the tabs with sliders share: a result that is shown at once, and files that follow.

Files are made when the sliders have not moved for `SETTLED_S` seconds. A request is dropped when a
later one of the same session arrives.
"""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from glow_jax.cli.ui.engine import Engine
from glow_jax.cli.ui.parts import PRIVATE, failing, flags_of_verb, off

MAX_SESSIONS = 1000
SETTLED_S = 1.0  # after the last move of a slider, before files are made


class Latest:
    """What each session asked for last, so that older requests can be left out."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self._lock = threading.Lock()
        self._of: collections.OrderedDict[str, Any] = collections.OrderedDict()

    def put(self, session: str, asked: Any) -> None:
        """A session asks for something."""
        with self._lock:
            self._of[session] = asked
            self._of.move_to_end(session)
            while len(self._of) > MAX_SESSIONS:
                self._of.popitem(last=False)

    def get(self, session: str) -> Any:
        """What a session asked for last; None is nothing."""
        with self._lock:
            return self._of.get(session)


@dataclasses.dataclass(frozen=True)
class Live:
    """What a tab does.

    Attributes:
        gather: from the values of the fields, by name, to a form.
        asked: from a form and the values of the sliders to what they ask for.
        opened: from a form to the values of the columns, which are hidden before.
        now: from a form and what is asked to the values that are shown at once.
        files: from a form and what is asked to the values that follow, step by step: the first
            value of `now` again, and those of the files.
    """

    gather: Callable[..., Any]
    asked: Callable[..., Any]
    opened: Callable[[Any], Sequence[Any]]
    now: Callable[[Any, Any], Sequence[Any]]
    files: Callable[[Any, Any], Iterator[Any]]


@dataclasses.dataclass(frozen=True)
class Wires:
    """The components of a tab, as `Live` names what becomes of them.

    Attributes:
        starts: events that gather the fields anew, of which the first has a progress indicator.
        moves: events of the sliders.
        after: events that set the sliders by other means, such as buttons.
        fields: inputs, by name.
        sliders: inputs.
        columns, now: outputs.
        files: outputs: the figures, and the buttons of `downloads`.
    """

    starts: Sequence[Any]
    moves: Sequence[Any]
    fields: Mapping[str, Any]
    sliders: Sequence[Any]
    columns: Sequence[Any]
    now: Sequence[Any]
    files: Sequence[Any]
    after: Sequence[Any] = ()


def connect(gr: Any, engine: Engine, tab: Live, wires: Wires, verb: str) -> None:
    """Connect the events of a tab; errors name the flags of `verb`."""
    latest, flags, n_fields = Latest(), flags_of_verb(verb), len(wires.fields)
    figures, *buttons = wires.files
    moving = [*wires.now, *buttons]
    form = gr.State(None)

    def first(request: gr.Request, *values: Any) -> tuple[Any, ...]:
        with engine.turns.mine():
            made = tab.gather(dict(zip(wires.fields, values, strict=False)))
        asked = tab.asked(made, *values[n_fields:])
        latest.put(str(request.session_hash), (made, asked))
        shown = *tab.opened(made), *tab.now(made, asked)
        return made, *shown, "", *off(gr, len(buttons))  # until there are new figures and files

    def moved(request: gr.Request, made: Any, *values: Any) -> Any:
        if made is None:
            return [gr.skip() for _ in (*wires.now, *buttons)]
        asked = tab.asked(made, *values)
        latest.put(str(request.session_hash), (made, asked))
        return [*tab.now(made, asked), *off(gr, len(buttons))]

    def settle(request: gr.Request, made: Any, *values: Any) -> Iterator[Any]:
        session = str(request.session_hash)
        if made is None:
            return
        latest.put(session, (made, tab.asked(made, *values)))
        while (asked := latest.get(session)) is not None and asked[0] is made:
            time.sleep(SETTLED_S)
            if latest.get(session) == asked:
                for step in tab.files(*asked):
                    if latest.get(session) != asked:
                        break
                    yield step
                else:
                    return

    quiet = {**PRIVATE, "show_progress": "hidden", "concurrency_limit": 8}
    ran = gr.on(
        list(wires.starts),
        failing(gr, first, flags),
        [*wires.fields.values(), *wires.sliders],
        [form, *wires.columns, *wires.now, *wires.files],
        show_progress="minimal",
        show_progress_on=[wires.now[0]],
        concurrency_limit=8,
        **PRIVATE,
    )
    inputs, kept = [form, *wires.sliders], [wires.now[0], figures, *buttons]
    ran.success(failing(gr, settle, flags), inputs, kept, **quiet)
    for one in wires.after:
        shown = one.then(failing(gr, moved, flags), inputs, moving, **quiet)
        shown.success(failing(gr, settle, flags), inputs, kept, **quiet)
    for function, outputs in ((moved, moving), (settle, kept)):
        how = {"trigger_mode": "always_last", **quiet}
        gr.on(list(wires.moves), failing(gr, function, flags), inputs, outputs, **how)
