"""Conditions whose value is known before any request comes."""

from __future__ import annotations

from itertools import islice, product

from authz.model.identity import ANONYMOUS, Identity
from authz.model.request import UNSAID, Request
from authz.policy.condition import Condition, Truth
from authz.policy.host import parse_host
from authz.policy.kind_policy import PolicySpec, Rule
from authz.policy.vocabulary import Facts

_MAX_TRIED = 64  # requests that are all there may be, as far as a condition looks at them
_WORDS = {Truth.YES: "true", Truth.NO: "false", Truth.FAILED: "an error"}


def constant(when: Condition, spec: PolicySpec, rule: Rule) -> str | None:
    """Return what a condition always says of the requests that its rule matches, or None if it depends.

    It is tried on every method, host and caller that the rule leaves over, where it looks at nothing else.
    """
    methods, hosts, callers = _methods(rule), _hosts(spec), _callers(rule)
    names = when.inspection.names
    known = {"request.method": bool(methods), "request.host": bool(hosts)}
    if not all(bool(callers) if name.startswith("identity.") else known.get(name, False) for name in names):
        return None
    tried = list(
        islice(product(methods or ("GET",), hosts or ("",), callers or (ANONYMOUS,)), _MAX_TRIED + 1)
    )
    if len(tried) > _MAX_TRIED:
        return None
    values = {when.holds(Facts(_request(method, host), who, {})) for method, host, who in tried}
    return _WORDS[values.pop()] if len(values) == 1 else None


def _methods(rule: Rule) -> tuple[str, ...]:
    return ("POST",) if rule.grpc is not None else rule.methods or ()


def _hosts(spec: PolicySpec) -> tuple[str, ...]:
    exact = all(parse_host(text).kind == "exact" for text in spec.hosts)
    return spec.hosts if exact else ()


def _callers(rule: Rule) -> tuple[Identity, ...]:
    """Return everybody whom a rule fits; empty where they differ from set to set."""
    return (ANONYMOUS,) if rule.identity == ("anonymous",) else ()


def _request(method: str, host: str) -> Request:
    return UNSAID._replace(method=method, sent_method=method, scheme="https", host=host)
