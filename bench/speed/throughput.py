"""Images/s, stage by stage and end to end: `python -m bench.speed.throughput --out FILE.json`.

Stages are those of a batch (`glow-jax batch`): read, align, encode, arithmetic, decode, likelihood,
PNG and WebP, write. Each configuration (model, batch, precision, devices, steps unrolled, XLA's
command buffers) has a separate process, on JAX's default device: models of 64, 128 and 256 pixels
on a GPU, fewer on a CPU, within half an hour. Device stages are measured from NumPy arrays to NumPy
arrays, as in a batch, and given as a share of the matmul rate in the same process and precision
(float32 for exact, bfloat16 for fast).

End to end, `run` makes outputs of the demo's people with `faces64` and with `photo64`, and the
decoder alone runs in turn with it. One run more times the flow's part of each output.
"""

import argparse
import dataclasses
import functools
import importlib.util
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.speed import measure
from bench.speed.soak import DEMO, write_table

BUNDLED: Final = "faces64"
ON_DEVICE = ("encode", "arithmetic", "decode", "likelihood")
REPEATS, ROUNDS = 5, 3
ROWS = 1024  # outputs of an end-to-end run
UNROLLED = 8
PHOTOGRAPH = (4000, 3000)  # pixels of the photograph that is aligned
Row = dict[str, Any]


def cases(platform: str, quick: bool) -> list[Row]:
    """Configurations that are measured, one process each."""
    base: Row = {"model": BUNDLED, "batch": 16, "precision": "exact", "devices": 1, "unroll": 1}
    base |= {"command_buffers": True}
    if quick:
        return [base | {"batch": 4}]
    if platform != "cpu":
        rows = []
        for model, batches in (
            (BUNDLED, (1, 16, 64, 256, 1024)),
            ("64", (1, 16, 64, 256)),
            ("128", (1, 8, 32, 128)),
            ("256", (1, 4, 16, 64)),
        ):
            for precision in ("exact", "fast"):
                rows += [
                    base | {"model": model, "batch": b, "precision": precision} for b in batches
                ]
                large = base | {"model": model, "batch": batches[2], "precision": precision}
                rows += [large | {"unroll": UNROLLED}, large | {"command_buffers": False}]
        return rows
    rows = [base | {"batch": b} for b in (1, 4, 16, 64)]
    rows += [base | {"precision": "fast"}, base | {"unroll": UNROLLED}]
    rows += [base | {"devices": 2, "batch": 8}]
    rows += [
        base | {"model": m, "batch": b} for m, b in (("64", 1), ("64", 8), ("128", 1), ("256", 1))
    ]
    rows += [base | {"model": "64", "batch": 8, "precision": "fast"}]
    return rows


# -- in the case's own process


def loaded(case: Row) -> tuple[Any, Any]:
    """The codec of a case, and its model's config."""
    import jax

    import glow_jax as gj
    from bench.speed import models
    from transfer.models import codec_of

    devices = jax.local_devices()[: case["devices"]]
    if case["model"] == BUNDLED:
        model = gj.load(BUNDLED, fold=False)
    else:
        model = models.random_model(models.preset(case["model"]), case["seed"])
    folded = model.fold(case["precision"], case["unroll"])
    return codec_of(folded, case["precision"], devices=devices), model.config


def faces(size: int, n: int) -> np.ndarray:
    """uint8 (n, size, size, 3): the demo's pictures, repeated."""
    from PIL import Image

    paths = sorted(DEMO.glob("people/*/*.png"))
    resized = [
        np.asarray(Image.open(p).convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
        for p in paths[:n]
    ]
    return np.stack(list(itertools.islice(itertools.cycle(resized), n)))


def stages(case: Row) -> Row:
    """Time each stage that runs on the device alone."""
    import jax

    from bench.speed.ceiling import SIZES, matmul_ceilings
    from glow_jax.flops import flops_per_image
    from transfer.methods.paper import transfer_batch

    codec, config = loaded(case)
    n = case["batch"] * case["devices"]
    images = faces(config.image_height, n)
    eps = jax.tree.map(np.asarray, codec.encode(images))
    alphas = np.full(n, 0.1, np.float32)

    def moved() -> Any:
        return transfer_batch(*map(codec.place, (eps, eps, eps, alphas)))

    edited = moved()
    runs: dict[str, Callable[[], object]] = {
        "encode": lambda: jax.tree.map(np.asarray, codec.encode(images)),
        "arithmetic": lambda: jax.block_until_ready(moved()),
        "decode": lambda: codec.decode(edited),
        "likelihood": lambda: codec.bits_per_dim(images),
    }
    ceilings = matmul_ceilings(SIZES[jax.default_backend()], ("bf16", "float32"))
    rate = ceilings["float32" if case["precision"] == "exact" else "bf16"] * 1e12
    flops = flops_per_image(config)
    row: Row = {"device": jax.local_devices()[0].device_kind, "gflop_an_image": flops / 1e9}
    row |= {"matmul_tflop_per_s": ceilings}
    timings: dict[str, list[measure.Timing]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(REPEATS):
        for name, run in runs.items():
            timings[name].append(measure.timed(run))
    for name, several in timings.items():
        middle = measure.median(several)
        row[name] = per_image(middle, n)
        if name != "arithmetic":
            row[name]["share_of_matmul"] = flops * n / middle.wall / rate
    error = np.abs(codec.decode(eps) - (images + 0.5))
    return row | {"round_trip_grey_levels": float(error.max())}


def per_image(timing: measure.Timing, n: int) -> Row:
    return {
        "images_per_s": n / timing.wall,
        "ms": 1e3 * timing.wall / n,
        "core_ms": 1e3 * timing.cpu / n,
        "others": timing.others,
    }


def host(case: Row) -> Row:
    """Time the host's work on a picture in one thread, and encoding in all writer threads."""
    from glow_jax.io.files import write_atomically
    from glow_jax.io.pictures import image_bytes, read_image
    from glow_jax.io.provenance import Provenance
    from transfer.jobs.commit import SOURCE_TYPE
    from transfer.jobs.run import N_WRITE_THREADS

    size = case["size"]
    pictures = faces(size, 36)
    recipe = {"id": "0" * 16, "method": "paper", "alpha": 0.5, "expression": "smile.png"}
    recipe |= {"source": "person-41", "target": "person-16", "model_fingerprint": "0" * 64}
    provenance = Provenance(SOURCE_TYPE, BUNDLED, recipe)

    def encoded(ending: str) -> list[bytes]:
        return [image_bytes(p, provenance, ending) for p in pictures]

    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(N_WRITE_THREADS) as pool:
        files = encoded(".png")
        paths = [Path(name) / f"{i}.png" for i in range(len(files))]

        def write() -> None:
            for path, data in zip(paths, files, strict=True):
                write_atomically(path, data)

        def in_threads() -> None:
            list(pool.map(lambda p: image_bytes(p, provenance, ".png"), pictures))

        runs: dict[str, Callable[[], object]] = {
            "png": lambda: encoded(".png"),
            "webp": lambda: encoded(".webp"),
            "write": write,
            "read": lambda: [read_image(p, (size, size)) for p in paths],
            "png_in_threads": in_threads,
        }
        row: Row = {}
        for stage, run in runs.items():
            run()
            middle = measure.median(measure.timed(run) for _ in range(REPEATS))
            row[stage] = per_image(middle, len(pictures))
    sizes = {"png": files, "webp": encoded(".webp")}
    row |= {f"{k}_bytes": statistics.mean(map(len, v)) for k, v in sizes.items()}
    return row | {"align": _aligned(size)}


def _aligned(size: int) -> Row | None:
    """Time to align a 12-megapixel photograph; None if the extra `eval` is not installed."""
    from PIL import Image

    if importlib.util.find_spec("dlib") is None:
        return None
    from transfer.photos.align import faces_in
    from transfer.photos.judge_adapter import face_detector

    find = face_detector("dlib")
    photograph = Image.new("RGB", PHOTOGRAPH, (120, 128, 120))
    face = Image.fromarray(faces(64, 1)[0]).resize((1200, 1200), Image.Resampling.BICUBIC)
    photograph.paste(face, (1400, 900))
    pixels = np.asarray(photograph)
    found, why = faces_in(pixels, find, size)
    if not found:
        return {"error": why[0]}
    several = [measure.timed(lambda: faces_in(pixels, find, size)) for _ in range(REPEATS)]
    return per_image(measure.median(several), 1)


VARIANTS: dict[str, Row] = {
    "paper": {"methods": ["paper"], "likelihood": False},
    "paper, bits/dim": {"methods": ["paper"], "likelihood": True},
    "warp": {"methods": ["warp"], "likelihood": False},
    "warp, bits/dim": {"methods": ["warp"], "likelihood": True},
    "glow": {"methods": ["glow"], "likelihood": False},
    "glow, bits/dim": {"methods": ["glow"], "likelihood": True},
}
# Model of an end-to-end run: key of its results, and the variants that are run.
END_TO_END = {
    BUNDLED: ("end_to_end", ("paper", "paper, bits/dim", "warp", "warp, bits/dim")),
    "photo64": ("end_to_end_photo64", ("glow", "glow, bits/dim", "warp", "paper")),
}


def timed_flow(codec: Any, seconds: list[float]) -> Any:
    """A codec whose calls wait for their results and append their duration to `seconds`."""
    import jax

    def timed(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(batch: Any) -> Any:
            start = time.perf_counter()
            result = jax.block_until_ready(function(batch))
            seconds.append(time.perf_counter() - start)
            return result

        return call

    names = ("encode", "encode_float", "decode", "bits_per_dim", "part_bits")
    return dataclasses.replace(codec, **{name: timed(getattr(codec, name)) for name in names})


def end_to_end(case: Row) -> Row:
    """`run` in several ways, in turn with the decoder alone."""
    import jax

    from transfer.codec import in_batches
    from transfer.jobs.batch import versions
    from transfer.jobs.job import make_job
    from transfer.jobs.plan_file import read_plan
    from transfer.jobs.run import run
    from transfer.models import load_models

    models = load_models(case.get("model", BUNDLED), case["precision"], jax.local_devices())
    codec = models.codec
    batch, n = case["batch"], case["batch"] * codec.n_devices
    eps = jax.tree.map(np.asarray, in_batches(codec, n).encode(faces(codec.size[0], n)))
    timings: dict[str, list[measure.Timing]] = {}
    steady: dict[str, list[float]] = {name: [] for name in VARIANTS}
    shares: dict[str, float] = {}
    platform_is_cpu = jax.default_backend() == "cpu"  # elsewhere waiting would change the run

    def once(name: str, scratch: Path, rows: int, using: Any = models) -> None:
        variant = VARIANTS[name]
        write_table(scratch / "job.csv", rows, variant["methods"])
        job = make_job(read_plan(scratch / "job.csv"), using)
        times: list[float] = []
        run(
            job,
            using,
            scratch / "out",
            batch_size=batch,
            versions=versions(),
            likelihood=variant["likelihood"],
            progress=lambda stage, done, total: times.append(time.perf_counter()),
        )
        first = len(job.chunk(0))
        if rows > first:
            steady[name].append((times[-1] - times[first - 1]) / (rows - first))

    def decode() -> None:
        for _ in range(max(1, case["rows"] // n)):
            codec.decode(eps)

    def measured(name: str, do: Callable[[], object], rows: int) -> None:
        timing = measure.timed(do, shortest=0)
        timings.setdefault(name, []).append(
            measure.Timing(timing.wall / rows, timing.cpu / rows, timing.others)
        )

    rows, each = case["rows"], max(1, case["rows"] // n) * n
    with tempfile.TemporaryDirectory() as name:
        for variant in case["variants"]:
            once(variant, Path(tempfile.mkdtemp(dir=name)), min(64, rows))
            steady[variant].clear()
        codec.decode(eps)
        for _ in range(case["rounds"]):
            for variant in case["variants"]:
                measured("decode", decode, each)
                scratch = Path(tempfile.mkdtemp(dir=name))
                measured(variant, functools.partial(once, variant, scratch, rows), rows)
        for variant in case["variants"] if platform_is_cpu else ():
            seconds: list[float] = []
            timed = dataclasses.replace(models, codec=timed_flow(codec, seconds))
            scratch = Path(tempfile.mkdtemp(dir=name))
            kept = list(steady[variant])
            again = functools.partial(once, variant, scratch, rows, timed)
            wall = measure.timed(again, shortest=0).wall
            shares[variant], steady[variant] = sum(seconds) / wall, kept
    row: Row = {name: per_image(measure.median(several), 1) for name, several in timings.items()}
    alone = timings["decode"]
    for i, variant in enumerate(case["variants"]):
        # Each run is compared with the decoder's run directly before it.
        before = alone[i :: len(case["variants"])]
        pairs = list(zip(before, timings[variant], strict=True))
        row[variant]["share_of_flow"] = shares.get(variant)
        row[variant]["of_decode_alone"] = statistics.median(d.wall / r.wall for d, r in pairs)
        if steady[variant]:  # a run of one chunk of outputs has no steady state
            row[variant]["steady_of_decode_alone"] = statistics.median(
                d.wall / s for d, s in zip(before, steady[variant], strict=True)
            )
            row[variant]["steady_ms"] = 1e3 * statistics.median(steady[variant])
    return row


DO: dict[str, Callable[[Row], Row]] = {"stages": stages, "host": host, "end_to_end": end_to_end}


# -- the parent


def measured(do: str, **case: Any) -> Row:
    """Run a case in a separate process; its figures, or an "error"."""
    print(time.strftime("%H:%M:%S"), do, case, file=sys.stderr, flush=True)
    flags = [os.environ.get("XLA_FLAGS", "")]
    if case.get("devices", 1) > 1 and case["platform"] == "cpu":
        flags.append(f"--xla_force_host_platform_device_count={case['devices']}")
    if not case.get("command_buffers", True):
        flags.append("--xla_gpu_enable_command_buffer=")
    environment = {"XLA_FLAGS": " ".join(filter(None, flags))}
    return measure.in_a_process("bench.speed.throughput", {"do": do} | case, environment)


def bottleneck(stage: Row, host_row: Row, platform: str, cores: int) -> str:
    """Text about the bottleneck of a batch of method paper."""
    from transfer.jobs.run import N_WRITE_THREADS

    device = {name: stage[name]["ms"] for name in ("arithmetic", "decode")}
    share = f"{stage['decode']['share_of_matmul']:.0%} of the matmul rate"
    if platform == "cpu":
        core = {name: stage[name]["core_ms"] for name in device}
        core |= {name: host_row[name]["core_ms"] for name in ("png", "write")}
        worst = max(core, key=core.__getitem__)
        part = core[worst] / sum(core.values())
        return f"the cores: {worst} takes {part:.0%} of their time" + (
            f", at {share}" if worst == "decode" else ""
        )
    writing = sum(host_row[name]["core_ms"] for name in ("png", "write")) / min(
        cores, N_WRITE_THREADS
    )
    total = sum(device.values())
    if writing > total:
        return f"the host: PNG and writing take {writing:.2f} ms, the device {total:.2f}"
    worst = max(device, key=device.__getitem__)
    return f"the device: {worst} takes {device[worst] / total:.0%} of its time, at {share}"


def table(result: Row) -> str:
    """Markdown of the stages."""
    lines = ["| model | batch | precision | devices | encode | decode | of matmul | likelihood |"]
    lines[0] += " arithmetic |"
    lines.append("| --- " * 9 + "|")
    for row in result["stages"]:
        if "error" in row:
            continue
        rates = [f"{row[name]['images_per_s']:.3g}" for name in ("encode", "decode")]
        share = f"{row['decode']['share_of_matmul']:.0%}"
        more = [f"{row[name]['images_per_s']:.3g}" for name in ("likelihood", "arithmetic")]
        cells = [row["model"], str(row["batch"]), row["precision"], str(row["devices"])]
        lines.append("| " + " | ".join([*cells, *rates, share, *more]) + " |")
    return "\n".join(lines)


def plot(rows: Sequence[Row]) -> np.ndarray:
    """Images/s decoded against the batch size, one curve per model and precision."""
    from bench.plots import Curve, lines

    curves: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if "error" not in row and row["unroll"] == 1 and row["command_buffers"]:
            where = f", {row['devices']} devices" if row["devices"] > 1 else ""
            name = f"{row['model']}, {row['precision']}{where}"
            point = (row["batch"] * row["devices"], row["decode"]["images_per_s"])
            curves.setdefault(name, []).append(point)
    drawn = [Curve(name, sorted(points), points) for name, points in curves.items()]
    return lines("Decoding", "images at once", "images/s", drawn, log=True)


def _write(out: Path | None, result: Row) -> None:
    """Write the result; called after every part, so that a later failure loses nothing."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed.throughput",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--quick",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="measure a small part only",
    )
    parser.add_argument(
        "--only",
        choices=tuple(DO),
        action="append",
        help="measure only this part; repeatable (default: all)",
    )
    parser.add_argument("--rows", type=int, default=ROWS, help="outputs of an end-to-end run")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of end-to-end runs")
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument(
        "--out", type=Path, help="JSON file for the results; other parts in it are kept"
    )
    parser.add_argument("--plot", type=Path, help=".png file for the plot")
    args = parser.parse_args(argv)
    if args.case:
        case = json.loads(args.case)
        print(json.dumps(DO[case["do"]](case)))
        return 0
    # Before JAX is imported: each process would reserve most of a GPU's memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    platform, cores = jax.default_backend(), os.cpu_count() or 1
    parts = args.only or list(DO)
    result: Row = json.loads(args.out.read_text()) if args.out and args.out.exists() else {}
    result |= {"machine": measure.machine(), "platform": platform, "seed": args.seed}
    own = {"seed": args.seed, "platform": platform}
    if "host" in parts:
        sizes = (64,) if args.quick else (64, 128, 256)
        result["host"] = [{"size": s} | measured("host", size=s, **own) for s in sizes]
    if "stages" in parts:
        result["stages"] = []
        for case in cases(platform, args.quick):
            row = case | measured("stages", **case, **own)
            size = int(case["model"].removeprefix("faces"))
            there = [h for h in result.get("host", ()) if h["size"] == size and "error" not in h]
            if there and "error" not in row:
                row["bottleneck"] = bottleneck(row, there[0], platform, cores)
            result["stages"].append(row)
            _write(args.out, result)
        print(table(result))
    if "end_to_end" in parts:
        for model, (key, variants) in END_TO_END.items():
            case = {"model": model, "precision": "exact", "batch": 16 if platform == "cpu" else 64}
            case |= {"rows": args.rows, "rounds": args.rounds}
            chosen = variants[:1] if args.quick else variants
            result[key] = case | measured("end_to_end", **case, variants=chosen, **own)
            print(json.dumps(result[key], indent=1))
    _write(args.out, result)
    if args.plot and any("error" not in row for row in result.get("stages", ())):
        from bench.plots import is_available, save

        if not is_available():
            print("no plot: matplotlib is not installed (extra `bench`)", file=sys.stderr)
            return 0
        save(args.plot, plot(result["stages"]), "python -m bench.speed.throughput")
    return 0


if __name__ == "__main__":
    sys.exit(main())
