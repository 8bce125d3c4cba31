"""Evaluate a frozen graph as far as its inputs are constant.

A node whose inputs are all constant becomes an array, any other an expression with a shape.
"""

from collections.abc import Mapping
from typing import Any

from glow_jax.convert.graph import Node
from glow_jax.convert.graph_operations import apply
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line


class Evaluator:
    """Evaluates nodes of a graph and caches every result.

    Args:
        nodes: the graph.
        feeds: values of placeholders by node name: arrays, or expressions for unknown ones.
    """

    def __init__(self, nodes: Mapping[str, Node], feeds: Mapping[str, Any]):
        self.nodes = nodes
        self.values: dict[str, Any] = dict(feeds)

    def __call__(self, name: str) -> Any:
        """An array or an `Expression`.

        Raises:
            InputError: an input is missing, or an operation is not known here.
        """
        stack = [_base(name)]
        waiting: set[str] = set()
        while stack:
            at = stack[-1]
            if at in self.values:
                stack.pop()
                continue
            if at not in self.nodes:
                raise InputError(f"the graph has no node {one_line(at)}")
            node = self.nodes[at]
            missing = [i for i in map(_base, node.inputs) if i not in self.values]
            if missing:
                if at in waiting:
                    raise InputError("the graph has a loop")
                waiting.add(at)
                stack.extend(missing)
                continue
            args = [self.values[_base(i)] for i in node.inputs]
            self.values[at] = apply(node, args)
            stack.pop()
        return self.values[_base(name)]


def _base(name: str) -> str:
    base, _, output = name.partition(":")
    if output not in ("", "0"):
        raise InputError(f"the second output of {one_line(base)} is not supported")
    return base
