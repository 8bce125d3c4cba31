"""Markdown tables of the rows that `cpu.py` and `gpu.py` make."""

from collections.abc import Iterable
from typing import Any

from bench.speed.cpu import describe

Row = dict[str, Any]


def markdown(result: Row) -> str:
    """The whole result as a page."""
    machine = result["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    device = result.get("device", machine["cpu"])
    where = [f"{device}, {machine['cores']} cores", versions, f"commit {machine['commit']}"]
    lines = ["; ".join([*where, machine["date"]])]
    if "ceilings" in result:
        rates = [f"{name} {rate:.0f} TFLOP/s" for name, rate in result["ceilings"].items()]
        lines += ["", f"Large matmuls: {', '.join(rates)}; round trips in grey levels."]
    tables = {"compile": _compile, "speed": _speed, "peers": _peers, "gpu": _gpu, "judge": _judge}
    for name, table in tables.items():
        if result.get(name):
            lines += ["", f"**{_TITLES[name]}**", "", *table(result[name])]
    return "\n".join(lines) + "\n"


_TITLES = {
    "compile": "Compile time from cold, seconds",
    "speed": "Speed",
    "peers": "Against normflows (PyTorch), interleaved",
    "gpu": "Throughput",
    "judge": "Judging, offline defaults",
}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _compile(rows: list[Row]) -> list[str]:
    def cells(row: Row) -> Iterable[str]:
        for name in row["directions"]:
            if "error" in row:
                return [describe(row), name, row["error"], "", "", ""]
            f = row[name]
            return [
                describe(row),
                name,
                f"{f['lower_s']:.1f}",
                f"{f['compile_s']:.1f}",
                f"{f['first_run_s']:.1f}",
                f"{row['peak_mb']:.0f}",
            ]
        return []

    head = ["model", "direction", "trace and lower", "compile", "first run", "peak MB"]
    return _table(head, map(cells, rows))


def _speed(rows: list[Row]) -> list[str]:
    head = ["model", "direction", "images/s", "core-s an image", "GFLOP/s", "matmul GFLOP/s"]
    head += [
        "share, wall",
        "share, core-s",
        "compile s",
        "bytes changed",
        "others' load",
        "peak MB",
    ]

    def cells(row: Row, name: str) -> list[str]:
        if "error" in row:
            return [describe(row), name, row["error"], *[""] * 9]
        f = row[name]
        return [
            describe(row),
            name,
            f"{row['batch'] / f['wall_s']:.3g}",
            f"{f['cpu_s'] / row['batch']:.3g}",
            f"{f['gflop_per_s']:.0f}",
            f"{f['matmul_gflop_per_s']:.0f}",
            f"{f['share_of_matmul_per_s']:.0%}",
            f"{f['share_of_matmul_per_core_s']:.0%}",
            f"{f['lower_s'] + f['compile_s']:.1f}",
            str(row["bytes_changed"]),
            _percent(f["others"]),
            f"{row['peak_mb']:.0f}",
        ]

    return _table(head, [cells(row, name) for row in rows for name in row["directions"]])


def _peers(rows: list[Row]) -> list[str]:
    head = ["model", "direction", "wall s", "core-s", "times ours, wall", "times ours, core-s"]
    head += ["others' load", "peak MB"]

    def cells(row: Row, name: str) -> list[str]:
        if "error" in row:
            return [describe(row), name, row["error"], *[""] * 5]
        f = row[name]
        return [
            describe(row),
            name,
            f"{f['wall_s']:.3g}",
            f"{f['cpu_s']:.3g}",
            f"{f['wall_over_ours']:.2f}",
            f"{f['cpu_over_ours']:.2f}",
            _percent(f["others"]),
            f"{row['peak_mb']:.0f}",
        ]

    return _table(head, [cells(row, name) for row in rows for name in row["directions"]])


def _gpu(rows: list[Row]) -> list[str]:
    head = ["precision", "batch", "direction", "images/s", "TFLOP/s", "of bf16 matmul"]
    head += ["compile s", "device MB", "round trip max", "mean", "non-finite"]

    def cells(row: Row, name: str) -> list[str]:
        if "error" in row:
            return [row["precision"], str(row["batch"]), name, row["error"], *[""] * 7]
        f = row[name]
        return [
            row["precision"],
            str(row["batch"]),
            name,
            f"{f['images_per_s']:.1f}",
            f"{f['tflop_per_s']:.1f}",
            f"{f['share_of_bf16']:.1%}",
            f"{f['compile_s']:.1f}",
            f"{f['device_mb']:.0f}",
            f"{row['round_trip']['max']:.2g}",
            f"{row['round_trip']['mean']:.2g}",
            str(row["round_trip"]["non_finite"]),
        ]

    return _table(head, [cells(row, name) for row in rows for name in ("encode", "decode")])


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.0%}"


def _judge(rows: list[Row]) -> list[str]:
    head = ["images", "pixels", "processes", "images/s", "again, s", "peak MB", "a worker's"]
    cells = (
        [
            str(row["images"]),
            str(row["side"]),
            str(row["workers"]),
            f"{row['images'] / row['seconds']:.1f}",
            f"{row['again_seconds']:.1f}",
            f"{row['peak_mb']:.0f}",
            f"{row['worker_peak_mb']:.0f}",
        ]
        for row in rows
    )
    return _table(head, cells)
