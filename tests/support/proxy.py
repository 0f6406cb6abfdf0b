"""The real Envoy for tests: configurations that it checks, and a scene that it plays in."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from authz.attack import http2
from authz.attack.dial import Dial
from authz.model.address import TcpAddress
from authz.proxy.choices import EnvoyChoices
from authz.proxy.client import Reply, request_bytes, send_raw
from authz.proxy.keys import Wanted, make_keys
from authz.proxy.process import program
from authz.proxy.stage import Scene, Stage, envoy_choices, short_directory, staged, start_envoy
from authz.proxy.upstream import Seen


def envoy_complaint(config: Path) -> str:
    """Return what Envoy finds wrong with a bootstrap; "" where it would start with it."""
    done = subprocess.run(
        [program("envoy"), "--mode", "validate", "--config-path", str(config), "--log-level", "error"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stderr or f"exit code {done.returncode}") if done.returncode else ""


PEPPER = "end-to-end-pepper-of-the-tests-32-bytes"

KEYS = (
    Wanted("acme", "acme", provider="keys"),
    Wanted("globex", "globex", provider="keys"),
    Wanted("tester", "acme", provider="keys"),
    Wanted("query", "acme", provider="query-keys"),
    Wanted("gone", "acme", provider="keys", revoked=True),
    Wanted("stranger", "acme", provider="keys", known=False),
)
POLICIES = Path(__file__).parents[1] / "e2e" / "policies"


@dataclass(frozen=True, slots=True)
class Live:
    """A running scene, the keys that it knows, and ways to send requests through its Envoy."""

    stage: Stage
    tokens: Mapping[str, str]

    def send(
        self,
        method: str,
        target: str,
        *headers: tuple[str, str],
        host: str = "app.test",
        body: bytes = b"",
        port: int = 0,
    ) -> tuple[Reply, list[Seen]]:
        """Send a request of HTTP/1.1 as it is spelled; return the answer and what the application saw."""
        data = request_bytes(method, target, [("host", host), *headers], body)
        return self.send_bytes(data, port)

    def send_bytes(self, data: bytes, port: int = 0) -> tuple[Reply, list[Seen]]:
        """Send any bytes at all."""
        self.stage.upstream.take()
        reply = send_raw(port or self.stage.port, data)
        return reply, self.stage.upstream.take()

    def send2(
        self,
        method: str,
        target: str,
        *headers: tuple[str, str],
        host: str = "app.test",
        body: bytes = b"",
        port: int = 0,
    ) -> tuple[Reply, list[Seen]]:
        """Send a request of HTTP/2 as it is spelled."""
        pseudo = [(":method", method), (":scheme", "http"), (":authority", host), (":path", target)]
        return self.send_list([*pseudo, *headers], body, port)

    def send_list(
        self, headers: Sequence[tuple[str, str]], body: bytes = b"", port: int = 0
    ) -> tuple[Reply, list[Seen]]:
        """Send any header list at all over HTTP/2."""
        self.stage.upstream.take()
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        dial = Dial(TcpAddress("127.0.0.1", port or self.stage.port), timeout_s=10)
        reply = Reply(*http2.send(dial, pairs, body))
        return reply, self.stage.upstream.take()

    def key(self, name: str = "acme") -> tuple[str, str]:
        """Return the header that presents a key."""
        return ("x-api-key", self.tokens[name])


def scene(directory: Path, **changes: Any) -> Scene:
    """Return the scene of the end-to-end tests: their policies, with the keys in `directory`."""
    plain = Scene(
        directory=directory,
        policies=(POLICIES, directory / "keys"),
        pepper=PEPPER,
        envoy=lambda choices: replace(choices, upgrades=("websocket",)),
    )
    return replace(plain, **changes)


@contextmanager
def live(wanted: Sequence[Wanted] = KEYS, **changes: Any) -> Iterator[Live]:
    """Start a scene of its own; its directory goes away with it unless something fails."""
    directory = short_directory()
    tokens = make_keys(wanted, PEPPER, directory / "keys")
    with staged(scene(directory, **changes)) as stage:
        yield Live(stage, tokens)
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def another_envoy(app: Live, name: str, *, edit: Callable[[str], str] = str, **changes: Any) -> Iterator[int]:
    """A second Envoy, set up otherwise, before the same sidecar and application; yields its port."""
    scene, upstream = app.stage.scene, app.stage.upstream.port
    directory = scene.directory / name
    directory.mkdir()
    authz = envoy_choices(scene, upstream).authz

    def change(choices: EnvoyChoices) -> EnvoyChoices:
        return replace(choices, **{"authz": authz, "upgrades": ("websocket",), **changes})

    with ExitStack() as stack:
        _, (port, _) = start_envoy(
            replace(scene, directory=directory, envoy=change, edit=edit), upstream, stack
        )
        yield port


def careless(config: str) -> str:
    """Set an Envoy up as others may: it passes on every path as it came."""
    for ours, theirs in (
        ("normalize_path: true", "normalize_path: false"),
        ("merge_slashes: true", "merge_slashes: false"),
        (
            "path_with_escaped_slashes_action: REJECT_REQUEST",
            "path_with_escaped_slashes_action: KEEP_UNCHANGED",
        ),
        ("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW"),
    ):
        assert ours in config
        config = config.replace(ours, theirs)
    return config


def eventually(holds: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Whether something that happens elsewhere comes true in time; on a busy machine it takes a while."""
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
