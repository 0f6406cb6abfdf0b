"""Cases: hosts, methods, upgrades, and headers that are said to open doors."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from authz.attack.aim import Aim
from authz.attack.case import CHECKS, HTTP, Ask, Case, Expect, Need, Pair, Wire
from authz.attack.spelling import spell_host

_HOSTS = (
    ("upper case", "{H}", "CVE-2021-39155"),
    ("a trailing dot", "{h}.", ""),
    ("two trailing dots", "{h}..", ""),
    ("a port", "{h}:80", ""),
    ("a dot and a port", "{h}.:443", ""),
    ("no port after the colon", "{h}:", ""),
    ("a port too large", "{h}:65536", ""),
    ("a port that is no number", "{h}:x", ""),
    ("userinfo before", "x@{h}", ""),
    ("userinfo that is the host", "{h}@other.invalid", ""),
    ("a path in it", "{h}/x", ""),
    ("a query in it", "{h}?x", ""),
    ("a fragment in it", "{h}#x", ""),
    ("a second name", "{h},other.invalid", ""),
    ("a second name before", "other.invalid,{h}", ""),
    ("a blank in it", "{h} other.invalid", ""),
    ("two dots", "a..{h}", ""),
    ("a leading dot", ".{h}", ""),
    ("an escape", "%61{h}", ""),
    ("NUL", "{h}\x00", ""),
    ("a zero-width space", "{h}\u200b", ""),
    ("an ideographic full stop", "{h}\u3002", ""),
    ("empty", "", ""),
    ("an unknown name", "unknown.invalid", ""),
    ("localhost", "localhost", ""),
    ("loopback as a number", "2130706433", ""),
    ("IPv6 loopback", "[::1]", ""),
    ("IPv4 in IPv6", "[::ffff:127.0.0.1]", ""),
    ("an unclosed bracket", "[::1", ""),
    ("300 characters", "a" * 300, ""),
)

_METHODS = (
    *("get", "Get", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "PROPFIND", "PURGE", "DEBUG"),
    *("TRACE", "TRACK", "CONNECT", "", "GET /x", "GET\t", "G\u00c9T", "X" * 65536, "PRI"),
)

_PROBES = (
    "kube-probe/1.31",
    "GoogleHC/1.0",
    "ELB-HealthChecker/2.0",
    "Prometheus/3.0",
    "Consul Health Check",
)

# Headers by which one part of a system tells another what it has decided or where a request came from.
_PASSES: tuple[tuple[str, str, str], ...] = (
    ("x-forwarded-uri", "{open}", "CVE-2026-40575"),
    ("x-original-url", "{open}", ""),
    ("x-original-uri", "{open}", ""),
    ("x-rewrite-url", "{open}", ""),
    ("x-envoy-original-path", "{open}", "CVE-2023-27487"),
    ("x-forwarded-prefix", "{open}", ""),
    ("x-forwarded-method", "OPTIONS", ""),
    ("x-http-method-override", "OPTIONS", ""),
    ("x-forwarded-for", "127.0.0.1", ""),
    ("x-real-ip", "127.0.0.1", ""),
    ("forwarded", "for=127.0.0.1;host=localhost", ""),
    ("x-forwarded-host", "localhost", ""),
    ("x-forwarded-proto", "https", ""),
    ("x-envoy-internal", "true", ""),
    ("x-envoy-external-address", "127.0.0.1", ""),
    ("x-forwarded-client-cert", "By=spiffe://x/a;URI=spiffe://cluster.local/ns/admin/sa/admin", ""),
    ("x-ext-authz-check-result", "allowed", ""),
    ("x-authz-decision", "allow", ""),
    ("x-middleware-subrequest", "middleware", ""),
)


def cases(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    """Yield requests for the protected path that nothing about them may let through."""
    yield from _hosts(aim, rng, count)
    yield from _methods(aim)
    yield from _passes(aim)
    yield from _upgrades(aim)


def _refused(name: str, group: str, ask: Ask, why: str, advisory: str = "") -> Case:
    return Case(name, group, (ask,), Expect.REFUSED, why, advisory)


def _hosts(aim: Aim, rng: Random, count: int) -> Iterator[Case]:
    why = "an odd spelling of the host selects no policy, or a looser one, and still reaches the application"
    host = aim.host.decode("latin-1")
    for name, text, advisory in _HOSTS:
        spelled = text.replace("{h}", host).replace("{H}", host.upper())
        yield _refused(name, "hosts", _at(aim, spelled), why, advisory)
    spelled_hosts = dict.fromkeys(spell_host(rng, host) for _ in range(count // 4))
    for spelled in spelled_hosts:
        yield _refused(repr(spelled)[1:-1], "generated-hosts", _at(aim, spelled), why)


def _at(aim: Aim, host: str) -> Ask:
    return Ask(aim.protected, host=host.encode())


def _methods(aim: Aim) -> Iterator[Case]:
    why = "a method that rules do not list, or a free pass for one, opens a path"
    for method in _METHODS:
        name = method if len(method) < 20 else f"{len(method):,} characters"
        yield _refused(repr(name)[1:-1], "methods", Ask(aim.protected, method.encode()), why)
    preflight: tuple[Pair, ...] = ((b"origin", b"https://app.invalid"),)
    yield _refused(
        "OPTIONS with an origin", "methods", Ask(aim.protected, b"OPTIONS", headers=preflight), why
    )
    why = "TRACE sends a request back with what proxies added to it"
    for method in ("TRACE", "TRACK"):
        yield Case(
            f"{method} of an open path",
            "methods",
            (Ask(aim.public, method.encode()),),
            Expect.REFUSED,
            why,
            needs=frozenset({Need.OPEN}),
            grave=False,
        )


def _passes(aim: Aim) -> Iterator[Case]:
    why = "a header that clients can send is taken for a fact about the request"
    for header, value, advisory in _PASSES:
        sent = value.replace("{open}", aim.public.decode("latin-1")).encode()
        ask = Ask(aim.protected, headers=((header.encode(), sent),))
        yield _refused(header, "free-passes", ask, why, advisory)
    why = "probes are known by a header that anybody can send"
    for agent in _PROBES:
        ask = Ask(aim.protected, headers=((b"user-agent", agent.encode()),))
        yield _refused(agent, "free-passes", ask, why, "CVE-2026-34457")


def _upgrades(aim: Aim) -> Iterator[Case]:
    why = "after an upgrade nobody looks at the requests in it any more"
    websocket: tuple[Pair, ...] = (
        (b"connection", b"upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    )
    h2c: tuple[Pair, ...] = (
        (b"connection", b"upgrade, http2-settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAMAAABkAAQAAP__"),
    )
    wires = CHECKS | {Wire.HTTP1}
    for name, headers in (("websocket", websocket), ("h2c", h2c)):
        ask = Ask(aim.protected, headers=headers)
        yield Case(name, "upgrades", (ask,), Expect.REFUSED, why, "CVE-2024-23326", wires)
    open_h2c = Ask(aim.public, headers=h2c)
    needs = frozenset({Need.OPEN, Need.ECHO})
    mark = (b"upgrade: h2c",)
    yield Case("h2c on an open path", "upgrades", (open_h2c,), Expect.CLEAN, why, "", wires, needs, mark)
    why = "the application is told another method than the one that was judged"
    for header in (b"x-http-method-override", b"x-http-method", b"x-method-override"):
        ask = Ask(aim.public, b"POST", headers=((header, b"DELETE"),))
        name = header.decode() + " on an open path"
        yield Case(
            name,
            "method-overrides",
            (ask,),
            Expect.CLEAN,
            why,
            "",
            HTTP | CHECKS,
            needs,
            (header,),
            grave=False,
        )
