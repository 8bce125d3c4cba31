"""Expression transfer between faces.

    import transfer

    request = transfer.TransferRequest(
        expressions=["ann/smile.png"], source="ann", targets=["bob"], out="bob-smiles"
    )
    summary = transfer.transfer(request)

The calls, their requests and summaries stand here; `transfer.arithmetic` has the formulas on
latents. Importing the package loads no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transfer.api import Summary, batch, transfer
    from transfer.photos.reader import Photographs
    from transfer.requests import BatchRequest, TransferRequest

_MODULES = {
    "BatchRequest": "transfer.requests",
    "Photographs": "transfer.photos.reader",
    "Summary": "transfer.api",
    "TransferRequest": "transfer.requests",
    "batch": "transfer.api",
    "transfer": "transfer.api",
}

__all__ = ["BatchRequest", "Photographs", "Summary", "TransferRequest", "batch", "transfer"]


def __getattr__(name: str) -> Any:
    """Import what is asked for; see PEP 562."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
