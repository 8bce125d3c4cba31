"""Command line: `python -m bench --help`."""

import argparse
import json
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
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="device to measure")
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

    result: dict[str, Any] = {"machine": measure.machine(), "seed": 0}
    result["settings"] = {k: v for k, v in vars(arguments).items() if k != "out"}
    if arguments.device == "gpu":
        from bench.speed import gpu  # starts JAX, which the CPU run's parent must not

        try:
            result |= gpu.run("quick" if arguments.quick else "256", seed=0)
        except gpu.NoDevice as error:
            print(f"bench: {error}", file=sys.stderr)
            return 2
    else:
        parts = arguments.only or PARTS
        if "compile" in parts:
            result["compile"] = cpu.compile_rows(arguments.quick, arguments.cores)
        if "speed" in parts:
            result["speed"] = cpu.speed_rows(arguments.quick, arguments.cores)
        if "peers" in parts:
            result["peers"] = cpu.peer_rows(
                arguments.quick, arguments.cores, arguments.all_variants
            )
        if "judge" in parts:
            from bench.speed import judge  # needs the extra `eval`

            result["judge"] = judge.judge_rows(arguments.quick, arguments.cores)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(report.markdown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
