"""`authz key`: documents on disk, one token on standard output, exit codes."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz.cli import key as command
from authz.cli import keyfile
from authz.identity.apikey import Token, fingerprint, parse_token
from tests.support.keys import OTHER_PEPPER, PEPPER

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SALT = {"API_KEY_SALT": PEPPER.decode()}
SET = """
apiVersion: policy.authz/v1alpha1
kind: IdentityProvider
metadata: {name: partner-keys}
spec: {apiKey: {in: [{header: x-api-key}]}}
---
apiVersion: policy.authz/v1alpha1
kind: Customer
metadata: {name: acme}
spec: {enabled: true}
"""

READ_CLOCK = command._now  # every test replaces it


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("API_KEY_SALT", "API_KEY_SALT_PREVIOUS", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "set.yaml").write_text(SET)
    at(monkeypatch, NOW)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "set" / "acme.yaml"


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(command, "_now", lambda: moment)


def run(*arguments: str, env: dict[str, str] | None = None, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(command.app, arguments, env=SALT if env is None else env, input=stdin)


def create(file: Path, *arguments: str) -> str:
    made = run("create", "--provider", "partner-keys", "--customer", "acme", "--out", str(file), *arguments)
    assert (made.exit_code, made.stderr) == (0, "")
    return one_token(made)


def rotate(file: Path, *arguments: str) -> str:
    made = run("rotate", str(file), *arguments)
    assert made.exit_code == 0
    token = one_token(made)
    assert made.stderr == (
        f"{file}: key {token[8:20]} is rotated in this file; bring it to the sidecars before you hand out"
        " the new token: until they have it they know the old one alone\n"
    )
    return token


def one_token(made: Result) -> str:
    assert made.stdout.endswith("\n")
    text = made.stdout[:-1]
    assert isinstance(parse_token(text, "ak", "live"), Token)
    return text


def secret_in(token: str) -> str:
    parsed = parse_token(token, "ak", "live")
    assert isinstance(parsed, Token)
    return parsed.secret


def verdict(token: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Return "valid", or the cause why not."""
    told = run("verify", "--policies", "set", "--output", "json", *arguments, env=env, stdin=token + "\n")
    answer = json.loads(told.stdout)
    assert told.exit_code == (0 if answer["valid"] else 1)
    return "valid" if answer["valid"] else str(answer["cause"])


def test_a_new_key_is_written_canonically_and_its_token_is_good(file: Path) -> None:
    token = create(
        file,
        *(
            "--name",
            "acme-reporting",
            "--scope",
            "items:read",
            "--scope",
            "items:write",
            "--label",
            "tier=no",
        ),
        *("--expires-in", "90d", "--address", "203.0.113.0/24"),
    )
    parsed = parse_token(token, "ak", "live")
    assert isinstance(parsed, Token)
    digest = keyfile.read(file).spec.secrets[0].digest
    assert (
        file.read_text()
        == f"""\
apiVersion: policy.authz/v1alpha1
kind: ApiKey
metadata:
  name: acme-reporting
spec:
  id: {parsed.key_id}
  provider: partner-keys
  customer: acme
  scopes:
    - items:read
    - items:write
  labels:
    tier: "no"
  expiresAt: 2026-08-30T12:00:00Z
  addresses:
    - 203.0.113.0/24
  secrets:
    - version: 1
      pepper: {fingerprint(PEPPER)}
      digest: {digest}
"""
    )
    assert verdict(token) == "valid"
    assert parsed.secret not in file.read_text()


def test_a_key_is_named_after_its_file_and_lives_without_end(file: Path) -> None:
    create(file)
    document = keyfile.read(file)
    assert document.name == "acme"
    assert document.spec.expires_at is None
    assert document.spec.scopes is None


def test_create_never_replaces_a_file(file: Path) -> None:
    create(file)
    before = file.read_bytes()
    again = run("create", "--provider", "partner-keys", "--customer", "acme", "--out", str(file))
    assert (again.exit_code, again.stdout) == (3, "")
    assert again.stderr == f"{file}: is there already; name a new file, or use `authz key rotate`\n"
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x.yml", "documents are read from files that end in `.yaml`; name it so"),
        ("x", "documents are read from files that end in `.yaml`; name it so"),
        ("x.YAML", "documents are read from files that end in `.yaml`; name it so"),
        (".x.yaml", "a file whose name begins with a dot is not read; leave the dot out"),
        (".yaml", "a file whose name begins with a dot is not read; leave the dot out"),
    ],
)
def test_create_refuses_a_name_that_no_sidecar_reads(tmp_path: Path, name: str, told: str) -> None:
    out = tmp_path / "set" / name
    made = run("create", "--provider", "partner-keys", "--customer", "acme", "--out", str(out))
    assert (made.exit_code, made.stdout) == (2, "")
    assert made.stderr == f"--out: `{out}`: {told}\n"
    assert [entry.name for entry in out.parent.iterdir()] == ["set.yaml"]


def test_create_says_where_it_cannot_write(tmp_path: Path) -> None:
    made = run("create", "--provider", "p", "--customer", "c", "--out", str(tmp_path / "none" / "x.yaml"))
    assert (made.exit_code, made.stdout) == (3, "")
    assert "no such file or directory; name a file in a directory that can be written" in made.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--name", "Acme"], "`metadata.name`: `Acme` is not a name"),
        (["--scope", "a b"], "`spec.scopes[0]`: `a b` is not a scope"),
        (["--scope", "a", "--scope", "a"], "`a` stands twice"),
        (["--address", "203.0.113.7"], "write `203.0.113.7/32`"),
        (["--label", "tier"], "--label: `tier`: write each as `NAME=VALUE`, once"),
        (["--label", "a=1", "--label", "a=2"], "--label: `a=2`"),
        (["--expires-in", "90"], "--expires-in: `90` is no time span"),
        (["--expires-in", "9000w"], "more than a hundred years"),
        (["--expires-in", "0"], "never valid"),
        (["--expires-in", "-1d"], "no time span"),
    ],
)
def test_a_flag_that_no_document_may_hold_is_a_usage_error(
    file: Path, arguments: list[str], told: str
) -> None:
    made = run("create", "--provider", "p", "--customer", "c", "--out", str(file), *arguments)
    assert (made.exit_code, made.stdout) == (2, "")
    assert told in made.stderr
    assert not file.exists()
    assert [entry.name for entry in file.parent.iterdir()] == ["set.yaml"]


@pytest.mark.parametrize("env", [{}, {"API_KEY_SALT": "CANARY-short"}])
def test_without_a_usable_pepper_nothing_is_made_or_verified(file: Path, env: dict[str, str]) -> None:
    for arguments in (
        ["create", "--provider", "p", "--customer", "c", "--out", str(file)],
        ["verify", "--policies", "set"],
    ):
        made = run(*arguments, env=env)
        assert (made.exit_code, made.stdout) == (3, "")
        assert made.stderr.startswith("API_KEY_SALT: ")
        assert made.stderr.count("\n") == 1
        assert "openssl rand" in made.stderr
        assert "CANARY" not in made.stderr
    assert not file.exists()


def test_a_rotation_overlaps_and_ends_exactly(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = create(file)
    new = rotate(file, "--grace", "24h")
    secrets = keyfile.read(file).spec.secrets
    assert [(one.version, one.expires_at) for one in secrets] == [(2, None), (1, NOW + timedelta(hours=24))]
    assert verdict(old) == verdict(new) == "valid"
    at(monkeypatch, NOW + timedelta(hours=24, seconds=-1))
    assert verdict(old) == "valid"
    at(monkeypatch, NOW + timedelta(hours=24))
    assert verdict(old) == "key_expired"
    assert verdict(new) == "valid"


def test_a_grace_of_nothing_drops_the_old_secret(file: Path) -> None:
    old = create(file)
    new = rotate(file, "--grace", "0")
    assert [one.version for one in keyfile.read(file).spec.secrets] == [2]
    assert verdict(old) == "key_secret_wrong"
    assert verdict(new) == "valid"


def test_two_good_secrets_are_not_made_three(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(file)
    rotate(file, "--grace", "1h")
    before = file.read_bytes()
    refused = run("rotate", str(file))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"{file}: two secrets are good until 2026-06-01T13:00:00Z; wait, or end both with `--grace 0`\n"
    )
    assert file.read_bytes() == before
    at(monkeypatch, NOW + timedelta(hours=1))  # the older has ended
    third = rotate(file, "--grace", "1h")
    assert [one.version for one in keyfile.read(file).spec.secrets] == [3, 2]
    fourth = rotate(file, "--grace", "0")  # a leak: end everything at once
    assert [one.version for one in keyfile.read(file).spec.secrets] == [4]
    assert (verdict(third), verdict(fourth)) == ("key_secret_wrong", "valid")


def test_a_grace_never_prolongs_a_secret_that_ends_earlier(file: Path) -> None:
    create(file)
    text = file.read_text()
    file.write_text(text + "      expiresAt: 2026-06-01T12:00:30Z\n")
    rotate(file, "--grace", "24h")
    assert keyfile.read(file).spec.secrets[1].expires_at == NOW + timedelta(seconds=30)


def test_a_dead_key_is_not_rotated(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(file, "--expires-in", "1h")
    at(monkeypatch, NOW + timedelta(hours=1))
    refused = run("rotate", str(file))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "the key expired at 2026-06-01T13:00:00Z" in refused.stderr
    run("revoke", str(file))
    assert "the key is revoked; create a new one" in run("rotate", str(file)).stderr


def test_a_revoked_key_stays_as_it_was_but_for_that(file: Path) -> None:
    token = create(file, "--scope", "a")
    before = keyfile.read(file).data
    revoked = run("revoke", str(file), env={})  # needs no pepper
    assert (revoked.exit_code, revoked.stdout) == (0, "")
    assert revoked.stderr == (
        f"{file}: key {token[8:20]} is revoked in this file; a sidecar refuses it once it has the"
        " file, unless /ready says that its set is `rejected`\n"
    )
    after = keyfile.read(file).data
    assert isinstance(before, dict)
    assert after == {**before, "spec": {**before["spec"], "enabled": False}}  # type: ignore[dict-item]  # a mapping
    assert run("revoke", str(file), env={}).exit_code == 0  # and again
    assert verdict(token) == "key_revoked"


def test_a_rewritten_file_keeps_its_mode_and_leaves_nothing_beside_it(file: Path, tmp_path: Path) -> None:
    create(file)
    file.chmod(0o666)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    run("revoke", str(link))
    assert link.is_symlink()
    assert "enabled: false" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o666
    assert sorted(entry.name for entry in file.parent.iterdir()) == ["acme.yaml", "set.yaml"]


def test_a_failed_write_leaves_the_old_text(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create(file)
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    failed = run("rotate", str(file))
    assert (failed.exit_code, failed.stdout) == (3, "")
    assert "no space left on device" in failed.stderr
    assert file.read_bytes() == before
    assert sorted(entry.name for entry in file.parent.iterdir()) == ["acme.yaml", "set.yaml"]


def test_a_file_must_hold_exactly_one_key(file: Path, tmp_path: Path) -> None:
    create(file)
    (tmp_path / "two.yaml").write_text(file.read_text() + "---\n" + file.read_text())
    for name, code, told in (
        ("two.yaml", 3, "holds ApiKey, ApiKey; the file of a key holds exactly one"),
        ("set/set.yaml", 3, "holds IdentityProvider, Customer"),
        ("none.yaml", 3, "no such file or directory"),
    ):
        refused = run("rotate", name)
        assert (refused.exit_code, refused.stdout) == (code, "")
        assert told in refused.stderr
    file.write_text("kind: ApiKey\n")
    assert run("rotate", str(file)).exit_code == 1


def test_a_fingerprint_that_looks_like_a_number_is_quoted() -> None:
    for text in ("12e45678", "00000000", "12345678", "0o123456", "1_000", "1e5", "yes", "~", "0x12"):
        secret = {"version": 1, "pepper": text, "digest": "x"}
        line = keyfile.written({"metadata": {}, "spec": {"secrets": [secret]}})
        assert f"pepper: '{text}'\n" in line


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda token: token, "valid"),
        (lambda token: token + "\r", "valid"),
        (lambda token: token + "\n", "credential_malformed"),
        (lambda token: " " + token, "credential_not_owned"),
        (lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"), "credential_malformed"),
        (lambda token: Token("ak", "live", "zzzzzzzzzzzz", "A" * 43).render(), "key_unknown"),
        (lambda token: Token("ak", "live", token[8:20], "A" * 43).render(), "key_secret_wrong"),
    ],
)
def test_verify_says_what_is_wrong_with_a_token(file: Path, change: Callable[[str], str], cause: str) -> None:
    assert verdict(change(create(file))) == cause


@pytest.mark.parametrize("given", ["", "\n", " \r\n"])
@pytest.mark.parametrize("output", ["table", "json"])
def test_verify_says_that_nothing_was_given(file: Path, given: str, output: str) -> None:
    create(file)
    told = run("verify", "--policies", "set", "--output", output, stdin=given)
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr == (
        "standard input: nothing was given; hand the token over, for example with `< token.txt`\n"
    )


def test_verify_speaks_to_people(file: Path) -> None:
    token = create(file)
    good = run("verify", "--policies", "set", stdin=token)
    assert (good.exit_code, good.stdout) == (
        0,
        f"valid: acme ({token[8:20]}) of customer acme, provider partner-keys\n",
    )
    bad = run("verify", "--policies", "set", stdin=token[:-1])
    assert (bad.exit_code, bad.stdout) == (
        1,
        "not valid: its form or checksum is wrong: it was not copied whole\n",
    )


def test_verify_knows_addresses(file: Path) -> None:
    token = create(file, "--address", "203.0.113.0/24")
    assert verdict(token) == "valid"
    assert verdict(token, "--address", "203.0.113.9") == "valid"
    assert verdict(token, "--address", "::ffff:203.0.113.9") == "valid"
    assert verdict(token, "--address", "198.51.100.1") == "key_address"
    odd = run("verify", "--policies", "set", "--address", "here", stdin=token)
    assert odd.exit_code == 3
    assert "--address: `here` is no IP address" in odd.stderr


def test_verify_knows_both_peppers(file: Path) -> None:
    token = create(file)
    other = OTHER_PEPPER.decode()
    assert verdict(token, env={"API_KEY_SALT": other}) == "pepper_missing"
    assert verdict(token, env={"API_KEY_SALT": other, "API_KEY_SALT_PREVIOUS": PEPPER.decode()}) == "valid"


def test_a_disabled_customer_disables_the_key(file: Path) -> None:
    token = create(file)
    customers = file.with_name("set.yaml")
    customers.write_text(customers.read_text().replace("enabled: true", "enabled: false"))
    assert verdict(token) == "customer_disabled"


def test_a_broken_set_is_told_and_exits_1() -> None:
    Path("set/broken.yaml").write_text("kind: [\n")
    told = run("list", "--policies", "set")
    assert told.exit_code == 1
    assert "set/broken.yaml:" in told.stderr


def test_list_shows_every_key_with_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "set"
    create(directory / "a.yaml", "--expires-in", "1h", "--address", "203.0.113.0/24")
    create(directory / "b.yaml")
    rotate(directory / "b.yaml")
    create(directory / "c.yaml")
    run("revoke", str(directory / "c.yaml"))
    rows = json.loads(run("list", "--policies", "set", "--output", "json").stdout)
    assert [(row["name"], row["state"], row["versions"]) for row in rows] == [
        ("a", "active", [1]),
        ("b", "active", [2, 1]),
        ("c", "key_revoked", [1]),
    ]
    assert rows[0]["expires_at"] == "2026-06-01T13:00:00Z"
    assert "expires_at" not in rows[1]
    at(monkeypatch, NOW + timedelta(hours=24))
    later = run("list", "--policies", "set")
    lines = [line.split() for line in later.stdout.splitlines()]
    assert lines[0] == ["NAME", "ID", "PROVIDER", "CUSTOMER", "STATE", "EXPIRES", "SECRETS"]
    assert lines[1][4:] == ["key_expired", "2026-06-01T13:00:00Z", "v1"]
    assert lines[2][4:] == ["active", "never", "v2"]


def test_list_knows_missing_peppers_only_where_it_has_one(file: Path) -> None:
    create(file)

    def state(env: dict[str, str]) -> str:
        rows = json.loads(run("list", "--policies", "set", "--output", "json", env=env).stdout)
        return str(rows[0]["state"])

    assert state({}) == "active"
    assert state({"API_KEY_SALT": OTHER_PEPPER.decode()}) == "pepper_missing"


def test_a_key_whose_secrets_have_all_ended_is_expired_in_the_list(file: Path) -> None:
    create(file)
    file.write_text(file.read_text() + "      expiresAt: 2026-06-01T12:00:00Z\n")
    row = json.loads(run("list", "--policies", "set", "--output", "json").stdout)[0]
    assert (row["state"], row["versions"]) == ("key_expired", [])


def test_a_token_is_in_no_output_but_its_own(file: Path) -> None:
    first = create(file)
    second = rotate(file)
    outputs = [
        run("verify", "--policies", "set", stdin=first + "\n"),
        run("verify", "--policies", "set", stdin=first[:-1]),
        run("verify", "--policies", "set", "--address", "198.51.100.1", stdin=second),
        run("list", "--policies", "set"),
        run("rotate", str(file)),
        run("revoke", str(file)),
        run("verify", "--policies", "set", stdin=second),
    ]
    for told in outputs:
        for text in (told.output, repr(told.exception), file.read_text()):
            assert secret_in(first) not in text
            assert secret_in(second) not in text


def test_the_settings_choose_brand_and_environment(file: Path) -> None:
    env = {**SALT, "AUTHZ_KEY_BRAND": "acme", "AUTHZ_KEY_ENV": "test"}
    made = run("create", "--provider", "partner-keys", "--customer", "acme", "--out", str(file), env=env)
    assert isinstance(parse_token(made.stdout.strip(), "acme", "test"), Token)
    assert verdict(made.stdout.strip(), env=env) == "valid"
    assert verdict(made.stdout.strip()) == "credential_not_owned"


@pytest.mark.parametrize("name", ["create", "rotate", "revoke", "verify", "list"])
def test_help_shows_an_example(name: str) -> None:
    told = run(name, "--help")
    assert told.exit_code == 0
    assert f"Example: authz key {name}" in told.stdout


def test_the_clock_is_read_in_whole_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW.timestamp() + 0.9)
    assert READ_CLOCK() == NOW
