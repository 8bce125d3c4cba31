"""Model the speed on a TPU or GPU without having one: compile for it on a CPU, and count.

    python -m bench.speed.aot --model faces64 --batch 64 128 --precision exact fast --out FILE.json

The extra `aot` holds the compiler of TPUs (libtpu); that of GPUs is in `jax[cuda12]`. Seconds are
*modelled*: the larger of the compiler's own estimate of cycles ÷ clock, and bytes of main memory ÷
bandwidth. The compiler estimates none of a Pallas kernel: what its matrix products take stands for
it. GPU programs have no such estimate: of them only bytes are counted. Nothing is measured
but the time to compile. A large matrix product, compiled in the same way, says how far the model is
from the peak rate. Rows that the output file has already are not compiled again.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.speed import hlo, measure
from glow_jax.io.errors import InputError
from glow_jax.io.files import write_atomically
from glow_jax.io.packages import installed, need, version

Row = dict[str, Any]
# "exported": decoding by the program that `glow-jax export` writes; "sharded": by several devices.
KINDS = ("decode", "encode", "exported", "sharded", "training")
CALIBRATION = 8192  # rows and columns of the calibrating product


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of TPU, one chip of it, or a GPU.

    Attributes:
        platform: "tpu" or "cuda".
        topology: the name of the smallest group of chips, for the compiler.
        peak: bfloat16 FLOP/s, from the vendor's table.
        bandwidth: of the main memory, bytes/s, likewise.
        memory: of the main memory, bytes, likewise.
        units: the matrix units; None if the compiler does not estimate cycles.
    """

    platform: str
    topology: str
    peak: float
    bandwidth: float
    memory: float
    units: hlo.Units | None

    @property
    def clock(self) -> float:
        """Cycles/s: the peak rate ÷ FLOP of a cycle, which are 2 x units x rows x columns."""
        assert self.units is not None
        return self.peak / (2 * self.units.number * self.units.size**2)


# cloud.google.com/tpu/docs: v5e, v6e. v5e has 4 units of 128 x 128. For v6e 4 of 256 x 256 are
# assumed, hence 1.75 GHz: with 2, the large product would exceed the peak rate by 40 %. H100 SXM:
# NVIDIA's data sheet, dense.
CHIPS = {
    "v5e": Chip("tpu", "v5e:2x2", 197e12, 819e9, 16e9, hlo.V5E),
    "v6e": Chip("tpu", "v6e:2x2", 918e12, 1640e9, 32e9, hlo.Units(256, 4, 0.70)),
    "h100": Chip("cuda", "1x1x1", 989e12, 3350e9, 80e9, None),
}


# What the GPU's compiler asks a device that is here (XLA's GpuTargetConfigProto).
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84978434048
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# Autotuning needs a device. Products are cuBLASLt's, as in most of what autotuning chooses.
GPU_FLAGS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed.aot",
        description="Model the speed on a TPU or GPU from programs compiled for it here.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--chip", choices=CHIPS, default="v5e", help="kind of TPU, or GPU")
    parser.add_argument(
        "--model", default="faces64", help="a bundled model, or a random one: 64, 128, 256"
    )
    parser.add_argument("--kind", choices=KINDS, nargs="+", default=["decode"], help="programs")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 128], help="images")
    parser.add_argument(
        "--precision", nargs="+", default=["exact"], help="of the coupling networks"
    )
    parser.add_argument("--coupling", choices=("additive", "affine"), default="additive")
    parser.add_argument("--out", type=Path, help="JSON file, to which rows are added")
    parser.add_argument("--texts", type=Path, help="folder that keeps the programs as text")
    arguments = parser.parse_args(argv)
    try:
        result = run(arguments)
    except InputError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(table(result["rows"]))
    return 0


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compile what the file lacks, and write it after every row.

    Raises:
        InputError: the compiler is not installed.
    """
    out: Path | None = arguments.out
    result: dict[str, Any] = {"modelled": True, "rows": []}
    if out and out.exists():
        result = json.loads(out.read_text())
    machine = measure.machine()
    result["versions"] = {"jax": version("jax"), "libtpu": version("libtpu")}
    cases = [
        {
            "chip": arguments.chip,
            "model": arguments.model,
            "coupling": arguments.coupling,
            "kind": kind,
            "precision": precision,
            "batch": batch,
        }
        for kind in arguments.kind
        for precision in arguments.precision
        for batch in arguments.batch
    ]
    calibration = {"chip": arguments.chip, "kind": "matmul", "size": CALIBRATION}
    for case in (calibration, *cases):
        case |= {"commit": machine["commit"]}
        if any(case.items() <= row.items() for row in result["rows"]):
            continue
        result["rows"].append(case | modelled(case, arguments.texts))
        if out:
            out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def modelled(case: Row, texts: Path | None = None) -> Row:
    """The modelled figures of one program, whose text is kept in the folder `texts`."""
    chip = CHIPS[case["chip"]]
    devices = topology(chip)
    if case["kind"] == "matmul":
        import jax.numpy as jnp

        square = ((case["size"], case["size"]), jnp.bfloat16)
        compiled, seconds = compile_for(chip.platform, devices[:1], jnp.matmul, square, square)
        flop = 2 * case["size"] ** 3
    elif case["kind"] == "training":
        from bench.speed.aot_training import compiled_step

        compiled, seconds, flop = compiled_step(case, devices[:1])
    else:
        compiled, seconds, flop = _of_model(case, chip.platform, devices)
    text = compiled.as_text()
    if texts:
        name = "-".join(str(value) for key, value in case.items() if key != "commit")
        write_atomically(texts / f"{name}.hlo", text.encode())
    counts = hlo.count(text, chip.units or hlo.V5E)
    memory = compiled.memory_analysis()
    row = {
        "temporary_bytes": memory.temp_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        "compile_s": seconds,
    }
    if chip.platform == "tpu":
        run = max(counts.cycles / chip.clock, counts.hbm_bytes / chip.bandwidth)
        n_devices = len(devices) if case["kind"] == "sharded" else 1
        row |= {
            "modelled_s": run,
            "modelled_share_of_peak": flop / run / n_devices / chip.peak,
            "product_share_of_cycles": counts.product_cycles / counts.cycles,
            "moving_share_of_cycles": counts.moving_cycles / counts.cycles,
        }
        if "batch" in case:
            row["modelled_images_per_s"] = case["batch"] / run
    return dataclasses.asdict(counts) | row


def topology(chip: Chip) -> list[Any]:
    """Descriptions of a chip and its neighbours, for the compiler.

    Raises:
        InputError: the compiler is not installed.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # else JAX looks for the GPU's driver
    if chip.platform == "cuda":
        if not installed("jax_cuda12_plugin"):
            raise InputError("jax_cuda12_plugin is not installed: pip install 'jax[cuda12]'")
        flags = os.environ.get("XLA_FLAGS", "")
        if GPU_FLAGS not in flags:  # read when JAX is first used
            os.environ["XLA_FLAGS"] = f"{flags} {GPU_FLAGS}"
        from jax.experimental import topologies

        gpu = topologies.get_topology_desc(
            "h100", platform="cuda", target_config=H100, topology=chip.topology
        )
        return list(gpu.devices)
    need("aot", "libtpu")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else it asks for a cloud's metadata
    from jax.experimental import topologies

    return list(topologies.get_topology_desc(platform="tpu", topology_name=chip.topology).devices)


def compile_for(
    platform: str, devices: list[Any], function: Callable[..., Any], *shapes: Any
) -> tuple[Any, Any]:
    """Compile for devices that are not here, and time it.

    Args:
        platform: "tpu" or "cuda".
        devices: of `topology`; several share the rows of all arguments but the first.
        function: of arrays.
        shapes: of each argument, a tree of (shape, dtype).

    Returns:
        The compiled object, which cannot be run here, and seconds.
    """
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(devices), ("batch",))
    whole, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("batch",)))

    def struct(sharding: Any) -> Callable[[Any], Any]:
        return lambda a: jax.ShapeDtypeStruct(a[0], a[1], sharding=sharding)

    def is_shape(a: Any) -> bool:
        return isinstance(a, tuple) and len(a) == 2 and isinstance(a[0], tuple)

    given = [
        jax.tree.map(struct(rows if i else whole), shape, is_leaf=is_shape)
        for i, shape in enumerate(shapes)
    ]
    start = time.perf_counter()
    if len(devices) > 1:
        specs = (PartitionSpec(), *(PartitionSpec("batch") for _ in shapes[1:]))
        function = jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("batch"), check_vma=False
        )
    lowered = jax.jit(function).trace(*given).lower(lowering_platforms=(platform,))
    return lowered.compile(), time.perf_counter() - start


def _of_model(case: Row, platform: str, devices: list[Any]) -> tuple[Any, float, int]:
    """A program of a model, seconds to compile it, and the FLOP of its products."""
    from bench.speed import models
    from glow_jax.checkpoints import load
    from glow_jax.flops import flops_per_image

    if case["model"].isdigit():
        config = dataclasses.replace(models.preset(case["model"]), coupling=case["coupling"])
        model = models.random_model(config, 0)
    else:
        model = load(case["model"], fold=False)
    flop = flops_per_image(model.config) * case["batch"]
    if case["kind"] == "exported":
        return *_exported(model, case, platform, devices), flop
    used = devices if case["kind"] == "sharded" else devices[:1]
    name = "encode" if case["kind"] == "encode" else "decode"
    folded = model.fold(case["precision"], platform=platform)
    return *compile_method(folded, name, case["batch"], platform, used), flop


def compile_method(
    folded: Any, name: str, batch: int, platform: str, devices: list[Any]
) -> tuple[Any, float]:
    """`encode` or `decode` of a folded model, compiled for devices that are not here, and seconds.

    Args:
        folded: the model, folded for the platform.
        name: "encode" or "decode".
        batch: images of all devices together.
        platform: "tpu" or "cuda".
        devices: of `topology`.
    """
    import jax
    from flax import nnx

    graph, state = nnx.split(folded)
    arrays, structure = jax.tree.flatten(state)
    config = folded.config
    values: Any = tuple(((batch, *shape), "float32") for shape in config.latent_shapes)
    if name == "encode":
        values = ((batch, *config.image_shape), "uint8")

    def method(arrays: list[Any], values: Any) -> Any:
        return getattr(nnx.merge(graph, jax.tree.unflatten(structure, arrays)), name)(values)

    shapes = [(a.shape, a.dtype) for a in arrays]
    return compile_for(platform, devices, method, shapes, values)


def _exported(model: Any, case: Row, platform: str, devices: list[Any]) -> tuple[Any, float]:
    """The exported program that decodes, at the row's batch, and seconds to compile it."""
    import jax

    from glow_jax.exported import Value
    from glow_jax.exporting import parts, serialised

    weights, functions_for = parts(model, case["precision"])
    arrays = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in weights.values()]
    values = [Value(("b", *shape), "float32") for shape in model.config.latent_shapes]
    program = serialised(functions_for(platform)["decode"], platform, arrays, values)
    call = jax.export.deserialize(program).call
    latents = tuple(((case["batch"], *value.shape[1:]), value.dtype) for value in values)
    shapes = [(a.shape, a.dtype) for a in arrays]
    return compile_for(platform, devices[:1], call, shapes, latents)


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| program | batch | precision | modelled images/s | products' share of cycles | HBM GB "
        "| temporaries MB | collectives |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if row["kind"] == "matmul" and "modelled_s" not in row:
            continue
        if row["kind"] == "matmul":
            share = f"{row['modelled_share_of_peak']:.0%} of the peak rate"
            lines.append(f"| {row['chip']}: product of {row['size']}³, bfloat16: {share} |")
            continue
        images = products = ""
        if "modelled_s" in row:
            images = f"{row['modelled_images_per_s']:,.4g}"
            products = f"{row['product_share_of_cycles']:.0%}"
        lines.append(
            f"| {row['chip']}, {row['model']}, {row['kind']} | {row['batch']} | {row['precision']} "
            f"| {images} | {products} | {row['hbm_bytes'] / 1e9:.2f} "
            f"| {row['temporary_bytes'] / 1e6:.0f} | {row['collectives']} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
