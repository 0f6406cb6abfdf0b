"""Attacks on records: what callers, other local users and whoever gets hold of the files may try."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from authz.config.settings import load
from authz.history import in_redis
from authz.history.following import Following
from authz.history.line import Chunk
from authz.model.errors import ConfigError, NotStarted
from authz.model.sink import parse_sink
from authz.record.chain import NOTHING, digest
from authz.record.notice import Why, gap_line
from authz.record.numbers import Numbers
from authz.record.queue import RecordQueue
from authz.record.redact import check_header_names, check_hidden_headers, header_values
from authz.record.segment import HEAD, HEAD_SLOTS, decode_head, encode_block, segment_name
from authz.record.spool import SpoolWriter, make_private
from authz.record.waiting import is_allow
from authz.shipping.carrier import Carrier
from authz.shipping.delivery import Batch
from authz.shipping.housekeeping import Housekeeper
from authz.shipping.positions import DIRECTORY, Position, Positions
from authz.shipping.reader import Reader
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream
from authz.shipping.tally import gaps_in
from authz.wiring.lives import Lives
from authz.wiring.shipping import Shipping
from tests.contract.test_records_shipped import Scene
from tests.support.chains import SIDECAR, STREAM, chained, decision, decisions, look
from tests.support.shipper import ShipperProcess, errand, until
from tests.support.spool import StreamWriter

_ID = "01a2043b-aabe-77e7-96c4-0bc73c9bc3e5"
_OTHER = "01a2043b-aabe-77e7-96c4-0bc73c9bc3e6"


# --- fields that have a name of ours


def line(**fields: object) -> bytes:
    first = {"v": 1, "time": "2026-11-23T05:00:00.000001Z", "decision_id": _ID, "outcome": "deny"}
    return msgspec.json.encode({**first, **fields}) + b"\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"identity": {"labels": {"outcome": "allow"}}},
        {"request": {"headers": {"outcome": "allow", "x": '"outcome":"allow"'}}},
    ],
)
def test_no_label_and_no_header_makes_a_refusal_an_allow(fields: dict[str, object]) -> None:
    assert not is_allow(line(**fields))
    assert is_allow(line(**{**fields, "outcome": "allow"}))


def test_nobody_s_header_is_found_in_place_of_a_decision() -> None:
    queue = RecordQueue(None, 10)
    theirs = line(decision_id=_OTHER, padding="x" * 200, request={"headers": {"decision_id": _ID}})
    queue.put([line(), theirs])
    assert queue.find(_ID) == line()
    assert queue.find(_OTHER) == theirs


# --- headers that an operator lists, and should not


@pytest.mark.parametrize(
    "name",
    [
        "X-Autorization", "x-authentification", "x-jws", "X_JWE", "x-paseto", "macaroons", "x-sas",
        "x.id.tok", "x-access-code", "x-verification-code", "X-Auth0", "x-sso", "x-puk", "userpwd",
        "x-dbpass", "BasicAuth", "xauth", "x-postdata",
    ],
)  # fmt: skip
def test_no_spelling_of_a_credential_is_recorded(name: str) -> None:
    with pytest.raises(ConfigError, match="is never recorded"):
        check_header_names([name])


@pytest.mark.parametrize("name", ["user-agent", "x-author", "authority", "x-zip", "x-shipping"])
def test_other_names_are_nobody_s_business(name: str) -> None:
    check_header_names([name])
    check_hidden_headers([name], ["client_address"])


@pytest.mark.parametrize(
    "name",
    [
        "cf-pseudo-ipv4", "x-azure-socketip", "x-originating-ip", "x-ip", "x-ipaddress", "cdn-src-ip",
        "visitor_ip", "x-nf-client-connection-ip", "x-vercel-proxied-for", "x-forwarded-for-original",
        "geoip", "x-ip-addr",
    ],
)  # fmt: skip
def test_no_header_tells_an_address_that_is_hidden(name: str) -> None:
    with pytest.raises(ConfigError, match="record_pseudonyms hides"):
        check_hidden_headers([name], ["client_address"])
    check_hidden_headers([name], ["customer"])


@pytest.mark.parametrize(
    "value",
    [b"https://me:hunter2@h/x", b"//hunter2@h", b"see http://a/ and ftp://x:hunter2@h", b"http://h?hunter2"],
)
def test_no_password_in_an_address_is_recorded(value: bytes) -> None:
    assert "hunter2" not in header_values({"x-link": value}, ("x-link",))["x-link"]
    assert header_values({"from": b"a@b.example"}, ("from",)) == {"from": "a@b.example"}


# --- a spool that somebody prepared


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_directory_of_everybody_is_not_closed_to_them(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(PermissionError):
        make_private(shared)
    assert shared.stat().st_mode & 0o7777 == 0o1777
    with pytest.raises(ConfigError, match="name a directory that this user alone may use"):
        SpoolWriter(shared, Numbers("0" * 16, "s"), 1 << 20).open()


def test_records_that_another_user_left_are_not_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ours := StreamWriter(tmp_path)).kill()
    spool, found = Spool(tmp_path), list[str]()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    spool.find(lambda stream: found.append(stream.name))
    assert found == []
    monkeypatch.undo()
    spool = Spool(tmp_path)
    spool.find(lambda stream: found.append(stream.name))
    assert found == [ours.name]


def test_a_stream_that_was_removed_and_begun_anew_is_found_however_late_that_is(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path)
    os.utime(tmp_path, (1, 1))  # nothing came or went lately
    spool, found = Spool(tmp_path), list[str]()
    for _ in range(2):
        spool.find(lambda stream: found.append(stream.name))
    assert found == [writer.name]
    spool.forget(writer.name)  # its directory was taken away, and is there again since before we looked last
    spool.find(lambda stream: found.append(stream.name))
    assert found == [writer.name] * 2
    writer.kill()


def test_nothing_is_written_or_deleted_through_a_link_in_the_place_of_positions(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "important").write_text("x")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / DIRECTORY).symlink_to(theirs)
    with pytest.raises(NotADirectoryError):
        Spool(tmp_path / "spool").claim(0.0)
    assert names(theirs) == ["important"]


def test_a_position_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("x")
    (tmp_path / "file.tmp").symlink_to(victim)
    positions = Positions(tmp_path / "file")
    positions.set("0" * 16, Position(7))
    assert not positions.save()
    assert victim.read_text() == "x"


def test_only_positions_are_taken_away_from_among_positions(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert spool.claim(0.0)
    Positions(spool.positions / "http-00000000", "http://gone/").save()
    (spool.positions / "important").write_text("x")
    (spool.positions / "settings.json").write_text('{"a": 1}')
    keeper = Housekeeper(spool, None)
    keeper.remember([])
    keeper.round()
    spool.close()
    assert names(spool.positions) == [".lock", "important", "settings.json"]


def test_positions_are_kept_again_after_their_directory_was_removed(tmp_path: Path) -> None:
    positions = Positions(tmp_path / DIRECTORY / "file")
    positions.set("0" * 16, Position(7))
    assert positions.save()
    assert Positions(tmp_path / DIRECTORY / "file").saved["0" * 16].done == 7
    assert (tmp_path / DIRECTORY).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("done", [4, 1 << 63, 1 << 64, -5])
@pytest.mark.parametrize("end", [False, True])
def test_a_position_that_claims_what_never_was_loses_nothing(tmp_path: Path, done: int, end: bool) -> None:
    writer = StreamWriter(tmp_path / "spool")
    lines = writer.write(3)
    writer.close()
    (tmp_path / "spool" / DIRECTORY).mkdir()
    positions = Positions(tmp_path / "spool" / DIRECTORY / "file")
    positions.set(writer.name, Position(done, end=end))
    positions.save()
    spool = Spool(tmp_path / "spool")
    keeper = Housekeeper(spool, None)
    sink = Kept()
    carrier = Carrier(sink, Positions(tmp_path / "spool" / DIRECTORY / "file"), spool, keeper.passed)
    keeper.carriers = [carrier]
    keeper.round()
    carrier.step()
    assert sink.lines == lines
    carrier.close()


class Kept:
    """A sink that keeps what it gets."""

    name, batch_bytes = "kept", 1 << 20

    def __init__(self) -> None:
        self.lines = b""

    def deliver(self, batch: Batch) -> None:
        self.lines += batch.lines

    def reopen(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("head", [(1 << 64) - 1, 1 << 63, 10**15])
def test_a_head_that_claims_too_much_is_a_head_that_says_nothing(tmp_path: Path, head: int) -> None:
    writer = StreamWriter(tmp_path)
    writer.write(3)
    (writer.path / "head").write_bytes(HEAD.pack(head, *[0] * HEAD_SLOTS))
    writer.kill()
    stream = Stream(writer.path)
    stream.look()
    taken = Reader(stream, 0).take(1 << 20)
    assert taken is not None
    assert (taken.last_seq, taken.gaps) == (3, ((Why.KILLED, -1),))


@pytest.mark.parametrize("seqs", [((1 << 64) - 2, (1 << 64) - 1), (1 << 48, 1 << 48), (100, 6)])
def test_a_block_of_numbers_that_cannot_be_is_none(seqs: tuple[int, int]) -> None:
    assert decode_head(encode_block(b"{}\n", 1, *seqs, 0)) is None


@pytest.mark.parametrize("time_us", [-(1 << 63), -1, (1 << 63) - 1])
def test_no_time_of_a_block_stops_whoever_ships_it(tmp_path: Path, time_us: int) -> None:
    writer = StreamWriter(tmp_path)
    writer.append(encode_block(b'{"v":1,"seq":3}\n', 1, 3, 3, time_us), 3)
    writer.last_seq = 3
    writer.note(3)
    writer.kill()
    stream = Stream(writer.path)
    stream.look()
    taken = Reader(stream, 0).take(1 << 20)
    assert taken is not None
    assert taken.gaps == ((Why.DAMAGED, 2),)


@pytest.mark.parametrize("rest", [b",,}", b"}", b',"count":"x"}', b',"count":-9}', b',"why":"\xff"}', b""])
def test_a_gap_that_is_not_as_we_write_them_stops_nobody(rest: bytes) -> None:
    (gap,) = gaps_in(b'{"v":1,"kind":"gap"' + rest + b"\n")
    assert max(0, gap.count) == 0


# --- a history that somebody rewrote


def linked(lines: Sequence[bytes], prev: str = NOTHING) -> list[bytes]:
    """Link lines as whoever has no key can."""
    out: list[bytes] = []
    for one in lines:
        out.append(one.rstrip(b"\n")[:-1] + b',"prev":"' + prev.encode() + b'"}')
        prev = digest(out[-1]).decode()
    return out


GENUINE = chained(decisions(1, 20))
_NO_STREAM = b'{"v":1,"time":"2026-11-23T05:00:00.000001Z","decision_id":"x","outcome":"allow"%b}'


@pytest.mark.parametrize(
    "forged",
    [
        linked(decisions(1, 5)),
        linked(decisions(21, 22)),
        linked(decisions(1, 5), prev="B" * 43),
        [decision(21)],
        [decision(1)],
        [gap_line(SIDECAR, STREAM, 21, 90, 5, Why.KILLED, 0)],
        [_NO_STREAM % b""],
        [_NO_STREAM % b',"stream":"%b"' % STREAM.encode()],
        [_NO_STREAM % b',"seq":21,"stream":"%b"' % (b"0" * 65)],
        [_NO_STREAM % b',"seq":21,"kind":"other","stream":"%b"' % STREAM.encode()],
    ],
)
def test_nothing_can_be_put_before_or_behind_a_chain(forged: list[bytes]) -> None:
    assert look(GENUINE).sound
    assert not look([*forged, *GENUINE]).sound
    assert not look([*GENUINE, *forged]).sound


@pytest.mark.parametrize(
    "trick",
    [
        lambda one: one[:-1] + b',"outcome":"allow"}',
        lambda one: one + b" ",
        lambda one: one + b"\r",
        lambda one: one.replace(b'"seq":7', b'"seq":7.0'),
        lambda one: one.replace(b'"seq":7', b'"\\u0073eq":7'),
        lambda one: one.replace(b'"deny"', b'"d\\u0065ny"'),
        lambda one: b'{"x":' + b"[" * 9 + b"]" * 9 + b"," + one[1:],
        lambda one: one.replace(b'"seq":7', b'"seq":7e999'),
    ],
)
def test_no_other_spelling_of_a_record_passes_for_it(trick: object) -> None:
    assert callable(trick)
    at = next(at for at, one in enumerate(GENUINE) if b'"seq":7,' in one and b"checkpoint" not in one)
    assert not look([*GENUINE[:at], trick(GENUINE[at]), *GENUINE[at + 1 :]]).sound


# --- a file that is followed, and becomes something else


def test_a_file_that_is_no_file_any_more_is_waited_for(tmp_path: Path) -> None:
    path, record = tmp_path / "records", line()
    path.write_bytes(b"")
    following = Following(path, os.open(path, os.O_RDONLY), 0)
    path.unlink()
    os.mkfifo(path)
    assert list(following.poll()) == []
    path.unlink()
    path.mkdir()
    assert list(following.poll()) == []
    path.rmdir()
    path.write_bytes(record)
    assert [item.data for item in following.poll() if isinstance(item, Chunk)] == [record]
    following.close()


# --- a Redis that lies to whoever reads records


class Liar:
    """A client whose server always answers the same."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def xlen(self, _: str) -> int:
        return 5

    def xrange(self, *_: object) -> object:
        return self._answer

    xrevrange = xread = xrange


@pytest.mark.parametrize("way", ["read", "read_back"])
@pytest.mark.parametrize(
    "entry",
    [(b"5-0", {}), (b"zzz", {}), (b"5--7", {}), (b"5-" + b"9" * 5000, {}), (None, {})],
)  # fmt: skip
def test_a_redis_that_lies_is_told_of_in_one_line(
    monkeypatch: pytest.MonkeyPatch, way: str, entry: object
) -> None:
    monkeypatch.setattr(in_redis, "_client", lambda *_: Liar([entry]))
    source = in_redis.RedisSource(parse_sink("redis://127.0.0.1/0/decisions"), in_redis.Secrets())
    with pytest.raises(ConfigError, match="it answers what no Redis would"):
        list(getattr(source, way)())


# --- real processes


def test_a_segment_that_everybody_has_goes_once_another_is_begun_that_stays_empty(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path / "spool")
    writer.write(5)
    with ShipperProcess(errand(tmp_path / "spool", f"file:{tmp_path}/out.jsonl")) as shipper:
        until(lambda: shipper.said.drained and (tmp_path / "out.jsonl").exists())
        (writer.path / segment_name(6)).touch()  # the disk is full, and this one is all that keeps it full
        until(lambda: [path.name for path in writer.segments()] == [segment_name(6)])
    writer.kill()


def test_a_spool_that_somebody_else_prepared_ends_the_start_before_anybody_is_answered(
    tmp_path: Path,
) -> None:
    (tmp_path / "spool").write_text("x")
    scene = Scene(tmp_path, f"file:{tmp_path}/records.jsonl")
    with pytest.raises(NotStarted, match="exit code 3"), scene.started():
        raise AssertionError("it was ready")
    assert "record_spool: " in (tmp_path / "log").read_text()


def test_what_is_left_is_shipped_at_the_end_even_while_the_next_shipper_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lives, "died", lambda *_: 60.0)  # as of one that somebody kills again and again
    environ = {
        "AUTHZ_RECORD_SINK": f"file:{tmp_path}/out.jsonl",
        "AUTHZ_RECORD_SPOOL": str(tmp_path / "spool"),
        "AUTHZ_RECORD_DRAIN_S": "10",
    }
    shipping = Shipping(load({"policies": [tmp_path]}, environ))
    shipping.start()
    until(lambda: shipping.samples()["authz_shipper_up"] == [((), 1.0)])
    (child,) = children(os.getpid())
    os.kill(child, signal.SIGKILL)
    until(lambda: shipping.samples()["authz_shipper_restarts_total"] == [((), 1)])
    writer = StreamWriter(tmp_path / "spool")
    lines = writer.write(20)
    writer.close()
    shipping.close()
    assert (tmp_path / "out.jsonl").read_bytes() == lines


def children(pid: int) -> list[int]:
    """Return the shippers that a process started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [one for one in found if b"authz.shipping.main" in Path(f"/proc/{one}/cmdline").read_bytes()]
