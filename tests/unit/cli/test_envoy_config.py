from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from authz.cli.envoy_config import app
from authz.proxy.cors import FORMAT
from tests.support.proxy import envoy_complaint

NEEDED = ("--listen", "127.0.0.1:8080", "--upstream", "127.0.0.1:3000", "--authz", "unix:/run/authz.sock")

COMBINATIONS = [
    (),
    ("--edge",),
    ("--edge", "--trusted-hops", "2"),
    ("--trusted-hops", "3"),
    ("--hosts", "items.example.com", "--hosts", "*.example.com", "--hosts", "[::1]"),
    ("--hosts", "items.example.com, *.example.com"),
    ("--admin", "[::1]:9901"),
    ("--admin", "unix:/run/envoy/admin.sock", "--stats", "0.0.0.0:9193"),
    ("--stats", "[::]:9193"),
    ("--body-bytes", "65536", "--timeout-ms", "1"),
    ("--upgrade", "websocket", "--upgrade", "websocket"),
    ("--upstream-http2",),
    ("--upstream", "app.internal:3000"),
    ("--authz", "unix:/run/authz-1.sock", "--authz", "10.0.0.1:9000"),
]


def _config(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["config", *NEEDED, *arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("arguments", COMBINATIONS, ids=" ".join)
def test_the_real_envoy_accepts_what_is_written(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, text, errors = _config(*arguments)
    (tmp_path / "envoy.yaml").write_text(text)
    assert (code, errors) == (0, "")
    assert envoy_complaint(tmp_path / "envoy.yaml") == ""


@pytest.mark.e2e
def test_the_real_envoy_accepts_every_option_at_once(tmp_path: Path) -> None:
    cors, config = tmp_path / "cors.yaml", tmp_path / "envoy.yaml"
    cors.write_text(FORMAT)
    code, text, _ = _config(
        *(
            "--edge",
            "--trusted-hops",
            "1",
            "--hosts",
            "a.example",
            "--cors",
            str(cors),
            "--upgrade",
            "websocket",
        ),
        *("--admin", "127.0.0.1:9901", "--body-bytes", "1024", "--timeout-ms", "50", "--upstream-http2"),
    )
    config.write_text(text)
    assert code == 0
    assert envoy_complaint(config) == ""


@pytest.mark.e2e
def test_a_mistake_of_ours_would_be_noticed(tmp_path: Path) -> None:
    _, text, _ = _config()
    (tmp_path / "envoy.yaml").write_text(text.replace("encode_raw_headers", "encode_row_headers"))
    assert "encode_row_headers" in envoy_complaint(tmp_path / "envoy.yaml")


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("--listen", "localhost:8080"), "--listen"),
        (("--upstream", "unix:/run/app.sock"), "--upstream"),
        (("--authz", "unix:relative.sock"), "--authz"),
        (("--authz", "unix:/run/authz.sock"), "--authz"),
        (("--hosts", "*."), "--hosts"),
        (("--hosts", "a.example,"), "--hosts"),
        (("--admin", "9901"), "--admin"),
        (("--admin", "unix:admin.sock"), "--admin"),
        (("--stats", "localhost:9193"), "--stats"),
        (("--stats", "unix:/run/stats.sock"), "--stats"),
        (("--body-bytes", "4194304"), "--body-bytes"),
        (("--trusted-hops", "99"), "--trusted-hops"),
        (("--upgrade", "h2c"), "--upgrade"),
        (("--cors", "/no/such/file.yaml"), "--cors"),
        (("--timeout-ms", "0"), "--timeout-ms"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_with_code_2(
    arguments: tuple[str, ...], flag: str
) -> None:
    code, text, errors = _config(*arguments)
    assert (code, text, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"{flag}: ")


def test_a_missing_option_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["config", "--listen", "127.0.0.1:1"]).exit_code == 2


def test_the_options_reach_the_text() -> None:
    _, text, _ = _config("--timeout-ms", "75", "--edge")
    assert "timeout: 0.075s" in text
    assert yaml.safe_load(text)["static_resources"]["listeners"][0]["name"] == "ingress"


def _domains(text: str) -> list[str]:
    listener = yaml.safe_load(text)["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    domains = manager["route_config"]["virtual_hosts"][0]["domains"]
    assert isinstance(domains, list)
    return domains


def test_hosts_are_named_one_by_one_or_with_commas() -> None:
    _, text, _ = _config("--hosts", "a.example, *.b.example", "--hosts", "c.example")
    assert _domains(text) == ["*.b.example", "a.example", "c.example"]
    assert _domains(_config("--hosts", "*")[1]) == ["*"]
    assert _domains(_config("--hosts", "a.example,*")[1]) == ["*"]


def test_a_file_is_written_instead_of_standard_output(tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    assert _config("--out", str(file)) == (0, "", "")
    assert file.read_text() == _config()[1]


def test_a_file_that_cannot_be_written_is_a_sentence_and_code_3(tmp_path: Path) -> None:
    code, text, errors = _config("--out", str(tmp_path / "none" / "envoy.yaml"))
    assert (code, text, errors.count("\n")) == (3, "", 1)
    assert "name a file in a directory that can be written" in errors


def test_help_shows_the_cors_file_line_by_line() -> None:
    shown = CliRunner().invoke(app, ["config", "--help"], terminal_width=100).stdout
    for line in FORMAT.splitlines():
        assert line in shown
