"""How servers read a path: known tricks are recognised, honest paths are left alone."""

from __future__ import annotations

import pytest

from authz.attack.oracle import falls_under, plain_reading, protected_reading, readings


@pytest.mark.parametrize(
    "spelling",
    [
        "/admin",
        "/admin/users?x=/public",
        "/admin#/public",
        "//admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/%252e%252e/admin",
        "/%2561dmin",
        "/..;/admin/x",
        "/admin;x=1",
        "/\\admin\0x",
        "/x%5c..%5cadmin",
        "/admin%00.html",
        "/x/%c0%ae%c0%ae/admin",
        "/%e0%80%afadmin",
        "/x/%u002e%u002e/admin",
        "http://other.test/admin",
        "//other.test/admin",
        "admin",
        "/\udcc0\udcaf/../admin",
    ],
)
def test_a_reading_of_it_is_protected(spelling: str) -> None:
    assert protected_reading(spelling, "/admin") is not None


@pytest.mark.parametrize(
    "path",
    ["/", "/administrator", "/public/admin", "/a?x=/admin", "/tags/c%23", "/admin%23x", "/%61dm", "*", ""],
)
def test_no_reading_of_it_is_protected(path: str) -> None:
    assert protected_reading(path, "/admin") is None


@pytest.mark.parametrize("path", ["/ADMIN", "/admin.", "/admin%20", "/admin. ./x", "/Admin%2e"])
def test_names_of_files_are_read_their_own_way_only_where_asked_for(path: str) -> None:
    assert protected_reading(path, "/admin") is None
    assert protected_reading(path, "/Admin", windows=True) is not None


def test_the_shortest_reading_is_shown() -> None:
    assert protected_reading("/x/../admin/./users", "/admin") == "/admin/users"


def test_the_order_of_steps_does_not_matter() -> None:
    assert {"/admin", "/x/../admin", "/x/..;/admin"} <= readings("/x/..%3b/admin")


def test_readings_are_bounded() -> None:
    assert len(readings("/" + "%252e;%255c//..%00" * 200)) < 20_000


@pytest.mark.parametrize(
    ("sent", "cleaned"),
    [("/a/../admin?x", "/admin"), ("//admin//x", "/admin/x"), ("/%61dmin#y", "/admin"), ("/..", "/")],
)
def test_what_a_proxy_that_cleans_would_pass_on(sent: str, cleaned: str) -> None:
    assert plain_reading(sent) == cleaned


def test_a_prefix_ends_where_a_segment_does() -> None:
    assert falls_under("/admin", "/admin")
    assert falls_under("/admin/x", "/admin/")
    assert not falls_under("/admins", "/admin")


def test_half_of_a_surrogate_pair_is_read_and_breaks_nothing() -> None:
    assert "/\ufffdx" in readings("/%25uddddx")
    assert falls_under("/admin", "/admin")
    assert any(falls_under(reading, "/admin") for reading in readings("/x/%25u002e%25u002e/admin"))
