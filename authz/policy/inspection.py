"""What a compiled expression names and does, read off its syntax tree at load.

Source: cel/expr/checked.proto and syntax.proto, as the library serialises them.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, TypeAlias

from cel.expr import checked_pb2
from google.protobuf import any_pb2

from authz.policy.vocabulary import VOCABULARY

_CONCATENATIONS = frozenset({"add_string", "add_bytes", "add_list"})
_HEADER_MAPS = frozenset({"request.headers"})

# Functions whose result may be many times what they are given: a chain of 20 fills the memory.
_GROWING = frozenset({"replace", "join", "format", "strings.quote"})
# Which argument of them is written again and again: by a client's text, a request of 90 KB becomes 2 GB.
_FILLERS = {"replace": 1, "join": 0}
_FILLER_MAX_CHARS = 16

# Variables as large as a client likes.
_LARGE = frozenset(
    f"request.{name}" for name in ("headers", "header_values", "query", "segments", "url_path", "body")
) | {"params", "context", "metadata", "identity.claims"}

# What a step may do with its element at no more cost than the element's own length. Anything else (`matches`
# compiles its pattern anew each time: 90 us for a long one) is paid per element, however short it is.
_LIGHT = frozenset(
    (
        *("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_&&_", "_||_", "!_", "_?_:_", "@not_strictly_false"),
        *(
            "_+_",
            "_-_",
            "-_",
            "@in",
            "_[_]",
            "_[?_]",
            "_?._",
            "optional.of",
            "optional.none",
            "orValue",
            "value",
        ),
        *("or", "hasValue", "size", "startsWith", "endsWith", "contains", "string", "int", "uint", "double"),
        *("lowerAscii", "upperAscii", "trim"),
    )
)

# cel.expr.Expr; the generated module carries no types.
Expr: TypeAlias = Any


class Inspection(NamedTuple):
    """What is known of an expression without running it."""

    names: frozenset[str]  # variables of the vocabulary that it reads
    fault: str = ""  # why it is not accepted though it compiles; "" where it is
    compares_header: bool = False  # `==` or `!=` on a header
    unguarded: tuple[str, ...] = ()  # map accesses that fail where the key is missing
    heavy: bool = False  # a comprehension whose steps cost more than the elements that they look at


def inspect(source: str, serialized: bytes) -> Inspection:
    """Inspect a compiled expression."""
    checked = _unpack(serialized)
    names = frozenset(ref.name for ref in checked.reference_map.values() if ref.name in VOCABULARY)
    tree = checked.expr
    loops = [node for node in walk(tree) if node.HasField("comprehension_expr")]
    fault = _has_on_variable(source, checked) or _multiplies(loops, checked) or _grows(tree) or _obeys(tree)
    heavy = any(map(_is_heavy, loops))
    return Inspection(names, fault, _compares_header(tree), _unguarded(tree), heavy)


def _unpack(serialized: bytes) -> checked_pb2.CheckedExpr:
    checked = checked_pb2.CheckedExpr()
    any_pb2.Any.FromString(serialized).Unpack(checked)
    return checked


def _has_on_variable(source: str, checked: checked_pb2.CheckedExpr) -> str:
    """`has(identity.anonymous)` compiles to the variable itself: it would not mean what it says.

    What the macro leaves behind is the position: a variable stands at its name or dot, never at a bracket.
    """
    positions = checked.source_info.positions
    for node in walk(checked.expr):
        name, at = node.ident_expr.name, positions.get(node.id, -1)
        if name in VOCABULARY and at >= 0 and source[at : at + 1] == "(":
            return f"`has({name})` asks nothing, since `{name}` is always there: compare its value"
    return ""


def _multiplies(loops: list[Expr], checked: checked_pb2.CheckedExpr) -> str:
    """The library counts steps, not time: what multiplies work inside a step is refused."""
    for loop in loops:
        comprehension = loop.comprehension_expr
        for inner in _inside(loop):
            if inner.HasField("comprehension_expr"):
                return "a comprehension inside another is not accepted, its cost has no bound: use two rules"
            if _concatenates(inner, comprehension.accu_var, checked):
                return "a concatenation inside a comprehension is not accepted, its cost has no bound"
        if _is_heavy(loop) and _calls(comprehension.iter_range, {"split"}):
            return (
                "`map`, `filter` and steps that do more than compare have no bound over what `split` gives:"
                " use `in`, or `exists` and `all` that compare"
            )
        fault = _repeats(comprehension.loop_step)
        if fault:
            return fault
    return ""


def _is_heavy(loop: Expr) -> bool:
    """Whether steps cost more than their elements: `map` and `filter` copy their result at each, for one."""
    comprehension = loop.comprehension_expr
    return comprehension.accu_init.HasField("list_expr") or any(
        node.ident_expr.name in _LARGE
        or (node.HasField("call_expr") and node.call_expr.function not in _LIGHT)
        for node in walk(comprehension.loop_step)
    )


def _repeats(step: Expr) -> str:
    """What takes milliseconds once is not done again for each element, not even for a few hundred."""
    for node in walk(step):
        call = node.call_expr
        if node.ident_expr.name == "request.body":
            return "`request.body` inside a comprehension has no bound: ask it once, outside"
        if call.function == "split" and any(part.ident_expr.name in _LARGE for part in walk(node)):
            return "`split` inside a comprehension of anything but its own element has no bound: remove it"
        if call.function == "matches" and not call.args[-1].HasField("const_expr"):
            return "inside a comprehension the pattern of `matches` is a literal text: write one"
    return ""


def _grows(tree: Expr) -> str:
    """Text that is made longer and then longer again, or by what a client chooses, is refused."""
    for node in walk(tree):
        call = node.call_expr
        if call.function not in _GROWING:
            continue
        name = call.function
        if any(_calls(part, _GROWING) for part in children(node)):
            return f"`{name}` of a text that was already made longer has no bound: use it once"
        filler = _FILLERS.get(name, len(call.args))
        if filler < len(call.args) and not _is_short(call.args[filler]):
            return f"what `{name}` puts in is a text of at most {_FILLER_MAX_CHARS} characters: write one"
    return ""


def _obeys(tree: Expr) -> str:
    """A pattern that a client writes takes 70 ms to compile, and matches what the client likes."""
    for node in walk(tree):
        call = node.call_expr
        if call.function == "matches" and any(part.ident_expr.name in _LARGE for part in walk(call.args[-1])):
            return "the pattern of `matches` comes from the request, so its sender would choose it: write it"
    return ""


def _is_short(node: Expr) -> bool:
    return node.HasField("const_expr") and len(node.const_expr.string_value) <= _FILLER_MAX_CHARS


def _calls(tree: Expr, functions: AbstractSet[str]) -> bool:
    return any(node.call_expr.function in functions for node in walk(tree))


def _inside(loop: Expr) -> Iterator[Expr]:
    for part in children(loop):
        yield from walk(part)


def _concatenates(node: Expr, accumulator: str, checked: checked_pb2.CheckedExpr) -> bool:
    call = node.call_expr
    if call.function in _GROWING:
        return True
    if call.function != "_+_":
        return False
    if call.args and call.args[0].ident_expr.name == accumulator:
        return False  # how `map` and `filter` themselves collect their results
    return bool(_CONCATENATIONS.intersection(checked.reference_map[node.id].overload_id))


def _compares_header(tree: Expr) -> bool:
    return any(
        node.call_expr.function in ("_==_", "_!=_") and any(_is_header(arg) for arg in node.call_expr.args)
        for node in walk(tree)
    )


def _is_header(node: Expr) -> bool:
    """Whether a value is one header, straight or through an optional."""
    if node.HasField("select_expr"):
        return _names_header_map(node.select_expr.operand)
    call = node.call_expr
    if call.function in ("_[_]", "_[?_]", "_?._"):
        return _names_header_map(call.args[0])
    if call.function in ("orValue", "value"):
        return _is_header(call.target)
    return call.function == "optional.of" and _is_header(call.args[0])


def _names_header_map(node: Expr) -> bool:
    return node.ident_expr.name in _HEADER_MAPS


def _unguarded(tree: Expr) -> tuple[str, ...]:
    """Map accesses whose key no `in`, `has` or optional of the same expression asks for."""
    accesses: set[str] = set()
    guards: set[str] = set()
    for node in walk(tree):
        key = _map_key(node)
        if key:
            accesses.add(key)
        guard = _guard_key(node)
        if guard:
            guards.add(guard)
    return tuple(sorted(accesses - guards))


def _map_key(node: Expr) -> str:
    if node.HasField("select_expr") and not node.select_expr.test_only:
        return _key(node.select_expr.operand, node.select_expr.field)
    call = node.call_expr
    if call.function == "_[_]" and _is_text(call.args[1]):
        return _key(call.args[0], call.args[1].const_expr.string_value)
    return ""


def _guard_key(node: Expr) -> str:
    if node.HasField("select_expr") and node.select_expr.test_only:
        return _key(node.select_expr.operand, node.select_expr.field)
    call = node.call_expr
    if call.function == "@in" and _is_text(call.args[0]):
        return _key(call.args[1], call.args[0].const_expr.string_value)
    return ""


def _is_text(node: Expr) -> bool:
    return bool(node.const_expr.WhichOneof("constant_kind") == "string_value")


def _key(operand: Expr, field: str) -> str:
    return f"{operand.ident_expr.name}[{field!r}]" if operand.ident_expr.name in VOCABULARY else ""


def walk(tree: Expr) -> Iterator[Expr]:
    """Every node of a tree, without recursion: depth is the author's choice."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(children(node))


def children(node: Expr) -> list[Expr]:
    """The direct parts of a node."""
    kind = node.WhichOneof("expr_kind")
    if kind == "call_expr":
        call = node.call_expr
        return [*([call.target] if call.HasField("target") else []), *call.args]
    if kind == "select_expr":
        return [node.select_expr.operand]
    if kind == "list_expr":
        return list(node.list_expr.elements)
    if kind == "struct_expr":
        return [part for entry in node.struct_expr.entries for part in (entry.map_key, entry.value)]
    if kind == "comprehension_expr":
        loop = node.comprehension_expr
        return [loop.iter_range, loop.accu_init, loop.loop_condition, loop.loop_step, loop.result]
    return []
