from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from authz.config.settings import KEYS, Settings, load
from authz.model.address import TcpAddress, UnixAddress
from authz.model.errors import ConfigError

PEPPER = "example-pepper-of-32-bytes-long!"
CANARY = "c4n4ry"


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def refused(
    flags: dict[str, object] | None = None, environ: dict[str, str] | None = None, toml: Path | None = None
) -> str:
    with pytest.raises(ConfigError) as raised:
        load(flags or {}, environ or {}, toml)
    line = str(raised.value)
    assert "\n" not in line
    assert "pydantic" not in line
    assert "Error" not in line
    return line


def test_without_any_source_the_defaults_hold_and_open_nothing() -> None:
    settings = load({}, {})
    assert settings.serve.policies == ()
    assert settings.serve.listen == (UnixAddress(Path("/run/authz/authz.sock")),)
    assert settings.serve.ops == TcpAddress("127.0.0.1", 9192)
    assert settings.serve.debug == UnixAddress(Path("/run/authz/debug.sock"))
    assert settings.request.trusted_hops == 0
    assert settings.request.context == ()
    assert settings.identity.api_key_salt is None
    assert settings.limits.rate_limit_enabled is True
    assert settings.record.record_headers == ()
    assert settings.notes == ()


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    toml = write(
        tmp_path, 'trusted_hops = 1\nsource_revision = "file"\npolicies = ["a"]\nlog_level = "error"\n'
    )
    environ = {"AUTHZ_TRUSTED_HOPS": "2", "AUTHZ_SOURCE_REVISION": "environment"}
    settings = load({"source_revision": "flag", "hosts": None, "listen": []}, environ, toml)
    assert settings.serve.source_revision == "flag"
    assert settings.request.trusted_hops == 2
    assert settings.serve.policies == (Path("a"),)
    assert settings.log.log_level == "error"


def test_the_file_is_found_by_name_by_variable_and_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = write(tmp_path, "trusted_hops = 3")
    assert load({}, {"AUTHZ_CONFIG": str(toml)}).request.trusted_hops == 3
    (tmp_path / "authz.toml").write_text("trusted_hops = 4")
    monkeypatch.chdir(tmp_path)
    assert load({}, {}).request.trusted_hops == 4
    assert load({}, {}, toml).request.trusted_hops == 3


def test_lists_are_separated_by_commas_in_the_environment_and_lower_cased_where_names_are() -> None:
    settings = load(
        {}, {"AUTHZ_HOSTS": "A.example.com, *.b.example.com", "AUTHZ_RECORD_HEADERS": "User-Agent"}
    )
    assert settings.request.hosts == ("a.example.com", "*.b.example.com")
    assert settings.record.record_headers == ("user-agent",)


def test_a_runtime_directory_of_the_user_moves_the_default_sockets() -> None:
    serve = load({}, {"XDG_RUNTIME_DIR": "/run/user/7"}).serve
    assert serve.listen == (UnixAddress(Path("/run/user/7/authz/authz.sock")),)
    assert serve.debug == UnixAddress(Path("/run/user/7/authz/debug.sock"))
    assert load({}, {"XDG_RUNTIME_DIR": "relative"}).serve.debug == UnixAddress(Path("/run/authz/debug.sock"))


def test_off_switches_a_listener_off() -> None:
    serve = load({"ops": "off"}, {"AUTHZ_DEBUG": "off"}).serve
    assert serve.ops is None
    assert serve.debug is None


def test_the_pepper_is_the_bytes_of_the_variable_as_they_stand() -> None:
    raw = b" \xff\xfe" + b"x" * 30 + b"\n"
    salt = load({}, {b"API_KEY_SALT": raw}).identity.api_key_salt
    assert salt is not None
    assert salt.get_secret_value() == raw
    text = load({}, {"API_KEY_SALT": PEPPER}).identity.api_key_salt
    assert text is not None
    assert text.get_secret_value() == PEPPER.encode()


def test_no_secret_shows_when_settings_are_printed() -> None:
    settings = load(
        {},
        {
            "API_KEY_SALT": CANARY * 9,
            "DATABASE_URL": f"postgres://u:{CANARY}@h/d",
            "REDIS_URL": f"redis+sentinel://u:{CANARY}@h/m/1",
            "AUTHZ_REDIS_SENTINEL_PASSWORD": CANARY,
        },
    )
    assert "redis+sentinel://h:26379/m/1" in settings.model_dump_json()
    assert CANARY not in repr(settings) + str(settings) + settings.model_dump_json()
    assert CANARY not in repr(settings.model_dump())


def test_a_short_pepper_is_refused_with_where_what_and_what_to_do() -> None:
    line = refused(environ={"API_KEY_SALT": CANARY})
    assert (
        line == "API_KEY_SALT: has 6 bytes and needs at least 32 random ones;"
        " make one with `openssl rand -base64 48`"
    )
    assert "API_KEY_SALT_PREVIOUS: has 0 bytes" in refused(environ={"API_KEY_SALT_PREVIOUS": ""})
    assert load({}, {"API_KEY_SALT": "x" * 32}).identity.api_key_salt is not None


@pytest.mark.parametrize("source", ["flag", "file"])
def test_a_secret_is_read_from_the_environment_alone(tmp_path: Path, source: str) -> None:
    if source == "flag":
        line = refused(flags={"api_key_salt": CANARY * 9})
    else:
        line = refused(toml=write(tmp_path, f'api_key_salt = "{CANARY * 9}"'))
        assert "API_KEY_SALT" in line
    assert CANARY not in line


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AUTHZ_TRUSTED_HOP": "1"}, "`AUTHZ_TRUSTED_HOP` is no setting; did you mean `AUTHZ_TRUSTED_HOPS`?"),
        ({"AUTHZ_LOG_LEVEL": "info"}, "did you mean `LOG_LEVEL`?"),
        ({"AUTHZ_API_KEY_SALT": CANARY}, "did you mean `API_KEY_SALT`?"),
        ({"AUTHZ_QQQQ": "1"}, "docs/settings.md"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL: `loud`: input should be 'debug', 'info', 'warning' or 'error'"),
        ({"AUTHZ_TRUSTED_HOPS": "many"}, "AUTHZ_TRUSTED_HOPS: `many`"),
        ({"AUTHZ_TRUSTED_HOPS": "-1"}, "AUTHZ_TRUSTED_HOPS: `-1`"),
        ({"AUTHZ_MAX_MESSAGE_BYTES": "4194305"}, "AUTHZ_MAX_MESSAGE_BYTES"),
        ({"AUTHZ_HOSTS": ""}, "AUTHZ_HOSTS: is empty"),
        ({"REDIS_URL": ""}, "REDIS_URL: is empty"),  # taken for none, each sidecar would grant limits alone
        ({"REDIS_URL": " "}, "REDIS_URL: is empty"),
        ({"AUTHZ_HOSTS": "a,,b"}, "AUTHZ_HOSTS: has an empty entry"),
        (
            {"AUTHZ_HOSTS": "http://a"},
            "AUTHZ_HOSTS: `http://a` is no host name; write `items.example.com`, `*",
        ),
        ({"AUTHZ_LISTEN": "here"}, "AUTHZ_LISTEN: address `here`: there is no port"),
        ({"AUTHZ_OPS": "1"}, "AUTHZ_OPS: address `1`: there is no port"),
        ({"AUTHZ_RECORD_SINK": "kafka"}, "`kafka` is no sink; say `stdout`, `file:PATH`"),
        ({"AUTHZ_RECORD_SPOOL_BYTES": "1000"}, "record_spool_bytes: so small a spool holds no batch"),
        ({"AUTHZ_RECORD_FILE_MAX_BYTES": "10"}, "record_file_max_bytes: so small a file holds no batch"),
        ({"AUTHZ_RECORD_HEADERS": "a b"}, "`a b` is no header name"),
        ({"AUTHZ_KEY_BRAND": "a_b"}, "AUTHZ_KEY_BRAND: `a_b` is no word"),
        ({"AUTHZ_SIDECAR": "a\nb"}, "AUTHZ_SIDECAR: is no single printable line"),
        ({"RATE_LIMIT_ENABLED": "maybe"}, "RATE_LIMIT_ENABLED: `maybe`"),
        ({"REDIS_URL": f"redis://{CANARY}@h"}, "REDIS_URL: has one word before the `@`"),
        ({"REDIS_URL": "redis://h", "AUTHZ_REDIS_CA": "/ca"}, "REDIS_URL: is without TLS"),
        ({"AUTHZ_REDIS_CERT": "/cert"}, "redis_cert: our certificate for Redis and its key go together"),
        ({"AUTHZ_REDIS_SENTINEL_USER": "u"}, "redis_sentinel_user: has no password"),
        (
            {"REDIS_URL": "redis://h", "AUTHZ_REDIS_SENTINEL_PASSWORD": CANARY},
            "redis_sentinel_password: REDIS_URL names no Sentinel",
        ),
        ({"AUTHZ_REDIS_TIMEOUT_MS": "4"}, "AUTHZ_REDIS_TIMEOUT_MS: `4`"),
        ({"AUTHZ_KEYSPACE": "a:b"}, "AUTHZ_KEYSPACE: `a:b` is no keyspace"),
        ({"AUTHZ_FLEET_SIZE": "-1"}, "AUTHZ_FLEET_SIZE: `-1`"),
        ({"AUTHZ_CONFIG": "/nowhere/authz.toml"}, "/nowhere/authz.toml: no such file"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_its_name(environ: dict[str, str], words: str) -> None:
    line = refused(environ=environ)
    assert words in line
    assert CANARY not in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trusted_hop = 1", "`trusted_hop` is no setting; did you mean `trusted_hops`?"),
        ("trusted_hops = true", "settings.toml: trusted_hops: is no whole number"),
        ("policies = []", "`policies` is empty"),
        ("policies = [1, 2]\nlisten = 7", "settings.toml: listen: is no list"),
        ("trusted_hops = ", "is no TOML"),
        ("[request]\ntrusted_hops = 1", "`request` is no setting"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_with_its_path(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(toml=write(tmp_path, text))


def test_a_file_too_large_or_not_text_is_refused(tmp_path: Path) -> None:
    assert "larger than 1 MiB" in refused(toml=write(tmp_path, "#" * (1024 * 1024 + 1)))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "is no TOML" in refused(toml=tmp_path / "binary")


def test_unknown_flags_and_bytes_that_are_no_text_are_refused() -> None:
    assert "did you mean `trusted_hops`?" in refused(flags={"trusted_hopps": 1})
    assert "--trusted-hops: `99`" in refused(flags={"trusted_hops": 99})
    with pytest.raises(ConfigError, match="AUTHZ_SIDECAR: is not UTF-8"):
        load({}, {b"AUTHZ_SIDECAR": b"\xff"})
    with pytest.raises(ConfigError, match="NUL byte"):
        load({"policies": ["a\x00b"]}, {})


def test_a_kubernetes_service_called_authz_does_not_stop_us() -> None:
    links = {
        "AUTHZ_SERVICE_HOST": "10.0.0.1",
        "AUTHZ_CONTROL_SERVICE_PORT_HTTP": "80",
        "AUTHZ_PORT": "tcp://10.0.0.1:80",
        "AUTHZ_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load({}, links) == load({}, {})


def test_other_variables_and_an_empty_url_that_is_ignored_are_left_alone() -> None:
    assert load({}, {"PATH": "", "HOME": "\udcff", "DATABASE_URL": ""}) == load({}, {})
    load({}, {name: value for name, value in os.environb.items() if not name.startswith(b"AUTHZ_")})


def test_what_is_switched_off_or_ignored_is_said() -> None:
    settings = load({}, {"RATE_LIMIT_ENABLED": "false", "DATABASE_URL": f"postgres://{CANARY}"})
    assert len(settings.notes) == 2
    open_password = load({}, {"REDIS_URL": f"redis://:{CANARY}@10.0.0.1"})
    assert [note for note in open_password.notes if "the network can read it" in note]
    for url in (f"rediss://:{CANARY}@10.0.0.1", f"redis://:{CANARY}@127.0.0.1", "redis://10.0.0.1"):
        assert load({}, {"REDIS_URL": url, "AUTHZ_FLEET_SIZE": "2"}).notes == ()
    (note,) = load({}, {"REDIS_URL": "redis://127.0.0.1"}).notes
    assert "AUTHZ_FLEET_SIZE" in note
    assert len(load({}, {"REDIS_URL": "redis://127.0.0.1", "RATE_LIMIT_ENABLED": "false"}).notes) == 1
    assert CANARY not in "".join(settings.notes)


def test_settings_cannot_be_changed() -> None:
    settings = load({}, {})
    with pytest.raises(ValidationError):
        settings.request.trusted_hops = 3


def test_settings_made_without_load_read_no_hidden_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUEST", '{"trusted_hops": 9}')
    assert Settings().request.trusted_hops == 0


def test_every_setting_says_what_it_means_and_has_names_of_its_own() -> None:
    assert all(key.meaning for key in KEYS.values())
    assert len({key.env for key in KEYS.values()}) == len(KEYS)


def test_a_debug_listener_that_others_reach_is_told() -> None:
    open_to_all = load({"debug": "0.0.0.0:9193"}, {})
    assert any("shows whole records" in note for note in open_to_all.notes)
    assert not any("records" in note for note in load({"debug": "127.0.0.1:9193"}, {}).notes)


@pytest.mark.parametrize(
    "client",
    [
        "spiffe://prod/ns/web/sa/envoy",
        "spiffe://prod/ns/web/sa/*",
        "spiffe://prod/*",
        "spiffe://prod.example-1/a.b/C_d",
        "spiffe://prod",
        "*",
    ],
)
def test_a_caller_is_a_spiffe_id_or_all_below_one(client: str) -> None:
    assert load({"tls_clients": [client]}, {}).tls.tls_clients == (client,)


@pytest.mark.parametrize(
    ("clients", "words"),
    [
        (["prod/ns/web"], "is no caller"),
        (["spiffe://prod/"], "is no caller"),
        (["spiffe://prod//x"], "is no caller"),
        (["spiffe://prod/x/"], "is no caller"),
        (["spiffe://prod/../x"], "is no caller"),
        (["spiffe://prod/./x"], "is no caller"),
        (["spiffe://prod/*/x"], "is no caller"),
        (["spiffe://prod/x*"], "is no caller"),
        (["spiffe://prod/**"], "is no caller"),
        (["spiffe://*"], "is no caller"),
        (["spiffe://Prod/x"], "is no caller"),
        (["spiffe://prod/x%20y"], "is no caller"),
        (["spiffe://prod/x?y"], "is no caller"),
        (["spiffe://prod/" + "x" * 3000], "is no caller"),
        (["*", "spiffe://prod/x"], "has `*` beside others"),
        (["", "spiffe://prod/x"], "has an empty entry"),
    ],
)
def test_any_other_caller_is_refused(clients: list[str], words: str) -> None:
    line = refused({"tls_clients": clients})
    assert line.startswith("--tls-clients: ")
    assert words in line


def test_files_of_tls_are_paths() -> None:
    settings = load({"tls_cert": Path("a")}, {"AUTHZ_TLS_KEY": "b", "AUTHZ_TLS_CLIENT_CA": "/c"})
    assert (settings.tls.tls_cert, settings.tls.tls_key) == (Path("a"), Path("b"))
    assert settings.tls.tls_client_ca == Path("/c")
    assert "has a NUL byte" in refused({"tls_cert": "a\0b"})


def test_who_asks_for_headers_that_are_switched_off_is_told() -> None:
    asked = {"AUTHZ_LIMIT_HEADERS_ON_ALLOW": "true"}
    assert load({}, asked).notes == ()
    (note,) = load({}, {**asked, "AUTHZ_LIMIT_HEADERS": "OFF"}).notes
    assert "limit_headers is off" in note


def test_how_limits_are_told_is_one_of_few_words() -> None:
    assert load({}, {}).limits.limit_headers == "draft"
    assert load({}, {"AUTHZ_LIMIT_HEADERS": "X-RateLimit"}).limits.limit_headers == "x-ratelimit"
    with pytest.raises(ConfigError, match="AUTHZ_LIMIT_HEADERS"):
        load({}, {"AUTHZ_LIMIT_HEADERS": "x-rate-limit"})


@pytest.mark.parametrize("percent", ["-1", "101", "many"])
def test_a_share_of_a_burst_is_a_percentage(percent: str) -> None:
    assert load({}, {"AUTHZ_NEAR_LIMIT_PERCENT": "0"}).limits.near_limit_percent == 0
    with pytest.raises(ConfigError, match="AUTHZ_NEAR_LIMIT_PERCENT"):
        load({}, {"AUTHZ_NEAR_LIMIT_PERCENT": percent})
