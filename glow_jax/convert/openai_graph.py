"""openai/glow's frozen graphs, converted by the function that they compute.

The names in a graph are not reliable (constant folding and scopes change them). Therefore the
operations are followed from each latent back to the image, and every coefficient is read from them.
Only the latents are found by name, as openai/glow's demo/model.py names them.
"""

import math
import re
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from glow_jax.convert.build import Parts
from glow_jax.convert.evaluator import Evaluator
from glow_jax.convert.graph import MAX_ACTIVATION, Expression, Node, attribute
from glow_jax.convert.openai_walk import NotCanonical, Walk, affine_map
from glow_jax.convert.options import Options
from glow_jax.graph_model import GraphConfig, GraphGlow
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import counted, one_line
from glow_jax.program import Instruction, Program


def find_latents(nodes: Mapping[str, Node]) -> list[str]:
    """Names of the encoder's latents, finest first, as openai/glow's code names them.

    Raises:
        InputError: there are no latents, or more than one encoder has them.
    """
    fed = _fed_by(nodes, "input/image")
    scopes: dict[str, dict[int, str]] = {}
    for name in fed:
        if found := re.fullmatch(r"(.*?)pool(\d+)/truediv_1", name):
            scopes.setdefault(found[1], {})[int(found[2])] = name
    if len(scopes) != 1:
        raise InputError(
            f"{len(scopes)} encoders with a latent …/pool0/truediv_1 that depends on input/image; "
            "expected one, as openai/glow's code makes"
        )
    scope, pools = next(iter(scopes.items()))
    if sorted(pools) != list(range(len(pools))):
        raise InputError(f"latents {sorted(pools)} of {one_line(scope)} found: one is missing")
    named = (re.fullmatch(re.escape(scope) + r"truediv(?:_(\d+))?", name) for name in fed)
    # The first division is of pixels; the last one is of the top latent, by its deviation.
    top = max((m for m in named if m), key=lambda m: int(m[1] or 0), default=None)
    if top is None:
        raise InputError(f"the top latent {one_line(scope)}truediv_N is not in the graph")
    return [*(pools[i] for i in range(len(pools))), top.group()]


def _fed_by(nodes: Mapping[str, Node], source: str) -> list[str]:
    """Names of the nodes that depend on a node, in the graph's order."""
    users: dict[str, list[str]] = {}
    for node in nodes.values():
        for name in node.inputs:
            users.setdefault(name.partition(":")[0], []).append(node.name)
    found, stack = {source}, [source]
    while stack:
        for user in users.get(stack.pop(), ()):
            if user not in found:
                found.add(user)
                stack.append(user)
    return [name for name in nodes if name in found]


def openai_graph(nodes: Mapping[str, Node], options: Options) -> Parts:
    """The weights of a graph that is a canonical Glow, read from its operations.

    A label is set to 0 and a downsampled image to 128, as in openai/glow's demo.

    Raises:
        NotCanonical: an operation or a constant cannot be expressed by our parameters.
    """
    if "input/image" not in nodes:
        raise InputError("the graph has no input/image: not openai/glow's")
    feeds = _feeds(nodes, options)
    options.needs_size("openai/glow graph")
    evaluate = Evaluator(nodes, feeds)
    latents = [evaluate(name) for name in find_latents(nodes)]
    walk = Walk(feeds["input/image"], nodes["input/image"].budget)
    parts = walk.parts(latents)
    options.fixes_bits(parts.fields["n_bits"], "the graph quantises to")
    return parts


def _feeds(nodes: Mapping[str, Node], options: Options) -> dict[str, Any]:
    shape: Any = attribute(nodes["input/image"], "shape") or ()
    if len(shape) == 4 and shape[1] > 0 and shape[2] > 0:
        options.found_size(shape[1], shape[2], "input/image")
    height, width = options.image_size
    channels = shape[3] if len(shape) == 4 and shape[3] > 0 else 3
    if height * width * channels > MAX_ACTIVATION:
        raise InputError(f"input/image is of shape ({height}, {width}, {channels})")
    feeds: dict[str, Any] = {
        "input/image": Expression("Placeholder", [], (1, height, width, channels)),
        "input/label": np.zeros(1, np.int64),
    }
    if "input/downsampled_image" in nodes:
        shape = attribute(nodes["input/downsampled_image"], "shape") or ()
        known = len(shape) == 4 and min(shape[1:]) > 0
        small = tuple(shape[1:]) if known else (height // 2, width // 2, channels)
        if math.prod(small) > MAX_ACTIVATION:
            raise InputError(f"input/downsampled_image is of shape {small}")
        feeds["input/downsampled_image"] = np.broadcast_to(128.0, (1, *small))
    return feeds


def graph_model(nodes: Mapping[str, Node], options: Options) -> GraphGlow:
    """A graph that is not canonical, as a model that runs the graph's operations.

    Operations on constants (a label of 0, a downsampled image of 128) are computed here; the
    others become two programs, from pixels to latents and back.

    Raises:
        InputError: the pixels, the inputs for latents, or the decoded image are not found.
    """
    evaluate = Evaluator(nodes, _feeds(nodes, options))
    image = evaluate.values["input/image"]
    latents = [evaluate(name) for name in find_latents(nodes)]
    budget = nodes["input/image"].budget
    x, n_bits = _quantised(latents, image, budget)
    options.fixes_bits(n_bits, "the graph quantises to")
    constants: list[np.ndarray] = []
    encoder = _program([x], latents, constants, budget)
    shapes = tuple(tuple(a.shape[1:]) for a in latents)
    decoder = _decoder(nodes, evaluate, shapes, constants)
    _, height, width, channels = image.shape
    config = GraphConfig(height, width, channels, shapes, n_bits)
    return GraphGlow(config, encoder, decoder, constants)


def _quantised(latents: list[Any], image: Expression, budget: Budget) -> tuple[Expression, int]:
    """The expression of the flow's input x, and the bits of its quantisation."""
    walk = Walk(image, budget)
    for value in _topological(latents):
        if value.op in ("Add", "AddV2", "Sub"):
            try:
                return value, walk.pixels(value)
            except NotCanonical:
                continue
    raise InputError("no x = image / n_bins - 0.5 in the graph, as openai/glow's code makes")


def _decoder(
    nodes: Mapping[str, Node],
    evaluate: Evaluator,
    shapes: tuple[tuple[int, ...], ...],
    constants: list[np.ndarray],
) -> Program:
    """The program from the latents' placeholders to x."""
    numbered: dict[int, str] = {}
    for node in nodes.values():
        named = re.fullmatch(r"(?:dec_eps_|Placeholder_?)(\d*)", node.name)
        if named and node.op == "Placeholder":
            numbered[int(named[1] or 0)] = node.name
    names = [numbered[i] for i in sorted(numbered)]
    if len(names) != len(shapes):
        raise InputError(
            f"{counted(len(names), 'placeholder')} for latents; the encoder gives {len(shapes)}"
        )
    eps = [
        Expression("Placeholder", [], (1, *s), name=n) for n, s in zip(names, shapes, strict=True)
    ]
    decode = Evaluator(nodes, evaluate.values | dict(zip(names, eps, strict=True)))
    fed = set(_fed_by(nodes, names[-1])) - set(_fed_by(nodes, "input/image"))
    floors = [name for name in nodes if name in fed and nodes[name].op == "Floor"]
    if len(floors) != 1:
        raise InputError("the decoder's quantisation is not the one Floor of openai/glow's code")
    budget = nodes[floors[0]].budget
    base, scale, shift = affine_map(decode(nodes[floors[0]].inputs[0]), budget)
    # floor((x + 0.5) n_bins): x is the factor of n_bins, minus a half.
    ratio = np.asarray(shift) / np.asarray(scale)
    x = base if np.allclose(ratio, 0.5) else Expression("Add", [base, ratio - 0.5], base.shape)
    return _program(eps, [x], constants, budget)


def _topological(outputs: list[Any], stop: Set[int] = frozenset()) -> list[Expression]:
    """All expressions that the outputs need, arguments first, without `stop` and its arguments."""
    order: list[Expression] = []
    seen = set(stop)
    stack: list[tuple[Any, bool]] = [(value, False) for value in reversed(outputs)]
    while stack:
        value, ready = stack.pop()
        if ready:
            order.append(value)
        elif isinstance(value, Expression) and id(value) not in seen:
            seen.add(id(value))
            stack.append((value, True))
            stack.extend((a, False) for a in reversed(value.args))
    return order


def _program(
    inputs: list[Any], outputs: list[Any], constants: list[np.ndarray], budget: Budget
) -> Program:
    """The program that computes the outputs from the inputs; constants are appended to the list."""
    known = {id(value): i for i, value in enumerate(inputs)}
    made = [Instruction("input", (), tuple(value.shape)) for value in inputs]
    stored = {id(a): i for i, a in enumerate(constants)}
    for value in _topological(outputs, stop=set(known)):
        if value.op == "Placeholder":
            raise InputError(f"the graph also depends on {one_line(value.name) or 'an input'}")
        args = []
        for a in value.args:
            if isinstance(a, Expression):
                args.append(("value", known[id(a)]))
                continue
            if id(a) not in stored:
                budget.allocate(2 * a.nbytes)
                stored[id(a)] = len(constants)
                constants.append(a)
            args.append(("constant", stored[id(a)]))
        detail = value.detail.decode() if isinstance(value.detail, bytes) else value.detail
        op = {"AddV2": "Add", "BiasAdd": "Add", "Div": "RealDiv"}.get(value.op, value.op)
        known[id(value)] = len(made)
        made.append(Instruction(op, tuple(args), tuple(value.shape), detail))
    return Program(
        tuple(made), tuple(range(len(inputs))), tuple(known[id(value)] for value in outputs)
    )
