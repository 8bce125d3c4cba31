"""The verb `info`: the properties of a model."""

import argparse
from pathlib import Path
from typing import Any

from glow_jax.cli.checks import check_unlabelled
from glow_jax.cli.facts import config_lines, fact_lines, facts_of
from glow_jax.cli.options import add_compile_cache_option, start_jax
from glow_jax.cli.output import Output, add_output_options
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

BATCH = 64


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `info`."""
    parser.add_argument(
        "model", metavar="NAME|DIR", help="a bundled model or a checkpoint directory"
    )
    parser.add_argument(
        "--calibrate",
        action="extend",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="compute bits/dim of the pictures in these folders and write their quantiles into the "
        "model's card. The pictures must be held-out ones of the kind that the model was trained "
        "on; `transfer` and `align` then warn of less likely pictures",
    )
    add_compile_cache_option(parser)
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the properties of the model; returns the exit code."""
    import jax
    from flax import nnx

    from glow_jax.checkpoints import find, load, read_card
    from glow_jax.graph_model import GraphGlow
    from glow_jax.io.picture_folders import list_tree

    output, path = Output.of(args), find(args.model)
    for folder in args.calibrate or ():
        if note := list_tree(folder).note:  # raises for a missing one, before the model is loaded
            output.notice(note)
    start_jax(args.compile_cache)
    model: Any = load(args.model, fold=False)
    if args.calibrate:
        _calibrate(path, model, args.calibrate)
    card = read_card(path)
    arrays = model.constants if isinstance(model, GraphGlow) else nnx.state(model, nnx.Param)
    n_parameters = sum(a.size for a in jax.tree.leaves(arrays))
    lines = [
        f"model         {one_line(model.name)}",
        f"fingerprint   {model.fingerprint}",
        *config_lines(model.config),
        f"parameters    {n_parameters:,}",
        *(line for name, value in card.items() for line in fact_lines(name, value)),
    ]
    figures = {"model": model.name, "path": path, "fingerprint": model.fingerprint}
    figures |= {"config": facts_of(model.config), "parameters": n_parameters, "card": card}
    return output.summary(lines, figures)


def _calibrate(path: Path, model: Any, folders: list[Path]) -> None:
    import numpy as np

    from glow_jax.checkpoints import calibrate
    from glow_jax.data import load_folder
    from glow_jax.graph_model import GraphGlow

    if isinstance(model, GraphGlow):
        raise InputError(f"model {model.name!r} is a TensorFlow graph, which has no likelihood")
    check_unlabelled(model.name, model.config.n_classes)
    folded = model.fold("exact")
    size = (model.config.image_height, model.config.image_width)
    bits = []
    for folder in folders:
        images = load_folder(folder, size, model.config.n_channels)
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            missing = BATCH - len(batch)  # fill up the batch, so that one shape is compiled
            whole = np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)])
            bits.append(np.asarray(folded.bits_per_dim(whole))[: len(batch)])
    calibrate(path, np.concatenate(bits))
