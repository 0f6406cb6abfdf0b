"""What expressions are evaluated over, and rules to evaluate, without documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authz.model.decision import RuleName
from authz.model.identity import ANONYMOUS, Identity, IdentityKind
from authz.policy.condition import Compiler, Condition
from authz.policy.rule import Rule
from authz.policy.vocabulary import Facts
from tests.support.requests import request

COMPILER = Compiler()


def token(claims: Mapping[str, object] | None = None, **fields: Any) -> Identity:
    """Return the identity of a token with these claims; `fields` are further fields of Identity."""
    return Identity(IdentityKind.JWT, provider="corporate", claims=claims or {}, **fields)


def facts(identity: Identity = ANONYMOUS, params: Mapping[str, str] | None = None, **parts: Any) -> Facts:
    """Return what one evaluation looks at; `parts` are arguments of `request`."""
    return Facts(request(**parts), identity, params or {})


def condition(source: str) -> Condition:
    """Compile a `when`."""
    return COMPILER.condition(source)


def rule(name: str = "r", *, allow: bool = True, **fields: Any) -> Rule:
    """Return a compiled rule of the policy `p`; for anyone unless it names somebody."""
    named = "providers" in fields or "anonymous" in fields
    return Rule(RuleName("p", name), allow, **{"anyone": not named, **fields})
