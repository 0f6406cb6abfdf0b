"""What changes in who may do what, from one policy set to another.

Documents are compared by what they mean (`facets.py`): comments, spaces, order and defaults written out are
no change. INVARIANT: where no change of access is found, every request is answered alike by both sets; so
whatever differs and is not known to be without effect counts as a change.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from authz.policy.condition import Compiler
from authz.policy.kind_identity import CustomerSpec
from authz.policy.loaded import AnyDocument, Document, Loaded
from authz.rehearsal.comparing.direction import Effect, together
from authz.rehearsal.comparing.documents import of_any, of_customer, of_key, of_limit, of_provider
from authz.rehearsal.comparing.facets import Reader
from authz.rehearsal.comparing.policies import Policies
from authz.rehearsal.comparing.words import Change

_One = TypeVar("_One", bound=AnyDocument)


class Side(NamedTuple):
    """One of the two sets that are compared; both could be served.

    Args:
        overrides: deny rules that come first; empty where there are none.
    """

    loaded: Loaded
    overrides: Loaded = Loaded()
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs, policies first."""

    old_revision: str
    new_revision: str
    changes: tuple[Change, ...]

    @property
    def effect(self) -> Effect:
        """What all changes do together."""
        return together(change.effect for change in self.changes)

    @property
    def same_access(self) -> bool:
        """Whether every request is answered alike by both sets."""
        return self.effect is Effect.NONE


def difference(old: Side, new: Side, compiler: Compiler | None = None) -> Difference:
    """Compare two policy sets."""
    reader = Reader(compiler)
    changes = (
        *Policies(old.overrides, new.overrides, reader, overrides=True).changes(),
        *Policies(old.loaded, new.loaded, reader).changes(),
        *_others(old, new, reader),
        *_tests(old.loaded, new.loaded),
    )
    return Difference(old.revision or old.loaded.revision, new.revision or new.loaded.revision, changes)


def _others(old: Side, new: Side, reader: Reader) -> Iterator[Change]:
    mine, its = old.loaded, new.loaded
    used = _used(mine) | _used(its)
    blind = _is_blind(old) and _is_blind(new)
    for limits in _pairs(mine.limits, its.limits, _name):
        yield from of_limit(*limits, reader, used)
    for providers in _pairs(mine.providers, its.providers, _name):
        yield from of_provider(*providers, reader)
    for keys in _pairs(mine.keys, its.keys, lambda key: key.spec.id):
        yield from of_key(*keys, reader, blind=blind)
    before, after = _customers(mine), _customers(its)
    for name in sorted({*before, *after}):
        yield from of_customer("/".join(name), before.get(name), after.get(name), reader, blind=blind)
    for sites in _pairs(mine.sites, its.sites, _name):
        yield from of_any("Site", *sites, reader)
    for scopes in _pairs(mine.scopes, its.scopes, _name):
        yield from of_any("Scope", *scopes, reader)


def _name(document: AnyDocument) -> str:
    return document.name


def _pairs(
    old: Iterable[_One], new: Iterable[_One], key: Callable[[_One], Hashable]
) -> Iterator[tuple[_One | None, _One | None]]:
    before: Mapping[Hashable, _One] = {key(document): document for document in old}
    after: Mapping[Hashable, _One] = {key(document): document for document in new}
    for name in dict.fromkeys((*before, *after)):
        yield before.get(name), after.get(name)


def _customers(loaded: Loaded) -> Mapping[tuple[str, str], Document[CustomerSpec]]:
    return {(loaded.customer_namespace(one), one.name): one for one in loaded.customers}


def _used(loaded: Loaded) -> frozenset[str]:
    enforcing = (policy for policy in loaded.policies if policy.spec.mode == "enforce")
    return frozenset(name for one in enforcing for rule in one.spec.rules for name in rule.limits or ())


def _is_blind(side: Side) -> bool:
    """Whether no rule treats a proven caller worse than one whose key is bad.

    Rules for anybody hold for both; what they ask of the identity, and what deny rules do, may differ.
    """
    for policy in (*side.loaded.policies, *side.overrides.policies):
        if policy.spec.mode == "shadow":
            continue
        for rule in policy.spec.rules:
            looks = "identity" in (rule.when or "")
            if rule.effect == "deny" and (looks or rule.identity not in (None, ("anyone",))):
                return False
            asks = rule.limits is not None or policy.spec.on_allow is not None
            if rule.effect == "allow" and "anyone" in (rule.identity or ()) and (looks or asks):
                return False
    return True


def _tests(old: Loaded, new: Loaded) -> Iterator[Change]:
    for before, after in _pairs(old.tests, new.tests, _name):
        if before is None and after is not None:
            what = f"{len(after.spec.cases)} cases added"
        elif before is not None and after is None:
            what = f"{len(before.spec.cases)} cases removed"
        elif before is not None and after is not None and before.canonical != after.canonical:
            what = f"changed, {len(before.spec.cases)} -> {len(after.spec.cases)} cases"
        else:
            continue
        document = after if after is not None else before
        yield Change("PolicyTest", document.name if document is not None else "", "", what, Effect.NONE)
