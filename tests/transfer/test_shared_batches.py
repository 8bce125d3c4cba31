"""A batch whose rows several devices share: the bytes of one device, and no collective."""

import dataclasses
import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bench.speed import aot, hlo
from bench.speed.aot_training import compile_step
from glow_jax.config import GlowConfig
from glow_jax.training.step import TrainConfig
from tests.support.models import glow
from transfer.models import AXIS, on_mesh

ROOT = Path(__file__).parents[2]
CONFIG = GlowConfig(16, 16, 2, 2, 8)
ON_FOUR = """
import json, jax, numpy as np
from glow_jax.config import GlowConfig
from bench.speed.models import random_model
from transfer.codec import to_bytes
from transfer.models import codec_of

model = random_model(GlowConfig(8, 8, 2, 1, 8), 0).fold()
rng = np.random.default_rng(0)
eps = tuple(rng.standard_normal((8, *s), np.float32) for s in model.config.latent_shapes)
several = codec_of(model, "exact", devices=jax.local_devices())
decoded = several.decode(eps)
one = codec_of(model, "exact")
alone = np.concatenate([one.decode(tuple(a[i:i + 2] for a in eps)) for i in range(0, 8, 2)])
print(json.dumps([several.n_devices, bool((to_bytes(decoded) == to_bytes(alone)).all()),
                  len(np.unique(to_bytes(decoded))), bool((decoded == alone).all())]))
"""


def test_four_devices_decode_the_bytes_of_one() -> None:
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", ON_FOUR],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    devices, same_bytes, values, same = json.loads(done.stdout)
    assert devices == 4 and same_bytes and same and values > 100


def compiled(devices: list[Any], name: str) -> str:
    """The program in which devices share a batch of 8 images each, as text."""
    graph, state = nnx.split(glow(CONFIG).fold(platform=devices[0].platform))
    mesh = Mesh(np.array(devices), (AXIS,))

    def struct(shape: tuple[int, ...], dtype: Any, *axes: str) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    arrays = jax.tree.map(lambda a: struct(a.shape, a.dtype), state)
    n = 8 * len(devices)
    batch: Any = tuple(struct((n, *s), np.float32, AXIS) for s in CONFIG.latent_shapes)
    if name != "decode_x":
        batch = struct((n, *CONFIG.image_shape), np.uint8, AXIS)
    program = on_mesh(functools.partial(nnx.merge, graph), mesh, name)
    platforms = (devices[0].platform,)
    return program.trace(arrays, batch).lower(lowering_platforms=platforms).compile().as_text()


def sixteen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Descriptions of the 16 chips of a v5e 4x4."""
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    monkeypatch.setenv("XLA_FLAGS", "")  # libtpu ends the process at a flag of CPUs
    devices = aot.topology(dataclasses.replace(aot.CHIPS["v5e"], topology="v5e:4x4"))
    assert len(devices) == 16
    return devices


no_tpu_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu, the compiler of TPUs, is not installed (extra `aot`)",
)


@pytest.mark.slow
@no_tpu_compiler
def test_sixteen_tpus_share_a_batch_without_a_collective(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = sixteen(monkeypatch)
    for name in ("decode_x", "encode", "bits_per_dim"):
        assert hlo.count(compiled(devices, name)).collectives == 0, name


@pytest.mark.slow
@no_tpu_compiler
def test_training_on_sixteen_tpus_reduces_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collectives are seen where there are some."""
    step, _ = compile_step(CONFIG, TrainConfig(10, 16), sixteen(monkeypatch))
    assert hlo.count(step.as_text()).collectives > 0
