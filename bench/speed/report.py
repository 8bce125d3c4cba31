"""Markdown tables of the rows that `cpu.py` and `device.py` make."""

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
        rates = [f"{name} {rate:.3g} TFLOP/s" for name, rate in result["ceilings"].items()]
        lines += ["", f"Large matmuls: {', '.join(rates)}; round trips in grey levels."]
    tables = {
        "compile": _compile,
        "speed": _speed,
        "peers": _peers,
        "rows": _device,
        "judge": _judge,
    }
    for name, table in tables.items():
        if result.get(name):
            lines += ["", f"**{_TITLES[name]}**", "", *table(result[name])]
    if skipped := result.get("skipped"):
        lines += ["", f"Not begun, for want of time: {_named(skipped)}."]
    left_out: list[Row] = result.get("left_out", [])
    for reason in dict.fromkeys(row["reason"] for row in left_out):
        rows = [row for row in left_out if row["reason"] == reason]
        lines += ["", f"Left out, because {reason}: {_named(rows)}."]
    return "\n".join(lines) + "\n"


_TITLES = {
    "compile": "Compile time from cold, seconds",
    "speed": "Speed",
    "peers": "Against normflows (PyTorch), interleaved",
    "rows": "On the device, in the order of measurement",
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


def _variant(row: Row) -> str:
    """Precision or variant, and batch."""
    return f"{row.get('precision', row.get('variant'))}, {row.get('batch', row.get('rows'))}"


def _named(rows: list[Row]) -> str:
    return "; ".join(f"{row['kind']} {row['model']} {_variant(row)}" for row in rows)


def _device(rows: list[Row]) -> list[str]:
    head = ["", "model", "precision or variant, batch", "images/s", "TFLOP/s"]
    head += ["of matmul", "of bf16", "compile s", "device MB", "round trip max"]

    def cells(row: Row, figures: Row, name: str) -> list[str]:
        first = [name, row["model"], _variant(row)]
        if "error" in row:
            return [*first, row["error"], *[""] * 6]
        trip = row.get("round_trip")
        return [
            *first,
            f"{figures['images_per_s']:.1f}",
            f"{figures['tflop_per_s']:.3g}" if "tflop_per_s" in figures else "",
            _percent(figures.get("share_of_matmul", -1)),
            _percent(figures.get("share_of_bf16", -1)),
            f"{row['compile_s']:.1f}" if "compile_s" in row else "",
            f"{row['device_mb']:.0f}" if "device_mb" in row else "",
            f"{trip['max']:.2g}" if trip else "",
        ]

    made = []
    for row in rows:
        rival = row["kind"].startswith("PyTorch") and "error" not in row
        for name in ("decode", "encode") if rival else ("",):
            figures = row[name] if name else row
            made.append(cells(row, figures, f"{row['kind']} {name}".strip()))
    return _table(head, made)


def _percent(share: float | None) -> str:
    """Of what is known (None is not), and of what there is (below 0 there is none)."""
    if share is None:
        return "?"
    return f"{share:.0%}" if share >= 0 else ""


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
