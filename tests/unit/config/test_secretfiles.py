from __future__ import annotations

import os
from pathlib import Path

import pytest

from authz.config.settings import KEYS, load
from authz.model.errors import ConfigError

PEPPER = "example-pepper-of-32-bytes-long!"
OTHER = "another-pepper-of-32-bytes-long!"


def _directory(folder: Path, **files: str | bytes) -> Path:
    for name, value in files.items():
        (folder / name).write_bytes(value if isinstance(value, bytes) else value.encode())
    return folder


def _mounted(folder: Path, **files: str) -> Path:
    """Lay files out as Kubernetes mounts a Secret."""
    (folder / "..2026_01").mkdir()
    _directory(folder / "..2026_01", **files)
    (folder / "..data").symlink_to("..2026_01")
    for name in files:
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def _refused(folder: Path, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as raised:
        load({"secrets": folder}, environ or {})
    line = str(raised.value)
    assert "\n" not in line
    assert PEPPER not in line
    return line


def test_a_directory_may_hold_every_secret(tmp_path: Path) -> None:
    values = {
        "API_KEY_SALT": PEPPER,
        "REDIS_URL": "redis+sentinel://:hush@redis.test/main",
        "DATABASE_URL": "postgresql://nobody",
    }
    secrets = {key.env: key for key in KEYS.values() if key.secret}
    files = {name: values.get(name, OTHER) for name in secrets}
    settings = load({"secrets": _mounted(tmp_path, **files)}, {"AUTHZ_RECORD_KAFKA_USER": "authz"})
    for name, key in secrets.items():
        value = getattr(getattr(settings, key.room), key.name)
        if name == "REDIS_URL":
            assert value.hosts[0].host == "redis.test"
        else:
            assert value.get_secret_value() == files[name].encode()
    assert PEPPER not in repr(settings)
    assert OTHER not in repr(settings)
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("written", "read"),
    [("\n", ""), ("\r\n", ""), ("\n\n", "\n"), (" ", " "), ("\r", "\r"), ("", "")],
    ids=["newline", "windows", "two", "blank", "return", "none"],
)
def test_one_newline_at_the_end_is_no_part_of_a_secret(tmp_path: Path, written: str, read: str) -> None:
    settings = load({"secrets": _directory(tmp_path, API_KEY_SALT=PEPPER + written)}, {})
    assert settings.identity.api_key_salt is not None
    assert settings.identity.api_key_salt.get_secret_value() == (PEPPER + read).encode()


def test_it_is_named_by_a_flag_a_variable_or_the_file_of_settings(tmp_path: Path) -> None:
    secrets, toml = tmp_path / "secrets", tmp_path / "authz.toml"
    secrets.mkdir()
    _directory(secrets, API_KEY_SALT=PEPPER)
    toml.write_text(f'secrets = "{secrets}"')
    for settings in (
        load({"secrets": secrets}, {"AUTHZ_SECRETS": "/no/such"}),
        load({}, {"AUTHZ_SECRETS": str(secrets)}),
        load({}, {}, toml),
    ):
        assert settings.identity.api_key_salt is not None


def test_an_empty_directory_holds_no_secret(tmp_path: Path) -> None:
    assert load({"secrets": tmp_path}, {}).identity.api_key_salt is None


def test_a_secret_in_two_places_has_one_value_or_stops_us(tmp_path: Path) -> None:
    _directory(tmp_path, API_KEY_SALT=PEPPER + "\n")
    assert load({"secrets": tmp_path}, {"API_KEY_SALT": PEPPER}).identity.api_key_salt is not None
    assert _refused(tmp_path, {"API_KEY_SALT": OTHER}) == (
        "API_KEY_SALT: the environment and the file in the directory of secrets say two different things;"
        " take one of them away"
    )


def test_other_secrets_may_come_from_the_environment(tmp_path: Path) -> None:
    _directory(tmp_path, API_KEY_SALT=PEPPER)
    settings = load({"secrets": tmp_path}, {"API_KEY_SALT_PREVIOUS": OTHER})
    assert settings.identity.api_key_salt_previous is not None


def test_a_file_that_nobody_knows_stops_us(tmp_path: Path) -> None:
    _directory(tmp_path, API_KEY_SALTS=PEPPER)
    assert _refused(tmp_path) == (
        f"{tmp_path}: `API_KEY_SALTS` is no secret of ours; did you mean `API_KEY_SALT`?"
    )


def test_a_setting_that_is_no_secret_stops_us(tmp_path: Path) -> None:
    assert "`LOG_LEVEL` is no secret of ours" in _refused(_directory(tmp_path, LOG_LEVEL="debug"))


def test_what_begins_with_a_dot_is_left_alone(tmp_path: Path) -> None:
    _directory(tmp_path, API_KEY_SALT=PEPPER)
    _directory(tmp_path, **{".API_KEY_SALT.swp": "x"})
    assert load({"secrets": tmp_path}, {}).identity.api_key_salt is not None


@pytest.mark.parametrize("value", ["", "\n", "\r\n"], ids=repr)
def test_an_empty_file_is_no_secret(tmp_path: Path, value: str) -> None:
    assert _refused(_directory(tmp_path, REDIS_URL=value)).endswith(
        "/REDIS_URL: is empty; give it a value or take it away"
    )


def test_a_wrong_value_is_named_by_its_file_and_never_repeated(tmp_path: Path) -> None:
    line = _refused(_directory(tmp_path, API_KEY_SALT="c4n4ry"))
    assert line.startswith("API_KEY_SALT in its file: has 6 bytes and needs at least 32")
    assert "c4n4ry" not in line


def test_a_directory_that_is_not_there_stops_us(tmp_path: Path) -> None:
    assert _refused(tmp_path / "none") == (
        f"{tmp_path}/none: no such file or directory; name a directory of secrets, or none"
    )


def test_a_path_that_is_none_is_told_with_the_other_faults() -> None:
    with pytest.raises(ConfigError, match="has a NUL byte in a path"):
        load({}, {"AUTHZ_SECRETS": "a\x00b"})


def test_what_is_no_file_stops_us_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "API_KEY_SALT")
    assert _refused(tmp_path).endswith("/API_KEY_SALT: is no file; write the secret to a plain one")
    (tmp_path / "API_KEY_SALT").unlink()
    (tmp_path / "API_KEY_SALT").mkdir()
    assert _refused(tmp_path).endswith("/API_KEY_SALT: is no file; write the secret to a plain one")


def test_a_link_to_nothing_stops_us(tmp_path: Path) -> None:
    (tmp_path / "API_KEY_SALT").symlink_to("..data/API_KEY_SALT")
    assert _refused(tmp_path).endswith(
        "/API_KEY_SALT: no such file or directory; let the user that we run as read it"
    )


def test_what_is_too_large_is_no_secret(tmp_path: Path) -> None:
    assert "is larger than 64 KiB" in _refused(_directory(tmp_path, API_KEY_SALT="x" * 65537))


def test_secrets_of_two_versions_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mounted Secret changes after its first file was read: both are read again."""
    _mounted(tmp_path, API_KEY_SALT=OTHER, API_KEY_SALT_PREVIOUS=OTHER)
    (tmp_path / "..2026_02").mkdir()
    _directory(tmp_path / "..2026_02", API_KEY_SALT=PEPPER, API_KEY_SALT_PREVIOUS=PEPPER)
    opened: list[str] = []
    real = os.open

    def swapping(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        opened.append(Path(path).name)
        if len(opened) == 1:
            (tmp_path / "..new").symlink_to("..2026_02")
            (tmp_path / "..new").replace(tmp_path / "..data")
        return descriptor

    monkeypatch.setattr("authz.config.secretfiles.os.open", swapping)
    settings = load({"secrets": tmp_path}, {})
    assert settings.identity.api_key_salt == settings.identity.api_key_salt_previous
    assert opened == ["API_KEY_SALT", "API_KEY_SALT_PREVIOUS"] * 2


def test_a_directory_that_never_rests_stops_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = iter(range(100))
    monkeypatch.setattr("authz.config.secretfiles._current", lambda _: str(next(versions)))
    assert "changes faster than it can be read" in _refused(tmp_path)
