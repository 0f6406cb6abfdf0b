"""A request and who sends it, as people describe them, made into what `check.py` is asked.

Who sends it is played by a token: the key gets a secret that lives for one rehearsal, and its token stands
where its provider looks. So a rehearsal goes the whole way of a served check, credentials included, and
neither a pepper nor anybody's token is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from google.protobuf import json_format
from pydantic import TypeAdapter, ValidationError

from authz.check import Call, Check, judge
from authz.limits.guard import Guard
from authz.limits.memory import MemoryLimiter
from authz.model.errors import ConfigError
from authz.model.identity import CredentialPlace, PlaceKind
from authz.model.site import Listener
from authz.policy.evaluate import Memos
from authz.policy.kind_test import TestCase, TestIdentity
from authz.rehearsal.troupe import Troupe
from authz.snapshot.build import Built
from authz.snapshot.snapshot import Snapshot

_HERE = "192.0.2.1"  # a documentation address (RFC 5737): whose client has none would be in no network
_IDENTITY = TypeAdapter(TestIdentity)
_IDENTITY_EXAMPLE = '{"provider": "partner-keys", "customer": "acme", "scopes": ["items:read"]}'
_PREFERENCE = (PlaceKind.HEADER, PlaceKind.COOKIE, PlaceKind.QUERY)


@dataclass(frozen=True, slots=True)
class Scene:
    """One request, as people describe it.

    Args:
        path: with its query, as sent.
        headers: in order; a name may stand twice.
        address: of the direct peer, as Envoy sees it; "" for a documentation address.
        principal: the workload that Envoy authenticated by mTLS, or "".
        upgrade: the protocol that the request asks to switch to, or "".
    """

    host: str
    path: str = "/"
    method: str = "GET"
    scheme: str = "https"
    headers: tuple[tuple[str, str], ...] = ()
    address: str = ""
    principal: str = ""
    upgrade: str = ""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who sends it: the holder of a key, somebody whom a provider has proven, or (neither) whoever it may be.

    Args:
        key: name of an ApiKey document whose valid token is presented; "" for none.
        identity: who a provider has proven the caller to be; None for nobody.
    """

    key: str = ""
    identity: TestIdentity | None = None


NOBODY_CAST = Cast()


class Staged(NamedTuple):
    """What `check.py` is asked: a message, and the set with the keys that a rehearsal needs."""

    payload: bytes
    snapshot: Snapshot
    place: CredentialPlace | None  # where the played credential stands

    def __repr__(self) -> str:  # SECURITY: as in check.Call, headers of real requests are in it
        return f"Staged(payload={len(self.payload)} bytes)"


def of_case(case: TestCase) -> tuple[Scene, Cast]:
    """Return the request of a PolicyTest's case, and who sends it."""
    asked = case.request
    scene = Scene(
        asked.host,
        asked.path,
        asked.method,
        asked.scheme,
        tuple(asked.headers.items()),
        asked.address or "",
        asked.principal or "",
        asked.upgrade or "",
    )
    return scene, Cast(case.credential.key if case.credential else "", case.identity)


def message_of(scene: Scene, now_us: int) -> Any:
    """Return the CheckRequest that Envoy would send for a scene, at a time (microseconds since 1970).

    Raises:
        ConfigError: a text cannot stand in a message.
    """
    message = CheckRequest()
    attributes = message.attributes
    http = attributes.request.http
    try:
        attributes.source.address.socket_address.address = scene.address or _HERE
        attributes.source.principal = scene.principal
        http.method, http.host, http.path, http.scheme = scene.method, scene.host, scene.path, scene.scheme
        for name, value in (*scene.headers, *_upgrade(scene)):
            http.header_map.headers.add(key=name, raw_value=value.encode())
    except ValueError:  # a lone surrogate: bytes of a command line that are not UTF-8
        raise ConfigError("the request holds bytes that are not UTF-8: write them percent-encoded") from None
    http.protocol = "HTTP/2" if _is_grpc(scene) else "HTTP/1.1"
    http.size = -1
    attributes.request.time.FromMicroseconds(now_us)
    return message


def message_from_json(text: str) -> Any:
    """Return a CheckRequest written in protobuf's JSON, as grpcurl takes it.

    Raises:
        ConfigError: the text is none.
    """
    message = CheckRequest()
    try:
        json_format.Parse(text, message)
    except json_format.ParseError as error:
        what = " ".join(str(error).split())[:200]
        raise ConfigError(f"not a CheckRequest in JSON: {what}") from None
    if not message.attributes.request.HasField("http"):
        raise ConfigError("not a CheckRequest in JSON: there is no `attributes.request.http` in it")
    return message


def identity_from_json(text: str) -> TestIdentity:
    """Return an identity written in JSON, with the fields of `identity` of a PolicyTest.

    Raises:
        ConfigError: the text is none.
    """
    try:
        return _IDENTITY.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where}: {first['msg']}" if where else first["msg"]
        raise ConfigError(f"not an identity in JSON: {what.lower()}; write `{_IDENTITY_EXAMPLE}`") from None


def stage(built: Built, message: Any, cast: Cast, now_us: int, troupe: Troupe | None = None) -> Staged:
    """Make a message and who sends it into what is asked; `message` gets the credential.

    Args:
        troupe: of this set, where many requests are staged.

    Raises:
        ConfigError: the set has no such key or provider, or the provider looks nowhere.
    """
    snapshot = built.snapshot
    if not cast.key and cast.identity is None:
        return Staged(message.SerializeToString(), snapshot, None)
    troupe = troupe or Troupe(built)
    part = troupe.proven(cast.identity) if cast.identity is not None else troupe.holder(cast.key)
    place = _place(snapshot, part.provider, message.attributes.request.http)
    _present(message.attributes.request.http, place, part.token)
    # Its own memos: callers who were made up for one rehearsal crowd nobody out.
    return Staged(message.SerializeToString(), replace(snapshot, keyring=part.keyring, memos=Memos()), place)


def unbound(built: Built) -> Built:
    """Return a set as a listener would serve it that nobody has bound to hosts or proxies.

    A test speaks of the client's address and of any host, wherever the set is loaded.
    """
    reading = built.snapshot.reading
    listener = replace(reading.listener, hosts=None, trusted_hops=Listener().trusted_hops)
    snapshot = replace(built.snapshot, reading=replace(reading, listener=listener))
    return replace(built, snapshot=snapshot)


def play(staged: Staged, now_us: int) -> Check:
    """Decide as `check.py` does, every bucket full and no network guarded; nothing is kept of it."""
    check = judge(Call(0, staged.payload), staged.snapshot, Guard(_no_time), now_us)
    if check.grant is not None:
        MemoryLimiter(_no_time).spend([check], lambda _: None)
    return check


def _no_time() -> int:
    return 0


def _upgrade(scene: Scene) -> tuple[tuple[str, str], ...]:
    return (("connection", "upgrade"), ("upgrade", scene.upgrade)) if scene.upgrade else ()


def _is_grpc(scene: Scene) -> bool:
    return any(
        name.lower() == "content-type" and value.startswith("application/grpc")
        for name, value in scene.headers
    )


def _place(snapshot: Snapshot, provider: str, http: Any) -> CredentialPlace:
    """Return where the caller puts the credential: into a header that the request has not, if it can be."""
    sent = {entry.key.lower() for entry in http.header_map.headers} | {name.lower() for name in http.headers}
    places = snapshot.providers[provider].places
    if not places:
        raise ConfigError(f"the provider `{provider}` looks nowhere for credentials: nobody can present one")
    return min(places, key=lambda place: (_PREFERENCE.index(place.kind), place.name in sent))


def _present(http: Any, place: CredentialPlace, token: str) -> None:
    """Put a token where a caller would."""
    if place.kind is PlaceKind.QUERY:
        http.path += f"{'&' if '?' in http.path else '?'}{place.name}={token}"
        return
    if place.kind is PlaceKind.COOKIE:
        _add(http, "cookie", f"{place.name}={token}", "; ")
        return
    _add(http, place.name, f"{place.scheme.capitalize()} {token}" if place.scheme else token, ",")


def _add(http: Any, name: str, value: str, joint: str) -> None:
    """Add a header in the form that the message has; a browser sends its cookies in one."""
    if len(http.headers):
        http.headers[name] = joint.join(filter(None, (http.headers[name], value)))
        return
    if name == "cookie":
        for entry in http.header_map.headers:
            if entry.key.lower() == name:
                entry.raw_value += f"; {value}".encode()
                return
    http.header_map.headers.add(key=name, raw_value=value.encode())
