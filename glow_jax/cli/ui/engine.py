"""The models of a page, loaded once, and the previews of its users, bounded in number."""

import collections
import dataclasses
import functools
import secrets
from pathlib import Path

from glow_jax.cli.ui import bundled
from glow_jax.cli.ui.forms import EditForm, Form, Stated, TransferForm
from glow_jax.cli.ui.turns import Turns
from transfer.methods.base import Models
from transfer.models import load_models
from transfer.preview import Preview, Shown
from transfer.requests import EditRequest, TransferRequest

MAX_PREVIEWS = 16
WITHOUT_PASTE = ("glow",)  # methods that paste too slowly for a slider


class Engine:
    """What all users of a page share.

    Attributes:
        folder: private folder of the page.
        turns: who computes; every use of a model is within `turns.mine()`.
    """

    def __init__(self, folder: Path):
        """Nothing is loaded yet; `folder` exists."""
        self.folder, self.turns = folder, Turns()
        self._models = functools.lru_cache(4)(load_models)
        self._previews: collections.OrderedDict[Form, Preview] = collections.OrderedDict()

    def models(self, name: str) -> Models:
        """A model, loaded by the first call.

        Raises:
            InputError: there is none.
        """
        return self._models(name)

    def new_folder(self, kind: str) -> Path:
        """A new folder for one request."""
        path = self.folder / kind / secrets.token_hex(8)
        path.mkdir(mode=0o700, parents=True)
        return path

    def preview(self, form: Form) -> Preview:
        """The preview of a form, prepared by the first call; call it within a turn.

        Raises:
            InputError: a picture cannot be used.
        """
        if form not in self._previews:
            request: TransferRequest | EditRequest
            if isinstance(form, EditForm):
                paste = form.paste_back
                any_edit = Stated() if form.direction else Stated(neutral=True)
                request = form.request(any_edit, self.folder)
            else:
                paste = form.paste_back and form.method not in WITHOUT_PASTE
                request = form.request(1.0, self.folder)
            request = dataclasses.replace(request, paste_back=paste)
            self._previews[form] = Preview(request, self.models(form.model), self.folder)
            while len(self._previews) > MAX_PREVIEWS:
                self._previews.popitem(last=False)
        self._previews.move_to_end(form)
        return self._previews[form]

    def shown(self, form: TransferForm, alpha: float) -> tuple[Preview, Shown]:
        """A form's preview, and its output at an alpha."""
        with self.turns.mine():
            preview = self.preview(form)
            return preview, preview.at(alpha)

    def edited(self, form: EditForm, stated: Stated) -> tuple[Preview, Shown, str]:
        """A form's preview, its output of an edit, and the output's note."""
        with self.turns.mine():
            preview = self.preview(form)
            if form.direction is None:
                preview.restate(stated.edit)
            return preview, preview.at(stated.alpha), preview.note

    def warm_up(self) -> None:
        """Compile what the first transfer needs, so that nobody waits for it."""
        form = TransferForm(
            bundled.expression("smile"), bundled.person("person-16"), bundled.person(bundled.WEARER)
        )
        self.shown(form, 1.0)
