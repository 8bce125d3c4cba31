"""Cycles and bytes counted in a compiled program's text."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from bench.speed import hlo

TEXT = """HloModule m, is_scheduled=true

%body (t: (s32[], f32[3,5])) -> (s32[], f32[3,5]) {
  %t = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)S(1)} get-tuple-element(%t), index=0
  %a = f32[3,5]{1,0:T(8,128)} get-tuple-element(%t), index=1
  %fast = f32[3,5]{1,0:T(8,128)S(1)} copy(%a), backend_config={"estimated_cycles":"10"}
  %p = f32[3,5]{1,0:T(8,128)} convolution(%fast, %a), backend_config={"estimated_cycles":"100"}
  ROOT %r = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)}) tuple(%i, %p)
}

%condition (t.1: (s32[], f32[3,5])) -> pred[] {
  %n = s32[]{:T(128)} constant(7)
  %t.1 = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%t.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i.1, %n), direction=LT
}

ENTRY %main (x: f32[3,5]) -> f32[3,5] {
  %x = f32[3,5]{1,0:T(8,128)} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %start = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)}) tuple(%zero, %x)
  %w = (s32[]{:T(128)}, f32[3,5]{1,0:T(8,128)}) while(%start), condition=%condition, body=%body
  ROOT %out = f32[3,5]{1,0:T(8,128)} get-tuple-element(%w), index=1
}
"""


def test_loops_count_as_often_as_they_run_and_tiles_are_whole() -> None:
    """3 x 5 floats fill a tile of 8 x 128; the chip's own memory, S(1), counts no bytes."""
    tile = 8 * 128 * 4
    assert dataclasses.asdict(hlo.count(TEXT)) == {
        "cycles": 7 * 110,
        "product_cycles": 7 * 100,
        "kernel_cycles": 0,
        "moving_cycles": 7 * 10,
        "hbm_bytes": 7 * 3 * tile,  # the copy reads one; the product reads one and writes one
        "loops": 1,
        "copies": 1,
        "collectives": 0,
    }


SLICED = """HloModule m, is_scheduled=true

%slice (p.2: f32[9,8,128], i.2: s32[]) -> f32[1,8,128] {
  %p.2 = f32[9,8,128]{2,1,0:T(8,128)} parameter(0)
  %i.2 = s32[]{:T(128)} parameter(1)
  ROOT %s = f32[1,8,128]{2,1,0:T(8,128)} dynamic-slice(%p.2, %i.2), dynamic_slice_sizes={1,8,128}
}

%fused (p.1: f32[9,8,128], i.1: s32[]) -> f32[1,8,128] {
  %p.1 = f32[9,8,128]{2,1,0:T(8,128)} parameter(0)
  %i.1 = s32[]{:T(128)} parameter(1)
  %part = f32[1,8,128]{2,1,0:T(8,128)} fusion(%p.1, %i.1), kind=kLoop, calls=%slice
  ROOT %negative = f32[1,8,128]{2,1,0:T(8,128)} negate(%part)
}

ENTRY %main (x: f32[9,8,128], i: s32[]) -> f32[1,8,128] {
  %x = f32[9,8,128]{2,1,0:T(8,128)} parameter(0)
  %i = s32[]{:T(128)S(6)} parameter(1)
  ROOT %out = f32[1,8,128]{2,1,0:T(8,128)} fusion(%x, %i), kind=kLoop, calls=%fused
}
"""


def test_a_slice_within_a_fusion_within_a_fusion_reads_the_slice_alone() -> None:
    tile = 8 * 128 * 4
    assert hlo.count(SLICED).hbm_bytes == 2 * tile  # read and written, of 9 that the array has
    whole = SLICED.replace("negate(%part)", "add(%part, %p.1)")
    assert hlo.count(whole).hbm_bytes == 10 * tile
    renamed = SLICED.replace("f32[1,8,128]", "f32[9,8,128]").replace("dynamic-slice", "bitcast")
    assert hlo.count(renamed).hbm_bytes == 18 * tile


KERNEL = """HloModule m, is_scheduled=true

ENTRY %main (x: f32[4,6,256], a: f32[40,130], b: bf16[16,128], c: f32[40,1]) -> f32[4,8,256] {
  %x = f32[4,6,256]{2,1,0:T(8,128)S(1)} parameter(0)
  %a = f32[40,130]{1,0:T(8,128)S(1)} parameter(1)
  %b = bf16[16,128]{1,0:T(8,128)(2,1)S(1)} parameter(2)
  %c = f32[40,1]{1,0:T(8,128)S(1)} parameter(3)
  ROOT %out = f32[4,8,256]{2,1,0:T(8,128)S(1)} custom-call(%x, %a, %b, %c), \
custom_call_target="tpu_custom_call", backend_config={"custom_call_config":{"body":"x"}}
}
""".replace("\\\n", "")


def test_a_kernel_counts_the_passes_of_its_matrices() -> None:
    """Of 1024 columns: 48 rows of two tiles in three passes, and 16 rows of one tile in one."""
    units = hlo.Units(size=128, number=2, share=0.5)
    passes = 3 * 48 * 2 + 16
    counts = hlo.count(KERNEL, units)
    assert counts.product_cycles == passes * 8
    assert counts.kernel_cycles == counts.cycles == passes * 8 + hlo.KERNEL_REST
    assert counts.moving_cycles == 0
    larger = hlo.Units(size=256, number=2, share=0.5)
    assert hlo.count(KERNEL, larger).cycles == (3 * 48 + 16) * 4 + hlo.KERNEL_REST


def test_an_unknown_trip_count_is_an_error() -> None:
    with pytest.raises(ValueError, match="w: its trip count is not a constant"):
        hlo.count(TEXT.replace("constant(7)", "iota()"))


def test_a_program_of_this_machine_can_be_read() -> None:
    """JAX's own text, with a scan of 5 and a product, though a CPU has no estimates of cycles."""

    def run(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda h, _: (jnp.matmul(h, h), None), x, None, length=5)[0]

    counts = hlo.count(jax.jit(run).lower(jnp.ones((64, 64))).compile().as_text())
    assert counts.loops == 1
    assert counts.cycles == 0
    assert counts.hbm_bytes >= 5 * 64 * 64 * 4
