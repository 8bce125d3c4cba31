"""What a method paints into mouths that open: `python -m bench.truth.mouths PAIRS -o OUT.json`.

PAIRS is as for `bench.truth.photoreal_pairs`. To separate the painting from the estimate of the
expression, the landmarks and Action Units of the labels are given: the target's picture gets the
landmarks of its own picture with the expression. Figures are medians and means inside the truth's
lips at the model's size, over the pictures whose mouth opens.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.truth.photoreal_pairs import (
    Album,
    Case,
    cases_of,
    commit,
    lips_mask,
    mouth_figures,
    opens,
)

NAMES = ("mae", "ssim", "sharpness")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth.mouths", description=__doc__.splitlines()[0]
    )
    parser.add_argument("pairs", type=Path, help="folder of generate --setting pairs")
    parser.add_argument("--model", default="faces64", help="(default: %(default)s)")
    parser.add_argument(
        "--expressions", metavar="MODEL", help="whose expression model is used (default: --model)"
    )
    parser.add_argument("--splits", nargs="+", default=["test"], help="(default: test)")
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON")
    args = parser.parse_args(argv)
    from glow_jax.data.photoreal_faces.shards import read_labels
    from glow_jax.io.errors import InputError
    from transfer.models import load_models

    try:
        labels = {Path(r["file"]).stem: r for r in read_labels(args.pairs, 256, "pairs")}
        labels = {name: row for name, row in labels.items() if row["split"] in args.splits}
        cases = [case for case in cases_of(labels) if opens(labels, case)]
        if not cases:
            raise InputError(f"{args.pairs}: no mouth opens in {args.splits}")
        models = load_models(args.model)
        other = load_models(args.expressions) if args.expressions else models
        if other.expression_model is None:
            raise InputError(f"model {other.codec.name!r} has no expressions.npz")
    except (InputError, OSError) as error:
        print(f"bench.truth.mouths: error: {error}", file=sys.stderr)
        return 2
    album = Album(args.pairs, models.codec, labels)
    rows = measure(models.codec, other.expression_model, album, labels, cases)
    found = {"commit": commit(), "model": models.codec.name, "mouths": len(cases)}
    found |= {"splits": args.splits, "rows": rows}
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    for name, row in rows.items():
        print(f"{name:28s} " + ", ".join(f"{key} {value:.3f}" for key, value in row.items()))
    return 0


def measure(
    codec: Any, model: Any, album: Album, labels: dict[str, Any], cases: list[Case]
) -> dict[str, dict[str, float]]:
    """The figures of each way to paint."""
    from transfer.methods.glow import Light, light_of, with_mouth

    side = codec.size[0]
    truth = album.pixels([album.number[case.truth] for case in cases])
    inside = np.stack([lips_mask(labels[c.truth]["landmarks"], side) for c in cases])
    warped, base, mouth, suited = given_landmarks(model, album, labels, cases)
    n = len(cases)
    plain = Light(np.full(n, 1.0, np.float32), np.zeros(n, np.float32))
    light = light_of(codec, base, suited)
    ways = {
        "warp, nothing added": warped,
        "warp with its residual": base,
        "source's mouth as it is": with_mouth(base, mouth, plain),
        "... in the target's colours": with_mouth(base, suited, plain),
        "... gain by the flow": with_mouth(base, suited, light._replace(offset=plain.offset)),
        "... gain and offset by it": with_mouth(base, suited, light),
    }
    rows = {}
    for name, pictures in ways.items():
        rounded = np.clip(np.floor(pictures), 0, 255).astype(np.uint8)
        figures = [mouth_figures(*three) for three in zip(rounded, truth, inside, strict=True)]
        middle, mean = np.median(figures, 0), np.mean(figures, 0)
        rows[name] = dict(zip(NAMES, middle.tolist(), strict=True))
        rows[name] |= {f"{key}_mean": float(v) for key, v in zip(NAMES, mean, strict=True)}
    return rows


def given_landmarks(
    model: Any, album: Album, labels: dict[str, Any], cases: list[Case]
) -> tuple[np.ndarray, ...]:
    """The targets warped, with the residual, and the sources' mouths as they are and tinted."""
    import jax
    import jax.numpy as jnp

    from transfer.expression import model as em
    from transfer.expression.mouth import mouth_between, tinted

    def marks(names: list[str]) -> Any:
        return jnp.asarray([labels[name]["landmarks"] for name in names], jnp.float32) / 256

    def units(names: list[str]) -> np.ndarray:
        return np.array([[labels[n]["aus"].get(au, 0.0) for au in model.aus] for n in names])

    targets, truths = [c.target for c in cases], [c.truth for c in cases]
    pixels = album.pixels([album.number[name] for name in targets])
    shown = album.pixels([album.number[case.shown] for case in cases])
    before, after, at = marks(targets), marks(truths), marks([case.shown for case in cases])
    activations = jnp.asarray(units(truths) - units(targets), jnp.float32)

    @jax.jit
    def painted(images: Any, details: Any) -> tuple[Any, ...]:
        warped = em.warp_pictures(model, images.astype(jnp.float32), before, after - before)
        base = em.with_displaced(model, images, before, after - before, activations)
        colours = em.face_colour(images, before), em.face_colour(details, at)
        plain = details.astype(jnp.float32)
        kinds = (plain, tinted(plain, *colours))
        mouths = (mouth_between(model, before, after, at, kind) for kind in kinds)
        return warped, base, *mouths

    warped, base, *mouths = map(np.asarray, painted(jnp.asarray(pixels), jnp.asarray(shown)))
    half = np.float32(0.5)
    return warped + half, base + half, *mouths


if __name__ == "__main__":
    sys.exit(main())
