"""The rules of a host that do not speak about a request, but nearly: mostly one of them was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from authz.model.decision import RuleName
from authz.model.request import Request
from authz.policy.host import parse_host
from authz.policy.kind_policy import Rule as Written
from authz.policy.path import parse_path
from authz.policy.rule import Candidate
from authz.rehearsal.explaining.explanation import MissPart
from authz.rehearsal.explaining.written import Source, written_paths

NEAR_MAX = 8  # rules that do not match, shown: the rest are counted


def near_misses(
    request: Request, candidates: Sequence[Candidate], known: Mapping[RuleName, Source]
) -> tuple[tuple[MissPart, ...], int]:
    """Return the rules of this host that do not speak about the request, nearest first, and how many more."""
    matching = {one.rule.name for one in candidates}
    found = [
        (_distance(source.rule, part.because, request), name, part)
        for name, source in known.items()
        if name not in matching and _of_host(source, request.host)
        for part in (_miss(name, source, request),)
    ]
    found.sort(key=lambda one: one[:2])
    return tuple(part for _, _, part in found[:NEAR_MAX]), max(0, len(found) - NEAR_MAX)


def _of_host(source: Source, host: str) -> bool:
    return any(parse_host(pattern).matches(host) for pattern in source.document.spec.hosts)


def _miss(name: RuleName, source: Source, request: Request) -> MissPart:
    rule = source.rule
    because: list[str] = []
    wants: list[str] = []
    paths = written_paths(rule)
    if not any(not path or parse_path(path).matches(request.segments) for path in paths):
        because.append("path")
        wants.append(", ".join(paths[:3]) + (", ..." if len(paths) > 3 else ""))
    methods = ("POST",) if rule.grpc else tuple(rule.methods or ())
    if methods and request.method not in methods:
        because.append("method")
        wants.append(", ".join(methods))
    if rule.grpc and not request.grpc:
        because.append("grpc")
        wants.append("content type application/grpc")
    return MissPart(name.policy, name.rule, rule.effect, tuple(because), "; ".join(wants), source.place)


def _distance(rule: Written, because: Sequence[str], request: Request) -> tuple[int, bool, bool, int]:
    """Fewer differences are nearer; another path is farther, and the less so the longer it begins alike.

    Deny rules come last: who is near something looks for what would allow it.
    """
    alike = max((_alike(path, request.segments) for path in written_paths(rule)), default=0)
    return len(because), "path" in because, rule.effect == "deny", -alike


def _alike(path: str, segments: tuple[str, ...]) -> int:
    if not path:
        return len(segments)
    count = 0
    for own, sent in zip(parse_path(path).segments, segments, strict=False):
        if own is not None and own != sent:
            break
        count += 1
    return count
