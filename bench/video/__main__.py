"""Measure `glow-jax animate` on rendered clips: `python -m bench.video FACES -o OUT`.

FACES is a folder of `python -m bench.video.clips`. Each clip gets sensor noise, is encoded as a
video, and drives the photograph of its target with --paste-back. Writes OUT/video.json, a contact
sheet of each clip, and the videos. Three measures, of all moving Action Units and frames together:

driven   the smoothed activations that drive the result, on the true ones
output   what the judge reads of the result, on what it reads of the truth: renders of the target
         with the driver's true activations, at every fourth frame
jitter   of a still driver with sensor noise: the root mean square of the second difference over
         time of the activations, beside the noise of the reader

`--frames N` measures memory instead: a clip of N frames, the rendered ones over and over; with
`--aligned` at the model's size, without looking for faces.
"""

import argparse
import csv
import json
import platform
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.video import clips

SENSOR_NOISE = 2.0  # grey levels, standard deviation
STILL = ("smile", 28)  # the clip and the frame that the still driver shows
STRONG = 0.3  # a unit moves in a clip whose true activation reaches it
MAX_LAG = 5  # frames
SHEET_EVERY = 8  # frames


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.video", description=__doc__.splitlines()[0]
    )
    parser.add_argument("faces", type=Path, help="folder of `python -m bench.video.clips`")
    parser.add_argument("--model", default="faces64", help="(default: %(default)s)")
    parser.add_argument("--method", default="warp", help="(default: %(default)s)")
    parser.add_argument("--smooth", type=float, default=0.06, help="seconds (default: %(default)s)")
    parser.add_argument("--clips", nargs="+", default=list(clips.PEOPLE), help="(default: all)")
    parser.add_argument(
        "--jitter",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure a still driver too (default: yes)",
    )
    parser.add_argument("--frames", type=int, help="measure memory on a clip of so many frames")
    parser.add_argument("--aligned", action="store_true", help="with --frames: find no faces")
    parser.add_argument("-o", "--out", type=Path, required=True, help="output folder")
    args = parser.parse_args(argv)
    from glow_jax.io.errors import InputError

    args.out.mkdir(parents=True, exist_ok=True)
    facts = about(args)
    try:
        found = memory(args) if args.frames else measure(args)
    except (InputError, OSError) as error:
        print(f"bench.video: error: {error}", file=sys.stderr)
        return 2
    name = "video.json"
    if args.frames:
        name = "video_memory_aligned.json" if args.aligned else "video_memory.json"
    text = json.dumps({**facts, **found}, indent=1)
    (args.out / name).write_text(text + "\n")
    print(text)
    return 0


def about(args: argparse.Namespace) -> dict[str, Any]:
    """Of which code, where and with what the figures are."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "commit": commit.stdout.strip(),
        "machine": f"{platform.processor() or platform.machine()}, {platform.system()}",
        "model": args.model,
        "method": args.method,
        "smooth_s": args.smooth,
        "seed": clips.SEED,
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    from transfer.models import load_models

    model = load_models(args.model).expression_model
    assert model is not None
    driven, true, outputs, truths, rows = [], [], [], [], {}
    for clip in args.clips:
        made = animated(args, clip, frames_of(args.faces / clip), target_of(args.faces / clip))
        known = clips.true_activations(clip, model.aus)
        strong = known.max(0) >= STRONG
        judged, judged_truth = judged_changes(args, clip)
        rows[clip] = {
            "frames_without_face": made["held"],
            "driven": figures(made["activations"][:, strong], known[:, strong]),
            "driven_all_units": figures(made["activations"], known),
            "output": figures(judged, judged_truth),
            "lag_frames": lag(made["activations"][:, strong], known[:, strong]),
            "frames_per_second": made["frames_per_second"],
            "frames_per_cpu_second": made["frames_per_cpu_second"],
        }
        driven.append(made["activations"][:, strong].ravel())
        true.append(known[:, strong].ravel())
        outputs.append(judged.ravel())
        truths.append(judged_truth.ravel())
    pooled = {
        "driven": figures(np.concatenate(driven), np.concatenate(true)),
        "output": figures(np.concatenate(outputs), np.concatenate(truths)),
        "largest_lag_frames": max(abs(row["lag_frames"]) for row in rows.values()),
    }
    still = {"jitter": jitter(args, model)} if args.jitter else {}
    return {"pooled": pooled, "clips": rows, **still}


def animated(
    args: argparse.Namespace, name: str, frames: Iterator[np.ndarray], target: Path, **settings: Any
) -> dict[str, Any]:
    """Animate a target by frames; activations, frames that were held, frames a second."""
    from transfer import AnimateRequest, animate

    driving, out = args.out / f"{name}-driver.mp4", args.out / f"{name}-{args.method}.mp4"
    if not driving.exists():
        encode(driving, frames)
    settings = {"smooth_s": args.smooth, "paste_back": True} | settings
    request = AnimateRequest(
        driving, target, out, model=args.model, method=args.method, overwrite=True, **settings
    )
    started, cpu = time.perf_counter(), time.process_time()
    done = animate(request)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    with open(done.table, newline="") as file:
        rows = list(csv.DictReader(file))
    aus = [column for column in rows[0] if column.startswith("AU")]
    activations = np.array([[float(row[au]) for au in aus] for row in rows])
    held = sum(b - a + 1 for a, b, _ in done.held)
    return {
        "activations": activations,
        "held": held,
        "neutral": done.neutral,
        "frames_per_second": round(len(rows) / seconds, 2),
        "frames_per_cpu_second": round(len(rows) / cpu, 2),
    }


def encode(path: Path, frames: Iterator[np.ndarray]) -> None:
    """Write frames as H.264 of common quality, with sensor noise, 25 a second."""
    import av

    rng = np.random.default_rng(clips.SEED)
    with av.open(str(path), "w") as container:
        stream: Any = None
        for number, pixels in enumerate(frames):
            if stream is None:
                stream = container.add_stream("libx264", rate=clips.RATE, options={"crf": "20"})
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p"
            noisy = np.clip(np.rint(pixels + rng.normal(0, SENSOR_NOISE, pixels.shape)), 0, 255)
            frame = av.VideoFrame.from_ndarray(noisy.astype(np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def frames_of(folder: Path) -> Iterator[np.ndarray]:
    """The rendered frames of a clip."""
    from glow_jax.io.pictures import read_image

    paths = sorted(folder.glob("*_f*.webp"))
    return (read_image(path) for path in paths)


def target_of(folder: Path) -> Path:
    """The photograph of a clip's target."""
    return next(folder.glob("*_target.webp"))


def judged_changes(args: argparse.Namespace, clip: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, A) what the judge reads of the result, and of the truth, less that of the photograph.

    Of the units that it reads, at the frames of which the truth is rendered.
    """
    from eval.files import Picture
    from eval.rendered import RenderedReader
    from glow_jax.io.pictures import read_image
    from glow_jax.io.video_reader import frames_of as frames_in
    from glow_jax.io.video_reader import read_clip

    reader = RenderedReader()
    made = [f.pixels for f in frames_in(read_clip(args.out / f"{clip}-{args.method}.mp4"))]
    folder = args.faces / clip
    truth = [read_image(path) for path in sorted(folder.glob("*_t[0-9]*.webp"))]
    sheet(args, clip, made, truth)
    shown = [read_image(target_of(folder)), *made[:: clips.TRUTH_EVERY], *truth]
    readings = reader.read([Picture(Path("frame"), "", pixels) for pixels in shown])
    if lost := [r.problem for r in readings if r.problem]:
        print(f"{clip}: the judge finds no face in {len(lost)} pictures", file=sys.stderr)
    changes = np.array([reading.change - readings[0].change for reading in readings[1:]])
    changes = changes[:, reader.readable]
    return changes[: len(truth)], changes[len(truth) :]


def sheet(args: argparse.Namespace, clip: str, made: Sequence, truth: Sequence) -> None:
    """A contact sheet: driver, result and truth, from left to right over time."""
    from PIL import Image

    driver = list(frames_of(args.faces / clip))
    columns = range(0, clips.FRAMES, SHEET_EVERY)
    rows = [
        np.concatenate([driver[i] for i in columns], 1),
        np.concatenate([made[i] for i in columns], 1),
        np.concatenate([truth[i // clips.TRUTH_EVERY] for i in columns], 1),
    ]
    Image.fromarray(np.concatenate(rows)).save(args.out / f"{clip}-{args.method}.png")


def figures(found: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Gain (slope of `found` on `true`), correlation r, and the mean of r over time of each unit.

    Rows with NaN (no face) are left out, and counted.
    """
    a, b = found.ravel(), true.ravel()
    ok = np.isfinite(a) & np.isfinite(b)
    a, b = a[ok] - a[ok].mean(), b[ok] - b[ok].mean()
    return {
        "gain": round(float((a * b).sum() / (b * b).sum()), 3),
        "r": round(float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())), 3),
        "values": int(ok.sum()),
        "left_out": int((~ok).sum()),
    }


def lag(found: np.ndarray, true: np.ndarray) -> float:
    """Frames by which `found` follows `true`: where their correlation over time is largest.

    Between frames by the parabola through the largest three.
    """
    shifts = np.arange(-MAX_LAG, MAX_LAG + 1)
    n = len(true) - MAX_LAG
    scores = [
        np.corrcoef(found[MAX_LAG + s : n + s].ravel(), true[MAX_LAG:n].ravel())[0, 1]
        for s in shifts
    ]
    i = int(np.clip(np.argmax(scores), 1, len(shifts) - 2))
    before, here, after = scores[i - 1 : i + 2]
    return round(float(shifts[i] + (before - after) / (2 * (before - 2 * here + after))), 3)


def jitter(args: argparse.Namespace, model: Any) -> dict[str, Any]:
    """Second differences over time of a still driver's activations, and the reader's noise."""
    clip, number = STILL
    folder = args.faces / clip
    still = list(frames_of(folder))[number]
    found = {}
    for name, smooth in (("still", args.smooth), ("still-raw", 0.0)):
        frames = (still for _ in range(clips.FRAMES))
        made = animated(
            args, name, frames, target_of(folder), smooth_s=smooth, source_neutral="absolute"
        )
        second = np.diff(made["activations"], 2, axis=0)
        found[name] = np.sqrt((second**2).mean(0))
    noise = np.asarray(model.slope) * np.asarray(model.noise) / 2
    return {
        "sensor_noise_grey_levels": SENSOR_NOISE,
        "second_difference": round(float(np.sqrt((found["still"] ** 2).mean())), 5),
        "largest_of_a_unit": round(float(found["still"].max()), 5),
        "without_smoothing": round(float(np.sqrt((found["still-raw"] ** 2).mean())), 5),
        "noise_of_the_reader": round(float(np.sqrt((noise**2).mean())), 5),
        "units_above_their_noise": int((found["still"] > noise).sum()),
    }


def memory(args: argparse.Namespace) -> dict[str, Any]:
    """Resident memory while a long clip is animated, at the model's size."""
    from PIL import Image

    from glow_jax.io.pictures import read_image

    folder = args.faces / args.clips[0]
    rendered, target = list(frames_of(folder)), target_of(folder)
    settings: dict[str, Any] = {"paste_back": False}
    if args.aligned:
        settings["photographs"] = None
        rendered, target = [reduced(pixels) for pixels in rendered], args.out / "target.png"
        Image.fromarray(reduced(read_image(target_of(folder)))).save(target)
    frames = (rendered[i % len(rendered)] for i in range(args.frames))
    samples: list[tuple[float, float]] = []
    done = threading.Event()
    started = time.perf_counter()

    def sample() -> None:
        while not done.wait(5.0):
            samples.append((time.perf_counter() - started, resident()))

    watch = threading.Thread(target=sample, daemon=True)
    watch.start()
    name = "long-aligned" if args.aligned else "long"
    made = animated(args, name, frames, target, **settings)
    done.set()
    watch.join()
    values = np.array([mib for _, mib in samples])
    quarters = [round(float(part.max()), 1) for part in np.array_split(values, 4)]
    return {
        "frames": len(made["activations"]),
        "faces_are_found": not args.aligned,
        "seconds": round(time.perf_counter() - started, 1),
        "frames_per_second": made["frames_per_second"],
        "frames_per_cpu_second": made["frames_per_cpu_second"],
        "largest_mib_of_each_quarter": quarters,
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def reduced(pixels: np.ndarray) -> np.ndarray:
    """A picture at half its size."""
    from PIL import Image

    size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def resident() -> float:
    """Resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    sys.exit(main())
