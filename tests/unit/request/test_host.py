"""The canonical host."""

from __future__ import annotations

import pytest

from authz.request.host import canonical_host


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
