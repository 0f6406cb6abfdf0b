"""What the fields of one document must agree on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from authz.model.identity import CredentialPlace
from authz.policy.expectation import flaws_of_expectation
from authz.policy.host import parse_host
from authz.policy.kind_identity import ApiKeySpec, CredentialIn, IdentityProviderSpec, JwtProvider
from authz.policy.kind_policy import PolicySpec, Rule
from authz.policy.kind_site import SiteSpec
from authz.policy.kind_test import PolicyTestSpec
from authz.policy.path import parse_path
from authz.policy.prose import Flaw
from authz.policy.shape import Model
from authz.policy.source import Path
from authz.policy.texts import plain_header

RESERVED_PROVIDERS = frozenset(("anonymous", "anyone"))


def flaws_in(name: str, spec: Model) -> Iterator[Flaw]:
    """Yield what is wrong in one document whose fields are legal, each for itself.

    Args:
        name: `metadata.name` of the document.
        spec: its spec.
    """
    match spec:
        case PolicySpec():
            yield from _policy(spec)
        case SiteSpec():
            yield from _site(spec)
        case IdentityProviderSpec():
            yield from _provider(name, spec)
        case ApiKeySpec():
            yield from _key(spec)
        case PolicyTestSpec():
            yield from _test(spec)


def repeated(names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the position of every name that has stood before."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield index, name
        seen.add(name)


def _policy(spec: PolicySpec) -> Iterator[Flaw]:
    for index, name in repeated(rule.name for rule in spec.rules):
        yield Flaw(("spec", "rules", index, "name"), f"two rules are named `{name}`: rename one")
    hosts = frozenset(parse_host(text).capture for text in spec.hosts) - {""}
    for index, rule in enumerate(spec.rules):
        yield from _rule(("spec", "rules", index), rule, hosts)
    if spec.on_allow is not None:
        yield from _headers(("spec", "onAllow", "headers"), list(spec.on_allow.headers))


def _headers(at: Path, names: list[str]) -> Iterator[Flaw]:
    for index, plain in repeated(plain_header(name) for name in names):
        what = f"`{plain}` is set twice (`_` and `.` count as `-`): remove one"
        yield Flaw((*at, names[index]), what, at_key=True)


def _rule(at: Path, rule: Rule, host_captures: frozenset[str]) -> Iterator[Flaw]:
    if rule.effect == "allow" and rule.identity is None:
        yield Flaw(
            at, f"the allow rule `{rule.name}` must say `identity`: provider names, `anonymous` or `anyone`"
        )
    if rule.effect == "deny" and rule.limits is not None:
        yield Flaw((*at, "limits"), "a deny rule spends nothing: remove `limits`", at_key=True)
    if rule.grpc is not None:
        for field, value in (("methods", rule.methods), ("paths", rule.paths)):
            if value is not None:
                yield Flaw((*at, field), f"`grpc` stands instead of `{field}`: remove one", at_key=True)
    for index, text in enumerate(rule.paths or ()):
        for name, _ in parse_path(text).captures:
            if name in host_captures:
                what = f"`{{{name}}}` is captured by the host already: name one otherwise"
                yield Flaw((*at, "paths", index), what)


def _site(spec: SiteSpec) -> Iterator[Flaw]:
    for told, refusal in (spec.on_deny or {}).items():
        at = ("spec", "onDeny", told)
        if refusal.redirect is None and refusal.headers is None:
            yield Flaw(at, f"`spec.onDeny.{told}` says nothing: write `redirect` or `headers`, or remove it")
        yield from _headers((*at, "headers"), list(refusal.headers or {}))


def _provider(name: str, spec: IdentityProviderSpec) -> Iterator[Flaw]:
    if name in RESERVED_PROVIDERS:
        yield Flaw(
            ("metadata", "name"), f"no provider may be named `{name}`: it means something else in rules"
        )
    if (spec.api_key is None) == (spec.jwt is None):
        yield Flaw(("spec",), "a provider has exactly one of `apiKey` and `jwt`: write one")
    if spec.api_key is not None:
        yield from _places(("spec", "apiKey", "in"), spec.api_key.places)
    if spec.jwt is not None:
        what = "`jwt` is not supported yet: remove the provider"
        yield Flaw(("spec", "jwt"), what, at_key=True, newer=True)
        yield from _places(("spec", "jwt", "in"), spec.jwt.places)
        yield from _jwt(spec.jwt)


def _places(at: Path, places: tuple[CredentialIn, ...]) -> Iterator[Flaw]:
    seen: set[CredentialPlace] = set()
    for index, place in enumerate(places):
        if sum(one is not None for one in (place.header, place.cookie, place.query)) != 1:
            yield Flaw((*at, index), "a place is exactly one of `header`, `cookie` and `query`: write one")
        elif place.scheme is not None and place.header is None:
            yield Flaw((*at, index, "scheme"), "`scheme` goes with `header` only: remove it", at_key=True)
        elif place.to_place() in seen:
            yield Flaw((*at, index), "this place stands twice: remove one")
        else:
            seen.add(place.to_place())


def _jwt(jwt: JwtProvider) -> Iterator[Flaw]:
    if (jwt.jwks.url is None) == (jwt.jwks.file is None):
        yield Flaw(("spec", "jwt", "jwks"), "a key set is exactly one of `url` and `file`: write one")
    if jwt.jwks.url is not None and not jwt.jwks.url.startswith("https://"):
        yield Flaw(
            ("spec", "jwt", "jwks", "url"), "a key set is fetched over https only: write `https://...`"
        )


def _key(spec: ApiKeySpec) -> Iterator[Flaw]:
    if spec.not_before and spec.expires_at and spec.not_before >= spec.expires_at:
        yield Flaw(("spec", "expiresAt"), "the key ends before it begins: move `expiresAt` after `notBefore`")
    for index, version in repeated(str(secret.version) for secret in spec.secrets):
        path = ("spec", "secrets", index, "version")
        yield Flaw(path, f"two secrets have version {version}: a rotation counts up")


def _test(spec: PolicyTestSpec) -> Iterator[Flaw]:
    for index, name in repeated(case.name for case in spec.cases):
        yield Flaw(("spec", "cases", index, "name"), f"two cases are named `{name}`: rename one")
    for index, case in enumerate(spec.cases):
        if case.credential is not None and case.identity is not None:
            path = ("spec", "cases", index, "identity")
            yield Flaw(path, "a case has `credential` or `identity`, not both: remove one", at_key=True)
        yield from flaws_of_expectation(case.expect, ("spec", "cases", index, "expect"))
