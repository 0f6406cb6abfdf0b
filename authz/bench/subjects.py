"""What is measured: running servers, and the cases that are asked of them."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from authz.bench import documents
from authz.bench.documents import PolicySet
from authz.bench.frame import frame
from authz.proxy.process import Child, Plan, free_port, http_get, program

EMPTY = "empty server, same front"
EMPTY_GRPCIO = "empty server on grpcio"
DROPPED = "records dropped"

_NOWHERE = Path("/dev/null")

_WAITING = re.compile(r"^authz_records_waiting\{[^}]*\} (\S+)", re.MULTILINE)
_DECISIONS = re.compile(r'^authz_limit_decisions_total\{[^}]*store="([a-z]+)"[^}]*\} (\S+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Args:
        ops_port: where its metrics are; 0 for the empty server.
        ready_s: from the start of the process until it said that it was ready.
    """

    child: Child
    socket: Path
    ops_port: int = 0
    records: Path | None = None
    ready_s: float = 0.0
    workers: int = 1

    @property
    def sockets(self) -> list[Path]:
        """Where its workers listen, each at a socket of its own."""
        if self.workers == 1:
            return [self.socket]
        return [self.socket.with_name(f"authz-{number}.sock") for number in range(self.workers)]

    def wait_ready(self) -> None:
        """Wait until it says that it is ready.

        Raises:
            NotStarted: it never does.
        """
        self.child.wait_until(lambda: (http_get(self.ops_port, "/ready") or (0,))[0] == 200, timeout_s=90)

    def records_waiting(self) -> int:
        """Return how many records are not written yet."""
        page = http_get(self.ops_port, "/metrics")
        found = _WAITING.search(page[1].decode() if page else "")
        return int(float(found[1])) if found else -1

    def stores(self) -> dict[str, int]:
        """Return how many buckets were asked so far, by where they are kept."""
        page = http_get(self.ops_port, "/metrics")
        found: dict[str, int] = {}
        for store, count in _DECISIONS.findall(page[1].decode() if page else ""):
            found[store] = found.get(store, 0) + int(float(count))
        return found

    def counts(self) -> dict[str, float]:
        """Return how many checks ended so far, by reason; and as `DROPPED`, how many records were."""
        page = http_get(self.ops_port, "/metrics") if self.ops_port else None
        found: dict[str, float] = {}
        for line in (page[1].decode() if page else "").splitlines():
            labels, _, count = line.rpartition(" ")
            if line.startswith("authz_checks_total{"):
                found[labels.partition('reason="')[2].partition('"')[0]] = float(count)
            elif line.startswith("authz_records_total{") and 'result="dropped"' in line:
                found[DROPPED] = float(count)
        return found


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of check, asked of one server.

    Args:
        frames: prepared calls, one for each round in turn.
        reason: how every one of them must end; "" where the server cannot tell.
    """

    name: str
    server: Server
    frames: tuple[Path, ...]
    reason: str = ""


def start_empty(directory: Path, stack: ExitStack, transport: str = "native") -> Server:
    """Start the floor of every comparison, or what another front costs by itself."""
    socket = directory / f"empty-{transport}.sock"
    command = [sys.executable, "-m", "authz.bench.empty", str(socket), transport]
    child = stack.enter_context(
        Child(Plan("the empty server", command, socket.with_suffix(".log"), Path("/dev/null")))
    )
    child.wait_until(socket.exists)
    return Server(child, socket)


def start_sidecar(
    directory: Path,
    policies: PolicySet,
    stack: ExitStack,
    env: Mapping[str, str] | None = None,
    workers: int = 1,
    output: Path = _NOWHERE,
) -> Server:
    """Start the whole sidecar, with records to a file, and wait until it is ready.

    Args:
        env: more settings.
        output: where its standard output goes.
    """
    began = time.monotonic()
    server = launch_sidecar(directory, policies, stack, env, workers, output)
    server.wait_ready()
    return replace(server, ready_s=time.monotonic() - began)


def launch_sidecar(
    directory: Path,
    policies: PolicySet,
    stack: ExitStack,
    env: Mapping[str, str] | None = None,
    workers: int = 1,
    output: Path = _NOWHERE,
) -> Server:
    """Start the whole sidecar; it is not ready yet."""
    socket, records, port = directory / "authz.sock", directory / "records.jsonl", free_port()
    command = [program("authz"), "serve", "--policies", str(policies.directory), "--workers", str(workers)]
    command += [
        "--listen",
        f"unix:{socket}",
        "--ops",
        f"127.0.0.1:{port}",
        "--debug",
        "off",
        "--state",
        "off",
    ]
    own = {"API_KEY_SALT": documents.PEPPER, "AUTHZ_RECORD_SINK": f"file:{records}", "LOG_LEVEL": "warning"}
    plan = Plan("the sidecar", command, directory / "sidecar.log", output, {**own, **(env or {})})
    return Server(stack.enter_context(Child(plan)), socket, port, records, workers=workers)


def policy_set(directory: Path, policies: int, keys: int, hosts: int = documents.HOSTS) -> PolicySet:
    """Write a policy set into a new directory."""
    directory.mkdir()
    return documents.write(directory, policies, keys, hosts)


def allowed(
    name: str, server: Server, policies: PolicySet, scratch: Path, rounds: int, *, of_request: bool = False
) -> Case:
    """Return the whole check that allows: each round another key, another policy."""
    step = max(1, len(policies.tokens) // rounds)
    frames = []
    for number in range(rounds):
        host, path = policies.target(number * 7919, of_request=of_request)
        frames.append(_kept(scratch, f"{name}-{number}", frame(host, path, policies.tokens[number * step])))
    return Case(name, server, tuple(frames), "allowed")


def refusals(server: Server, policies: PolicySet, scratch: Path) -> Sequence[Case]:
    """Return one case for each kind of refusal."""
    good, other = policies.tokens[0], policies.tokens[1]
    host, path = policies.target(1)
    refused = "refused.example.com"
    asked = {
        "refused: path with dot segments": (frame(host, "/a/../b", good), "bad_request"),
        "refused: no key": (frame(host, path), "credential_missing"),
        "refused: checksum wrong": (frame(host, path, good[:-1] + "0"), "credential_invalid"),
        "refused: key revoked": (frame(host, path, policies.revoked), "credential_invalid"),
        "refused: no policy": (frame("nobody.example.com", path, good), "no_matching_policy"),
        "refused: condition false": (frame(refused, "/keys/a", good), "not_permitted"),
        "refused: deny rule": (frame(refused, "/denied/a", good), "denied_by_rule"),
        "refused: rate limited": (frame(refused, "/once", other), "rate_limited"),
    }
    return [
        Case(name, server, (_kept(scratch, name, prepared),), reason)
        for name, (prepared, reason) in asked.items()
    ]


def _kept(scratch: Path, name: str, prepared: bytes) -> Path:
    file = scratch / f"{''.join(c if c.isalnum() else '-' for c in name)}.frame"
    file.write_bytes(prepared)
    return file
