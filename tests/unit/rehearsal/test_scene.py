from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from authz.check import Check
from authz.model.decision import Allow, Deny
from authz.model.errors import ConfigError
from authz.model.reason import Reason
from authz.model.site import Listener, ServedHosts
from authz.policy.kind_test import TestIdentity
from authz.rehearsal.scene import (
    NOBODY_CAST,
    Cast,
    Scene,
    identity_from_json,
    message_from_json,
    message_of,
    play,
    stage,
    unbound,
)
from authz.snapshot.build import Built, Surroundings
from tests.support.decisions import NOW_US
from tests.support.policies import MadeKey, load

HOST = "items.example.com"
POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: ["*"]
  rules: [{name: keys, effect: allow, identity: [keys]}]
"""


def provider(*places: str) -> str:
    return (
        "kind: IdentityProvider\nmetadata: {name: keys}\n"
        f"spec: {{customers: example, apiKey: {{in: [{', '.join(places)}]}}}}\n"
    )


KEY = MadeKey("acme")
DOCUMENT = KEY.document.replace("partner-keys", "keys")


def made(*places: str, extra: str = "", **surroundings: Any) -> Built:
    around = Surroundings(**surroundings) if surroundings else None
    return load(provider(*places), POLICY, DOCUMENT + extra, surroundings=around)


def check(built: Built, scene: Scene, cast: Cast = NOBODY_CAST, now_us: int = NOW_US) -> Check:
    return play(stage(built, message_of(scene, now_us), cast, now_us), now_us)


@pytest.mark.parametrize(
    ("places", "headers", "place"),
    [
        (["{cookie: session}", "{query: k}", "{header: x-key}"], {}, "x-key"),
        (["{header: x-key}", "{header: authorization, scheme: Bearer}"], {"x-key": "other"}, None),
        (["{header: authorization, scheme: Bearer}"], {}, "authorization"),
        (["{query: k}", "{cookie: session}"], {"cookie": "a=b"}, "session"),
        (["{cookie: session}"], {}, "session"),
        (["{query: k}"], {}, "k"),
    ],
)
def test_the_credential_stands_where_its_provider_looks(
    places: list[str], headers: dict[str, str], place: str | None
) -> None:
    built = made(*places)
    for path in ("/", "/a?b=c"):
        scene = Scene(HOST, path, headers=tuple(headers.items()))
        found = check(built, scene, Cast("acme"))
        if place is None:  # two credentials: as whoever holds the key would fare
            assert found.decision == Deny(Reason.CREDENTIAL_AMBIGUOUS)
        else:
            assert isinstance(found.decision, Allow)
            assert found.caller.place is not None
            assert found.caller.place.name == place


def test_the_joined_form_of_headers_takes_a_credential_too() -> None:
    built = made("{cookie: session}")
    for headers in ({"x": "y"}, {"x": "y", "cookie": "a=b"}):
        http = {"host": HOST, "method": "GET", "path": "/", "headers": headers}
        message = message_from_json(f'{{"attributes": {{"request": {{"http": {http}}}}}}}'.replace("'", '"'))
        found = play(stage(built, message, Cast("acme"), NOW_US), NOW_US)
        assert isinstance(found.decision, Allow)


def test_a_scene_is_what_envoy_would_send() -> None:
    scene = Scene(
        HOST, "/a?b", "POST", "http", (("x", "1"), ("x", "2")), "10.0.0.9", "spiffe://a", "websocket"
    )
    attributes = message_of(scene, NOW_US).attributes
    http = attributes.request.http
    assert (http.method, http.host, http.path, http.scheme, http.protocol) == (
        "POST",
        HOST,
        "/a?b",
        "http",
        "HTTP/1.1",
    )
    assert [(one.key, one.raw_value) for one in http.header_map.headers] == [
        ("x", b"1"),
        ("x", b"2"),
        ("connection", b"upgrade"),
        ("upgrade", b"websocket"),
    ]
    assert attributes.source.address.socket_address.address == "10.0.0.9"
    assert attributes.source.principal == "spiffe://a"
    assert attributes.request.time.ToMicroseconds() == NOW_US
    rpc = Scene(HOST, headers=(("Content-Type", "application/grpc"),))
    assert message_of(rpc, NOW_US).attributes.request.http.protocol == "HTTP/2"


def test_nothing_is_spent_and_what_never_fits_is_refused() -> None:
    limit = "kind: Limit\nmetadata: {name: l}\nspec: {per: [client.network], rate: 1/d, cost: COST}\n"
    policy = POLICY.replace("identity: [keys]", "identity: [anyone], limits: [l]")
    for cost, allowed in (('"1"', True), ('"request.method == \\"GET\\" ? 2 : 1"', False)):
        built = load(provider("{header: x}"), policy, limit.replace("COST", cost))
        for _ in range(3):
            assert isinstance(check(built, Scene(HOST)).decision, Allow) is allowed


def test_an_unbound_set_asks_nobody_which_hosts_and_proxies_there_are() -> None:
    built = made(
        "{header: x}", listener=Listener(trusted_hops=1, hosts=ServedHosts(frozenset({"other.example.com"})))
    )
    scene = Scene(HOST, address="10.0.0.9", headers=(("x-forwarded-for", "1.2.3.4"),))
    assert check(built, scene).decision.reason is Reason.BAD_REQUEST  # type: ignore[union-attr] # a Deny
    found = check(unbound(built), scene)
    assert found.request.client.address == "10.0.0.9"


def test_a_text_that_no_message_can_hold_is_told() -> None:
    for scene in (
        Scene("a\udcff"),
        Scene(HOST, headers=(("a", "\udcff"),)),
        Scene(HOST, headers=(("\udcff", ""),)),
    ):
        with pytest.raises(ConfigError, match="not UTF-8"):
            message_of(scene, NOW_US)


def test_a_check_request_in_json_is_read_or_told() -> None:
    message = message_of(Scene(HOST, "/x"), NOW_US)
    assert message_from_json(json_format.MessageToJson(message)) == message
    for text in ("", "[]", '{"attributes": 1}', '{"attribute": {}}'):
        with pytest.raises(ConfigError, match="not a CheckRequest in JSON"):
            message_from_json(text)


def test_an_identity_in_json_is_read_or_told() -> None:
    assert identity_from_json('{"provider": "keys", "customer": "acme"}') == TestIdentity(
        provider="keys", customer="acme"
    )
    for text in ("", "{}", '{"provider": 1}', '{"provider": "keys", "custome": "a"}'):
        with pytest.raises(ConfigError, match="not an identity in JSON"):
            identity_from_json(text)


def test_what_is_staged_shows_no_credential() -> None:
    staged = stage(made("{header: x}"), message_of(Scene(HOST), NOW_US), Cast("acme"), NOW_US)
    assert "ak_live" not in repr(staged)
