"""Expression transfer between faces, and edits of faces.

    import transfer

    request = transfer.TransferRequest(
        expressions=["ann/smile.png"], source="ann", targets=["bob"], out="bob-smiles"
    )
    summary = transfer.transfer(request)

    smile = transfer.Edit(set={"AU12": 0.8})
    transfer.edit(transfer.EditRequest(["bob/1.png"], "bob-edited", smile))

This package exports the calls, their requests and their summary; `transfer.editing` edits arrays,
and `transfer.arithmetic` has the formulas on latents. Importing the package loads no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transfer.api import batch, edit, interpolate, neutralise, transfer
    from transfer.complete import Summary
    from transfer.expression.edits import Edit
    from transfer.photos.aligned_faces import Photographs
    from transfer.requests import BatchRequest, EditRequest, InterpolateRequest, TransferRequest
    from transfer.video.animate import Animated, animate
    from transfer.video.request import AnimateRequest

_MODULES = {
    "AnimateRequest": "transfer.video.request",
    "Animated": "transfer.video.animate",
    "BatchRequest": "transfer.requests",
    "Edit": "transfer.expression.edits",
    "EditRequest": "transfer.requests",
    "InterpolateRequest": "transfer.requests",
    "Photographs": "transfer.photos.aligned_faces",
    "Summary": "transfer.complete",
    "TransferRequest": "transfer.requests",
    "animate": "transfer.video.animate",
    "batch": "transfer.api",
    "edit": "transfer.api",
    "interpolate": "transfer.api",
    "neutralise": "transfer.api",
    "transfer": "transfer.api",
}

__all__ = [
    "AnimateRequest",
    "Animated",
    "BatchRequest",
    "Edit",
    "EditRequest",
    "InterpolateRequest",
    "Photographs",
    "Summary",
    "TransferRequest",
    "animate",
    "batch",
    "edit",
    "interpolate",
    "neutralise",
    "transfer",
]


def __getattr__(name: str) -> Any:
    """Import a name of `_MODULES` when it is first used; see PEP 562."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
