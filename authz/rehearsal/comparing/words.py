"""What changes, in words that a reviewer reads beside the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from authz.policy.kind_policy import Rule
from authz.rehearsal.comparing.direction import Effect
from authz.rehearsal.comparing.facets import Facet, Facets

_TEXT_MAX = 400  # characters of one field; who changes more reads the file


class Change(NamedTuple):
    """One thing that differs.

    Args:
        kind: of the document; `Override` of a policy that comes first.
        name: of the document.
        rule: of a policy's rule, or "".
        what: one line; the user's words in backticks.
        effect: what it does to who may do what.
    """

    kind: str
    name: str
    rule: str
    what: str
    effect: Effect


def quoted(text: str) -> str:
    """Return the user's words in backticks, on one line that nobody's terminal or page obeys."""
    line = "".join(each if each.isprintable() else " " for each in text).replace("`", "'")
    return f"`{line if len(line) <= _TEXT_MAX else line[: _TEXT_MAX - 3] + '...'}`"


def listed(texts: Iterable[str]) -> str:
    """Return several of the user's words."""
    return ", ".join(map(quoted, texts))


def between(name: str, old: Facet | None, new: Facet | None) -> str:
    """Say how one field differs."""
    if old is None and new is not None:
        return f"{name}: now {_shown(new)}"
    if new is None and old is not None:
        return f"{name}: no longer {_shown(old)}"
    if old is None or new is None:
        return ""
    if isinstance(old.shown, tuple) and isinstance(new.shown, tuple):
        return f"{name}: {_lists(old.shown, new.shown)}"
    return f"{name}: {_shown(old)} -> {_shown(new)}"


def differing(old: Facets, new: Facets) -> list[str]:
    """Return the fields that differ in meaning, in the order of documents."""
    names = list(dict.fromkeys((*old, *new)))
    return [name for name in names if _essence(old.get(name)) != _essence(new.get(name))]


def _essence(facet: Facet | None) -> object:
    return None if facet is None else (facet.essence,)


def _shown(facet: Facet) -> str:
    return listed(facet.shown) if isinstance(facet.shown, tuple) else quoted(facet.shown)


def _lists(old: Sequence[str], new: Sequence[str]) -> str:
    """Say what a list has and no longer has."""
    more, less = [one for one in new if one not in old], [one for one in old if one not in new]
    told = [f"now also {listed(more)}"] if more else []
    told += [f"no longer {listed(less)}"] if less else []
    return "; ".join(told) or "in another order"


def route(rule: Rule, hosts: Sequence[str]) -> str:
    """Say which requests a rule speaks about."""
    return f"{_what(rule)} on {', '.join(hosts)}"


def _what(rule: Rule) -> str:
    if rule.grpc is not None:
        return "gRPC " + ", ".join(
            f"{match.service}/{'|'.join(match.methods) if match.methods else '*'}" for match in rule.grpc
        )
    methods = " ".join(rule.methods) if rule.methods is not None else "every method"
    return f"{methods} {', '.join(rule.paths) if rule.paths is not None else 'on every path'}"


def verdict(rule: Rule) -> str:
    """Say what a rule does for whom, and when."""
    done = "allowed to" if rule.effect == "allow" else "denied to"
    return f"{done} {_whom(rule.identity)}{_conditions(rule)}"


def _whom(identity: Sequence[str] | None) -> str:
    return ", ".join(map(_who, identity)) if identity is not None else "everybody"


def _who(name: str) -> str:
    return {"anyone": "anybody", "anonymous": "those without a credential"}.get(name, name)


def _conditions(rule: Rule) -> str:
    told = f" asking for {', '.join(rule.upgrade)}" if rule.upgrade is not None else ""
    told += f" as {listed(rule.peers)}" if rule.peers is not None else ""
    told += f" from {', '.join(rule.addresses)}" if rule.addresses is not None else ""
    told += f" when {quoted(rule.when.strip())}" if rule.when is not None else ""
    return told + (f", limited by {', '.join(rule.limits)}" if rule.limits is not None else "")


def of_rule(old: Facets, new: Facets) -> str:
    """Say what a rule says now that it did not."""
    return "; ".join(_clause(name, old.get(name), new.get(name)) for name in differing(old, new))


# What a list means where it is missing.
_EVERYTHING = {
    "methods": "every method",
    "paths": "every path",
    "identity": "everybody",
    "peers": "every workload",
    "addresses": "every address",
    "grpc": "not gRPC alone",
    "when": "without a condition",
    "limits": "without a limit",
    "upgrade": "without an upgrade",
}


def _clause(name: str, old: Facet | None, new: Facet | None) -> str:
    if name == "effect" and new is not None:
        return f"now {new.shown} instead of {old.shown if old is not None else ''}"
    if new is None:
        return f"now {_EVERYTHING.get(name, 'without ' + name)}, no longer {_only(name)}{_plain(old)}"
    if old is None:
        return f"now {_only(name)}{_plain(new)}"
    if isinstance(old.shown, tuple) and isinstance(new.shown, tuple):
        prefix = "" if name in ("methods", "paths", "identity", "addresses", "peers") else f"{name} "
        return prefix + _lists(old.shown, new.shown)
    return f"{name} {_plain(old)} -> {_plain(new)}"


def _only(name: str) -> str:
    return {"when": "only when ", "limits": "limited by ", "upgrade": "asking for "}.get(name, "only ")


def _plain(facet: Facet | None) -> str:
    return _shown(facet) if facet is not None else ""
