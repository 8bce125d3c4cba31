"""Quality of rendered people: `python -m bench.truth.renders FACES [--facekit PATH]`.

FACES is a folder that `glow-jax render` made. Prints how often dlib's detectors find a face, how
well DeepFace tells people apart across expressions, poses and lights (equal error rate of
same-person against other-person pairs), and with --facekit how noisy the pictures are: the
standard deviation, in grey levels, between renders with other light paths.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def main(argv: list[str] | None = None) -> int:
    from glow_jax.io.cache_folders import cache_home

    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.renders", description=__doc__.splitlines()[0]
    )
    parser.add_argument("faces", type=Path, help="folder that `glow-jax render` made")
    parser.add_argument(
        "--people", type=int, default=50, help="largest number of people (default: %(default)s)"
    )
    parser.add_argument(
        "--facekit", type=Path, help="FaceKit, to measure noise (default: not measured)"
    )
    parser.add_argument(
        "--cache", type=Path, default=cache_home(), help="folder of scores (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    from glow_jax.data.synthetic_faces.dataset import read_labels
    from glow_jax.io.errors import InputError

    try:
        labels = list(read_labels(args.faces))
        chosen = sorted({label["identity"] for label in labels})[: args.people]
        labels = [label for label in labels if label["identity"] in chosen]
        judge(args, labels)
        if args.facekit:
            print(f"noise: {noise(args.facekit, labels[0]['seed']):.2f} grey levels")
    except (InputError, OSError) as error:
        print(f"bench.truth.renders: error: {error}", file=sys.stderr)
        return 2
    return 0


def judge(args: argparse.Namespace, labels: Sequence[dict[str, Any]]) -> None:
    from eval.faces import find_face, working_size
    from eval.files import read_picture
    from eval.identity import IdentityModel

    pictures = [read_picture(args.faces / label["file"]) for label in labels]
    found = [find_face(working_size(p.pixels)) is not None for p in pictures]
    print(f"{len(pictures)} pictures of {len({x['identity'] for x in labels})} people")
    print(f"face found (dlib): {sum(found)} ({np.mean(found):.1%})")
    model = IdentityModel(home=args.cache)
    model.check()
    embeddings = model.embed(pictures)
    ok = [i for i, e in enumerate(embeddings) if e.faces]
    print(f"embedded (DeepFace Dlib, its own quick detector): {len(ok)}")
    vectors = np.stack([embeddings[i].vector for i in ok])
    people = np.array([labels[i]["identity"] for i in ok])
    rate, at = equal_error_rate(vectors, people)
    print(f"equal error rate: {rate:.1%}, at a distance of {at:.3f}")


def equal_error_rate(vectors: np.ndarray, people: np.ndarray) -> tuple[float, float]:
    """The equal error rate of same-person pairs above, and other-person pairs below, a distance.

    Args:
        vectors: (N, D) embeddings.
        people: (N,) identities.

    Returns:
        The rate, and the distance at which it is reached.
    """
    one, other = np.triu_indices(len(people), 1)
    distance = np.linalg.norm(vectors[one] - vectors[other], axis=1)
    same = people[one] == people[other]
    near, far = np.sort(distance[same]), np.sort(distance[~same])
    limits = np.unique(distance)
    missed = 1 - np.searchsorted(near, limits, side="right") / len(near)
    passed = np.searchsorted(far, limits, side="right") / len(far)
    i = int(np.abs(missed - passed).argmin())
    return float((missed[i] + passed[i]) / 2), float(limits[i])


def noise(facekit: Path, seed: int, people: int = 6) -> float:
    """Standard deviation inside faces of 64 pixels, from pairs of renders; grey levels."""
    from glow_jax.data.synthetic_faces.facekit import load_facekit
    from glow_jax.data.synthetic_faces.people import specs
    from glow_jax.data.synthetic_faces.scene import Renderer

    renderer = Renderer(load_facekit(facekit))
    errors = []
    for spec in specs(range(people), 2, 64, "free", seed):
        one, other = renderer.render(spec), renderer.render(spec, noise=1)
        difference = one.image.astype(float) - other.image
        errors.append(difference[one.mask > 0].ravel())
    return float(np.concatenate(errors).std() / np.sqrt(2))


if __name__ == "__main__":
    sys.exit(main())
