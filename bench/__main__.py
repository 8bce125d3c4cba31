"""Command line: `python -m bench --help`."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from bench.speed import cpu, measure, report

PARTS = ("compile", "speed", "peers", "judge")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure glow_jax's speed, compile time and memory.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--device", choices=("cpu", "gpu", "tpu"), default="cpu", help="device to measure"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="time for all rows, the most telling first; no row is begun that could not end "
        "(default: 9 on a GPU or TPU; on a CPU, a tiny model is measured in the same way)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights")
    parser.add_argument(
        "--quick",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="measure a tiny model only",
    )
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="measure only this part (CPU); repeatable"
    )
    parser.add_argument("--cores", type=int, default=2, help="processors to use (CPU)")
    parser.add_argument(
        "--all-variants",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="measure every PyTorch variant at 256 pixels too",
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    arguments = parser.parse_args(argv)
    if arguments.cores < 1:
        parser.error(f"--cores is {arguments.cores}; use 1 or more")

    if arguments.device != "cpu" or arguments.minutes:
        return _on_device(arguments)
    result: dict[str, Any] = {"machine": measure.machine(), "seed": arguments.seed}
    result["settings"] = {k: v for k, v in vars(arguments).items() if k != "out"}
    parts = arguments.only or PARTS
    if "compile" in parts:
        result["compile"] = cpu.compile_rows(arguments.quick, arguments.cores)
    if "speed" in parts:
        result["speed"] = cpu.speed_rows(arguments.quick, arguments.cores)
    if "peers" in parts:
        result["peers"] = cpu.peer_rows(arguments.quick, arguments.cores, arguments.all_variants)
    if "judge" in parts:
        from bench.speed import judge  # needs the extra `eval`

        result["judge"] = judge.judge_rows(arguments.quick, arguments.cores)
    _write(arguments.out, result)
    print(report.markdown(result))
    return 0


def _on_device(arguments: argparse.Namespace) -> int:
    """The rows of `device`, written one by one."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # before JAX is imported
    from bench.speed import device

    about: dict[str, Any] = {"machine": measure.machine(), "seed": arguments.seed}

    def write(result: dict[str, Any]) -> None:
        _write(arguments.out, about | result)

    try:
        minutes = 9 if arguments.minutes is None else arguments.minutes
        result = device.run(arguments.device, minutes, arguments.seed, write)
    except device.NoDevice as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(report.markdown(about | result))
    return 0


def _write(out: Path | None, result: dict[str, Any]) -> None:
    """Write results under another name, then rename: a killed run leaves those of its last row."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.name}.partial")
        partial.write_text(json.dumps(result, indent=1) + "\n")
        partial.replace(out)


if __name__ == "__main__":
    sys.exit(main())
