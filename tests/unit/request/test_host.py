"""The canonical host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.model.errors import ConfigError
from authz.policy.host import HostPattern
from authz.request.host import canonical_host, host_names, served_hosts
from tests.support.hosts import HOST_PATTERNS, HOSTS, host_matches
from tests.support.spellings import spelled_hosts


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com", "example.com"),
        ("example.com.", "example.com"),
        ("example.com:80", "example.com"),
        ("example.com.:65535", "example.com"),
        ("localhost", "localhost"),
        ("my_service:8080", "my_service"),
        ("xn--caf-dma.example", "xn--caf-dma.example"),
        ("r1---sn-x.example", "r1---sn-x.example"),
        ("1.example", "1.example"),
        ("0x7f.example", "0x7f.example"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::1]:443", "[::1]"),
        ("[2001:DB8:0:0:0:0:0:1]", "[2001:db8::1]"),
        ("[2001:0db8::0001]:1", "[2001:db8::1]"),
        (".".join(["a" * 63] * 3) + "." + "b" * 61, ".".join(["a" * 63] * 3) + "." + "b" * 61),
    ],
)
def test_one_host_has_one_form(raw: str, canonical: str) -> None:
    assert canonical_host(raw) == canonical
    assert canonical_host(canonical) == canonical


@pytest.mark.parametrize(
    "raw",
    [
        *("", ".", "..", ".example.com", "example..com", "example.com..", "-a.example", "a-.example", "*.a"),
        *("example.com:", "example.com:0", "example.com:080", "example.com:65536", "a:99999", ":80"),
        *("example.com:+80", "example.com:-1", "example.com:80:80", "example.com:８０", "example.com: 80"),
        *("user@example.com", "a:b@example.com", "example.com/", "example.com/a", "http://example.com"),
        *("a.example,b.example", "a b.example", " a.example", "a.example ", "example.com\t", "a.example\n"),
        *(
            "example.com\x00",
            "example%2ecom",
            "ex%61mple.com",
            "exämple.com",
            "a\u3002com",
            "exam\u200bple.com",
        ),
        *("example.com?", "example.com#", "example.com\\", "ex;ample.com", "{a}.example", "\u212a.example"),
        *("a" * 64 + ".example", ".".join(["a" * 63] * 4), "a." * 127 + "a" * 63, "x" * 1_000_000),
        *("127.1", "0x7f.1", "0x7f000001", "2130706433", "127.0.0.01", "256.1.1.1", "1.2.3.4.5", "a.0x"),
        *(
            "[]",
            "[",
            "]",
            "[::1",
            "::1",
            "[::1].",
            "[::1]x",
            "[::1]:",
            "[::1]:0",
            "[1.2.3.4]",
            "[g::1]",
            "a.1",
        ),
        *("[fe80::1%eth0]", "[fe80::1%25eth0]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[v1.a]", "[[::1]]"),
    ],
)
def test_anything_odd_is_no_host(raw: str) -> None:
    assert canonical_host(raw) == ""


# --- hosts as operators name them


def test_named_hosts_are_brought_to_the_form_of_requests_sorted_and_each_once() -> None:
    named = ["b.example.", "*.A.example", "B.example", "[2001:DB8::0:1]", "my_service"]
    assert host_names(named) == ("*.a.example", "[2001:db8::1]", "b.example", "my_service")
    assert host_names(()) == ()


def test_a_star_names_every_host() -> None:
    assert host_names(["a.example", "*"]) == ()
    assert served_hosts(["a.example", "*"]) is None
    assert served_hosts([]) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a b",
            "a.*.example",
            "{t}.example",
            "-a.example",
            "*.",
            "",
            ".",
            "**",
            "*a.example",
            "*.*.example",
        ),
        *(
            "a.example:80",
            "[::1]:80",
            "::1",
            "a.example:",
            "https://a.example",
            "a.example/",
            "bücher.example",
        ),
        *("*.127.0.0.1", "*.[::1]", "*.8", "127.1", "[::ffff:127.0.0.1]"),
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--hosts: `.*` is not a host; write "):
        host_names([text])


@given(st.lists(HOST_PATTERNS, min_size=1, max_size=4), HOSTS)
def test_served_hosts_are_matched_as_the_patterns_of_documents_are(
    patterns: list[HostPattern], host: str
) -> None:
    plain = [pattern for pattern in patterns if pattern.kind != "capture"]
    stars = {"exact": "", "suffix": "*.", "any": "*"}
    served = served_hosts([stars[pattern.kind] + pattern.host for pattern in plain])
    matching = [pattern for pattern in plain if host_matches(pattern, host) is not None]
    assert (served is None or served.covers(host)) == bool(matching or not plain)


@given(spelled_hosts("items.example.com"))
def test_no_spelling_of_a_host_is_served_unless_it_is_the_host(raw: str) -> None:
    served = served_hosts(["items.example.com"])
    assert served is not None
    host = canonical_host(raw)
    assert not host or served.covers(host) == (host == "items.example.com")
