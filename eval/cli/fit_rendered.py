"""Train the AU models: `python -m eval.cli.fit_rendered FACES -o eval/rendered.npz`."""

import argparse
import functools
import sys
from pathlib import Path

from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line
from glow_jax.io.terminal import printable_output


def main(argv: list[str] | None = None) -> int:
    """Train, print the table of quality, write the models."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.cli.fit_rendered",
        description="Train the `rendered` AU models on pictures of rendered people.",
    )
    parser.add_argument("faces", type=Path, help="folder of pictures and labels.jsonl")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("eval/rendered.npz"),
        help="where to write the models (default: %(default)s)",
    )
    with printable_output():
        return _run(parser.parse_args(argv))


def _run(args: argparse.Namespace) -> int:
    from eval.fit_rendered import fit_models
    from glow_jax.io.files import write_atomically

    try:
        data = fit_models(args.faces, report=functools.partial(print, flush=True))
        write_atomically(args.out, data)
    except InputError as error:
        print(f"eval.cli.fit_rendered: error: {one_line(error)}", file=sys.stderr)
        return 2
    print(f"{one_line(args.out)}: {len(data) / 2**20:.2f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
