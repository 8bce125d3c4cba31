"""A job's file in YAML: lists, objects and texts; nothing is constructed that YAML's tags name.

A scalar is the text that stands there: 29 is a folder's name, and 0.5 becomes an alpha later.
"""

from typing import Any

from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line, reason

MAX_NODES = 100_000  # texts, lists and objects, those that aliases repeat included
NULL = "tag:yaml.org,2002:null"


def read_yaml(name: str, text: str) -> Any:
    """The document as lists, dicts with text keys, texts, and None for nothing.

    Args:
        name: of the file, for messages.
        text: of the file.

    Raises:
        InputError: it is no YAML, a key is no text or occurs twice, or it holds too much.
    """
    try:
        import yaml
    except ImportError:
        raise InputError(f"{name}: YAML needs `pip install pyyaml`; TOML needs nothing") from None
    budget = Budget(n_steps=MAX_NODES)

    def plain(node: yaml.Node) -> Any:
        budget.step()
        if isinstance(node, yaml.SequenceNode):
            return [plain(each) for each in node.value]
        if not isinstance(node, yaml.MappingNode):
            return None if node.tag == NULL else str(node.value)
        found: dict[str, Any] = {}
        for key, value in node.value:
            where = f"{name}: line {key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                raise InputError(f"{where}: a key is a list or a table; a key must be text")
            if key.value in found:
                raise InputError(f"{where}: {one_line(key.value)[:80]} occurs twice")
            found[key.value] = plain(value)
        return found

    try:
        node = yaml.compose(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return None if node is None else plain(node)
    except RecursionError:
        raise InputError(f"{name}: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise InputError(str(error) if name in str(error) else f"{name}: {error}") from None
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        why = getattr(error, "problem", None) or reason(error)
        raise InputError(f"{name}: {where}not YAML ({one_line(why)})") from None
