"""The canonical path, and what is refused instead of being guessed."""

from __future__ import annotations

import time

import pytest

from authz.model.reason import Detail
from authz.model.site import DEFAULT_SITE, Site
from authz.request.path import Target, read_path, split_target

MATRIX = Site(keep_matrix=True)
SLASHES = Site(keep_slashes=True)
BOTH = Site(keep_matrix=True, keep_slashes=True)


def path_of(raw: str, site: Site = DEFAULT_SITE) -> str:
    found = read_path(raw, site)
    assert isinstance(found, Target), (raw, found)
    assert found.segments == (tuple(found.path[1:].split("/")) if found.path != "/" else ())
    return found.path


@pytest.mark.parametrize(
    "raw",
    [
        "/",
        "/a",
        "/api/v1/items/42",
        "/.well-known/acme",
        "/a/.b/..c/...",
        "/a..b/c.",
        "/~u/a-b_c",
        "/!$&'()*+,=:@",
        "/caf%C3%A9",
        "/a%20b",
        "/100%25",
        "/100%25off",
        "/a%2520b",
        "/%3F%23%5B%5D%22%3C%3E%5E%60%7B%7C%7D",
        "/a:b@c",
        "/http://x".replace("//", "/"),
    ],
)
def test_a_canonical_path_is_kept_as_it_stands(raw: str) -> None:
    assert path_of(raw) == raw


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("/a/", "/a"),
        ("/a/b/", "/a/b"),
        ("/.well-known/", "/.well-known"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%2bb%2Cc", "/a+b,c"),
        ("/%21%24%26%27%28%29%2A%2B%2C%3D%3A%40", "/!$&'()*+,=:@"),
        ("/a%3fb/", "/a%3Fb"),
    ],
)
def test_harmless_differences_are_respelt(raw: str, canonical: str) -> None:
    assert path_of(raw) == canonical


@pytest.mark.parametrize("raw", ["", "*", "a", "a/b", "http://example.com/a", "example.com:443", "%2Fa", "?"])
def test_a_path_begins_with_a_slash(raw: str) -> None:
    assert read_path(raw, DEFAULT_SITE) is Detail.PATH_INVALID


@pytest.mark.parametrize(
    "raw",
    [
        *("//", "//a", "/a//b", "/a//"),
        *("/.", "/..", "/a/.", "/a/..", "/a/./b", "/a/../b", "/./a", "/../a"),
        *("/%2e", "/%2E%2e", "/a/.%2e/b", "/a/%2e%2e/b", "/a%2Eb"),
        *("/a\\b", "/a/..\\b", "/a%5Cb", "/a%5cb", "/%5c"),
        *("/a%2Fb", "/a%2fb", "/%2F"),
        *("/a;x=1", "/a/..;/b", "/;", "/a%3Bx", "/a%3b"),
        *("/a#b", "/#", "/a#../b"),
        *("/%61dmin", "/%41", "/%30", "/a%2Db", "/a%5Fb", "/a%7Eb"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(raw: str) -> None:
    assert read_path(raw, DEFAULT_SITE) is Detail.PATH_AMBIGUOUS


@pytest.mark.parametrize(
    "hidden", ["2e", "2E", "2f", "2F", "5c", "3b", "00", "0a", "1F", "7f", "61", "41", "2b", "40"]
)
@pytest.mark.parametrize("percent", ["%25", "%2525", "%252525"])
@pytest.mark.parametrize("site", [DEFAULT_SITE, BOTH])
def test_an_encoded_percent_hides_nothing(hidden: str, percent: str, site: Site) -> None:
    assert read_path(f"/a{percent}{hidden}b", site) is Detail.PATH_AMBIGUOUS


@pytest.mark.parametrize(
    "raw",
    [
        *("/a%", "/a%2", "/a%zz", "/%%20", "/%u0041", "/% 41", "/%+1"),
        *("/a\x00", "/a\n", "/a\t", "/a\x7f", "/a%00", "/a%0A", "/a%0d", "/a%1f", "/a%7F"),
        *("/%c0%ae", "/%e0%80%af", "/%ff", "/%C3", "/%ed%a0%80", "/%f4%90%80%80", "/%C3/%A9"),
        *("/%C2%85", "/%c2%9f"),
        *("/a b", '/"', "/<", "/>", "/^", "/`", "/{a}", "/|", "/[a]"),
        *("/é", "/\u2028", "/\uff0e\uff0e", "/\U0001f600"),
    ],
)
def test_what_may_not_stand_in_a_path_is_refused(raw: str) -> None:
    assert read_path(raw, DEFAULT_SITE) is Detail.PATH_INVALID
    assert read_path(raw, BOTH) is Detail.PATH_INVALID


@pytest.mark.parametrize(
    ("raw", "path", "structural"),
    [
        ("/a;x=1", "/a;x=1", "/a"),
        ("/a;x=1/b;y", "/a;x=1/b;y", "/a/b"),
        ("/a%3Bx", "/a;x", "/a"),
        ("/a%3bx/", "/a;x", "/a"),
        ("/a;x/", "/a;x", "/a"),
        ("/a/;x", "/a/;x", "/a"),
        ("/;x", "/;x", "/"),
        ("/a", "/a", ""),
        ("/.a", "/.a", ""),
    ],
)
def test_matrix_parameters_are_kept_and_read_both_ways(raw: str, path: str, structural: str) -> None:
    found = read_path(raw, MATRIX)
    assert isinstance(found, Target)
    assert (found.path, found.structural) == (path, structural)
    assert path_of(raw, MATRIX) == path


@pytest.mark.parametrize(
    "raw", ["/a/..;/b", "/a/.;x/b", "/a/;/b", "/..;", "/%2e%2e;/a", "/a%3B%2Fb", "/a%2Fb"]
)
def test_parameters_hide_no_dots_and_no_empty_segments(raw: str) -> None:
    assert read_path(raw, MATRIX) is Detail.PATH_AMBIGUOUS


@pytest.mark.parametrize(
    ("raw", "path", "structural"),
    [
        ("/a%2Fb", "/a%2Fb", "/a/b"),
        ("/a%2fb/c", "/a%2Fb/c", "/a/b/c"),
        ("/a%2F", "/a%2F", "/a"),
        ("/x/a%2Fb/", "/x/a%2Fb", "/x/a/b"),
    ],
)
def test_encoded_slashes_are_kept_and_read_both_ways(raw: str, path: str, structural: str) -> None:
    found = read_path(raw, SLASHES)
    assert isinstance(found, Target)
    assert (found.path, found.structural) == (path, structural)


@pytest.mark.parametrize(
    "raw",
    ["/a%2F..%2Fb", "/a/..%2Fb", "/a%2F%2Fb", "/%2Fa", "/a%2F.", "/a/%2F", "/a%252Fb", "/a;x%2Fb", "/a%5Cb"],
)
def test_encoded_slashes_hide_no_dots_and_no_empty_segments(raw: str) -> None:
    assert read_path(raw, SLASHES) is Detail.PATH_AMBIGUOUS


def test_a_path_with_three_readings_is_refused_even_where_both_are_kept() -> None:
    assert read_path("/a;x=1%2Fb", BOTH) is Detail.PATH_AMBIGUOUS
    assert read_path("/a%2Fb;x=1", BOTH) == Target("/a%2Fb;x=1", ("a%2Fb;x=1",), "/a/b")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/a", ("/a", "")),
        ("/a?", ("/a", "")),
        ("/a?b?c", ("/a", "b?c")),
        ("?x", ("", "x")),
        ("/2345678?" + "x" * 100, ("/2345678", "x" * 100)),
        ("/23456789?x", Detail.PATH_TOO_LONG),
        ("/23456789", Detail.PATH_TOO_LONG),
    ],
)
def test_the_query_begins_at_the_first_question_mark(raw: str, expected: object) -> None:
    assert split_target(raw, 8) == expected


@pytest.mark.parametrize(
    "path", ["/x/%25u002e%25u002e/admin", "/%25u0061dmin", "/x%25U002F..%25u002fadmin", "/%2525u002e"]
)
def test_an_escape_of_windows_behind_an_encoded_percent_is_ambiguous(path: str) -> None:
    assert read_path(path, DEFAULT_SITE) is Detail.PATH_AMBIGUOUS


@pytest.mark.parametrize("path", ["/100%25", "/100%25u", "/5%25unit", "/a%25u00"])
def test_a_percent_sign_before_a_word_hides_nothing(path: str) -> None:
    assert not isinstance(read_path(path, DEFAULT_SITE), Detail)


def test_a_path_of_semicolons_alone_is_read_in_linear_time() -> None:
    """64 KiB, read backwards from each of them, took more than a second."""
    began_s = time.process_time()
    assert path_of("/" + ";" * 65_535, BOTH) == "/" + ";" * 65_535
    assert time.process_time() - began_s < 0.4


@pytest.mark.parametrize("raw", ["/a;x%2Fb", "/a;;x%2fb", "/;a;b%2F", "/a;x=1;%2F;"])
def test_an_encoded_slash_behind_any_semicolon_of_its_segment_is_ambiguous(raw: str) -> None:
    assert read_path(raw, BOTH) is Detail.PATH_AMBIGUOUS
