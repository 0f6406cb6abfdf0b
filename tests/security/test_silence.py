"""What people are told by commands given bad input, and what values say of themselves: never a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from envoy.service.auth.v3 import external_auth_pb2

from authz.check import Call, Check, Reply, judge
from authz.config.settings import load
from authz.identity.apikey import parse_token
from authz.identity.credential import Found, find, plan
from authz.identity.keyring import Peppers
from authz.identity.removal import removal, strip
from authz.limits.guard import Guard
from authz.model.identity import NOBODY, CredentialPlace, PlaceKind, Provider
from authz.model.request import Request
from authz.model.site import DEFAULT_SITE, ReadingRules
from authz.request.read import read
from authz.transport.front import Arrival
from tests.support.canary import leaks, secret_of, token, word
from tests.support.checks import check_request
from tests.support.command import run
from tests.support.keys import keyring
from tests.support.policies import PROVIDER, documents, snapshot

PEPPER, PASSWORD, TOKEN = word("pepper"), word("password"), token()
SECRETS = {"pepper": PEPPER, "password": PASSWORD, "token": TOKEN, "secret": secret_of(TOKEN)}

# Input in which somebody put a secret where it does not belong: file name -> content.
FILES = {
    "policies/key.yaml": f"""
apiVersion: policy.authz/v1alpha1
kind: ApiKey
metadata: {{name: k}}
spec: {{id: {TOKEN}, provider: x, customer: y, secrets: [{{version: 1, pepper: {PEPPER}, digest: {TOKEN}}}]}}
""",
    "policies/broken.yaml": f"a: [{TOKEN}\n: {PASSWORD}",
    "secret.toml": f'api_key_salt = "{PEPPER}"\n',
    "unreadable.toml": f"api_key_salt = {PEPPER}\n",
    "tls.pem": f"-----BEGIN PRIVATE KEY-----\n{PASSWORD}\n-----END PRIVATE KEY-----\n",
}
# Words, environment, standard input. None may end well, and none may repeat what it was given.
COMMANDS = {
    "validate": (["policy", "validate", "policies"], {}, ""),
    "validate as JSON": (["policy", "validate", "policies", "--output", "json"], {}, ""),
    "verify a bad token": (["key", "verify", "--policies", "good"], {"API_KEY_SALT": PEPPER}, TOKEN),
    "verify two": (["key", "verify", "--policies", "good"], {"API_KEY_SALT": PEPPER}, f"{TOKEN}\n{TOKEN}"),
    "verify on the line": (["key", "verify", TOKEN, "--policies", "good"], {"API_KEY_SALT": PEPPER}, ""),
    "list": (["key", "list", "--policies", "policies"], {"API_KEY_SALT": PEPPER}, ""),
    "rotate": (["key", "rotate", "policies/key.yaml"], {"API_KEY_SALT": PEPPER}, ""),
    "revoke": (["key", "revoke", "policies/broken.yaml"], {}, ""),
    "create": (["key", "create", "--provider", "p", "--customer", "c", "--out", "k"], {}, ""),
    "serve: redis": (["serve", "--policies", "good"], {"REDIS_URL": f"redis://:{PASSWORD}@{PASSWORD}:x"}, ""),
    "serve: a short pepper": (["serve", "--policies", "good"], {"API_KEY_SALT": PEPPER[:31]}, ""),
    "serve: a short old pepper": (
        ["serve", "--policies", "good"], {"API_KEY_SALT": PEPPER, "API_KEY_SALT_PREVIOUS": PEPPER[:31]}, ""
    ),
    "serve: a misnamed pepper": (["serve", "--policies", "good"], {"AUTHZ_API_KEY_SALT": PEPPER}, ""),
    "serve: a pepper as a flag": (["serve", "--api-key-salt", PEPPER], {}, ""),
    "serve: a secret in a file": (["serve", "--policies", "good", "--config", "secret.toml"], {}, ""),
    "serve: no TOML": (["serve", "--policies", "good", "--config", "unreadable.toml"], {}, ""),
    "serve: a key that is none": (
        [
            "serve", "--policies", "good", "--listen", "127.0.0.1:0", "--ops", "off", "--debug", "off",
            "--tls-cert", "tls.pem", "--tls-key", "tls.pem", "--tls-client-ca", "tls.pem",
            "--tls-clients", "*",
        ],
        {"API_KEY_SALT": PEPPER, "DATABASE_URL": f"postgresql://me:{PASSWORD}@db/x"}, "",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("silence")
    for name in ("policies", "good"):
        (folder / name).mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    for name, content in documents(PROVIDER).items():
        (folder / "good" / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("what", COMMANDS)
def test_a_command_that_is_given_bad_input_repeats_no_secret(what: str, folder: Path) -> None:
    words, environ, typed = COMMANDS[what]
    done = run(*words, cwd=folder, typed=typed, **environ)
    assert done.returncode in (1, 2, 3), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    shorter = SECRETS | {"short pepper": PEPPER[:31]}
    assert not leaks(shorter, {"output": done.stdout.encode(), "errors": done.stderr.encode()})


def _values() -> list[object]:
    """Return a value of each kind that comes near a secret."""
    payload = check_request(
        host="items.example.com",
        path=f"/{TOKEN}?q={PASSWORD}",
        headers=[("x-api-key", TOKEN), ("cookie", f"session={PASSWORD}; a={PASSWORD}")],
        raw_body=PASSWORD.encode(),
    )
    request = read(payload, ReadingRules(lambda _: DEFAULT_SITE))
    assert isinstance(request, Request)
    odd = read(
        check_request(host=f"me:{PASSWORD}@x", path=f"/{TOKEN}//x"), ReadingRules(lambda _: DEFAULT_SITE)
    )
    header, cookie = (
        CredentialPlace(PlaceKind.HEADER, "x-api-key"),
        CredentialPlace(PlaceKind.COOKIE, "session"),
    )
    found = find(plan([Provider("p", "p", (header,))]), request)
    assert isinstance(found, Found)
    stripped = strip(removal([Provider("p", "p", (cookie,))]), request, NOBODY)
    assert stripped.set_headers
    environ = {
        "API_KEY_SALT": PEPPER,
        "API_KEY_SALT_PREVIOUS": PEPPER,
        "DATABASE_URL": f"postgresql://me:{PASSWORD}@db/x",
    }
    set_up = load({"policies": ["p"]}, environ)
    check = judge(Call(1, payload), snapshot(PROVIDER), Guard(lambda: 0), 0)
    answer = external_auth_pb2.CheckResponse(ok_response={"headers_to_remove": [PASSWORD]})
    return [
        *(
            payload_of
            for payload_of in (
                Call(1, payload),
                Arrival(1, payload, 1.0),
                Reply(200, answer.SerializeToString()),
            )
        ),
        *(
            check,
            Check(Call(1, payload)),
            request,
            odd,
            found,
            stripped,
            set_up,
            set_up.identity,
            set_up.shared,
        ),
        *(parse_token(TOKEN, "ak", "live"), Peppers(PEPPER.encode(), PEPPER.encode()), keyring()),
        *(
            set_up.identity.api_key_salt,
            set_up.shared.database_url,
            check.request,
            check.decision,
            check.caller,
        ),
    ]


def test_no_value_says_a_secret_of_itself() -> None:
    for value in _values():
        for said in (repr(value), str(value), f"{value}", repr([value]), repr({"a": value})):
            assert not leaks(SECRETS, {type(value).__name__: said.encode()})
