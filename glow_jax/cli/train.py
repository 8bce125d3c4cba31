"""The verb `train`: train a model on images."""

import argparse
import time
from pathlib import Path
from typing import Any

from glow_jax.cli.options import add_compile_cache_option, refuse_given, start_jax
from glow_jax.cli.output import Output, add_output_options
from glow_jax.cli.train_options import (
    add_data_options,
    add_process_options,
    add_recipe_options,
    add_run_options,
    add_shape_options,
)
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `train`."""
    parser.description = (
        "Train a Glow. The same command goes on with a run that was stopped or "
        "killed, bit for bit. Data: folder:DIR is a folder of images of the model's aspect "
        "ratio, or of folders of them, such as `glow-jax align` writes; of DIR/train beside "
        "DIR/val or DIR/test, the one is trained on and the other held out. "
        "tfds:NAME[/CONFIG][@SPLIT] is any image data set of TensorFlow Datasets, such as "
        "tfds:cifar10, tfds:celeb_a@train or 'tfds:celeb_a_hq/256@train[:95%]', cropped to "
        "the model's aspect; synthetic_faces[@SPLIT] our renders. All local devices are used. "
        "On several hosts start the same command on each, with --coordinator and --process, "
        "and an output folder that all of them see."
    )
    parser.add_argument("--data", required=True, metavar="DATA", help="training images; see above")
    parser.add_argument(
        "--held-out",
        metavar="DATA",
        help="held-out images, of other people, to evaluate on (default: the data set's test or "
        "validation split)",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the run: a new one, or one of an interrupted run",
    )
    parser.add_argument(
        "--preset", default="faces64", help="named configuration (default: %(default)s)"
    )
    parser.add_argument(
        "--debug",
        action="store_true",
        help="train a small model of the preset's structure, which takes a minute on a CPU",
    )
    add_data_options(parser.add_argument_group("data"))
    add_recipe_options(parser.add_argument_group("recipe"))
    add_shape_options(parser.add_argument_group("model"))
    run_options = parser.add_argument_group("run")
    add_run_options(run_options)
    add_compile_cache_option(run_options)
    add_process_options(parser.add_argument_group("several hosts"))
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, or resume a run; returns the exit code."""
    started = time.monotonic()
    from glow_jax.data import check_data
    from glow_jax.training import parallel
    from glow_jax.training.presets import PRESETS

    if args.preset not in PRESETS:
        raise InputError(f"no preset {args.preset!r}; use one of {', '.join(sorted(PRESETS))}")
    preset = PRESETS[args.preset]
    model_config, config = _model_config(args, preset), _recipe(args, preset)
    if (args.coordinator is None) != (args.process is None):
        raise InputError("--coordinator and --process must be given together")
    if args.coordinator is not None:
        refuse_given(args, ("distributed",), "has no meaning with --coordinator")
    if args.init is not None:
        refuse_given(args, ("init_images",), "has no meaning with --init, which is initialised")
    else:
        refuse_given(args, ("trained_levels",), "needs --init, whose other levels are kept")
    named = [words for words in (args.data, args.held_out) if words is not None]
    for words in named:
        check_data(words)
    if all(words.startswith("folder:") for words in named):
        why = "has no meaning for folders: it is where TensorFlow Datasets keeps its data"
        refuse_given(args, ("data_dir",), why)
    if args.coordinator is not None:
        parallel.join(args.coordinator, *args.process)
    elif args.distributed:
        parallel.join()
    start_jax(args.compile_cache)
    report = Output.of(args).notice if parallel.is_first() else lambda line: None
    meant = f" (for {preset.data})" if preset.data else ""
    expected = f"preset {args.preset}{meant}, {preset.expectation()}"
    report(f"{expected}; the debug size does not reach this" if args.debug else expected)
    return _train(args, model_config, config, report, started)


def _train(
    args: argparse.Namespace, model_config: Any, config: Any, report: Any, started: float
) -> int:
    from glow_jax.checkpoints import load
    from glow_jax.data import default_held_out, open_data
    from glow_jax.training import parallel
    from glow_jax.training.run import Reporting, check_init, check_trained_levels, run

    check_trained_levels(model_config, config)
    init = None if args.init is None else load(args.init, fold=False)
    init = check_init(model_config, init)
    parallel.check_divides(parallel.batch_mesh(), config.batch_size)
    shape = model_config.image_shape
    options = {"crop": args.crop, "data_dir": args.data_dir, "notify": report}
    train = parallel.in_turn(lambda: open_data(args.data, shape, **options))
    words = args.held_out or default_held_out(args.data, max(shape[:2]), args.data_dir)
    held_out = parallel.in_turn(lambda: open_data(words, shape, held_out=True, **options))
    n_train = counted(len(train), "training image")
    report(f"{n_train} ({train.name}), {len(held_out)} held out ({held_out.name})")

    last: dict[str, Any] = {}  # the row of log.csv that was printed last

    def progress(row: dict[str, Any]) -> None:
        last.update(row)
        report(
            f"step {row['step']}/{config.n_steps}  train {row['bits_per_dim']:.3f}  held out "
            f"{row['held_out_bits_per_dim']:.3f} bits/dim  {row['images_per_second']:.1f} images/s"
        )

    model = run(
        args.out,
        model_config,
        config,
        train,
        held_out,
        card={"origin": "trained with glow-jax train", "licence": "that of its training data"},
        reporting=Reporting(
            every=args.every or (20 if args.debug else 200),
            n_evaluated=args.evaluate,
            n_pictures=args.pictures,
            tensorboard=args.tensorboard,
            progress=progress,
            note=report,
        ),
        stop_after=args.stop_after,
        deadline=None if args.minutes is None else started + 60 * args.minutes,
        export=args.export,
        init=init,
    )
    if parallel.is_first():
        curve = args.out / "log.csv"
        figures = {"out": args.out, "model": model, "curve": curve, "last": last}
        done = f"model: {one_line(model)}" if model else "no model yet: run the same command again"
        Output.of(args).summary([done, f"curve: {one_line(curve)}"], figures)
    return 0


def _model_config(args: argparse.Namespace, preset: Any) -> Any:
    """The preset's config with the changes of the command line."""
    import dataclasses

    from glow_jax.training.presets import debug_size

    given = {
        "n_levels": args.levels,
        "n_steps": args.depth,
        "n_detail_levels": args.detail_levels,
        "hidden_width": args.width,
        "coupling": args.coupling,
        "n_bits": args.bits,
        "checkpoint_coupling": args.checkpoint_coupling,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    config = debug_size(preset.config) if args.debug else preset.config
    return dataclasses.replace(config, **changes)


def _recipe(args: argparse.Namespace, preset: Any) -> Any:
    from glow_jax.training.presets import DEBUG_BATCH, DEBUG_STEPS
    from glow_jax.training.step import TrainConfig

    if args.steps is None and not args.debug:
        raise InputError("--steps, the number of gradient steps, is required without --debug")
    warmup = 10 if args.debug else 200
    return TrainConfig(
        n_steps=args.steps or DEBUG_STEPS,
        batch_size=args.batch_size or (DEBUG_BATCH if args.debug else preset.batch_size),
        learning_rate=args.learning_rate,
        n_warmup=warmup if args.warmup is None else args.warmup,
        max_gradient_norm=args.clip,
        ema_decay=args.ema,
        n_init=args.init_images,
        flip=args.flip,
        seed=args.seed,
        optimiser=args.optimiser,
        schedule=args.schedule,
        logdet_penalty=args.logdet_penalty,
        precision=args.precision,
        recompute=args.recompute,
        n_trained_levels=args.trained_levels,
    )
