"""Measurements: compile time, speed, memory, and the ratio to the fastest Glow on PyPI.

    python -m bench                     CPU, about a quarter of an hour on two idle cores
    python -m bench --quick             CPU, small models, under two minutes
    python -m bench --device gpu --minutes 9    the most telling rows first, written one by one
    python -m bench --device tpu --minutes 9
    python -m bench --device cpu --minutes 1    the same with a tiny model

How a figure is made:

* One process per configuration (`worker.py`), so that its peak memory is its own: VmHWM, which
  counts the interpreter, the weights, compilation and the runs.
* The parent (`cpu.py`) asks the workers for one run at a time, in turn, so that other load of the
  machine affects all contestants, and the matmul they are compared with, equally.
* Each run gives wall seconds, the process's CPU seconds ("core-seconds") and the share of the
  machine that other processes used meanwhile. Figures are medians of at least five runs.
* GFLOP/s count multiplications and additions of products, from shapes alone (`flops.py`). The
  matmul rate is the best of 1024, 2048 and 4096 cubed, float32 at full precision: the large
  one alone is slower than the small ones on some machines, and would make shares of it too high.
* Weights are random with no zeros (`models.py`): speed does not depend on them, but zeros would
  hide errors; the measured models are invertible too.
"""

from bench.bare import stand_in_for_jaxtyping

stand_in_for_jaxtyping()
