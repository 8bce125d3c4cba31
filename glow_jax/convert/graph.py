"""Read a frozen TensorFlow GraphDef without TensorFlow: nodes, and expressions made of them.

Format: tensorflow/tensorflow `core/framework/graph.proto, node_def.proto, attr_value.proto`.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from glow_jax.convert.protobuf import DTYPES, MAX_AXES, fields, shape_of, signed, tensor, varints
from glow_jax.io.budget import MAX_BYTES, MAX_STEPS, Budget
from glow_jax.io.errors import InputError

MAX_NODES = 1_000_000
MAX_GRAPH_BYTES = 2**30  # of the file: OpenAI's 256-pixel model has 705 MB
MAX_GRAPH_STEPS = 32_000_000
MAX_ACTIVATION = 2**26  # largest number of elements of a tensor that depends on the picture
# Elements that count as one step of the budget: of constants, and of what depends on the picture.
ELEMENTS_A_STEP = 2**8
ACTIVATIONS_A_STEP = 2**12


@dataclasses.dataclass
class Node:
    """One NodeDef: `inputs` without control edges; `attrs` unparsed.

    `budget` is shared by the whole graph: for parsing, computing constants, and one run.
    """

    name: str
    op: str
    inputs: list[str]
    attrs: dict[str, Any]
    budget: Budget


@dataclasses.dataclass(eq=False)
class Expression:
    """An operation with at least one unknown input; `args` are arrays or expressions."""

    op: str
    args: list[Any]
    shape: tuple[int, ...]
    detail: Any = None
    name: str = ""


def read_graph(data: np.ndarray) -> dict[str, Node]:
    """The nodes of a serialised GraphDef, by name; `data` are its bytes, uint8.

    Raises:
        InputError: not a GraphDef, or a truncated one.
    """
    if len(data) > MAX_GRAPH_BYTES:
        raise InputError(f"a graph of more than {MAX_GRAPH_BYTES >> 20} MiB")
    # A valid graph needs steps in proportion to its weights: 25 M steps for 700 MB.
    n_steps = min(MAX_STEPS + len(data) // 16, MAX_GRAPH_STEPS)
    budget = Budget(MAX_BYTES + 4 * len(data), n_steps)
    nodes: dict[str, Node] = {}
    for number, value in fields(data.data, budget):
        if number != 1 or not isinstance(value, memoryview):
            continue
        node = _node(value, budget)
        nodes[node.name] = node
        if len(nodes) > MAX_NODES:
            raise InputError(f"more than {MAX_NODES} nodes")
    if not nodes or any(not node.op for node in nodes.values()):
        raise InputError("not a GraphDef: it has no nodes")
    return nodes


def _node(data: memoryview, budget: Budget) -> Node:
    node = Node("", "", [], {}, budget)
    try:
        for number, value in fields(data, budget):
            if number == 1:
                node.name = bytes(value).decode()
            elif number == 2:
                node.op = bytes(value).decode()
            elif number == 3:
                name = bytes(value).decode()
                if not name.startswith("^"):
                    node.inputs.append(name)
            elif number == 5:
                entry = dict(fields(value, budget))
                node.attrs[bytes(entry[1]).decode()] = entry[2]
    except (UnicodeDecodeError, TypeError, KeyError):
        raise InputError("not a GraphDef, or a damaged one") from None
    return node


def attribute(node: Node, name: str) -> Any:
    """An attribute as an integer, bytes, a dtype, a shape or a list of integers; or None."""
    if name not in node.attrs:
        return None
    budget = node.budget
    for number, value in fields(node.attrs[name], budget):
        if number == 1:
            numbers: list[int] = []
            for kind, item in fields(value, budget):
                if kind == 3 and isinstance(item, memoryview):
                    numbers.extend(varints(item, budget))
                elif kind == 3:
                    numbers.append(signed(item))
            return numbers
        if number == 2:
            return bytes(value)
        if number in (3, 5):
            return signed(value)
        if number == 6:
            return np.dtype(DTYPES.get(value, np.float32))
        if number == 7:
            return shape_of(value, budget)
        if number == 8:
            return tensor(value, budget)
    return None


def afford(budget: Budget, n_elements: int) -> None:
    """Charge the budget for the memory and the computation of elements."""
    budget.allocate(8 * n_elements)
    budget.step(1 + n_elements // ELEMENTS_A_STEP)


def sized(node: Node, value: Any) -> Any:
    """Return the value; for an expression, check its size and charge the budget for running it."""
    if isinstance(value, Expression):
        size = math.prod(value.shape)
        if size > MAX_ACTIVATION or len(value.shape) > MAX_AXES:
            raise InputError(f"a tensor of shape {value.shape}")
        node.budget.step(1 + size // ACTIVATIONS_A_STEP)
    return value
