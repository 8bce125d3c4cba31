"""Interpret a pickle's instructions without importing or calling anything that the pickle names.

Containers, numbers and text are created. A class or function that the caller knows is replaced by a
safe one of ours (`Function`); any other becomes an `Opaque` value, and so does the result of a call
of it. Dicts are lists of pairs, so that no key of the file is ever hashed.

Format: CPython `Lib/pickletools.py`, all protocols up to 5.
"""

import pickletools
from collections.abc import Callable
from typing import Any, cast

from glow_jax.convert.blob import BlobFile
from glow_jax.io.budget import Budget
from glow_jax.io.errors import InputError
from glow_jax.io.messages import one_line

# Modules and built-in functions that run programs or access files; no checkpoint needs them.
REFUSED_MODULES = frozenset(
    ("os", "posix", "nt", "sys", "subprocess", "pty", "shutil", "socket", "ctypes", "runpy")
)
REFUSED_BUILTINS = frozenset(
    ("eval", "exec", "execfile", "compile", "open", "file", "input", "__import__", "breakpoint")
)
LONG_TEXT = 2**16  # characters that are decoded without the budget


class Dict:
    """A dict of the file, as pairs in order."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []


class Opaque:
    """A value of an unknown class: the name of the class, and the arguments of the call."""

    __slots__ = ("args", "name", "pairs", "state")

    def __init__(self, name: str, args: Any = None):
        self.name, self.args = name, args
        self.pairs: list[tuple[Any, Any]] = []
        self.state: Any = None


class Function:
    """A callable of ours that replaces a callable in the file.

    Args:
        run: called with the arguments of the call.
    """

    __slots__ = ("run",)

    def __init__(self, run: Callable[..., Any]):
        self.run = run


class Buildable:
    """A value of ours whose state the file may set with a BUILD instruction."""

    __slots__ = ()

    def build(self, state: Any) -> None:
        """Set the state, or raise InputError."""
        raise InputError("refused: it tries to change an object from inside")


def load_pickle(
    file: BlobFile,
    budget: Budget,
    known: Callable[[str, str], Any],
    persistent: Callable[[Any], Any],
) -> Any:
    """Load the object of the next pickle in a file; the file is then at the pickle's end.

    Args:
        file: a file at the first byte of a pickle.
        budget: limit of the instructions and of the objects that they create.
        known: function from the names of a module and of a member to the replacement; None makes
            the member `Opaque`.
        persistent: function from a persistent id to its object.

    Raises:
        InputError: the pickle is malformed, over the budget, or names something that runs
            programs.
    """
    machine = _Machine(budget, known, persistent)
    for opcode, argument, _ in pickletools.genops(cast(Any, file)):
        budget.step()
        if opcode.name == "STOP":
            return machine.stack.pop()
        machine.follow(opcode.name, argument)
    raise InputError("truncated or damaged (a pickle without an end)")


_NOTHING = ("PROTO", "FRAME", "READONLY_BUFFER")
_FIXED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_NEW: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": Dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": lambda: Opaque("set"),
    "NEXT_BUFFER": lambda: Opaque("buffer"),
}
_LITERALS = frozenset(
    op.name
    for op in pickletools.opcodes
    if op.arg is not None and not op.stack_before and op.stack_after
) - {"GLOBAL", "GET", "BINGET", "LONG_BINGET", "EXT1", "EXT2", "EXT4", "PERSID", "INST"}


class _Machine:
    """The stack, the marks and the memo of one pickle; one method per instruction."""

    def __init__(self, budget: Budget, known: Any, persistent: Any):
        self.budget, self.known, self.persistent = budget, known, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}

    def follow(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _LITERALS:
            if isinstance(argument, str) and len(argument) > LONG_TEXT:
                self.budget.allocate(4 * len(argument))
            stack.append(argument)
        elif name in _FIXED:
            stack.append(_FIXED[name])
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            self.below.append(stack)
            self.stack = []
        elif name not in _NOTHING:
            getattr(self, f"do_{name.lower()}", self.do_unknown)(argument)

    def above_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def do_unknown(self, argument: Any) -> None:
        raise InputError("refused: an instruction that no checkpoint needs")

    def do_pop(self, argument: None) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.above_mark()

    def do_pop_mark(self, argument: None) -> None:
        self.above_mark()

    def do_dup(self, argument: None) -> None:
        self.stack.append(self.stack[-1])

    # -- containers

    def do_tuple1(self, argument: None) -> None:
        self.stack[-1:] = [tuple(self.stack[-1:])]

    def do_tuple2(self, argument: None) -> None:
        self.stack[-2:] = [(self.stack[-2], self.stack[-1])]

    def do_tuple3(self, argument: None) -> None:
        self.stack[-3:] = [(self.stack[-3], self.stack[-2], self.stack[-1])]

    def do_tuple(self, argument: None) -> None:
        items = self.above_mark()
        self.stack.append(tuple(items))

    def do_list(self, argument: None) -> None:
        items = self.above_mark()
        self.stack.append(items)

    def do_dict(self, argument: None) -> None:
        items = self.above_mark()
        self.stack.append(Dict())
        self._set(items)

    def do_frozenset(self, argument: None) -> None:
        self.above_mark()
        self.stack.append(Opaque("frozenset"))

    def do_additems(self, argument: None) -> None:
        self.above_mark()

    def do_append(self, argument: None) -> None:
        self._extend([self.stack.pop()])

    def do_appends(self, argument: None) -> None:
        self._extend(self.above_mark())

    def do_setitem(self, argument: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def do_setitems(self, argument: None) -> None:
        self._set(self.above_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise InputError("damaged: it appends to what is no list")

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, Dict | Opaque) or len(items) % 2:
            raise InputError("damaged: it sets items of what is no dict")
        target.pairs.extend(zip(items[0::2], items[1::2], strict=True))

    # -- names and calls

    def do_global(self, argument: str) -> None:
        self.stack.append(self._named(*argument.split(" ", 1)))

    def do_stack_global(self, argument: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise InputError("damaged: a name that is no text")
        self.stack.append(self._named(module, name))

    def do_inst(self, argument: str) -> None:
        args = self.above_mark()
        self._call(self._named(*argument.split(" ", 1)), tuple(args))

    def do_obj(self, argument: None) -> None:
        called, *args = self.above_mark()
        self._call(called, tuple(args))

    def do_reduce(self, argument: None) -> None:
        args, called = self.stack.pop(), self.stack.pop()
        self._call(called, args)

    def do_newobj(self, argument: None) -> None:
        self.do_reduce(argument)

    def do_newobj_ex(self, argument: None) -> None:
        self.stack.pop()  # named arguments
        self.do_reduce(argument)

    def do_ext1(self, argument: int) -> None:
        self.stack.append(Opaque("copyreg's extension"))

    do_ext2 = do_ext4 = do_ext1

    def do_persid(self, argument: str) -> None:
        self.stack.append(self.persistent(argument))

    def do_binpersid(self, argument: None) -> None:
        self.stack.append(self.persistent(self.stack.pop()))

    def do_build(self, argument: None) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Opaque):
            target.state = state
        elif isinstance(target, Buildable):
            target.build(state)
        elif not isinstance(target, Dict):  # whose attributes (`_metadata`) are not needed
            raise InputError("refused: it tries to change an object from inside")

    def _named(self, module: str, name: str) -> Any:
        top = module.partition(".")[0]
        builtin = module in ("builtins", "__builtin__", "io") and name in REFUSED_BUILTINS
        if top in REFUSED_MODULES or builtin:
            raise InputError(
                f"refused: it asks to run {one_line(f'{module}.{name}')[:200]}, which no "
                "checkpoint needs"
            )
        known = self.known(module, name)
        return Opaque(f"{module}.{name}") if known is None else known

    def _call(self, called: Any, args: Any) -> None:
        if isinstance(called, Function) and isinstance(args, tuple):
            self.stack.append(called.run(*args))
        elif isinstance(called, Opaque):
            self.stack.append(Opaque(called.name, args))
        else:
            raise InputError("damaged: it calls what cannot be called")
