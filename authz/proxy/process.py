"""Processes of the demo and the tests: started, waited for, and never left behind."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from authz.model.errors import NotStarted

START_TIMEOUT_S = 20.0
"""Longest wait for a process to become ready. Envoy takes half a second; a busy machine takes longer."""

_STOP_TIMEOUT_S = 8.0
_TAIL_LINES = 15

# Runs before the real command in the same process: asks the kernel for SIGTERM when our process dies, even by
# SIGKILL. PR_SET_PDEATHSIG is 1 and outlives exec. Source: prctl(2). `preexec_fn` would run Python between
# fork and exec, which is not safe once threads run.
_LEASH = (
    "import ctypes, os, signal, sys\n"
    "if sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A process to start.

    Args:
        name: for people, in errors.
        command: absolute path of the program, and its arguments.
        log: where its standard error goes.
        output: where its standard output goes.
        env: variables added to ours.
    """

    name: str
    command: Sequence[str]
    log: Path
    output: Path
    env: Mapping[str, str] | None = None


class Child:
    """A running process. Leaving the `with` block ends it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        with plan.log.open("ab") as log, plan.output.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - programs of our own environment
                [sys.executable, "-c", _LEASH, *plan.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env={**os.environ, **(plan.env or {})},
                # A group of its own: Ctrl-C in the terminal reaches us alone, and we stop the parts in order.
                start_new_session=True,
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.running:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end; return the exit code, or None where the time ran out first."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def stop(self) -> None:
        """End it: politely, then at once with all that it started."""
        self.send(signal.SIGTERM)
        if self.wait(_STOP_TIMEOUT_S) is None:
            self.send(signal.SIGKILL)
            self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # workers that outlived their supervisor

    def wait_until(self, ready: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until a probe says yes.

        Raises:
            NotStarted: the process ended, or the time ran out.
        """
        end = time.monotonic() + timeout_s
        while not ready():
            if not self.running:
                raise self._failed(f"ended with exit code {self._process.returncode}")
            if time.monotonic() > end:
                raise self._failed(f"was not ready after {timeout_s:g} s")
            time.sleep(0.02)

    def _failed(self, how: str) -> NotStarted:
        return NotStarted(f"{self.plan.name} {how}; its log is {self.plan.log}", tail(self.plan.log))


def program(name: str) -> str:
    """Return the path of a command that is installed in our own environment.

    Raises:
        NotStarted: it is not there.
    """
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise NotStarted(f"the command `{name}` is not in {path.parent}; run `make demo`, which installs it")
    return str(path)


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a file; "" where there is none."""
    if not log.is_file():
        return ""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """Return a port on the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def http_get(port: int, path: str, timeout_s: float = 2.0) -> tuple[int, bytes] | None:
    """Ask a server on the loopback; return status and body, or None where it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
