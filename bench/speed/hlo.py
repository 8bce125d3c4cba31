"""Count cycles, bytes and operations of a compiled program, from the text of its scheduled HLO.

XLA's own `cost_analysis` counts the body of a loop once and ignores precision. Here each
instruction counts as often as it runs: the bodies of loops are multiplied by their trip counts.
Cycles are the compiler's estimates (`estimated_cycles`, in the text of TPU programs only).
Instructions without an estimate, such as asynchronous copies, count none; but kernels written in
Pallas count the cycles of their matrix products. All figures are models, not measurements.
"""

import collections
import dataclasses
import math
import re

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute")
# Instructions that move no data: they name values, or end what another one started.
NAMES_ONLY = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call")
MOVES = ("copy", "transpose", "reshape", "concatenate", "pad", "slice", "broadcast", "reverse")
# Instructions of 1,024 columns besides products: 330 to 460 in networks of 12 to 48 channels.
KERNEL_REST = 450
BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "token": 0}

_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\](?:\{([^{}]*)\})?")
_TILE = re.compile(r"T\(([\d,]+)\)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of the text: NAME = TYPE OPCODE(OPERANDS), ATTRIBUTES."""

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    inside: str  # what stands between the parentheses: a constant's value, a parameter's number
    attributes: str
    is_root: bool = False

    def called(self, attribute: str) -> str | None:
        """The computation that an attribute such as `calls` or `body` names."""
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.attributes)
        return found[1] if found else None


Computation = dict[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Units:
    """The matrix units of a chip, by default of a v5e.

    Attributes:
        size: rows and columns of a unit.
        number: of units.
        share: of their peak rate that the compiler's estimate gives to a large product.
    """

    size: int = 128
    number: int = 4
    share: float = 0.88


V5E = Units()


@dataclasses.dataclass
class Counts:
    """Totals over a run of the program.

    Attributes:
        cycles: of all instructions, estimated by the compiler, and of kernels.
        product_cycles: of them, in matrix products and convolutions (with what is fused to them).
        kernel_cycles: in Pallas kernels, of which the compiler estimates none.
        moving_cycles: of them, in instructions that only move data.
        hbm_bytes: read and written in the device's main memory, padded to tiles.
        loops, copies, collectives: instructions of these kinds in the text, each counted once.
    """

    cycles: int = 0
    product_cycles: int = 0
    kernel_cycles: int = 0
    moving_cycles: int = 0
    hbm_bytes: int = 0
    loops: int = 0
    copies: int = 0
    collectives: int = 0


def count(text: str, units: Units = V5E) -> Counts:
    """Counts of a program, from the `as_text()` of JAX's compiled object.

    Args:
        text: the program.
        units: of the chip that the program is for.

    Raises:
        ValueError: a line cannot be read, or the trip count of a loop is not a constant.
    """
    computations, entry = parse(text)
    counts = Counts()
    _add(counts, computations, entry, 1, units)
    for body in computations.values():
        for instruction in body.values():
            opcode = instruction.opcode.removesuffix("-start")
            counts.loops += opcode == "while"
            counts.copies += opcode == "copy"
            counts.collectives += opcode in COLLECTIVES
    return counts


def longest_loop(text: str, units: Units = V5E) -> Counts:
    """Counts of the loop of the entry that takes most cycles, with all its iterations.

    Raises:
        ValueError: as `count`; or the entry has no loop.
    """
    computations, entry = parse(text)
    found = []
    for instruction in computations[entry].values():
        if instruction.opcode == "while":
            found.append(Counts())
            trips = _trips(instruction, computations)
            _add(found[-1], computations, str(instruction.called("body")), trips, units)
    if not found:
        raise ValueError("a program without a loop")
    return max(found, key=lambda counts: counts.cycles)


def _add(
    counts: Counts, computations: dict[str, Computation], name: str, times: int, units: Units
) -> None:
    """Add what a computation does, and the computations that it runs, `times` times."""
    body = computations[name]
    for instruction in body.values():
        if instruction.opcode == "while":
            trips = _trips(instruction, computations)
            _add(counts, computations, str(instruction.called("body")), times * trips, units)
        elif instruction.opcode == "call":
            _add(counts, computations, str(instruction.called("to_apply")), times, units)
        elif instruction.opcode == "conditional":
            raise ValueError(f"{instruction.name}: which branch runs is unknown")
        counts.hbm_bytes += times * _moved(instruction, body, computations)
        if 'custom_call_target="tpu_custom_call"' in instruction.attributes:
            products, rest = _kernel_cycles(instruction, body, units)
            counts.product_cycles += times * products
            counts.kernel_cycles += times * (products + rest)
            counts.cycles += times * (products + rest)
            continue
        estimate = _CYCLES.search(instruction.attributes)
        cycles = times * int(estimate[1]) if estimate else 0
        counts.cycles += cycles
        opcodes = _opcodes(instruction, computations)
        if opcodes & {"convolution", "dot"}:
            counts.product_cycles += cycles
        elif opcodes <= {*MOVES, *NAMES_ONLY, "fusion", "dynamic-slice", "dynamic-update-slice"}:
            counts.moving_cycles += cycles


def _kernel_cycles(kernel: Instruction, body: Computation, units: Units) -> tuple[int, int]:
    """Cycles of `glow_jax.fused_lanes`: matrix products, at the rate of a large one, and the rest.

    Each operand that is a matrix multiplies the H x L columns of the result (H, D, L). A unit
    multiplies one row of a tile by `size` columns in a cycle; bfloat16 has 16 rows in a register.
    float32 takes three passes. In the instructions that the compiler makes for a v5e, products and
    the rest overlap; added up they are more than its instructions for every size that was tried.
    """
    height, _, lanes = _shape(kernel.type)[1]
    rows = 0
    for operand in kernel.operands:
        dtype, shape = _shape(body[operand].type)
        if len(shape) == 2 and shape[1] > 1:
            tiles = -(-shape[0] // 16) * -(-shape[1] // units.size)
            rows += 16 * tiles * (1 if dtype == "bf16" else 3)
    products = rows * height * lanes / units.size / units.number / units.share
    return round(products), round(KERNEL_REST * height * lanes / 1024)


def _shape(type_: str) -> tuple[str, list[int]]:
    """The dtype and the shape of an array's type."""
    dtype, shape, _ = _ARRAY.findall(type_)[0]
    return dtype, [int(n) for n in shape.split(",") if n]


def _opcodes(instruction: Instruction, computations: dict[str, Computation]) -> set[str]:
    """The operations of an instruction and, where it is a fusion, of all that is fused."""
    found = {instruction.opcode}
    called = instruction.called("calls") if instruction.opcode == "fusion" else None
    for inner in computations.get(called or "", {}).values():
        found |= _opcodes(inner, computations)
    return found


def _trips(loop: Instruction, computations: dict[str, Computation]) -> int:
    """How often a loop runs: as the compiler says, or the bound of a counter that starts at 0.

    JAX's scans count up from 0 to a constant.
    """
    known = _TRIPS.search(loop.attributes)
    if known:
        return int(known[1])
    condition = computations[str(loop.called("condition"))]
    for compare in condition.values():
        if compare.opcode == "compare" and "direction=LT" in compare.attributes:
            bound = condition.get(compare.operands[1])
            if bound is not None and bound.opcode == "constant":
                return int(bound.inside)
    raise ValueError(f"{loop.name}: its trip count is not a constant")


# -- bytes


def _moved(
    instruction: Instruction, body: Computation, computations: dict[str, Computation]
) -> int:
    """Bytes that one instruction reads and writes in main memory."""
    opcode = instruction.opcode
    if opcode in NAMES_ONLY or opcode.endswith("-done"):
        return 0
    if opcode in ("copy-start", "slice-start"):  # the type names source, result and a semaphore
        arrays = [found for found in _ARRAY.findall(instruction.type) if found[0] != "u32"]
        result = arrays[0] if opcode == "copy-start" else arrays[-2]
        source = body[instruction.operands[0]].type
        read = _bytes(result, everywhere=True) if _size(source) else 0
        return read + _bytes(result)
    type_ = instruction.type
    if opcode == "custom-call" and type_.startswith("("):  # the last result is a scratch buffer
        type_ = type_[: type_.rindex(", ")]
    written, reads = _size(type_), []
    inner = computations.get(instruction.called("calls") or "", {})
    for number, operand in enumerate(instruction.operands):
        whole = _size(body[operand].type)
        part = _read(number, inner, computations) if inner else None
        reads.append(whole if part is None else min(whole, part))
    if opcode == "dynamic-slice":
        reads = [min(reads[0], written)]
    roots = [i for i in inner.values() if i.is_root] or [instruction]
    if roots[0].opcode == "dynamic-update-slice":  # in place: the update, not all of the array
        within = inner or body
        written = min(written, _size(within[roots[0].operands[1]].type, everywhere=True))
        reads[:1] = []
    return written + sum(reads)


def _read(number: int, inner: Computation, computations: dict[str, Computation]) -> int | None:
    """Bytes that a fusion reads of a parameter that it only slices; None if it may read all."""
    for i in inner.values():
        if i.opcode == "parameter" and int(i.inside) == number:
            return _read_of(i.name, inner, computations)
    return None


def _read_of(value: str, inner: Computation, computations: dict[str, Computation]) -> int | None:
    total = 0
    if inner[value].is_root:  # all of it is the result
        return None
    for user in inner.values():
        if value not in user.operands:
            continue
        further: int | None = None
        if user.opcode == "bitcast":
            further = _read_of(user.name, inner, computations)
        elif user.opcode == "fusion":
            called = computations.get(user.called("calls") or "", {})
            further = _read(user.operands.index(value), called, computations)
        elif user.opcode in ("dynamic-slice", "slice"):
            further = _size(user.type, everywhere=True)
        if further is None:
            return None
        total += further
    return total


def _size(type_: str, everywhere: bool = False) -> int:
    """Bytes of a type's arrays in main memory, or, with `everywhere`, in any memory."""
    return sum(_bytes(found, everywhere) for found in _ARRAY.findall(type_))


def _bytes(array: tuple[str, str, str], everywhere: bool = False) -> int:
    """Bytes of an array, its minor axes padded to whole tiles.

    A layout such as {1,0:T(8,128)S(1)} names the axes from minor to major, the tile of the most
    minor axes, and the memory: S(1) is the chip's own, no S the main memory.
    """
    dtype, shape, layout = array
    if "S(" in layout and not everywhere:
        return 0
    sizes = [int(n) for n in shape.split(",") if n]
    order = [int(n) for n in layout.split(":")[0].split(",") if n] or range(len(sizes))[::-1]
    minor = [sizes[axis] for axis in order]
    tile = _TILE.search(layout)
    lengths = [int(n) for n in tile[1].split(",")][::-1] if tile else []
    for i, length in enumerate(lengths):
        if i < len(minor):
            minor[i] = -(-minor[i] // length) * length
        else:
            minor.append(length)
    digits = re.sub(r"\D", "", dtype)
    bits = BITS[dtype] if dtype in BITS else int(digits or 0)
    return math.prod(minor) * bits // 8


# -- reading the text


def parse(text: str) -> tuple[dict[str, Computation], str]:
    """Computations by name, and the name of the entry.

    Raises:
        ValueError: a line cannot be read, or there is no entry.
    """
    computations: dict[str, Computation] = collections.defaultdict(dict)
    entry = current = ""
    for line in text.splitlines():
        header = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if header:
            current = header[2]
            entry = current if header[1] else entry
        elif line.startswith("}"):
            current = ""
        elif current and line.strip():
            instruction = _instruction(line)
            computations[current][instruction.name] = instruction
    if not entry:
        raise ValueError("a text without an ENTRY computation")
    return dict(computations), entry


def _instruction(line: str) -> Instruction:
    start = re.match(r"\s+(ROOT )?%?([\w.\-]+) = ", line)
    if not start:
        raise ValueError(f"a line that is no instruction: {line[:80]!r}")
    rest = line[start.end() :]
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    type_, rest = rest[:end], rest[end:].lstrip()
    opening = rest.index("(")
    closing = _closing(rest, opening)
    inside = rest[opening + 1 : closing]
    opcode = rest[:opening]
    operands = () if opcode == "constant" else tuple(re.findall(r"%([\w.\-]+)", inside))
    return Instruction(
        start[2], type_, opcode, operands, inside, rest[closing + 1 :], start[1] is not None
    )


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    raise ValueError(f"a parenthesis that does not close: {text[:80]!r}")
