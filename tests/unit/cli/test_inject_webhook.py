"""`authz inject-webhook` and `authz inject-watch`: what they are told, and what they say of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from authz.cli import inject_watch, inject_webhook
from authz.cli.inject_options import namespace_of, watched_of
from authz.cli.main import build
from authz.model.errors import ConfigError
from authz.wiring import injector
from authz.wiring.injector import WatchSettings, WebhookSettings
from tests.support.admission import TEMPLATE

NEEDED = ["--template", "t.json", "--service", "hook", "--secret", "kept", "--configuration", "hook.shop"]


class _Recorded:
    """Stands for what would run."""

    told: list[WebhookSettings | WatchSettings] = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, settings: WebhookSettings | WatchSettings) -> None:
        self.told.append(settings)

    def run(self) -> None:
        """End at once."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[WebhookSettings | WatchSettings]:
    _Recorded.told = []
    monkeypatch.setattr(injector, "Webhook", _Recorded)
    monkeypatch.setattr(injector, "Watch", _Recorded)
    for module in (inject_webhook, inject_watch):
        monkeypatch.setattr(module.signal, "signal", lambda *_: None)
        monkeypatch.setattr(module, "configure", lambda _: None)
    return _Recorded.told


def _run(words: list[str]) -> int:
    result = CliRunner().invoke(build(words), words)
    if isinstance(result.exception, ConfigError):
        raise result.exception
    return result.exit_code


def test_a_webhook_is_told_its_place(recorded: list[WebhookSettings | WatchSettings]) -> None:
    more = [
        "--namespace",
        "shop",
        "--name",
        "127.0.0.1",
        "--watch",
        "shop",
        "--watch",
        "till",
        "--drain",
        "3",
    ]
    assert _run(["inject-webhook", *NEEDED, *more]) == 0
    (told,) = recorded
    assert isinstance(told, WebhookSettings)
    assert told.place == (
        "shop",
        "kept",
        "hook.shop",
        ("hook.shop.svc", "hook.shop.svc.cluster.local", "127.0.0.1"),
    )
    assert (told.watched, told.drain_s, told.template) == (("shop", "till"), 3.0, Path("t.json"))


def test_a_watch_looks_everywhere_unless_told_where(recorded: list[WebhookSettings | WatchSettings]) -> None:
    assert _run(["inject-watch", "--template", "t.json"]) == 0
    assert _run(["inject-watch", "--template", "t.json", "--watch", "shop"]) == 0
    assert [told.watched for told in recorded] == [("*",), ("shop",)]


@pytest.mark.parametrize("more", [["--log-level", "loud"], ["--drain", "-1"], ["--secret"]])
def test_what_cannot_be_meant_is_usage(
    recorded: list[WebhookSettings | WatchSettings], more: list[str]
) -> None:
    assert _run(["inject-webhook", *NEEDED, *more]) == 2
    assert recorded == []


def test_a_socket_is_no_place_for_an_api_server(recorded: list[WebhookSettings | WatchSettings]) -> None:
    with pytest.raises(ConfigError, match="API servers connect by TCP"):
        _run(["inject-webhook", *NEEDED, "--namespace", "shop", "--listen", "unix:/run/a.sock"])


def test_the_namespace_is_the_pods_own(tmp_path: Path) -> None:
    mounted = tmp_path / "namespace"
    mounted.write_text("till\n")
    assert namespace_of("shop", {"POD_NAMESPACE": "other"}, mounted) == "shop"
    assert namespace_of(None, {"POD_NAMESPACE": "other"}, mounted) == "other"
    assert namespace_of(None, {}, mounted) == "till"
    with pytest.raises(ConfigError, match="this is no pod"):
        namespace_of(None, {}, tmp_path / "none")
    with pytest.raises(ConfigError, match="no namespace can be called so"):
        namespace_of("Shop/..", {}, mounted)


def test_namespaces_to_watch_are_names() -> None:
    assert watched_of(["a", "b", "a"]) == ("a", "b")
    assert watched_of(["a", "*"]) == ("*",)
    assert watched_of(None) == ()
    with pytest.raises(ConfigError, match="--watch"):
        watched_of(["a,b"])


def test_help_loads_nothing_of_it() -> None:
    words = "import sys; from authz.cli.main import build; build(['inject-webhook']); "
    words += "large = ('lightkube', 'authz.wiring', 'authz.admission'); "
    words += "sys.exit(any(name.startswith(large) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
    assert isinstance(build(["inject-watch"]), typer.Typer)


def test_without_an_api_server_to_ask_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(TEMPLATE)
    authz = str(Path(sys.executable).with_name("authz"))
    env = {**os.environ, "KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [authz, "inject-watch", "--template", str(tmp_path / "t.json")],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert done.returncode == 3
    assert done.stderr.startswith("authz: the API server: ")
    assert done.stderr.count("\n") == 1
