"""The record of how a picture was made, as XMP in every picture that glow-jax writes."""

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
    """How a picture was made; embedded in every picture that glow-jax writes.

    Args:
        source_type: IPTC digital source type: composite for an edited photograph,
            trained for a sample, algorithmic for a render, into which no trained network went;
            enhanced for a photograph that was only cut and scaled.
        model: name of the model, non-empty and printable.
        recipe: values with which the picture can be made again (job id, alpha, ...), JSON.

    Raises:
        InputError: a field has another value.
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
    """Read the record of `write_image` (also in a JPEG, if a tool copied it).

    Returns:
        The record. None if there is none, or if it is incomplete or malformed: metadata of other
        tools must not stop a batch.

    Raises:
        InputError: the file itself cannot be read as a picture.
    """
    return provenance_in(scan_file(path).xmp)


def provenance_in(xmp: bytes) -> Provenance | None:
    """The record in an XMP packet; None if there is none, or if it is incomplete or malformed."""
    root = _xmp_root(xmp)
    try:
        return None if root is None else _parse_provenance(root)
    except (ValueError, RecursionError):
        return None


def read_source_type(path: StrPath) -> str | None:
    """Read the IPTC digital source type that a file declares, of any tool.

    Returns:
        The last part of its address, such as "digitalCapture"; None if there is none.

    Raises:
        InputError: the file itself cannot be read as a picture.
    """
    root = _xmp_root(scan_file(path).xmp)
    value = "" if root is None else _xmp_field(root, _IPTC, "DigitalSourceType")
    name = value.strip().rstrip("/").rpartition("/")[2]
    return name if re.fullmatch("[A-Za-z]{1,64}", name) else None


def xmp_packet(provenance: Provenance) -> str:
    """The record as XMP.

    Source: XMP specification part 1, section 7; IPTC Photo Metadata 2023.1.
    """
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
    """The root of a file's XMP; None if there is none that can be parsed."""
    # Entities, which may expand without limit, can only be declared in a DOCTYPE. UTF-8 is required
    # so that no DOCTYPE is hidden by another encoding.
    if not xmp or len(xmp) > MAX_METADATA_BYTES or b"<!DOCTYPE" in xmp:
        return None
    try:
        return ElementTree.fromstring(xmp.decode("utf-8"))
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None


def _parse_provenance(root: ElementTree.Element) -> Provenance:
    """The record; raises ValueError (of json, or InputError) if it is incomplete."""
    source_type = _xmp_field(root, _IPTC, "DigitalSourceType").removeprefix(_SOURCE_TYPES)
    recipe = json.loads(_xmp_field(root, _OURS, "recipe"))
    if not isinstance(recipe, dict):
        raise ValueError("the recipe is not an object")
    model = _xmp_field(root, _OURS, "model")
    return Provenance(cast(SourceType, source_type), model, recipe)


def _xmp_field(root: ElementTree.Element, namespace: str, name: str) -> str:
    """A simple property: an element or, in files of Adobe's tools, an attribute."""
    key = f"{{{namespace}}}{name}"
    for description in root.iter(f"{{{_RDF}}}Description"):
        value = description.get(key) or description.findtext(key)
        if value:
            return value
    return ""


def recipe_json(recipe: Mapping[str, Any]) -> str:
    """A recipe as sorted ASCII JSON: equal recipes give equal bytes, valid in any text chunk."""
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
