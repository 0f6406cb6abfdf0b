"""What answers at `REDIS_URL` is not well, or no Redis, or lies. What becomes of checks is stated row by row.

Real sidecars. A row begins with everything well, plays its fault on the connection that is there and on each
that is made meanwhile, and ends when checks are spent in Redis again. The outcomes are those of
tests/support/limited.py. Whatever the row: a rule without limits answers 200, no check reaches its
deadline, nothing crashes, what is logged is a few lines and not one for each check, and memory stays where it
was.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from authz.proxy.stage import short_directory
from tests.support.hostile_redis import WELL, HostileRedis, Line, Play, hostile_redis, passes_on
from tests.support.limited import (
    ALONE,
    BURST,
    EITHER,
    GRANTED,
    KEPT,
    REFUSED,
    Site,
    judge,
    judge_outputs,
    limited,
)
from tests.support.redis import redis_server

_SIDECARS = 4
_GROWN_MIB_MAX = 24.0
_DRIP_S = 0.05  # between bytes; no answer has less than eight, and all of them have 0.3 s


class Row(NamedTuple):
    """A fault, and what becomes of checks while it lasts."""

    name: str
    play: Play
    outcome: str


# --- what may be played


def always(data: bytes) -> Play:
    """The same answer to everything, whatever is asked."""
    return Play(lambda line, _: line.send(data))


def spending(data: bytes) -> Play:
    """The same answer to every spending of a check; else a Redis, which proves that it is well."""

    def answer(line: Line, command: list[bytes]) -> None:
        line.send(data if _spends(command) else line.real(command))

    return Play(answer)


def _spends(command: list[bytes]) -> bool:
    return command[0].upper() == b"EVALSHA" and not command[3].endswith((b":proof", b":fleet"))


def greeting(data: bytes) -> Play:
    """A server that speaks first, and understands nothing."""

    def hold(line: Line, _: object = None) -> None:
        line.hold()

    def greet(line: Line) -> None:
        line.send(data)
        line.hold()

    return Play(hold, greet)


def _silence(line: Line, _: list[bytes]) -> None:
    line.hold()


def _dripping(line: Line, command: list[bytes]) -> None:
    for byte in line.real(command):
        line.send(bytes([byte]))
        time.sleep(_DRIP_S)


def _pieces(line: Line, command: list[bytes]) -> None:
    """In as many pieces as there are bytes, one after the other."""
    for byte in line.real(command):
        line.send(bytes([byte]))


def _half(line: Line, command: list[bytes]) -> None:
    data = line.real(command)
    line.send(data[: len(data) // 2])
    line.hold()


def _endless(head: bytes, chunk: bytes) -> Play:
    def stream(line: Line, _: object = None) -> None:
        line.send(head)
        while not line.ended.is_set():
            line.send(chunk)

    return Play(stream)


def _hangs_up_after(line: Line, command: list[bytes]) -> None:
    line.send(line.real(command))
    raise OSError


def _hangs_up(line: Line, command: list[bytes]) -> None:
    raise OSError


def _twice(line: Line, command: list[bytes]) -> None:
    data = line.real(command)
    line.send(data * 2 if _spends(command) else data)


def _forgets_once_more(line: Line, command: list[bytes]) -> None:
    """Says that it loaded the script, and knows none."""
    if command[:2] == [b"SCRIPT", b"LOAD"]:
        passes_on(line, command)
    else:
        line.send(b"-NOSCRIPT No matching script. Please use EVAL.\r\n")


def _reply(*numbers: int) -> bytes:
    return b"*%d\r\n" % len(numbers) + b"".join(b":%d\r\n" % number for number in numbers)


def _fleet(size: int) -> Play:
    def answer(line: Line, command: list[bytes]) -> None:
        data = line.real(command)
        line.send(_reply(size, 0) if command[0] == b"EVALSHA" and command[3].endswith(b":fleet") else data)

    return Play(answer)


TOKEN = 1 << 20  # quanta
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nno\n"

ERRORS = {
    "NOSCRIPT": b"-NOSCRIPT No matching script. Please use EVAL.",
    "READONLY": b"-READONLY You can't write against a read only replica.",
    "LOADING": b"-LOADING Redis is loading the dataset in memory",
    "OOM": b"-OOM command not allowed when used memory > 'maxmemory'.",
    "MOVED": b"-MOVED 3999 127.0.0.1:6381",
    "MOVED without an address": b"-MOVED",
    "ASK": b"-ASK 3999 127.0.0.1:6381",
    "NOPERM": b"-NOPERM this user has no permissions to run the 'evalsha' command",
    "NOAUTH": b"-NOAUTH Authentication required.",
    "BUSY": b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MISCONF": b"-MISCONF Redis is configured to save RDB snapshots, but it cannot",
    "CLUSTERDOWN": b"-CLUSTERDOWN Hash slot not served",
    "TRYAGAIN": b"-TRYAGAIN Multiple keys request during rehashing of slot",
    "WRONGTYPE": b"-WRONGTYPE Operation against a key holding the wrong kind of value",
    "ERR": b"-ERR Error running script (call to f_0): @user_script:1: out of luck",
    "an error of nobody's": b"-\x1b[2J\xff\xfe who knows",
    "an error without words": b"-",
    "an error of half a megabyte": b"-ERR " + b"x" * 500_000,
}
NO_REDIS = {
    "garbage": always(bytes(range(128, 256)) * 8 + b"\r\n"),
    "an HTTP server": always(HTTP),
    "an HTTP server that speaks first": greeting(HTTP),
    "an SSH server": greeting(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "a mail server": greeting(b"220 mail.example.com ESMTP\r\n"),
    "zeroes": always(b"\0" * 4096),
    "a TLS alert": always(b"\x15\x03\x01\x00\x02\x02\x0a"),
}
SLOW = {
    "silence": Play(_silence),
    "half an answer and silence": Play(_half),
    "a byte now and then": Play(_dripping),
    "hangs up at once": Play(_hangs_up),
}
LARGE = {
    "a huge bulk length": always(b"$536870912\r\nabc"),
    "a huge bulk length without end": _endless(b"$536870912\r\n", b"x" * 65_536),
    "a line without end": _endless(b"+", b"x" * 65_536),
    "an error without end": _endless(b"-ERR ", b"x" * 65_536),
    "answers without end": _endless(b"", b":1\r\n" * 16_384),
    "a list without end": _endless(b"*999999\r\n", b":1\r\n" * 16_384),
    "empty lists without end": _endless(b"*999999\r\n", b"*0\r\n" * 16_384),
    "a list of a billion": always(b"*1000000000\r\n:1\r\n"),
    "lists in lists": always(b"*1\r\n" * 64 + b":1\r\n"),
    "long lists in long lists": always(b"*999999\r\n" * 8),
    "a negative length": always(b"*-7\r\n"),
    "a length that is none": always(b"*1x\r\n:1\r\n"),
    "a number that is too large": always(b"*2\r\n:1\r\n:99999999999999999999999\r\n"),
}
LIES = {
    "no numbers": _reply(),
    "one number": _reply(1),
    "three numbers": _reply(1, TOKEN, TOKEN),
    "five of one passed": _reply(5, TOKEN),
    "minus seven passed": _reply(-7, TOKEN),
    "passed, and owes less than nothing": _reply(1, -5),
    "passed, and owes beyond reason": _reply(1, 2**63 - 1),
    "refused, and owes beyond reason": _reply(0, 2**63 - 1),
    "refused, with room": _reply(0, 0),
    "cannot be read": _reply(-1, -1),
    "a list in the list": b"*2\r\n:1\r\n*1\r\n:1\r\n",
    "a text in the list": b"*2\r\n:1\r\n$7\r\n1048576\r\n",
    "nothing in the list": b"*2\r\n:1\r\n$-1\r\n",
    "an error in the list": b"*2\r\n:1\r\n-ERR no\r\n",
    "a number and no list": b":1\r\n",
    "a text": b"$2\r\nOK\r\n",
    "nothing": b"$-1\r\n",
    "no list": b"*-1\r\n",
    "halves": b"*2\r\n,0.5\r\n,1048576.5\r\n",
    "no number": b"*2\r\n:1\r\n,nan\r\n",
    "endless debt": b"*2\r\n:0\r\n,inf\r\n",
    "a map": b"%1\r\n:1\r\n:1048576\r\n",
}

ROWS = (
    *(Row(f"says {name}", always(line + b"\r\n"), ALONE) for name, line in ERRORS.items()),
    *(Row(name, play, ALONE) for name, play in {**NO_REDIS, **SLOW, **LARGE}.items()),
    *(Row(f"lies: {name}", spending(data), ALONE) for name, data in LIES.items()),
    Row("lies: no room", spending(_reply(0, BURST * TOKEN)), REFUSED),
    Row("lies: room", spending(_reply(1, TOKEN)), GRANTED),
    Row("forgets the script for ever", Play(_forgets_once_more), ALONE),
    Row("answers every question twice", Play(_twice), EITHER),
    Row("hangs up after each answer", Play(_hangs_up_after), EITHER),
    Row("answers byte by byte", Play(_pieces), KEPT),
    Row("counts a fleet beyond reason", _fleet(2**63 - 1), KEPT),
    Row("counts a fleet of less than none", _fleet(-3), KEPT),
)


# --- nodes of a Cluster


def _slots(*owners: tuple[str, int, int, int]) -> bytes:
    """CLUSTER SLOTS, of host, port, first and last slot of each."""
    entries = [
        b"*3\r\n:%d\r\n:%d\r\n*2\r\n$%d\r\n%s\r\n:%d\r\n" % (first, last, len(host), host.encode(), port)
        for host, port, first, last in owners
    ]
    return b"*%d\r\n" % len(entries) + b"".join(entries)


def _own(line: Line) -> tuple[str, int]:
    host, port = line.client.getsockname()
    return host, port


def a_node(line: Line, command: list[bytes]) -> None:
    """Be a Cluster of one."""
    if command[0] == b"CLUSTER":
        line.send(_slots((*_own(line), 0, 16_383)))
    else:
        passes_on(line, command)


def pointing(word: str, where: str = "") -> Play:
    """Send every spending elsewhere, or to itself again."""

    def answer(line: Line, command: list[bytes]) -> None:
        if _spends(command):
            host, port = _own(line)
            line.send(f"-{word} 1 {where or f'{host}:{port}'}\r\n".encode())
        else:
            a_node(line, command)

    return Play(answer)


def mapped(data: bytes) -> Play:
    """Be a node that sends every spending away, and then tells whatever of who has what."""

    def answer(line: Line, command: list[bytes]) -> None:
        if command[0] == b"CLUSTER":
            line.send(data)
        elif _spends(command):
            line.send(b"-MOVED 1 127.0.0.1:1\r\n")
        else:
            passes_on(line, command)

    return Play(answer)


_CROWD = [(f"127.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1, n, n) for n in range(2, 6000)]
NODES = (
    Row("MOVED in circles", pointing("MOVED"), ALONE),
    Row("ASK in circles", pointing("ASK"), ALONE),
    Row("MOVED to nobody", pointing("MOVED", "127.0.0.1:1"), ALONE),
    Row("MOVED to no address", pointing("MOVED", "nowhere"), ALONE),
    Row("MOVED to no port", pointing("MOVED", "127.0.0.1:99999"), ALONE),
    Row("a map of nothing", mapped(b"*0\r\n"), ALONE),
    Row("a map of garbage", mapped(b"*1\r\n*3\r\n:5\r\n:1\r\n$1\r\nx\r\n"), ALONE),
    Row("a map that is an error", mapped(b"-ERR This instance has cluster support disabled\r\n"), ALONE),
    Row("a map to no port", mapped(_slots(("127.0.0.1", 99_999, 0, 16_383))), ALONE),
    Row("a map to nobody", mapped(_slots(("127.0.0.1", 1, 0, 16_383))), ALONE),
    Row("a map of thousands", mapped(_slots(*_CROWD)), ALONE),
    Row("a node that is none", always(HTTP), ALONE),
    Row("a node that is silent", Play(_silence), ALONE),
    Row("a node that lies", spending(_reply(5, TOKEN)), ALONE),
)


# --- the sidecars


def _tried(server: HostileRedis, site: Site, row: Row) -> None:
    """Play a row from beginning to end."""
    case = f"row-{[*ROWS, *NODES].index(row)}"
    site.log()
    before_mib = site.mib()
    with server.playing(row.play):
        told = site.asked(case)
    grown_mib = site.mib() - before_mib
    site.wait_until_well()
    judge(row.outcome, told)
    judge_outputs(site, row.outcome, case)
    assert grown_mib < _GROWN_MIB_MAX


def _try_all(rows: Sequence[Row], behind: Path, scheme: str = "redis") -> dict[str, BaseException | None]:
    """Play rows one after the other, on a sidecar that is a fleet of one; return what was wrong with each."""
    home = short_directory()
    found: dict[str, BaseException | None] = {}
    with ExitStack() as stack:
        well = WELL if scheme == "redis" else Play(a_node)
        server = stack.enter_context(hostile_redis(behind, well))
        url = f"{scheme}://127.0.0.1:{server.port}"
        site = stack.enter_context(limited(home, REDIS_URL=url, AUTHZ_KEYSPACE=home.name))
        site.wait_until_well()
        for row in rows:
            found[row.name] = None
            try:
                _tried(server, site, row)
            except BaseException as error:  # noqa: BLE001 - the test of that row raises it
                found[row.name] = error
    shutil.rmtree(home)
    return found


@pytest.fixture(scope="module")
def wrong() -> Iterator[dict[str, BaseException | None]]:
    """All rows are played before the first is judged: most of their time is the patience of a sidecar."""
    with redis_server() as server, ThreadPoolExecutor(_SIDECARS + 1) as pool:
        parts = [pool.submit(_try_all, ROWS[at::_SIDECARS], server.socket) for at in range(_SIDECARS)]
        parts.append(pool.submit(_try_all, NODES, server.socket, "redis+cluster"))
        yield {name: error for part in parts for name, error in part.result().items()}


@pytest.mark.parametrize("row", [*ROWS, *NODES], ids=lambda row: row.name)
def test_what_answers_at_that_port_decides_nothing_but_what_is_stated(
    wrong: dict[str, BaseException | None], row: Row
) -> None:
    error = wrong[row.name]
    if error is not None:
        raise error
