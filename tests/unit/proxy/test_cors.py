from __future__ import annotations

import re
from pathlib import Path

import pytest

from authz.model.errors import ConfigError
from authz.proxy.cors import FORMAT, origin_pattern, read_cors


def _file(directory: Path, text: str) -> Path:
    path = directory / "cors.yaml"
    path.write_text(text)
    return path


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    rules = read_cors(_file(tmp_path, FORMAT))
    assert rules.allow_origins == ["https://app.example.com", "https://*.example.com"]
    assert (rules.allow_methods, rules.max_age, rules.allow_credentials) == (["GET"], 600, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{allow_origins: []}",
        "{allow_origins: ['*']}",
        "{allow_origins: [null]}",
        "{allow_origins: ['https://app.example.com/']}",
        "{allow_origins: ['https://app.*.com']}",
        "{allow_origins: ['https://a.example'], allow_origin: x}",
        "{allow_origins: ['https://a.example'], max_age: -1}",
        "{allow_origins: ['https://a.example'], max_age: '60'}",
        "{allow_origins: ['https://a.example'], allow_headers: ['a, b']}",
        "{allow_origins: ['https://a.example'], allow_methods: ['GET\\n']}",
        "{",
    ],
)
def test_what_is_not_said_clearly_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--cors: ") as refused:
        read_cors(_file(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_cors(tmp_path / "none.yaml")
    assert str(refused.value) == (
        f"--cors: {tmp_path}/none.yaml: no such file or directory; name a file that can be read"
    )


def test_an_exact_origin_needs_no_pattern() -> None:
    assert origin_pattern("https://app.example.com") is None


@pytest.mark.parametrize(
    ("origin", "fits"),
    [
        ("https://a.example.com", True),
        ("https://a.b.example.com", True),
        ("https://example.com", False),
        ("https://evilexample.com", False),
        ("https://evil.net/.example.com", False),
        ("https://aXexampleYcom", False),
        ("http://a.example.com", False),
        ("https://a.example.com:8443", False),
        ("https://a.example.com.evil.net", False),
    ],
)
def test_a_wildcard_stands_for_subdomains_alone(origin: str, fits: bool) -> None:
    pattern = origin_pattern("https://*.example.com")
    assert pattern is not None
    assert bool(re.fullmatch(pattern, origin)) is fits
