"""Expression transfer between faces.

    import transfer

    request = transfer.TransferRequest(
        expressions=["ann/smile.png"], source="ann", targets=["bob"], out="bob-smiles"
    )
    summary = transfer.transfer(request)

This package exports the two calls, their requests and their summary; `transfer.arithmetic` has the
formulas on latents. Importing the package loads no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transfer.api import Summary, batch, transfer
    from transfer.photos.aligned_faces import Photographs
    from transfer.requests import BatchRequest, TransferRequest
    from transfer.video.animate import Animated, animate
    from transfer.video.request import AnimateRequest

_MODULES = {
    "AnimateRequest": "transfer.video.request",
    "Animated": "transfer.video.animate",
    "BatchRequest": "transfer.requests",
    "Photographs": "transfer.photos.aligned_faces",
    "Summary": "transfer.api",
    "TransferRequest": "transfer.requests",
    "animate": "transfer.video.animate",
    "batch": "transfer.api",
    "transfer": "transfer.api",
}

__all__ = [
    "AnimateRequest",
    "Animated",
    "BatchRequest",
    "Photographs",
    "Summary",
    "TransferRequest",
    "animate",
    "batch",
    "transfer",
]


def __getattr__(name: str) -> Any:
    """Import a name of `_MODULES` when it is first used; see PEP 562."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
