"""Compare transfers with the truth: `python -m bench.truth FACES --train TRAIN -o OUT`.

FACES are rendered people on whom neither the flow, nor the expression model, nor the judge was
trained (`glow-jax render --setting truth --people 0:24 --pictures 16 -o FACES`); TRAIN are training
people (`--setting pairs`), from whom some of the compared methods learn. Each target has a source.
Every canonical expression is transferred by every method, in two settings: *matched* (both people
with the same pose, light and lens) and *free* (every picture with its own). The result is compared
with a render of the target with that expression. Writes table.md, truth.json, sheets and frontier
plots. A run that was killed continues when it is repeated: scores are cached in OUT/cache.
"""

import argparse
import dataclasses
import itertools
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from bench import plots
from bench.truth.names import heading

MAIN_K = 4
SWEEP = (0.5, 1.0, 1.25, 1.5)
SWEPT = ("paper", "pixel", "warp")
PLOTTED = ("none", "oracle", *SWEPT, "averaged direction", "warp only", "warp, true code")
SHOWN = ("pixel", "paper", "averaged direction", "warp only", "warp", "warp, true code")
BY_K = ("paper", "neutral means", "pixel", "warp")
TRAINING_PICTURES = 1500  # largest number of pairs of TRAIN from which methods learn
FIXED = ("none", "oracle", "oracle, other noise", "nearest")  # methods without alpha
RENDER_NOISE = 2.5  # grey levels, between two renders of one scene (`bench.truth.renders`)
NONE = float("nan")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.truth", description=__doc__.splitlines()[0]
    )
    parser.add_argument("faces", type=Path, help="folder rendered with --setting truth")
    parser.add_argument(
        "--train", type=Path, required=True, help="folder rendered with --setting pairs"
    )
    parser.add_argument("--model", default="faces64", help="model (default: %(default)s)")
    parser.add_argument("-o", "--out", type=Path, required=True, help="output folder")
    parser.add_argument(
        "--targets", type=int, default=8, help="number of targets (default: %(default)s)"
    )
    parser.add_argument("--skip", type=int, default=0, help="people to skip first (default: 0)")
    parser.add_argument(
        "--k",
        type=int,
        nargs="+",
        default=[1, 4, 16],
        help="numbers of pictures of a person (default: 1 4 16)",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", help="methods to compare (default: all)")
    parser.add_argument("--quick", action="store_true", help="alpha 1 and k 4 only")
    args = parser.parse_args(argv)
    from glow_jax.io.errors import InputError

    try:
        return run(args)
    except (InputError, OSError) as error:
        print(f"bench.truth: error: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    from bench.truth import pictures as truth_pictures
    from bench.truth import tables as truth_tables
    from bench.truth.scores import score_outputs

    started = time.time()
    world = World(args)
    plan = world.plan(args)
    outputs, references = world.make(plan)
    print(f"{len(outputs)} outputs made in {time.time() - started:.0f} s", file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)

    def report(done: int, total: int) -> None:
        print(f"\rscored {done}/{total} ", end="", file=sys.stderr, flush=True)

    scores = score_outputs(
        outputs, references, args.out / "cache", workers=args.workers, progress=report
    )
    print(f"\nscored in {time.time() - started:.0f} s", file=sys.stderr)
    rows = truth_tables.table(scores)
    about = world.about(args) | {"seconds": round(time.time() - started)}
    truth_tables.write_json(rows, args.out / "truth.json", **about)
    text = truth_tables.markdown(rows)
    (args.out / "table.md").write_text(text + "\n")
    print(text)
    write_pictures(args.out, outputs, references, rows, truth_pictures)
    return 0


def plotted_rows(rows: Any, k: int) -> list[Any]:
    """The rows that the frontier shows: of methods in `PLOTTED` that saw k pictures."""
    return [row for row in rows if row["method"] in PLOTTED and row["k"] == k]


def write_pictures(
    out: Path, outputs: Sequence[Any], references: Sequence[Any], rows: Any, pictures: Any
) -> None:
    """Contact sheets and frontier plots of both settings."""
    for setting in ("matched", "free"):
        there = [r for r in references if r.setting == setting]
        if not there:
            continue
        wanted = ("smile", "bigsmile", "surprise", "anger", "sad", "disgust", "fear", "blink")
        shown = []
        for i, name in enumerate(wanted):
            of_name = [r for r in there if r.expression == name]
            shown.append(of_name[i % len(of_name)])
        keys = {r.key for r in shown}
        k = min({o.k for o in outputs if o.setting == setting}, key=lambda n: abs(n - MAIN_K))
        few = [
            o for o in outputs if o.key in keys and o.k == k and o.alpha == 1 and o.method in SHOWN
        ]
        if few:
            names = {pictures.column_of(o): heading(o.method) for o in few}
            sheet = pictures.contact_sheet(shown, few, names)
            pictures.write_png(sheet, out / f"sheet_{setting}.png")
        plotted = plotted_rows(rows, k)
        if plotted and not plots.is_available():
            print("no frontier: matplotlib is not installed (extra `bench`)", file=sys.stderr)
        elif plotted:
            frontier = pictures.frontier(plotted, setting, k)
            plots.save(out / f"frontier_{setting}.png", frontier, "python -m bench.truth")


@dataclasses.dataclass(frozen=True)
class Request:
    """One output to make."""

    method: str
    setting: str
    k: int
    alpha: float
    expression: str
    source: int
    target: int


class World:
    """The people, the model and the training material, from which outputs are made."""

    def __init__(self, args: argparse.Namespace):
        import glow_jax as gj
        from glow_jax.data.synthetic_faces.people import AUS, CANONICAL
        from glow_jax.io.errors import InputError
        from transfer.models import codec_of, load_expressions

        self.gj, self.aus = gj, AUS
        self.canonical = [name for name in CANONICAL if name != "neutral"]
        self.activations = CANONICAL
        self.model = gj.load(args.model)
        self.codec = codec_of(self.model, "exact")
        shapes = self.model.config.latent_shapes
        self.expression_model = load_expressions(args.model)
        self.pictures, self.labels = read_faces(args.faces)
        people = sorted({label["identity"] for label in self.labels.values()})
        if len(people) - args.skip < 3:
            raise InputError(f"{args.faces}: {len(people)} people; use 3 or more after --skip")
        self.people = people[args.skip :][: args.targets]
        self.material = self._material(args.train, shapes)
        self.latents = self._encoded()
        self.raw = {name: self._raw(eps) for name, eps in self.latents.items()}

    def _encode(self, images: np.ndarray) -> np.ndarray:
        parts = [images[i : i + 50] for i in range(0, len(images), 50)]
        return np.concatenate([np.asarray(self.gj.flatten(self.model.encode(p))) for p in parts])

    def _encoded(self) -> dict[str, np.ndarray]:
        names = sorted(n for n, label in self.labels.items() if label["identity"] in self.people)
        vectors = self._encode(np.stack([self.pictures[name] for name in names]))
        return dict(zip(names, vectors, strict=True))

    def _raw(self, eps: np.ndarray) -> np.ndarray:
        """Flat raw latents z of standardised latents."""
        latents = self.gj.unflatten(jnp.asarray(eps[None]), self.model)
        return np.asarray(self.gj.flatten(self.model.z_from_eps(latents)))[0]

    def _standardised(self, raw: np.ndarray) -> np.ndarray:
        """Standardised latents of flat raw latents z."""
        latents = self.gj.unflatten(jnp.asarray(raw[None], jnp.float32), self.model)
        return np.asarray(self.gj.flatten(self.model.eps_from_z(latents)))[0]

    def _material(self, folder: Path, shapes: Any) -> Any:
        from bench.truth.methods import make_material
        from transfer.expression import model as ex
        from transfer.expression.pairs import Faces, pairs_of

        pictures, labels = read_faces(folder)
        names = sorted(pictures)[:TRAINING_PICTURES]
        faces = Faces.from_labels(
            np.stack([pictures[name] for name in names]), [labels[name] for name in names], self.aus
        )
        pairs = pairs_of(faces)
        before, after = self._encode(pairs.neutral), self._encode(pairs.expressive)
        warped, aligned = [], []
        for i in range(0, len(pairs.aus), 50):
            part = slice(i, i + 50)
            activations = jnp.asarray(pairs.aus[part], jnp.float32)
            pixels, landmarks = ex.warped(
                self.expression_model, jnp.asarray(pairs.neutral[part]), activations
            )
            warped.append(np.asarray(pixels))
            both = (pixels, jnp.asarray(pairs.expressive[part], jnp.float32))
            laid = (
                np.asarray(ex.to_mean_shape(self.expression_model, g, landmarks, pixels.shape[1]))
                for g in both
            )
            flat = (np.asarray(self.gj.flatten(self.codec.encode_float(g + 0.5))) for g in laid)
            aligned.append((np.asarray(ex.terms(activations)), *flat))
        terms, one, other = (np.concatenate(column) for column in zip(*aligned, strict=True))
        return make_material(
            pairs, before, after, shapes, np.concatenate(warped), (terms, one, other)
        )

    def source_of(self, target: int) -> int:
        """The source of a target: the next person, so that everybody is a source once."""
        return self.people[(self.people.index(target) + 1) % len(self.people)]

    def plan(self, args: argparse.Namespace) -> list[Request]:
        """Every output to make."""
        from bench.truth.methods import LATENT

        methods = [
            "none",
            "oracle",
            "oracle, other noise",
            "pixel",
            "nearest",
            *LATENT,
            "raw z",
            "pixel code",
            "warp only",
            "warp, rest unaligned",
            "warp, rest in latents",
            "warp",
        ]
        methods += ["warp, alpha auto", "warp, true code"]
        if args.methods:
            methods = [m for m in methods if m in args.methods]
        found = []
        for setting, target, expression in itertools.product(
            ("matched", "free"), self.people, self.canonical
        ):
            for method in methods:
                ks = [MAIN_K] if args.quick or method not in BY_K else args.k
                for k in sorted({self._k(setting, k) for k in ks}):
                    alphas: Sequence[float] = (1.0,)
                    if method in (*FIXED, "warp, alpha auto"):
                        alphas = (NONE,)
                    elif method in SWEPT and k == MAIN_K and not args.quick:
                        alphas = SWEEP
                    for alpha in alphas:
                        found.append(
                            Request(
                                method,
                                setting,
                                k,
                                alpha,
                                expression,
                                self.source_of(target),
                                target,
                            )
                        )
        return found

    def _k(self, setting: str, k: int) -> int:
        """k, limited in the matched setting to the pictures that a person has besides the truth."""
        return min(k, len(self.canonical)) if setting == "matched" else k

    def names(self, request: Request) -> tuple[str, list[str], list[str], str, str]:
        """Files' names: the expression, the source's and the target's pictures, base, truth."""

        def of(person: int, name: str) -> str:
            return f"id{person:05d}_{name}"

        s, t, e = request.source, request.target, request.expression
        if request.setting == "matched":
            others = ["neutral", *(x for x in self.canonical if x != e)][: request.k]
            return (
                of(s, f"studio_{e}"),
                [of(s, f"studio_{x}") for x in others],
                [of(t, f"studio_{x}") for x in others],
                of(t, "studio_neutral"),
                of(t, f"studio_{e}"),
            )
        photos = [f"photo_{i}" for i in range(request.k)]
        return (
            of(s, f"shot_{e}"),
            [of(s, x) for x in photos],
            [of(t, x) for x in photos],
            of(t, "photo_0"),
            of(t, f"truth_{e}"),
        )

    def case(self, request: Request) -> Any:
        """The inputs of a method."""
        from bench.truth.methods import Case
        from transfer.expression.estimate import are_neutral, expression_activations, read

        picture, source, target, base, _ = self.names(request)
        stacks = [np.stack([self.pictures[n] for n in names]) for names in (source, target)]
        vectors = [np.stack([self.latents[n] for n in names]) for names in (source, target)]
        expression = self.pictures[picture]
        of_source, of_target = (read(self.expression_model, stack) for stack in stacks)
        shown = read(self.expression_model, expression[None])
        return Case(
            expression=expression,
            z_expression=self.latents[picture],
            source=stacks[0],
            target=stacks[1],
            z_source=vectors[0],
            z_target=vectors[1],
            source_neutral=are_neutral(of_source.raw),
            target_neutral=are_neutral(of_target.raw),
            base=target.index(base),
            others=self._others(request),
            activations=expression_activations(self.expression_model, shown, of_source),
            raw_vector=self.raw[picture] - np.mean([self.raw[n] for n in source], 0),
            raw_target=np.mean([self.raw[n] for n in target], 0),
        )

    def _others(self, request: Request) -> np.ndarray:
        """Expression vectors of three more people, each from one neutral picture."""
        shown = "studio" if request.setting == "matched" else "shot"
        plain = "studio_neutral" if request.setting == "matched" else "photo_0"
        others = [p for p in self.people if p not in (request.source, request.target)][:3]
        e = request.expression
        return np.stack(
            [
                self.latents[f"id{p:05d}_{shown}_{e}"] - self.latents[f"id{p:05d}_{plain}"]
                for p in others
            ]
        )

    def make(self, plan: Sequence[Request]) -> tuple[list[Any], list[Any]]:
        """Outputs, and the references that they are compared with."""
        references = {}
        for request in plan:
            key = (request.setting, request.source, request.target, request.expression)
            if key not in references:
                references[key] = self.reference(request)
        outputs = []
        for start in range(0, len(plan), 200):
            outputs += self._make_some(plan[start : start + 200])
            print(f"\rmade {len(outputs)}/{len(plan)} ", end="", file=sys.stderr, flush=True)
        return outputs, list(references.values())

    def _make_some(self, requests: Sequence[Request]) -> list[Any]:
        from bench.truth.methods import LATENT, nearest, pixel, pixel_code
        from bench.truth.scores import Output
        from transfer.codec import to_bytes
        from transfer.expression.paint import warped, with_expression

        pixels: list[Any] = [None] * len(requests)
        cases = [self.case(r) for r in requests]
        latents, painted = [], []
        for i, (request, case) in enumerate(zip(requests, cases, strict=True)):
            if request.method in LATENT:
                vector = LATENT[request.method](case, self.material, request.alpha)
                latents.append((i, vector))
            elif request.method == "raw z":
                summed = case.raw_target + request.alpha * case.raw_vector
                latents.append((i, self._standardised(summed)))
            elif request.method.startswith("warp"):
                painted.append(i)
            elif request.method == "none":
                pixels[i] = case.target[case.base] + 0.5
            elif request.method == "oracle":
                pixels[i] = self.pictures[self.names(request)[4]] + 0.5
            elif request.method == "oracle, other noise":
                truth = self.pictures[self.names(request)[4]]
                noise = np.random.default_rng(i).normal(0, RENDER_NOISE, truth.shape)
                pixels[i] = truth + 0.5 + noise
            elif request.method == "nearest":
                pixels[i] = nearest(case, self.material) + 0.5
            elif request.method == "pixel":
                pixels[i] = pixel(case, request.alpha) + 0.5
            else:
                pixels[i] = pixel_code(case, self.material, request.alpha) + 0.5
        for start in range(0, len(latents), 50):
            part = latents[start : start + 50]
            vectors = jnp.asarray(np.stack([v for _, v in part]), jnp.float32)
            decoded = np.asarray(self.codec.decode(self.gj.unflatten(vectors, self.model)))
            for (i, _), image in zip(part, decoded, strict=True):
                pixels[i] = image
        for start in range(0, len(painted), 50):
            rows = painted[start : start + 50]
            bases = np.stack([cases[i].target[cases[i].base] for i in rows])
            activations = np.stack([self._activations(requests[i], cases[i]) for i in rows])
            alphas = np.array([requests[i].alpha for i in rows], np.float32)
            auto = np.isnan(alphas)
            if auto.any():
                alphas[auto] = self._chosen(bases[auto], activations[auto])
            names = [requests[i].method for i in rows]
            activations = activations * alphas[:, None]
            plain = warped(self.expression_model, bases, activations) + 0.5
            unaligned = plain + np.tensordot(activations, self.material.pixel_residual, 1)
            made = {"warp only": plain, "warp, rest unaligned": unaligned}
            if "warp, rest in latents" in names:
                made["warp, rest in latents"] = self._in_latents(bases, activations)
            default = with_expression(self.expression_model, bases, activations)
            for row, (i, name) in enumerate(zip(rows, names, strict=True)):
                pixels[i] = made.get(name, default)[row]
        finite = [np.isfinite(g) for g in pixels]
        images = np.stack([to_bytes(np.asarray(g)[None])[0] for g in pixels])
        bits = np.concatenate(
            [
                np.asarray(self.codec.bits_per_dim(images[i : i + 50]))
                for i in range(0, len(images), 50)
            ]
        )
        return [
            Output(
                **dataclasses.asdict(request),
                image=images[i],
                non_finite=float((~finite[i]).mean()),
                clipped=float(((pixels[i] < 0) | (pixels[i] >= 256)).mean()),
                bits_per_dim=float(bits[i]),
            )
            for i, request in enumerate(requests)
        ]

    def _chosen(self, bases: np.ndarray, activations: np.ndarray) -> np.ndarray:
        """The alphas that `--alpha auto` takes."""
        from transfer.expression.paint import with_expression
        from transfer.methods.base import Decoded
        from transfer.methods.trust_region import largest_alphas
        from transfer.methods.warp import max_alphas_of

        def at(alphas: np.ndarray) -> Decoded:
            pixels = with_expression(self.expression_model, bases, activations * alphas[:, None])
            return Decoded(pixels, np.ones(len(pixels)), np.zeros(len(pixels), int))

        return largest_alphas(at, self.codec, bases, max_alphas_of(activations))

    def _in_latents(self, bases: np.ndarray, activations: np.ndarray) -> np.ndarray:
        """The default method, but with the residual added in the latents of the aligned face."""
        from transfer.expression import model as ex

        weights = jnp.asarray(activations, jnp.float32)
        pixels, landmarks = ex.warped(self.expression_model, jnp.asarray(bases), weights)
        aligned = ex.to_mean_shape(self.expression_model, pixels, landmarks, bases.shape[1])
        z = self.gj.flatten(self.codec.encode_float(np.asarray(aligned) + 0.5))
        z = z + np.asarray(ex.terms(weights)) @ self.material.latent_residual
        edited = self.codec.decode(self.gj.unflatten(jnp.asarray(z), self.model))
        change = jnp.asarray(edited - 0.5 - np.asarray(aligned), jnp.float32)
        back = ex.from_mean_shape(self.expression_model, change, landmarks, bases.shape[1:3])
        return np.asarray(pixels + back) + 0.5

    def _activations(self, request: Request, case: Any) -> np.ndarray:
        """The activations to apply: estimated ones, or true ones for comparison."""
        if request.method != "warp, true code":
            return case.activations
        true = self.labels[self.names(request)[4]]["aus"]
        return np.array([true.get(au, 0.0) for au in self.aus], np.float32)

    def reference(self, request: Request) -> Any:
        """The truth of a request, and the photographs with which identity is compared."""
        from bench.truth.scores import Reference
        from glow_jax.data.synthetic_faces.scene import face_mask

        picture, source, _, base, truth = self.names(request)
        sides = self.pictures[base].shape[0]
        masks = [
            face_mask(np.array(self.labels[name]["landmarks"]), sides) > 0 for name in (base, truth)
        ]

        def photos(person: int) -> list[np.ndarray]:
            prefix = f"id{person:05d}_photo_"
            names = sorted(n for n in self.pictures if n.startswith(prefix) and n != base)
            return [self.pictures[n] for n in names][:8]

        return Reference(
            setting=request.setting,
            source=request.source,
            target=request.target,
            expression=request.expression,
            base=self.pictures[base],
            truth=self.pictures[truth],
            mask=masks[0] | masks[1],
            activations=self.labels[truth]["aus"],
            target_photos=photos(request.target),
            source_photos=photos(request.source),
            source_expression=self.pictures[picture],
            source_neutral=self.pictures[source[0]],
        )

    def about(self, args: argparse.Namespace) -> dict[str, Any]:
        """The model, the targets and the versions of a run."""
        import subprocess
        from importlib import metadata

        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip()
        return {
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "targets": self.people,
            "commit": commit,
            "machine": f"{platform.processor() or platform.machine()}, {platform.system()}",
            "versions": {n: metadata.version(n) for n in ("jax", "numpy", "deepface", "dlib-bin")},
        }


def read_faces(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """Pictures and labels of a rendered folder, by file name without suffix."""
    from concurrent.futures import ThreadPoolExecutor

    from glow_jax.data.synthetic_faces.dataset import read_labels
    from glow_jax.io.pictures import read_image

    labels = {Path(label["file"]).stem: label for label in read_labels(folder)}
    names = sorted(labels)
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda n: read_image(folder / labels[n]["file"]), names))
    return dict(zip(names, images, strict=True)), labels


if __name__ == "__main__":
    sys.exit(main())
