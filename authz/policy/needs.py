"""Which documents need what not every Envoy sends, and what follows behind a certain one.

Documents in shadow are held to it too: they stand there to be enforced one day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeAlias

from authz.model.errors import PolicyError
from authz.policy.condition import Compiler, Condition, Expression, ExpressionFault
from authz.policy.hazard import tree_of
from authz.policy.inspection import Expr, walk
from authz.policy.integration import CAPABILITIES, MEANING, NAMES, Input, Never, Proxy, WhenSet
from authz.policy.loaded import AnyDocument, Loaded
from authz.policy.source import Path

MAX_FAULTS = 500  # more tell nobody more
CODE = "proxy-setting"  # of the warnings; `docs/proxies.md` explains it

_VARIABLES = {
    "peer.principal": Input.MTLS,
    "request.body": Input.BODY,
    "context": Input.CONTEXT,
    "metadata": Input.METADATA,
}
_HEADER_MAPS = frozenset(("request.headers", "request.header_values"))
_LOOKS = frozenset(("_[_]", "_[?_]", "_?._"))
_Compile: TypeAlias = Callable[[str], Condition | Expression]


class Need(NamedTuple):
    """One place of a document that needs an input.

    Args:
        subject: what stands there, in the author's words.
    """

    input: Input
    document: AnyDocument
    at: Path
    subject: str


class Behind(NamedTuple):
    """What follows for a set that is served behind a certain Envoy."""

    faults: list[PolicyError]
    warnings: list[PolicyError]


class Integration(NamedTuple):
    """An Envoy, and what its operator has it send that it does not by itself."""

    proxy: Proxy
    sends: frozenset[Input] = frozenset()


def unsendable(proxy: Proxy, sends: Iterable[Input]) -> list[Input]:
    """Return those inputs that an integration can never send."""
    return [one for one in sends if isinstance(CAPABILITIES[proxy][one], Never)]


def behind(loaded: Loaded, compiler: Compiler, integration: Integration) -> Behind:
    """Return why a set cannot be served behind an Envoy, and what its operator has to see to."""
    told = Behind([], [])
    for need in islice(needs(loaded, compiler), MAX_FAULTS):
        capability = CAPABILITIES[integration.proxy][need.input]
        if isinstance(capability, Never):
            what = f"{_wants(need)} {NAMES[integration.proxy]} cannot send: {capability.mend}"
            told.faults.append(need.document.fault(what, *need.at))
        elif isinstance(capability, WhenSet) and need.input not in integration.sends:
            what = (
                f"{_wants(need)} {NAMES[integration.proxy]} sends only where {capability.how}: see to it,"
                f" then say `--sends {need.input}`"
            )
            told.warnings.append(need.document.fault(what, *need.at, code=CODE))
    return told


def _wants(need: Need) -> str:
    return f"{need.subject} needs {MEANING[need.input][0]}, which"


def needs(loaded: Loaded, compiler: Compiler) -> Iterator[Need]:
    """Yield every place of a set that needs something which not every Envoy sends."""
    yield from _of_policies(loaded, compiler)
    for site in loaded.sites:
        if site.spec.path.encoded_slash == "keep":
            at = ("spec", "path", "encodedSlash")
            yield Need(Input.ENCODED_SLASH, site, at, "`encodedSlash: keep`")
    yield from _of_providers(loaded)
    for limit in loaded.limits:
        spec = limit.spec
        for number, source in enumerate(spec.per):
            yield from _of_expression(limit, ("spec", "per", number), compiler.text, source)
        for number, tier in enumerate(spec.tiers or ()):
            yield from _of_expression(limit, ("spec", "tiers", number, "when"), compiler.condition, tier.when)
        yield from _of_expression(limit, ("spec", "cost"), compiler.number, spec.cost)


def _of_policies(loaded: Loaded, compiler: Compiler) -> Iterator[Need]:
    for document in loaded.policies:
        for number, rule in enumerate(document.spec.rules):
            at: Path = ("spec", "rules", number)
            if rule.peers is not None:
                yield Need(Input.MTLS, document, (*at, "peers"), "`peers`")
            for item, word in enumerate(rule.upgrade or ()):
                kind = Input.WEBSOCKET if word == "websocket" else Input.UPGRADES
                yield Need(kind, document, (*at, "upgrade", item), f"`upgrade: [{word}]`")
            if rule.when is not None:
                yield from _of_expression(document, (*at, "when"), compiler.condition, rule.when)
        on_allow = document.spec.on_allow
        for name, source in (on_allow.headers if on_allow is not None else {}).items():
            yield from _of_expression(document, ("spec", "onAllow", "headers", name), compiler.text, source)


def _of_providers(loaded: Loaded) -> Iterator[Need]:
    for provider in loaded.providers:
        for way in ("apiKey", "jwt"):
            part = provider.spec.api_key if way == "apiKey" else provider.spec.jwt
            for number, place in enumerate(part.places if part is not None else ()):
                if place.header is not None and "_" in place.header:
                    at = ("spec", way, "in", number, "header")
                    yield Need(Input.UNDERSCORES, provider, at, f"`header: {place.header}`")


def _of_expression(document: AnyDocument, at: Path, compile_: _Compile, source: str) -> Iterator[Need]:
    try:
        compiled = compile_(source)
    except ExpressionFault:  # told by whoever compiles the set
        return
    names = compiled.inspection.names
    for name in sorted(names & _VARIABLES.keys()):
        yield Need(_VARIABLES[name], document, at, f"`{name}`")
    if names.isdisjoint(_HEADER_MAPS):
        return
    checked = tree_of(compiled)
    keys = {_header(node) for node in walk(checked.expr)} if checked is not None else set()
    for key in sorted(keys):
        if "_" in key:
            yield Need(Input.UNDERSCORES, document, at, f"the header `{key}`")


def _header(node: Expr) -> str:
    """Return the name of the header that a node looks for, where it is written; else ""."""
    if node.HasField("select_expr"):
        return str(node.select_expr.field) if _is_headers(node.select_expr.operand) else ""
    call = node.call_expr
    if call.function in _LOOKS and _is_headers(call.args[0]):
        return str(call.args[1].const_expr.string_value)
    if call.function == "@in" and _is_headers(call.args[1]):
        return str(call.args[0].const_expr.string_value)
    return ""


def _is_headers(node: Expr) -> bool:
    return node.ident_expr.name in _HEADER_MAPS
