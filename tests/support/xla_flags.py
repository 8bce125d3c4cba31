"""Settings with which XLA compiles soonest: most of the tests' time was the compiler's."""

import mmap
from importlib.util import find_spec
from pathlib import Path

SOONEST = {
    "xla_backend_optimization_level": "0",  # LLVM's optimiser changes no operation of XLA's
    "xla_cpu_use_fusion_emitters": "false",  # the older emitters of fused operations
    "xla_cpu_parallel_codegen_split_count": "1",  # one LLVM module a program
}


def soonest() -> str:
    """The settings that the installed XLA knows, as a value of XLA_FLAGS.

    A process ends at a setting that its XLA does not know, so names are looked for in the library.
    """
    found = find_spec("jaxlib")
    assert found is not None and found.origin is not None
    library = Path(found.origin).with_name("libjax_common.so")
    if not library.is_file():
        return "--xla_backend_optimization_level=0"
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code:
        known = [name for name in SOONEST if code.find(name.encode()) >= 0]
    return " ".join(f"--{name}={SOONEST[name]}" for name in known)
