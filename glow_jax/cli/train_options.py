"""The options of the verb `train`, by group."""

import argparse
from pathlib import Path
from typing import Any

from glow_jax.cli.options import number, whole_number
from glow_jax.io.messages import one_line


def add_data_options(p: Any) -> None:
    """Add the options about reading the images."""
    p.add_argument(
        "--crop",
        type=whole_number(0, 4096),
        default=0,
        metavar="PX",
        help="side of a centre crop before the resize, such as 148 for celeb_a (default: none)",
    )
    p.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="folder of TensorFlow Datasets' data (default: ~/tensorflow_datasets)",
    )
    p.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="mirror every other image at random (default: on)",
    )


def add_recipe_options(p: Any) -> None:
    """Add the options about training."""
    p.add_argument(
        "--steps",
        type=whole_number(1, 10**9),
        help="number of gradient steps (required without --debug)",
    )
    p.add_argument(
        "--batch-size",
        type=whole_number(1, 65536),
        help="images per step, over all devices (default: the preset's, 32 for faces64)",
    )
    p.add_argument(
        "--optimiser",
        choices=("adam", "adamax"),
        default="adam",
        help="optimiser (default: %(default)s)",
    )
    p.add_argument(
        "--learning-rate",
        type=number(1e-9, 1.0),
        default=1e-3,
        help="learning rate after the warm-up (default: 1e-3)",
    )
    p.add_argument(
        "--schedule",
        choices=("cosine", "constant"),
        default="cosine",
        help="learning rate after the warm-up: falling as a cosine, or constant (default: "
        "%(default)s)",
    )
    p.add_argument(
        "--warmup",
        type=whole_number(0, 10**9),
        help="steps over which the learning rate rises from 0 (default: 200; 10 with --debug)",
    )
    p.add_argument(
        "--clip",
        type=number(1e-9, 1e9),
        default=50.0,
        help="largest gradient norm; larger gradients are scaled down to it (default: 50)",
    )
    p.add_argument(
        "--ema",
        type=number(0.0, 0.9999999),
        default=0.999,
        help="decay of the moving average of the weights (default: 0.999)",
    )
    p.add_argument(
        "--logdet-penalty",
        type=number(0.0, 1e6),
        default=0.0,
        metavar="LAMBDA",
        help="weight of a penalty in the loss: the sum of (log|det W|)^2 / C over the 1x1 "
        "convolutions, which keeps them well conditioned (default: 0)",
    )
    _add_start_options(p)


def _add_start_options(p: Any) -> None:
    p.add_argument(
        "--init-images",
        type=whole_number(1, 65536),
        default=256,
        metavar="N",
        help="images for the data-dependent initialisation (default: 256)",
    )
    p.add_argument(
        "--init",
        metavar="NAME|DIR",
        help="model whose weights to start from; of fewer steps, hidden channels or pixels than "
        "the model to train, it is grown to it (default: random weights)",
    )
    p.add_argument(
        "--trained-levels",
        type=whole_number(1, 12),
        metavar="N",
        help="train the finest N levels only; the weights of the others, from --init, stay as they "
        "are (default: all levels)",
    )
    p.add_argument(
        "--precision",
        choices=("exact", "fast"),
        default="exact",
        help="exact: float32; fast: coupling networks in bfloat16 (default: %(default)s)",
    )
    p.add_argument(
        "--recompute",
        action=argparse.BooleanOptionalAction,
        help="recompute every step of flow in the backward pass: less memory, more time (default: "
        "on, except on a CPU)",
    )
    p.add_argument(
        "--seed",
        type=whole_number(0, 2**31 - 1),
        default=0,
        help="seed of weights, noise and the order of images (default: 0)",
    )


def add_shape_options(p: Any) -> None:
    """Add the options that change the preset's model."""
    for name, words in (
        ("levels", "L, number of levels"),
        ("width", "hidden channels of the coupling networks"),
    ):
        p.add_argument(
            f"--{name}", type=whole_number(1, 4096), help=f"{words} (default: the preset's)"
        )
    p.add_argument(
        "--depth",
        type=_depth,
        metavar="K",
        help="K, steps of flow per level, or a number for every level, finest first, such as "
        "10,12,16,20 (default: the preset's)",
    )
    p.add_argument(
        "--detail-levels",
        type=whole_number(0, 11),
        metavar="N",
        help="the finest N levels pass a picture of half the sides on to the next level, and split "
        "off its details; the other levels split off half of their channels (default: the "
        "preset's)",
    )
    p.add_argument(
        "--coupling",
        choices=("additive", "affine"),
        help="kind of coupling layers (default: the preset's)",
    )
    p.add_argument(
        "--bits",
        type=whole_number(1, 8),
        help="bits per channel to train at (default: the preset's)",
    )
    p.add_argument(
        "--checkpoint-coupling",
        action=argparse.BooleanOptionalAction,
        help="recompute the coupling networks in the backward pass: less memory, more time "
        "(default: the preset's)",
    )


def add_run_options(p: Any) -> None:
    """Add the options about what a run writes, and when it ends."""
    p.add_argument(
        "--stop-after",
        type=whole_number(1, 10**9),
        help="stop and export at this step; the learning rate follows the schedule of --steps "
        "(default: never)",
    )
    p.add_argument(
        "--minutes",
        type=number(0.01, 1e6),
        help="stop at the last checkpoint that fits into this many minutes, but not before the "
        "first one; the same command continues the run (default: no limit)",
    )
    p.add_argument(
        "--every",
        type=whole_number(1, 10**9),
        help="steps between two checkpoints, each with a log row and a held-out evaluation "
        "(default: 200; 20 with --debug)",
    )
    p.add_argument(
        "--evaluate",
        type=whole_number(1, 10**9),
        default=1000,
        metavar="N",
        help="held-out images of each evaluation; the last one uses all (default: %(default)s)",
    )
    p.add_argument(
        "--pictures",
        type=whole_number(0, 256),
        default=16,
        metavar="N",
        help="samples and reconstructions to draw at each checkpoint (default: %(default)s)",
    )
    p.add_argument(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write TensorBoard event files too (default: on)",
    )
    p.add_argument(
        "--export",
        choices=("last", "best"),
        default="last",
        help="export the averaged weights of the last step, or of the best checkpoint (default: "
        "%(default)s)",
    )


def add_process_options(p: Any) -> None:
    """Add the options of a run on several hosts."""
    p.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="address of process 0, with any free port of its host",
    )
    p.add_argument(
        "--process",
        type=_process,
        metavar="I/N",
        help="number I of this process, counted from 0, and number N of processes; needs "
        "--coordinator",
    )
    p.add_argument(
        "--distributed",
        action="store_true",
        help="find coordinator and process from Slurm, Open MPI or Cloud TPU",
    )


def _depth(text: str) -> int | tuple[int, ...]:
    steps = tuple(whole_number(1, 4096)(part) for part in text.split(","))
    return steps if len(steps) > 1 else steps[0]


def _process(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    try:
        process = int(index), int(count)
    except ValueError:
        process = 1, 0
    if not 0 <= process[0] < process[1]:
        raise argparse.ArgumentTypeError(
            f"{one_line(text)}: use I/N with I from 0 to N - 1, such as 0/2"
        )
    return process
