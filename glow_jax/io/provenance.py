"""The record of how a picture was made, written as XMP into every picture that glow-jax makes."""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal, cast, get_args
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from glow_jax.io.containers import MAX_METADATA_BYTES, StrPath, scan_file
from glow_jax.io.errors import InputError
from glow_jax.io.messages import reason

SourceType = Literal[
    "compositeWithTrainedAlgorithmicMedia",
    "trainedAlgorithmicMedia",
    "algorithmicMedia",
    "compositeSynthetic",
    "algorithmicallyEnhanced",
]

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = "http://ns.adobe.com/xap/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_OURS = "urn:glow-jax:provenance:1/"
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@dataclass(frozen=True)
class Provenance:
    """How a picture was made; embedded in every picture we write.

    Args:
        source_type: IPTC digital source type: composite for an edited photograph,
            trained for a sample, algorithmic for a render, into which no trained network went;
            enhanced for a photograph that was only cut and scaled.
        model: name of the model, non-empty and printable.
        recipe: what repeats the picture (job id, alpha, ...), as JSON values.

    Raises:
        InputError: a field is not as above.
    """

    source_type: SourceType
    model: str
    recipe: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.source_type not in get_args(SourceType):
            accepted = " or ".join(get_args(SourceType))
            raise InputError(f"source type {self.source_type!r} is not known; use {accepted}")
        if not self.model or not self.model.isprintable():
            raise InputError(f"model name {self.model!r} is not printable text")
        recipe_json(self.recipe)


def read_provenance(path: StrPath) -> Provenance | None:
    """Read what `write_image` recorded (in a JPEG too, where a tool carried it over).

    Returns:
        The record, or None when there is none, or when it is incomplete or malformed in
        any way: other people's metadata must not stop a batch.

    Raises:
        InputError: the file itself cannot be read as a picture.
    """
    root = _xmp_root(scan_file(path).xmp)
    try:
        return None if root is None else _parse_provenance(root)
    except (ValueError, RecursionError):
        return None


def read_source_type(path: StrPath) -> str | None:
    """Read the IPTC digital source type that a file declares, whoever wrote it.

    Returns:
        The last part of its address, such as "digitalCapture"; None when there is none.

    Raises:
        InputError: the file itself cannot be read as a picture.
    """
    root = _xmp_root(scan_file(path).xmp)
    value = "" if root is None else _xmp_field(root, _IPTC, "DigitalSourceType")
    name = value.strip().rstrip("/").rpartition("/")[2]
    return name if re.fullmatch("[A-Za-z]{1,64}", name) else None


def xmp_packet(provenance: Provenance) -> str:
    """Source: XMP specification part 1, section 7; IPTC Photo Metadata 2023.1."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f'<rdf:RDF xmlns:rdf="{_RDF}">\n'
        f'<rdf:Description rdf:about="" xmlns:xmp="{_XMP}"'
        f' xmlns:Iptc4xmpExt="{_IPTC}" xmlns:glow_jax="{_OURS}">\n'
        f"<Iptc4xmpExt:DigitalSourceType>{_SOURCE_TYPES}{provenance.source_type}"
        "</Iptc4xmpExt:DigitalSourceType>\n"
        f"<xmp:CreatorTool>{escape(creator())}</xmp:CreatorTool>\n"
        f"<glow_jax:model>{escape(provenance.model)}</glow_jax:model>\n"
        f"<glow_jax:recipe>{escape(recipe_json(provenance.recipe))}</glow_jax:recipe>\n"
        "</rdf:Description>\n</rdf:RDF>\n</x:xmpmeta>\n"
        '<?xpacket end="r"?>'
    )


def _xmp_root(xmp: bytes) -> ElementTree.Element | None:
    """The file's XMP, or None where there is none that can be read."""
    # Entities, hence their expansion, can only be declared in a DOCTYPE; insisting on
    # UTF-8 keeps one from hiding in another encoding.
    if not xmp or len(xmp) > MAX_METADATA_BYTES or b"<!DOCTYPE" in xmp:
        return None
    try:
        return ElementTree.fromstring(xmp.decode("utf-8"))
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None


def _parse_provenance(root: ElementTree.Element) -> Provenance:
    """Raises ValueError (json's, or InputError) when the record is not whole."""
    source_type = _xmp_field(root, _IPTC, "DigitalSourceType").removeprefix(_SOURCE_TYPES)
    recipe = json.loads(_xmp_field(root, _OURS, "recipe"))
    if not isinstance(recipe, dict):
        raise ValueError("the recipe is not an object")
    model = _xmp_field(root, _OURS, "model")
    return Provenance(cast(SourceType, source_type), model, recipe)


def _xmp_field(root: ElementTree.Element, namespace: str, name: str) -> str:
    """A simple property, as an element or, after Adobe's tools, as an attribute."""
    key = f"{{{namespace}}}{name}"
    for description in root.iter(f"{{{_RDF}}}Description"):
        value = description.get(key) or description.findtext(key)
        if value:
            return value
    return ""


def recipe_json(recipe: Mapping[str, Any]) -> str:
    """Sorted ASCII, so equal recipes give equal bytes and any text chunk can hold them."""
    try:
        return json.dumps(dict(recipe), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the recipe cannot be stored as JSON ({reason(error)})") from error


@functools.cache
def creator() -> str:
    try:
        return f"glow-jax {metadata.version('glow-jax')}"
    except metadata.PackageNotFoundError:
        return "glow-jax unknown"
