"""† The command `glow-jax`: parses words, calls the library, prints one line on an error.

Exit codes: 0 all done; 1 done, but some inputs could not be used; 2 bad input, nothing done.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from glow_jax.cli.options import add_model_options, file_ending, number, whole_number
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

SAMPLE_BATCH = 64
EPILOG = "Every image that glow-jax writes says in its metadata that it is generated or edited."


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: words after the program's name; the process's own by default.

    Returns:
        The exit code.
    """
    # The verbs live with their packages; importing them here keeps `--help` instant.
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except InputError as error:
        print(f"glow-jax {args.verb}: error: {one_line(error)}", file=sys.stderr)
    except BrokenPipeError:  # `glow-jax info MODEL | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"glow-jax {args.verb}: error: {one_line(name)}{reason(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"glow-jax {args.verb}: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 2


def _parser() -> argparse.ArgumentParser:
    from eval.cli import add_verbs as add_eval_verbs
    from glow_jax.data.synthetic_faces.cli import add_verbs as add_render_verbs
    from transfer.cli.transfer import add_verbs

    parser = argparse.ArgumentParser(
        prog="glow-jax",
        description="Expression transfer with invertible flows (Glow) in JAX.",
        epilog=EPILOG,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    add_verbs(verbs)
    add_eval_verbs(verbs)
    add_render_verbs(verbs)
    _add_encode(verbs)
    _add_decode(verbs)
    _add_sample(verbs)
    _add_convert(verbs)
    _add_info(verbs)
    _add_train(verbs)
    return parser


# -- encode, decode


def _add_encode(verbs: Any) -> None:
    p = verbs.add_parser("encode", help="images to latents (.npz)")
    p.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="files or folders")
    p.add_argument("-o", "--out", type=file_ending(".npz"), required=True, metavar="FILE.npz")
    p.add_argument("--check", action="store_true", help="decode again and report the error")
    add_model_options(p)
    p.set_defaults(run=_encode)


def _encode(args: argparse.Namespace) -> int:
    import numpy as np

    from glow_jax.checkpoints import find, load, read_config
    from glow_jax.io.pictures import image_paths, read_image
    from glow_jax.latents import save_latents

    paths = [p for path in args.images for p in image_paths(path)]
    config = read_config(find(args.model))
    _check_unlabelled(args.model, config.n_classes)
    size = (config.image_height, config.image_width)
    read: dict[Path, np.ndarray] = {}
    for path in paths:
        try:
            read[path] = read_image(path, size, config.n_channels)
        except InputError as error:
            if len(paths) == 1:
                raise
            print(f"skipped: {error}", file=sys.stderr)
    if not read:
        raise InputError(f"none of the {len(paths)} images can be used")
    skipped, paths = len(paths) - len(read), list(read)
    images = np.stack(list(read.values()))
    model = load(args.model, precision=args.precision)
    levels: list[list[np.ndarray]] = [[] for _ in config.latent_shapes]
    worst = 0.0
    for start in range(0, len(images), args.batch_size):
        batch = images[start : start + args.batch_size]
        eps = model.encode(batch)
        for level, a in zip(levels, eps, strict=True):
            level.append(np.asarray(a))
        if args.check:
            grey = (np.asarray(model.decode_x(eps)) + 0.5) * 256
            worst = max(worst, float(np.abs(grey - (batch + 0.5)).max()))
    latents = tuple(np.concatenate(level) for level in levels)
    save_latents(args.out, latents, [p.name for p in paths], model)
    print(f"{args.out}: {len(paths)} images, {config.n_dims} numbers each")
    if args.check:
        exact = "every byte comes back" if worst < 0.5 else "some bytes do not come back"
        print(f"round trip: at most {worst:.3g} grey levels off ({exact})")
    return 1 if skipped or not worst < 0.5 else 0


def _add_decode(verbs: Any) -> None:
    p = verbs.add_parser("decode", help="latents (.npz) to images")
    p.add_argument("latents", type=Path, metavar="FILE.npz", help="made by `glow-jax encode`")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="made if needed")
    p.add_argument("--force", action="store_true", help="accept latents of another model")
    add_model_options(p)
    p.set_defaults(run=_decode)


def _decode(args: argparse.Namespace) -> int:
    import numpy as np

    from glow_jax.checkpoints import load
    from glow_jax.io.pictures import write_image
    from glow_jax.io.provenance import Provenance
    from glow_jax.latents import load_latents

    model = load(args.model, precision=args.precision)
    _check_unlabelled(args.model, model.config.n_classes)
    eps, names = load_latents(args.latents, model, force=args.force)
    args.out.mkdir(parents=True, exist_ok=True)
    bad = 0
    for start in range(0, len(names), args.batch_size):
        batch = tuple(a[start : start + args.batch_size] for a in eps)
        bad += int((~np.isfinite(np.asarray(model.decode_x(batch)))).any((1, 2, 3)).sum())
        for i, image in enumerate(np.asarray(model.decode(batch)), start):
            recipe = {"decoded_from": args.latents.name, "index": i}
            provenance = Provenance("compositeWithTrainedAlgorithmicMedia", model.name, recipe)
            stem = Path(names[i].replace("\\", "/")).stem[:80] or "image"
            write_image(args.out / f"{i:05d}_{stem}.png", image, provenance)
    print(f"{args.out}: {len(names)} images")
    if bad:
        print(f"{bad} images have non-finite pixels, drawn mid-grey", file=sys.stderr)
    return 1 if bad else 0


def _check_unlabelled(model: str, n_classes: int) -> None:
    if n_classes:
        raise InputError(f"model {model!r} has {n_classes} classes; use labels through the API")


# -- sample, info


def _add_sample(verbs: Any) -> None:
    p = verbs.add_parser("sample", help="draw images from the model, as one sheet")
    p.add_argument("-n", type=whole_number(1, 1024), default=16, help="how many (default: 16)")
    p.add_argument(
        "--temperature", type=number(0.0, 10.0), default=0.7, help="of eps (default: %(default)s)"
    )
    p.add_argument("--seed", type=whole_number(0, 2**31 - 1), default=0, help="(default: 0)")
    p.add_argument(
        "-o", "--out", type=file_ending(".png", ".webp"), required=True, metavar="SHEET.png"
    )
    add_model_options(p, batch=False)
    p.set_defaults(run=_sample)


def _sample(args: argparse.Namespace) -> int:
    import jax
    import numpy as np

    from glow_jax.checkpoints import load
    from glow_jax.io.pictures import write_image
    from glow_jax.io.provenance import Provenance

    model = load(args.model, precision=args.precision)
    _check_unlabelled(args.model, model.config.n_classes)
    key = jax.random.key(args.seed)
    parts = []
    for start in range(0, args.n, SAMPLE_BATCH):
        some = min(SAMPLE_BATCH, args.n - start)
        part_key = jax.random.fold_in(key, start) if start else key
        parts.append(np.asarray(model.sample(part_key, some, args.temperature)))
    images = np.concatenate(parts)
    columns = int(np.ceil(np.sqrt(args.n)))
    rows = -(-args.n // columns)
    blank = np.zeros((rows * columns - args.n, *images.shape[1:]), np.uint8)
    tiles = np.concatenate([images, blank]).reshape(rows, columns, *images.shape[1:])
    sheet = tiles.transpose(0, 2, 1, 3, 4).reshape(
        rows * images.shape[1], columns * images.shape[2], -1
    )
    recipe = {"seed": args.seed, "temperature": args.temperature, "n": args.n}
    write_image(args.out, sheet, Provenance("trainedAlgorithmicMedia", model.name, recipe))
    print(f"{args.out}: {args.n} samples at temperature {args.temperature:g}")
    return 0


def _add_convert(verbs: Any) -> None:
    p = verbs.add_parser(
        "convert",
        help="another implementation's checkpoint to a model",
        description="Convert a Glow checkpoint of OpenAI's TensorFlow code, of one of nine PyTorch "
        "implementations or from the Hugging Face hub. README.md lists what is read.",
    )
    p.add_argument("source", metavar="CHECKPOINT", help="a file, a folder, or hf:OWNER/NAME[/FILE]")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="must not exist")
    p.add_argument("--from", dest="format", metavar="FORMAT", help="(default: told by the names)")
    p.add_argument("--image-size", type=_size, metavar="H[xW]", help="if the file does not tell")
    p.add_argument("--bits", type=whole_number(1, 8), help="trained at; if the file does not tell")
    p.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="an argument of the source's own constructor that no file records; repeatable",
    )
    p.add_argument("--ema", action="store_true", help="openai: averaged weights, not the raw ones")
    p.add_argument("--licence", metavar="TEXT", help="of the weights, for the model's card")
    p.set_defaults(run=_convert)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    parse = whole_number(2, 4096)
    return parse(height), parse(width or height)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{one_line(text)}: use NAME=VALUE")
    return name, value


def _convert(args: argparse.Namespace) -> int:
    from glow_jax.convert import convert

    made = convert(
        args.source,
        args.out,
        format=args.format,
        image_size=args.image_size,
        bits=args.bits,
        settings=dict(args.settings),
        ema=args.ema,
        licence=args.licence,
    )
    print(f"format        {made.format}")
    _print_config(made.config)
    for line in made.check.lines():
        print(line)
    for note in made.notes:
        print(f"note: {note}")
    for warning in made.check.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    print(f"model: {one_line(made.path)}")
    return 0


def _print_config(config: Any) -> None:
    import dataclasses

    from glow_jax.config import GlowConfig
    from glow_jax.flops import flops_per_image

    print(f"images        {config.image_width}x{config.image_height}, {config.n_channels} channels")
    print(f"trained at    {config.n_bits} bits")
    if not isinstance(config, GlowConfig):
        print(f"function      a TensorFlow graph's own operations, {config.n_levels} levels")
        return
    print(f"shape         L {config.n_levels}, K {config.n_steps}, width {config.hidden_width}")
    print(f"function      {config.coupling} coupling, {config.permutation} permutation")
    told = ("coupling", "permutation", "n_bits", "checkpoint_coupling")
    for field in dataclasses.fields(config)[6:]:
        value = getattr(config, field.name)
        if value != field.default and field.name not in told:
            print(f"{'':<13} {field.name} {value}")
    print(f"work          {flops_per_image(config) / 1e9:.3g} GFLOP an encode or decode")


def _add_info(verbs: Any) -> None:
    p = verbs.add_parser("info", help="what a model is: shape, size, origin, licence")
    p.add_argument("model", metavar="NAME|DIR", help="a bundled model or a checkpoint directory")
    p.add_argument(
        "--calibrate",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="write into the model's card how likely the pictures of these folders are: the kind "
        "that it knows, but was not trained on; other pictures are then warned of",
    )
    p.set_defaults(run=_info)


def _info(args: argparse.Namespace) -> int:
    import jax
    from flax import nnx

    from glow_jax.checkpoints import find, load, read_card
    from glow_jax.graph_model import GraphGlow

    path = find(args.model)
    model: Any = load(args.model, fold=False)
    if args.calibrate:
        _calibrate(path, model, args.calibrate)
    card = read_card(path)
    arrays = model.constants if isinstance(model, GraphGlow) else nnx.state(model, nnx.Param)
    n_parameters = sum(a.size for a in jax.tree.leaves(arrays))
    print(f"model         {model.name}")
    print(f"fingerprint   {model.fingerprint}")
    _print_config(model.config)
    print(f"parameters    {n_parameters:,}")
    for name, value in card.items():
        _print_fact(name, value)
    return 0


def _calibrate(path: Path, model: Any, folders: list[Path]) -> None:
    import numpy as np

    from glow_jax.checkpoints import calibrate
    from glow_jax.data import load_folder
    from glow_jax.graph_model import GraphGlow

    if isinstance(model, GraphGlow):
        raise InputError(f"model {model.name!r} is a graph, which tells no likelihood")
    _check_unlabelled(model.name, model.config.n_classes)
    folded = model.fold("exact")
    size = (model.config.image_height, model.config.image_width)
    bits = []
    for folder in folders:
        images = load_folder(folder, size, model.config.n_channels)
        for start in range(0, len(images), SAMPLE_BATCH):
            batch = images[start : start + SAMPLE_BATCH]
            missing = SAMPLE_BATCH - len(batch)  # one compiled shape
            whole = np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)])
            bits.append(np.asarray(folded.bits_per_dim(whole))[: len(batch)])
    calibrate(path, np.concatenate(bits))


def _print_fact(name: str, value: Any) -> None:
    """A line of a card; of a list or an object, one line an entry."""
    if isinstance(value, dict):
        for key, item in value.items():
            _print_fact(f"{name}.{key}", item)
    elif isinstance(value, list):
        for item in value:
            _print_fact(name, item)
    elif isinstance(value, str | int | float):
        print(f"{one_line(name):<13} {one_line(value)}")


# -- train


def _add_train(verbs: Any) -> None:
    p = verbs.add_parser(
        "train",
        help="train a model; run it again to go on where it stopped",
        description="Train a Glow. The same command goes on with a run that was stopped or "
        "killed, bit for bit. Data: folder:DIR is a folder of images of the model's aspect "
        "ratio; tfds:NAME[/CONFIG][@SPLIT] any image data set of TensorFlow Datasets, such as "
        "tfds:cifar10, tfds:celeb_a@train or 'tfds:celeb_a_hq/256@train[:95%%]', cropped to "
        "the model's aspect; synthetic_faces[@SPLIT] our renders. All local devices are used. "
        "On several hosts start the same command on each, with --coordinator and --process, "
        "and an output folder that all of them see.",
    )
    p.add_argument("--data", required=True, metavar="DATA", help="training images; see above")
    p.add_argument(
        "--held-out",
        metavar="DATA",
        help="images (of other people) to test (default: the data set's test or validation split)",
    )
    p.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    p.add_argument("--preset", default="faces64", help="a named config (default: %(default)s)")
    p.add_argument(
        "--debug",
        action="store_true",
        help="the preset's structure at a size that trains for a minute on a CPU",
    )
    _add_data_options(p.add_argument_group("data"))
    _add_recipe_options(p.add_argument_group("recipe"))
    _add_shape_options(p.add_argument_group("model"))
    _add_run_options(p.add_argument_group("run"))
    _add_process_options(p.add_argument_group("several hosts"))
    p.set_defaults(run=_train)


def _add_data_options(p: Any) -> None:
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


def _add_recipe_options(p: Any) -> None:
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


def _add_shape_options(p: Any) -> None:
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


def _add_run_options(p: Any) -> None:
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


def _add_process_options(p: Any) -> None:
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


def _train(args: argparse.Namespace) -> int:
    from glow_jax.training import parallel
    from glow_jax.training.presets import PRESETS

    if args.preset not in PRESETS:
        raise InputError(f"no preset {args.preset!r}; there are {', '.join(sorted(PRESETS))}")
    preset = PRESETS[args.preset]
    model_config, config = _model_config(args, preset), _recipe(args, preset)
    if (args.coordinator is None) != (args.process is None):
        raise InputError("--coordinator and --process belong together")
    if args.coordinator is not None:
        parallel.join(args.coordinator, *args.process)
    elif args.distributed:
        parallel.join()
    say = _say if parallel.is_first() else lambda line: None
    meant = f" (for {preset.data})" if preset.data else ""
    expected = f"preset {args.preset}{meant}, {preset.expectation()}"
    say(f"{expected}; this is its debug size, far from it" if args.debug else expected)
    return _train_here(args, model_config, config, say)


def _train_here(args: argparse.Namespace, model_config: Any, config: Any, say: Any) -> int:
    from glow_jax.checkpoints import load
    from glow_jax.data import default_held_out, open_data
    from glow_jax.training import parallel
    from glow_jax.training.run import Reporting, check_init, run

    init = None if args.init is None else load(args.init, fold=False)
    check_init(model_config, init)
    parallel.check_divides(parallel.batch_mesh(), config.batch_size)
    shape, options = model_config.image_shape, {"crop": args.crop, "data_dir": args.data_dir}
    train = parallel.in_turn(lambda: open_data(args.data, shape, **options))
    words = args.held_out or default_held_out(args.data, max(shape[:2]), args.data_dir)
    held_out = parallel.in_turn(lambda: open_data(words, shape, **options))
    say(f"{len(train)} training images ({train.name}), {len(held_out)} held out ({held_out.name})")

    def progress(row: dict[str, Any]) -> None:
        say(
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
            note=say,
        ),
        stop_after=args.stop_after,
        export=args.export,
        init=init,
    )
    if parallel.is_first():
        print(f"model: {model}\ncurve: {args.out / 'log.csv'}")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _model_config(args: argparse.Namespace, preset: Any) -> Any:
    """The preset's model with what the command line changes."""
    import dataclasses

    from glow_jax.training.presets import debug_size

    given = {
        "n_levels": args.levels,
        "n_steps": args.depth,
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
        raise InputError("--steps is required: how many gradient steps (or --debug)")
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
    )


if __name__ == "__main__":
    sys.exit(main())
