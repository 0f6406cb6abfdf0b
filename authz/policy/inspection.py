"""What a compiled expression names and does, read off its syntax tree at load.

Source: cel/expr/checked.proto and syntax.proto, as the library serialises them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from cel.expr import checked_pb2
from google.protobuf import any_pb2

from authz.policy.vocabulary import VOCABULARY

_HAS_ON_VARIABLE = re.compile(r"\bhas\s*\(\s*([A-Za-z_][A-Za-z0-9_.\s]*?)\s*\)")
_COMMENT = re.compile(r"//[^\n]*")

_CONCATENATIONS = frozenset({"add_string", "add_bytes", "add_list"})
_HEADER_MAPS = frozenset({"request.headers"})

# cel.expr.Expr; the generated module carries no types.
Expr: TypeAlias = Any


class Inspection(NamedTuple):
    """What is known of an expression without running it."""

    names: frozenset[str]  # variables of the vocabulary that it reads
    fault: str = ""  # why it is not accepted though it compiles; "" where it is
    compares_header: bool = False  # `==` or `!=` on a header
    unguarded: tuple[str, ...] = ()  # map accesses that fail where the key is missing


def inspect(source: str, serialized: bytes) -> Inspection:
    """Inspect a compiled expression."""
    checked = _unpack(serialized)
    names = frozenset(ref.name for ref in checked.reference_map.values() if ref.name in VOCABULARY)
    tree = checked.expr
    fault = _has_on_variable(source) or _expensive(tree, checked)
    return Inspection(names, fault, _compares_header(tree), _unguarded(tree))


def _unpack(serialized: bytes) -> checked_pb2.CheckedExpr:
    checked = checked_pb2.CheckedExpr()
    any_pb2.Any.FromString(serialized).Unpack(checked)
    return checked


def _has_on_variable(source: str) -> str:
    """`has(identity.anonymous)` compiles to the variable itself: it would not mean what it says."""
    for text in (source, _COMMENT.sub("", source)):
        for match in _HAS_ON_VARIABLE.finditer(text):
            name = "".join(match[1].split())
            if name in VOCABULARY:
                return f"`has({name})` asks nothing, since `{name}` is always there: compare its value"
    return ""


def _expensive(tree: Expr, checked: checked_pb2.CheckedExpr) -> str:
    """The library counts steps, not time: what multiplies work inside a step is refused."""
    for loop in (node for node in walk(tree) if node.HasField("comprehension_expr")):
        for inner in _inside(loop):
            if inner.HasField("comprehension_expr"):
                return "a comprehension inside another is not accepted, its cost has no bound: use two rules"
            if _concatenates(inner, loop.comprehension_expr.accu_var, checked):
                return "a concatenation inside a comprehension is not accepted, its cost has no bound"
    return ""


def _inside(loop: Expr) -> Iterator[Expr]:
    for part in children(loop):
        yield from walk(part)


def _concatenates(node: Expr, accumulator: str, checked: checked_pb2.CheckedExpr) -> bool:
    call = node.call_expr
    if call.function != "_+_" or not node.HasField("call_expr"):
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
    if call.function == "_[_]" and call.args[1].HasField("const_expr"):
        return _key(call.args[0], call.args[1].const_expr.string_value)
    return ""


def _guard_key(node: Expr) -> str:
    if node.HasField("select_expr") and node.select_expr.test_only:
        return _key(node.select_expr.operand, node.select_expr.field)
    call = node.call_expr
    if call.function == "@in" and call.args[0].HasField("const_expr"):
        return _key(call.args[1], call.args[0].const_expr.string_value)
    return ""


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
