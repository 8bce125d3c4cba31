"""Minutes on a GPU or a TPU: `python -m bench --device gpu --minutes 9 --out gpu.json`.

The most telling rows come first; the results are written after every row, and no row is begun that
could not end (`schedule`). One process, so that weights and programs stay on the device. A row
counts its own compilation. PyTorch's rows run in processes of their own (`rival`).

Memory is that of a program as the compiler reports it (arguments, results, temporaries), and the
process's peak so far. Where torch is not installed, PyTorch's rows are named as left out.
"""

import dataclasses
import functools
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bench.speed import measure, models, throughput
from bench.speed.ceiling import SIZES, matmul_ceilings
from bench.speed.ours import compile_timed
from bench.speed.schedule import in_time
from glow_jax import pixels
from glow_jax.config import GlowConfig, Precision
from glow_jax.flops import flops_per_image
from glow_jax.model import Glow

BUNDLED = throughput.BUNDLED
REPEATS, SECONDS = 7, 2.0  # runs of a program, as long as they take fewer seconds in all
# Images of a batch that are tried first, and later.
BATCHES: dict[str, tuple[int, ...]] = {
    "64": (256, 64, 1024),
    "256": (16, 4, 64),
    "128": (64, 16, 256),
    BUNDLED: (1024, 256, 128),
}
TRAINING_BATCH = {"64": 64, "quick": 4}
ROWS = 1024  # outputs of the end-to-end run
RIVALS = (
    "eager channels-last tf32",
    "compiled channels-last bf16",
    "eager channels-last bf16",
    "compiled channels-last tf32",
    "eager float32",
)
CPU_RIVALS = ("eager float32", "compiled channels-last float32")
Row = dict[str, Any]


class NoDevice(Exception):
    """JAX sees no such device."""


def cases(platform: str) -> list[Row]:
    """What is measured, the most telling first; on a CPU a small part of everything."""
    precisions: tuple[str, ...] = get_args(Precision)
    tried = {"quick": (4, 1)} if platform == "cpu" else BATCHES
    train, e2e = ("quick", 16) if platform == "cpu" else ("64", ROWS)

    def rows(kind: str, place: int) -> list[Row]:
        return [
            {"kind": kind, "model": m, "precision": p, "batch": batches[place]}
            for m, batches in tried.items()
            for p in precisions
        ]

    found = [*rows("decode", 0), *rows("encode", 0)]
    whole = {"kind": "end to end", "model": BUNDLED, "precision": "exact", "rows": e2e}
    training = {"kind": "training", "model": train, "batch": TRAINING_BATCH[train], "programs": 3}
    found += [whole | {"programs": 5}, *(training | {"precision": p} for p in ("exact", "fast"))]
    if platform != "tpu":
        rivals = CPU_RIVALS if platform == "cpu" else RIVALS
        for model in ("quick",) if platform == "cpu" else ("64", "256"):
            batch = tried[model][0]
            found += [
                {"kind": f"PyTorch {v.split()[0]}", "model": model, "variant": v, "batch": batch}
                for v in rivals
            ]
    for place in range(1, len(next(iter(tried.values())))):
        found += rows("decode", place)
    return found


def run(device: str, minutes: float, seed: int, write: Callable[[Row], None]) -> Row:
    """Measure on JAX's default device for at most so many minutes.

    Args:
        device: "cpu", "gpu" or "tpu", as JAX names the platform.
        minutes: that all rows may take.
        seed: of the random weights.
        write: called with the results so far, after every row.

    Raises:
        NoDevice: JAX's default device is another.
    """
    begin = time.monotonic()
    if jax.default_backend() != device:
        raise NoDevice(
            f"JAX runs on {jax.default_backend()!r} here, not on {device!r}: see docs/install.md"
        )
    first = jax.devices()[0]
    result: Row = {
        "device": first.device_kind,
        "devices": jax.device_count(),
        "platform_version": first.client.platform_version.split("\n")[0],
        "ceilings": matmul_ceilings(SIZES[device]),
    }
    wanted, absent = cases(device), list[Row]()
    if importlib.util.find_spec("torch") is None:
        absent = [case for case in wanted if case["kind"].startswith("PyTorch")]
        result["left_out"] = [case | {"reason": "torch is not installed"} for case in absent]
    write(result)

    def written(rows: list[Row], skipped: list[Row]) -> None:
        result.update(rows=rows, skipped=skipped, elapsed_s=round(time.monotonic() - begin, 1))
        write(result)

    def measured(case: Row, left: float) -> Row:
        try:
            return MEASURE[case["kind"].split()[0]](case | {"seed": seed}, result["ceilings"], left)
        except (jax.errors.JaxRuntimeError, ImportError, ValueError) as error:
            said = (str(error).strip() or type(error).__name__).split("\n", 1)[0][:200]
            smaller = case.get("batch", 1) // 2
            if "RESOURCE_EXHAUSTED" not in str(error) or not smaller:
                return {"error": said}
            return {"error": said, "retry": case | {"batch": smaller}}

    begun = [case for case in wanted if case not in absent]
    in_time(begun, measured, 60 * minutes - (time.monotonic() - begin), written)
    return result


# -- our own rows


@functools.cache
def _model(name: str, seed: int) -> Glow:
    """A model in training form."""
    if name == BUNDLED:
        import glow_jax as gj

        return gj.load("faces64", fold=False)
    return models.random_model(models.preset(name), seed)


@functools.cache
def _folded(name: str, precision: Precision, seed: int) -> tuple[Any, Any]:
    return nnx.split(_model(name, seed).fold(precision))


@functools.lru_cache(maxsize=8)
def _compiled(
    direction: str, name: str, precision: Precision, batch: int, seed: int
) -> tuple[Callable[[Any], Any], Row]:
    """Encode or decode, not rounded to bytes, of images on the device."""
    graph, state = _folded(name, precision, seed)
    method = "encode" if direction == "encode" else "decode_x"

    def function(state: Any, given: Any) -> Any:
        return getattr(nnx.merge(graph, state), method)(given)

    like = _images(name, batch, seed) if direction == "encode" else _latents(name, batch, seed)
    program, figures = compile_timed(function, state, like)
    return functools.partial(program, state), figures | {"device_mb": _megabytes(program)}


def _images(name: str, batch: int, seed: int) -> jax.Array:
    return models.random_images(_model(name, seed).config, batch, seed)


def _latents(name: str, batch: int, seed: int) -> tuple[jax.Array, ...]:
    rng = np.random.default_rng(seed)
    shapes = _model(name, seed).config.latent_shapes
    return tuple(
        jnp.asarray(0.7 * rng.standard_normal((batch, *s), dtype=np.float32)) for s in shapes
    )


def _flow(case: Row, ceilings: dict[str, float], left: float) -> Row:
    """A decode or encode row; an encode's round trip is measured where its decode is compiled."""
    key = (case["model"], case["precision"], case["batch"], case["seed"])
    kind = case["kind"]
    program, figures = _compiled(kind, *key)
    like: Callable[..., Any] = _images if kind == "encode" else _latents
    given = like(case["model"], case["batch"], case["seed"])
    row = figures | _speed(
        lambda: program(given), flops_per_image(_model(case["model"], case["seed"]).config), case
    )
    own = {"exact": "float32", "fast": "bf16"}.get(case["precision"], "float32 high")
    row["share_of_matmul"] = row["tflop_per_s"] / ceilings[own]
    row["share_of_bf16"] = row["tflop_per_s"] / ceilings["bf16"]
    if kind == "encode":
        back, _ = _compiled("decode", *key)
        row["round_trip"] = round_trip(pixels.centred(given), back(program(given)))
    return row


def _speed(function: Callable[[], Any], flops: float, case: Row) -> Row:
    """Figures of a program that is compiled and was run once."""
    walls: list[float] = []
    while len(walls) < REPEATS and (not walls or sum(walls) < SECONDS):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        walls.append(time.perf_counter() - begin)
    wall = statistics.median(walls)
    statistics_of = jax.devices()[0].memory_stats() or {}
    return {
        "runs": walls,
        "images_per_s": case["batch"] / wall,
        "tflop_per_s": flops * case["batch"] / wall / 1e12,
        "peak_device_mb": statistics_of.get("peak_bytes_in_use", 0) / 1e6,
    }


def _megabytes(program: Any) -> float:
    memory = program.memory_analysis()
    sizes = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    return sum(getattr(memory, size, 0) for size in sizes) / 1e6


def round_trip(x: jax.Array, back: jax.Array) -> Row:
    """Error of x -> eps -> x in grey levels (1/256), over the finite values."""
    error = 256 * np.abs(np.asarray(x, np.float64) - np.asarray(back, np.float64))
    finite = np.isfinite(error)
    kept = error[finite] if finite.any() else np.array([np.inf])
    return {
        "max": float(kept.max()),
        "mean": float(kept.mean()),
        "non_finite": int((~finite).sum()),
    }


def _training(case: Row, ceilings: dict[str, float], left: float) -> Row:
    """A training step; its FLOP are three times those of an encode, recomputation not counted."""
    from glow_jax.training.step import TrainConfig, make_step, started

    batch, name = case["batch"], case["model"]
    config = models.preset(name)
    settings = TrainConfig(100, batch, precision=case["precision"], seed=case["seed"])
    graph, fixed, state = started(models.random_model(config, case["seed"]), settings)
    images = _images(name, batch, case["seed"])
    begin = time.perf_counter()
    program = make_step(graph, fixed, settings).lower(state, images).compile()  # type: ignore[attr-defined]
    compiled = time.perf_counter() - begin

    def step() -> Any:
        nonlocal state
        state, metrics = program(state, images)
        return metrics

    jax.block_until_ready(step())
    figures = {"compile_s": compiled, "device_mb": _megabytes(program)}
    return figures | _speed(step, 3 * flops_per_image(config), case)


def _end_to_end(case: Row, ceilings: dict[str, float], left: float) -> Row:
    """`glow-jax batch` of the demo's people: pictures in, PNG files out."""
    batch = 64 if jax.default_backend() != "cpu" else 4
    run = {"precision": case["precision"], "batch": batch, "rows": case["rows"]}
    figures = throughput.end_to_end(run | {"rounds": 1, "variants": ["paper"]})
    return {"batch": batch, **figures["paper"], "decode": figures["decode"]}


def _rival(case: Row, ceilings: dict[str, float], left: float) -> Row:
    config: GlowConfig = models.preset(case["model"])
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    spec = {"variant": case["variant"], "batch": case["batch"], "seed": case["seed"]}
    spec |= {"config": dataclasses.asdict(config), "device": device}
    return measure.in_a_process("bench.speed.rival", spec, {}, seconds=left)


MEASURE: dict[str, Callable[[Row, dict[str, float], float], Row]] = {
    "decode": _flow,
    "encode": _flow,
    "training": _training,
    "end": _end_to_end,
    "PyTorch": _rival,
}
