"""Laws of the reader: it never raises, never guesses, and reads both forms of headers alike."""

from __future__ import annotations

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from authz.attack.oracle import falls_under, readings
from authz.attack.spelling import fixed_spellings
from authz.model.reason import Detail
from authz.model.request import Request, Unreadable
from authz.model.site import DEFAULT_SITE, Listener, ReadingRules, Site
from authz.request.headers import normal_name
from authz.request.host import canonical_host
from authz.request.path import Target, read_path
from authz.request.read import read
from tests.support.checks import check_request
from tests.support.spellings import (
    spelled_hosts,
    spelled_names,
    spelled_paths,
    wild_paths,
)

patient = settings(deadline=None)  # a busy machine is no fault of the reader

PROTECTED = ("/admin", "/api/v1/items", "/a+b/@me", "/.well-known/x~y")
SITES = (
    DEFAULT_SITE,
    Site(keep_matrix=True),
    Site(keep_slashes=True),
    Site(keep_matrix=True, keep_slashes=True),
)
RULES = ReadingRules(lambda host: DEFAULT_SITE, frozenset({"x-auth-key-id"}))

names = st.one_of(
    st.sampled_from(("x", "y", "cookie", "upgrade", "x_y", "content-type", "http2-settings", "x-request-id")),
    spelled_names("x-auth-key-id").map(str.lower),
    st.text(st.characters(codec="utf-8", exclude_characters="ABCDEFGHIJKLMNOPQRSTUVWXYZ"), max_size=6).filter(
        lambda name: name == name.lower() and not name.startswith(":")
    ),
)
values = st.one_of(
    st.binary(max_size=12), st.sampled_from((b"h2c", b"application/grpc", b"a, b", b"", b"\xe2\x82"))
)
pairs = st.lists(st.tuples(names, values), max_size=8)


@patient
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    assert isinstance(read(payload, RULES), Request | Unreadable)


@patient
@given(st.data())
def test_a_damaged_message_is_read_or_refused(data: st.DataObject) -> None:
    payload = bytearray(check_request(path="/a/b?c", headers=[("x", "1"), ("x", "2"), ("y_z", b"\xff")]))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    assert isinstance(read(bytes(payload), RULES), Request | Unreadable)


@patient
@given(
    method=st.text(max_size=10),
    path=st.text(max_size=40),
    host=st.text(max_size=40),
    scheme=st.text(max_size=8),
    peer=st.text(max_size=20),
    headers=pairs,
    hops=st.integers(0, 3),
)
def test_any_fields_are_read_or_refused(
    method: str, path: str, host: str, scheme: str, peer: str, headers: list[tuple[str, bytes]], hops: int
) -> None:
    payload = check_request(method, path, host, headers, scheme=scheme, peer=peer)
    rules = ReadingRules(lambda host: SITES[-1], listener=Listener(trusted_hops=hops))
    assert isinstance(read(payload, rules), Request | Unreadable)


@patient
@given(headers=pairs, method=st.sampled_from(("GET", "POST")), hops=st.integers(0, 2))
@example(headers=[("x", b"\xe2"), ("x", b"\x82\xac")], method="GET", hops=0)
@example(headers=[("x", b"\0"), ("x-request-id", b"\x80")], method="GET", hops=0)
@example(headers=[("x-forwarded-for", b"1.1.1.1"), ("x-forwarded-for", b"2.2.2.2")], method="GET", hops=1)
def test_both_forms_of_headers_give_one_request(
    headers: list[tuple[str, bytes]], method: str, hops: int
) -> None:
    rules = ReadingRules(RULES.site_of, RULES.owned, Listener(trusted_hops=hops))
    raw = read(check_request(method, headers=headers, mode="raw"), rules)
    joined = read(check_request(method, headers=headers, mode="map"), rules)
    if isinstance(raw, Request):
        raw = raw._replace(repeated=frozenset())  # the one thing that the joined form cannot tell
    assert raw == joined


def protects(raw: str, site: Site, prefix: str) -> bool:
    """Tell whether no reading of a path falls under a prefix unless ours does, or the path is refused."""
    found = read_path(raw.partition("?")[0], site)
    if isinstance(found, Detail) or falls_under(found.path, prefix) or falls_under(found.structural, prefix):
        return True
    return not any(falls_under(reading, prefix) for reading in readings(raw.partition("?")[0]))


@patient
@given(st.data(), st.sampled_from(PROTECTED), st.sampled_from(SITES))
def test_a_protected_path_stays_protected_under_every_spelling(
    data: st.DataObject, prefix: str, site: Site
) -> None:
    assert protects(data.draw(spelled_paths(prefix)), site, prefix)


@patient
@given(st.data(), st.sampled_from(PROTECTED))
def test_below_a_protected_path_too(data: st.DataObject, prefix: str) -> None:
    assert protects(data.draw(spelled_paths("/public" + prefix + "/x")), DEFAULT_SITE, prefix)


@patient
@given(wild_paths(), st.sampled_from(SITES))
def test_wild_paths_reach_nothing_protected(raw: str, site: Site) -> None:
    assert protects(raw, site, "/admin")


def test_the_fixed_spellings_reach_nothing_protected() -> None:
    for prefix in PROTECTED:
        for raw in fixed_spellings(prefix):
            for site in SITES:
                assert protects(raw, site, prefix), (raw, site)


def test_the_oracle_can_fail() -> None:
    assert any(falls_under(reading, "/admin") for reading in readings("/x/..;/%2561dmin//y"))
    assert not any(falls_under(reading, "/admin") for reading in readings("/administrator"))


@patient
@given(st.data(), st.sampled_from(SITES))
def test_reading_a_canonical_path_again_changes_nothing(data: st.DataObject, site: Site) -> None:
    characters = st.sampled_from("ab.;%+@/é 2F5C~")
    raw = data.draw(st.one_of(wild_paths(), st.text(characters, max_size=12).map(lambda text: "/" + text)))
    found = read_path(raw, site)
    assume(isinstance(found, Target))
    assert read_path(found[0], site) == found
    if isinstance(found, Target) and found.structural:
        again = read_path(found.structural, DEFAULT_SITE)
        assert isinstance(again, Target)
        assert again.path == found.structural


@patient
@given(st.data(), st.sampled_from(("example.com", "a.b-c.example.com", "127.0.0.1", "localhost")))
def test_a_spelled_host_is_that_host_or_none(data: st.DataObject, host: str) -> None:
    assert canonical_host(data.draw(spelled_hosts(host))) in (host, "")


@patient
@given(st.text(max_size=80))
def test_a_canonical_host_is_its_own_canonical_form(raw: str) -> None:
    host = canonical_host(raw)
    assert canonical_host(host) == host
    assert host == host.lower()
    assert host.isascii()


@patient
@given(spelled_names("x-auth-key-id"), st.sampled_from(("raw", "map")))
def test_no_spelling_of_an_owned_header_goes_unnoticed(name: str, mode: str) -> None:
    payload = check_request(headers=[("a", "1"), (name, "forged")], mode="raw" if mode == "raw" else "map")
    found = read(payload, RULES)
    assert isinstance(found, Request)
    assert [normal_name(stray) for stray in found.strays] == ["x-auth-key-id"]
