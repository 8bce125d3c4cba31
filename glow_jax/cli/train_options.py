"""The options of the verb `train`, by group."""

import argparse
from pathlib import Path
from typing import Any

from glow_jax.cli.options import number, whole_number
from glow_jax.io.messages import one_line


def add_data_options(p: Any) -> None:
    """How the training images are read."""
    p.add_argument(
        "--crop",
        type=whole_number(0, 4096),
        default=0,
        metavar="PX",
        help="side of a centre crop before the resize, such as 148 for celeb_a (default: none)",
    )
    p.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="TFDS's folder (default: TFDS's own)"
    )
    p.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="mirror every other image at random (default: on)",
    )


def add_recipe_options(p: Any) -> None:
    """How the model is trained."""
    p.add_argument("--steps", type=whole_number(1, 10**9), help="gradient steps (required)")
    p.add_argument(
        "--batch-size",
        type=whole_number(1, 65536),
        help="over all devices (default: the preset's, 32 for faces64)",
    )
    p.add_argument(
        "--optimiser", choices=("adam", "adamax"), default="adam", help="(default: %(default)s)"
    )
    p.add_argument("--learning-rate", type=number(1e-9, 1.0), default=1e-3, help="(default: 1e-3)")
    p.add_argument(
        "--schedule",
        choices=("cosine", "constant"),
        default="cosine",
        help="of the learning rate after the warm-up (default: %(default)s)",
    )
    p.add_argument(
        "--warmup", type=whole_number(0, 10**9), help="steps (default: 200; 10 with --debug)"
    )
    p.add_argument(
        "--clip", type=number(1e-9, 1e9), default=50.0, help="gradient norm (default: 50)"
    )
    p.add_argument(
        "--ema", type=number(0.0, 0.9999999), default=0.999, help="decay (default: 0.999)"
    )
    p.add_argument(
        "--logdet-penalty",
        type=number(0.0, 1e6),
        default=0.0,
        metavar="LAMBDA",
        help="times the sum of (log|det W|)^2 / C over the 1x1 convolutions (default: 0)",
    )
    p.add_argument(
        "--init-images",
        type=whole_number(1, 65536),
        default=256,
        metavar="N",
        help="for the data-dependent initialisation (default: 256)",
    )
    p.add_argument(
        "--init",
        metavar="NAME|DIR",
        help="start from this model's weights, of the same shape (default: random weights)",
    )
    p.add_argument(
        "--precision",
        choices=("exact", "fast"),
        default="exact",
        help="float32, or bfloat16 coupling networks (default: %(default)s)",
    )
    p.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, help="(default: 0)")


def add_shape_options(p: Any) -> None:
    """What of the model differs from the preset."""
    for name, words in (
        ("levels", "L"),
        ("depth", "K, steps of flow a level"),
        ("width", "hidden channels of the coupling networks"),
    ):
        p.add_argument(f"--{name}", type=whole_number(1, 4096), help=f"{words} (default: preset's)")
    p.add_argument("--coupling", choices=("additive", "affine"), help="(default: preset's)")
    p.add_argument("--bits", type=whole_number(1, 8), help="of the pixels (default: preset's)")
    p.add_argument(
        "--checkpoint-coupling",
        action=argparse.BooleanOptionalAction,
        help="recompute the coupling networks in the backward pass: less memory, more time "
        "(default: preset's)",
    )


def add_run_options(p: Any) -> None:
    """What a run writes, and when it ends."""
    p.add_argument(
        "--stop-after",
        type=whole_number(1, 10**9),
        help="end early at this step, on the path of the whole run (default: never)",
    )
    p.add_argument(
        "--every",
        type=whole_number(1, 10**9),
        help="steps between checkpoints, log rows and held-out tests "
        "(default: 200; 20 with --debug)",
    )
    p.add_argument(
        "--evaluate",
        type=whole_number(1, 10**9),
        default=1000,
        metavar="N",
        help="held-out images at each of these tests; all at the end (default: %(default)s)",
    )
    p.add_argument(
        "--pictures",
        type=whole_number(0, 256),
        default=16,
        metavar="N",
        help="samples and reconstructions to draw at each (default: %(default)s)",
    )
    p.add_argument(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write TensorBoard's events beside log.csv (default: on)",
    )
    p.add_argument(
        "--export",
        choices=("last", "best"),
        default="last",
        help="which averaged weights become the model (default: %(default)s)",
    )


def add_process_options(p: Any) -> None:
    """Which of several processes this is."""
    p.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where process 0 listens; any free port of it"
    )
    p.add_argument(
        "--process",
        type=_process,
        metavar="I/N",
        help="this is process I, from 0, of N; with --coordinator",
    )
    p.add_argument(
        "--distributed",
        action="store_true",
        help="find both out: for Slurm, Open MPI and Cloud TPU",
    )


def _process(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    try:
        process = int(index), int(count)
    except ValueError:
        process = 1, 0
    if not 0 <= process[0] < process[1]:
        raise argparse.ArgumentTypeError(
            f"{one_line(text)}: use I/N, I from 0 to N - 1, such as 0/2"
        )
    return process
