"""The formats of pictures that can be read here, by the endings of their files' names."""

import functools

from PIL import features

from glow_jax.io.messages import install_hint
from glow_jax.io.packages import installed

ALWAYS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp")
HEIC = (".heic", ".heif", ".hif")  # with the extra `photos`
AVIF = (".avif",)  # with a Pillow that decodes it: 11.3 or newer, as the extra `photos` asks
EVERY = (*ALWAYS, *HEIC, *AVIF)
PHOTOS = "photos"  # the extra


@functools.cache
def reads_heic() -> bool:
    """Whether pillow-heif is installed."""
    return installed("pillow_heif")


@functools.cache
def reads_avif() -> bool:
    """Whether Pillow decodes AVIF."""
    return "avif" in features.modules and bool(features.check("avif"))


def suffixes() -> tuple[str, ...]:
    """Endings, in lower case, of the files that count as pictures in a folder."""
    return (*ALWAYS, *(HEIC if reads_heic() else ()), *(AVIF if reads_avif() else ()))


def accepted() -> str:
    """The formats' names: "PNG, JPEG, WebP, HEIC or AVIF"."""
    names = ["PNG", "JPEG", "WebP"]
    names += ["HEIC"] if reads_heic() else []
    names += ["AVIF"] if reads_avif() else []
    return f"{', '.join(names[:-1])} or {names[-1]}"


def how_to_read(suffix: str) -> str:
    """How files of an ending come to be read; "" where nothing helps, or nothing is needed."""
    if suffix in suffixes() or suffix not in EVERY:
        return ""
    return f"to read {'AVIF' if suffix in AVIF else 'HEIC'}, {install_hint(PHOTOS)}"
