from __future__ import annotations

import re

import pytest

from authz.policy.path import PathPattern, parse_path


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("/", PathPattern((), (), rest=False)),
        ("/a", PathPattern(("a",), (), rest=False)),
        ("/a/", PathPattern(("a",), (), rest=False)),
        ("/A/b", PathPattern(("A", "b"), (), rest=False)),
        ("/**", PathPattern((), (), rest=True)),
        ("/**/", PathPattern((), (), rest=True)),
        ("/static/**", PathPattern(("static",), (), rest=True)),
        ("/*/b", PathPattern((None, "b"), (), rest=False)),
        ("/a/{id}/{x_2}", PathPattern(("a", None, None), (("id", 1), ("x_2", 2)), rest=False)),
        ("/%21%24%26%27%28%29%2A%2b%2C%3d%3A%40%3B", PathPattern(("!$&'()*+,=:@;",), (), rest=False)),
        ("/%2a", PathPattern(("*",), (), rest=False)),
        ("/%7bid%7D", PathPattern(("%7Bid%7D",), (), rest=False)),
        ("/a%2fb", PathPattern(("a%2Fb",), (), rest=False)),
        ("/100%25", PathPattern(("100%25",), (), rest=False)),
        ("/a b", PathPattern(("a%20b",), (), rest=False)),
        ("/é", PathPattern(("%C3%A9",), (), rest=False)),
        ("/%c3%a9", PathPattern(("%C3%A9",), (), rest=False)),
        ('/"<>^`|[]', PathPattern(("%22%3C%3E%5E%60%7C%5B%5D",), (), rest=False)),
        ("/a;b", PathPattern(("a;b",), (), rest=False)),
        ("/...", PathPattern(("...",), (), rest=False)),
    ],
)
def test_a_path_pattern_is_brought_to_the_canonical_form_of_requests(text: str, pattern: PathPattern) -> None:
    assert parse_path(text) == pattern


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("", "must begin with `/`"),
        ("a", "must begin with `/`"),
        ("*", "must begin with `/`"),
        ("//", "an empty segment"),
        ("/a//b", "an empty segment"),
        ("/a//", "an empty segment"),
        ("/a/../b", "a dot segment"),
        ("/.", "a dot segment"),
        ("/a?b=c", "conditions read `request.query`"),
        ("/a#b", "a path has no fragment"),
        ("/a\\b", "write `/`"),
        ("/**/a", "`**` stands only at the end"),
        ("/a*", "escape the character"),
        ("/a**", "escape the character"),
        ("/***", "escape the character"),
        ("/x{id}", "escape the character"),
        ("/{id", "escape the character"),
        ("/{}", "escape the character"),
        ("/{1}", "escape the character"),
        ("/{a}/{a}", "`{a}` stands twice"),
        ("/%zz", "write `%25`"),
        ("/a%", "write `%25`"),
        ("/%4", "write `%25`"),
        ("/%61", "write `a`"),
        ("/%2e%2e", "write `.`"),
        ("/%00", "`%00` is refused in every request"),
        ("/%5c", "`%5c` is refused in every request"),
        ("/%7F", "`%7F` is refused in every request"),
        ("/\x01", "a control character"),
        ("/%ff", "the escapes are not UTF-8"),
        ("/%c0%af", "the escapes are not UTF-8"),
        ("/" + "a" * 8192, "longer than 8192 bytes"),
    ],
)
def test_what_no_request_can_match_is_refused_with_what_mends_it(text: str, mended: str) -> None:
    with pytest.raises(ValueError, match=re.escape(mended)):
        parse_path(text)


@pytest.mark.parametrize(
    ("text", "path", "matches"),
    [
        ("/", "/", True),
        ("/", "/a", False),
        ("/a", "/a", True),
        ("/a", "/A", False),
        ("/a", "/", False),
        ("/a", "/a/b", False),
        ("/a/*", "/a/b", True),
        ("/a/{x}", "/a", False),
        ("/a/{x}/c", "/a/b/c", True),
        ("/a/{x}/c", "/a/b/d", False),
        ("/**", "/", True),
        ("/a/**", "/a", True),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/b/a", False),
        ("/*/**", "/", False),
    ],
)
def test_a_pattern_matches_whole_segments(text: str, path: str, matches: bool) -> None:
    segments = tuple(path[1:].split("/")) if path != "/" else ()
    assert parse_path(text).matches(segments) is matches
