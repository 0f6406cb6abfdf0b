from __future__ import annotations

from datetime import UTC, datetime

from authz.rehearsal.explaining.values import shown, shown_values


def plain(text: str) -> str:
    return text


def test_values_are_shown_as_json_has_them() -> None:
    assert shown("a\n", plain) == '"a\\n"'
    assert shown(5, plain) == "5"
    assert shown(True, plain) == "true"
    assert shown(["a", 1], plain) == '["a", 1]'
    assert shown(bytearray(b"abc"), plain) == "(3 bytes)"
    assert shown(datetime(2026, 6, 1, tzinfo=UTC), plain) == "2026-06-01T00:00:00Z"


def test_long_values_are_cut_and_say_so() -> None:
    assert shown("a" * 500, plain).endswith("... (502 characters)")
    assert len(shown("a" * 500, plain)) < 240
    assert shown(list(range(12)), plain) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... 2 more]"


def test_of_a_map_only_what_the_expression_names_is_shown() -> None:
    headers = {"a": "1", "b": "2", "c": "3", "d": "4"}
    values = {"request.headers": headers}
    assert shown_values('request.headers["b"] == ""', values, plain) == {
        "request.headers": '{"b": "2", ... 3 more}'
    }
    assert shown_values("request.headers.size() == 0", values, plain) == {
        "request.headers": "{... 4, none of them named here}"
    }
    assert shown_values("params.b == ''", {"params": {"b": "2"}}, plain) == {"params": '{"b": "2"}'}


def test_a_value_is_covered_before_it_is_cut() -> None:
    seen: list[str] = []

    def cover(text: str) -> str:
        seen.append(text)
        return "***"

    assert shown({"a": ["x" * 500]}, cover) == '{"a": ["***"]}'
    assert seen == ["x" * 500]
