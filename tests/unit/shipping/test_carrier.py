from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz.record.notice import Why
from authz.shipping.carrier import COMPANY_S, NO_TIP, Carrier
from authz.shipping.delivery import Batch, Refused, Unavailable
from authz.shipping.positions import Positions
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream
from tests.support.spool import StreamWriter, gaps, seqs

Step = Callable[[Batch], None]


class Script:
    """A sink that does what a list says for each batch, then takes all."""

    name = "script"

    def __init__(self, batch_bytes: int = 1 << 20) -> None:
        self.batch_bytes = batch_bytes
        self.steps: list[Exception | None] = []
        self.refuses: set[int] = set()
        self.batches: list[Batch] = []
        self.tries: list[Batch] = []
        self.closed = False

    def deliver(self, batch: Batch) -> None:
        self.tries.append(batch)
        step = self.steps.pop(0) if self.steps else None
        if step is not None:
            raise step
        if self.refuses & set(seqs(batch.lines)):
            raise Refused("not to its liking")
        self.batches.append(batch)

    def reopen(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    @property
    def lines(self) -> bytes:
        return b"".join(batch.lines for batch in self.batches)


class Scene:
    """A spool, and a carrier of one sink."""

    def __init__(self, root: Path, batch_bytes: int = 1 << 20, make_chain: object = None) -> None:
        self.root = root
        self.now_s = 0.0
        self.sink = Script(batch_bytes)
        self.passed: list[str] = []
        self.make_chain = make_chain
        self.spool = Spool(root)
        self.spool.positions.mkdir(exist_ok=True)
        self.carrier = self.begin()

    def begin(self) -> Carrier:
        self.carrier = Carrier(
            self.sink,
            Positions(self.spool.positions / "script"),
            self.spool,
            self.passed.append,
            self.make_chain,  # type: ignore[arg-type]  # a stand-in
            clock=lambda: self.now_s,
            chance=lambda _, most: most,
        )
        return self.carrier

    def look(self) -> None:
        self.spool.find(lambda _: None)
        self.spool.look()

    def ship(self) -> list[float]:
        """Go on until nothing is left; return how long each step asked to wait."""
        self.look()
        waits = []
        while (wait_s := self.carrier.step()) is not None:
            waits.append(wait_s)
            assert len(waits) < 1000
        return waits


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_what_is_written_arrives_as_it_was_written(scene: Scene) -> None:
    writer = StreamWriter(scene.root)
    written = writer.write(3)
    assert scene.ship() == [COMPANY_S]
    (batch,) = scene.sink.batches
    assert (batch.stream, batch.lines, batch.records) == (writer.name, written, 3)
    assert (batch.first_seq, batch.last_seq) == (1, 3)
    assert scene.carrier.tally.written == 3


def test_a_large_batch_is_followed_by_the_next_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, batch_bytes=500)
    StreamWriter(scene.root).write(3)
    assert scene.ship() == [0.0]


def test_a_block_that_is_larger_than_a_batch_goes_in_pieces_that_cover_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path, batch_bytes=600)
    written = StreamWriter(scene.root).write(10)
    scene.ship()
    assert scene.sink.lines == written
    assert len(scene.sink.batches) > 2
    covered = [(batch.first_seq, batch.last_seq) for batch in scene.sink.batches]
    assert covered[0][0] == 1
    assert covered[-1][1] == 10
    assert all(after[0] == before[1] + 1 for before, after in pairwise(covered))
    assert all(len(batch.lines) <= 600 for batch in scene.sink.batches)


def test_streams_without_a_writer_go_first_and_the_oldest_before_all(scene: Scene) -> None:
    living = StreamWriter(scene.root, "1" * 16)
    younger, older = StreamWriter(scene.root, "3" * 16), StreamWriter(scene.root, "2" * 16)
    for writer in (living, younger, older):
        writer.write(1)
    younger.close()
    older.close()
    scene.ship()
    assert [batch.stream for batch in scene.sink.batches] == ["2" * 16, "3" * 16, "1" * 16]


def test_living_streams_take_turns(tmp_path: Path) -> None:
    scene = Scene(tmp_path, batch_bytes=200)
    writers = [StreamWriter(scene.root, name * 16) for name in "12"]
    for writer in writers:
        for _ in range(3):
            writer.write(2)
    scene.ship()
    streams = "".join(batch.stream[0] for batch in scene.sink.batches if batch.last_seq % 2 == 0)
    assert streams in ("121212", "212121")


def test_a_sink_that_is_away_is_offered_the_same_again_later_and_later(scene: Scene) -> None:
    written = StreamWriter(scene.root).write(2)
    scene.sink.steps = [
        Unavailable("down"),
        Unavailable("down"),
        Unavailable("down", 7.0),
        Unavailable("x", 999),
    ]
    with capture_logs() as logs:
        assert scene.ship() == [pytest.approx(0.2), pytest.approx(0.4), 7.0, 60.0, COMPANY_S]
    assert [batch.lines for batch in scene.sink.tries] == [written] * 5
    assert [log["event"] for log in logs] == ["a sink takes no records", "a sink takes records again"]
    assert scene.carrier.tally.errors == 4
    assert scene.carrier.tally.up


def test_a_wait_never_grows_beyond_half_a_minute(scene: Scene) -> None:
    StreamWriter(scene.root).write(1)
    scene.sink.steps = [Unavailable("down")] * 30
    assert max(scene.ship()) == 30.0


def test_a_bug_in_a_sink_is_an_outage_and_its_message_is_not_told(scene: Scene) -> None:
    written = StreamWriter(scene.root).write(1)
    scene.sink.steps = [ValueError("canary")]
    with capture_logs() as logs:
        scene.ship()
    assert scene.sink.lines == written
    assert "ValueError" in str(logs)
    assert "canary" not in str(logs)


def test_a_line_that_is_refused_is_given_up_and_the_others_arrive(scene: Scene) -> None:
    writer = StreamWriter(scene.root)
    writer.write(20)
    scene.sink.refuses = {7}
    scene.ship()
    assert seqs(scene.sink.lines) == [seq for seq in range(1, 21) if seq != 7]
    (gap,) = gaps(scene.sink.lines)
    assert (gap["first_seq"], gap["last_seq"], gap["count"], gap["why"]) == (7, 7, 1, "refused")
    assert gap["allows"] == 1
    assert (scene.carrier.tally.written, scene.carrier.tally.refused) == (19, 1)
    assert scene.carrier.tally.gaps == {Why.REFUSED: 1}
    arrived = scene.sink.lines.split(b"\n")
    assert b'"kind":"gap"' in arrived[6]


def test_a_sink_that_refuses_everything_is_an_outage_and_loses_nothing(scene: Scene) -> None:
    written = StreamWriter(scene.root).write(3)
    scene.sink.steps = [Refused("no")] * 9
    scene.ship()
    assert scene.sink.lines == written
    assert scene.carrier.tally.refused == 0
    assert scene.carrier.tally.errors > 0


def test_a_sink_that_takes_nothing_but_excuses_loses_records_slowly(scene: Scene) -> None:
    StreamWriter(scene.root).write(5)
    scene.sink.refuses = {1, 2, 3, 4, 5}
    waits = [wait_s for wait_s in scene.ship() if wait_s > COMPANY_S]
    assert waits == [pytest.approx(0.4), pytest.approx(0.8), pytest.approx(1.6), pytest.approx(3.2)]
    assert len(gaps(scene.sink.lines)) == 5


def test_a_gap_line_is_never_given_up(scene: Scene) -> None:
    StreamWriter(scene.root).write_gap(10)
    scene.sink.steps = [Refused("no")] * 5
    scene.ship()
    (gap,) = gaps(scene.sink.lines)
    assert gap["why"] == "queue_full"
    assert scene.carrier.tally.gaps == {"queue_full": 10}
    assert scene.carrier.tally.written == 0


def test_after_a_kill_everything_since_the_kept_positions_comes_again(scene: Scene) -> None:
    writer = StreamWriter(scene.root)
    writer.write(2)
    scene.ship()
    scene.now_s += 1.0
    scene.ship()  # kept
    writer.write(2)
    scene.ship()
    scene.begin()
    scene.ship()
    assert seqs(scene.sink.lines) == [1, 2, 3, 4, 3, 4]
    assert scene.sink.batches[1] == scene.sink.batches[2]


def test_what_may_have_arrived_unkept_is_told(scene: Scene) -> None:
    writer = StreamWriter(scene.root)
    writer.write(2)
    scene.ship()
    assert scene.carrier.uncertain(writer.name) == (0, 2)
    scene.now_s += 1.0
    scene.ship()
    assert scene.carrier.uncertain(writer.name) == (2, 2)
    scene.begin()
    assert scene.carrier.uncertain(writer.name) == (2, 2 + 8192), "an earlier life may have got further"
    assert scene.carrier.uncertain("f" * 16) == (0, 0)


def test_positions_are_kept_when_a_sink_goes_away(scene: Scene) -> None:
    writer = StreamWriter(scene.root)
    writer.write(2)
    scene.ship()
    assert not (kept := scene.carrier.positions.saved.get(writer.name)) or kept.done == 0
    writer.write(2)
    scene.look()
    scene.sink.steps = [Unavailable("away")]
    assert scene.carrier.step()
    assert scene.carrier.positions.saved[writer.name].done == 2


def test_positions_that_could_not_be_kept_are_kept_later_though_nothing_else_arrives(scene: Scene) -> None:
    writer = StreamWriter(scene.root)
    writer.write(2)
    (blocked := scene.root / "positions" / "script.tmp").mkdir()  # a disk without room, as root sees it
    scene.ship()
    scene.now_s += 1.0
    scene.ship()
    assert Positions(scene.root / "positions" / "script").get(writer.name) is None
    writer.write(2)
    scene.look()
    scene.sink.steps = [Unavailable("away"), Unavailable("away")]
    assert scene.carrier.step()
    blocked.rmdir()
    assert scene.carrier.step()
    position = Positions(scene.root / "positions" / "script").get(writer.name)
    assert position is not None
    assert position.done == 2


def test_positions_are_kept_before_too_much_may_have_arrived_beyond_them(tmp_path: Path) -> None:
    scene = Scene(tmp_path, batch_bytes=10_000)
    writer = StreamWriter(scene.root)
    for _ in range(10):
        writer.write(2000)
    scene.look()
    most = 0
    while scene.carrier.step() is not None:
        saved = scene.carrier.positions.saved[writer.name].done
        most = max(most, scene.sink.tries[-1].last_seq - saved)
    assert 2000 < most <= 8192


def test_whoever_ended_is_left_and_may_go(scene: Scene) -> None:
    writer = StreamWriter(scene.root)
    writer.write(1)
    writer.close()
    scene.ship()
    stream = scene.spool.streams[writer.name]
    assert scene.carrier.has_all(stream)
    scene.now_s += 1.0
    assert scene.carrier.step() is None
    assert writer.name in scene.passed
    assert scene.carrier.waiting_bytes() == 0


def test_what_a_sink_has_yet_to_get_is_counted(scene: Scene) -> None:
    writer = StreamWriter(scene.root, segment_bytes=100)
    for _ in range(3):
        writer.write(1)
    scene.look()
    total = scene.spool.bytes
    assert scene.carrier.waiting_bytes() == total
    scene.sink.steps = [Unavailable("down")]
    scene.carrier.step()
    assert 0 < scene.carrier.waiting_bytes() <= 2 * total
    scene.ship()
    assert scene.carrier.waiting_bytes() == 0


class Links:
    """A chain whose every line counts those before it."""

    def __init__(self, stream: Stream, after: str, state: str) -> None:
        self._count = int(state or 0)
        self._begun = after

    @property
    def state(self) -> str:
        return str(self._count)

    @property
    def tip(self) -> str:
        return f"tip{self._count}"

    def link(self, lines: bytes) -> bytes:
        linked = b""
        for line in lines.splitlines(keepends=True):
            self._count += 1
            linked += b"%d %b %b" % (self._count, self._begun.encode(), line)
        return linked

    def end(self) -> bytes:
        return b"end %d\n" % self._count


def chained(stream: Stream, after: str) -> Callable[[str], Links]:
    return lambda state: Links(stream, after, state)


def test_a_chain_goes_on_over_batches_kills_and_lines_that_are_given_up(tmp_path: Path) -> None:
    scene = Scene(tmp_path, make_chain=chained)
    writer = StreamWriter(scene.root)
    writer.write(4)
    scene.sink.refuses = {3}
    scene.ship()
    scene.now_s += 1.0
    scene.ship()
    scene.begin()
    writer.write(2)
    writer.close()
    scene.ship()
    lines = scene.sink.lines.splitlines()
    assert [line.split()[0] for line in lines] == [b"1", b"2", b"3", b"4", b"5", b"6", b"end"]
    assert b'"why":"refused"' in lines[2]
    assert lines[-1] == b"end 6"
    assert {line.split()[1] for line in lines[:-1]} == {NO_TIP.encode()}


def test_a_chain_begins_with_the_end_of_the_one_before_it_and_keeps_to_that(tmp_path: Path) -> None:
    scene = Scene(tmp_path, make_chain=chained)
    first = StreamWriter(scene.root, "1" * 16)
    first.write(2)
    first.close()
    scene.ship()
    second = StreamWriter(scene.root, "2" * 16)
    second.write(1)
    scene.ship()
    scene.begin()  # what arrived last was not kept: it comes again, the same
    scene.ship()
    assert scene.sink.batches[-1].lines == scene.sink.batches[-2].lines
    assert scene.sink.lines.splitlines()[-1].split()[1] == b"tip2"


def test_a_stream_without_a_line_has_no_chain_and_nothing_of_it_is_offered(tmp_path: Path) -> None:
    scene = Scene(tmp_path, make_chain=chained)
    StreamWriter(scene.root).close()
    scene.ship()
    assert scene.sink.tries == []
    assert scene.carrier.step() is None


def test_at_the_end_positions_are_kept_and_the_sink_is_closed(scene: Scene) -> None:
    writer = StreamWriter(scene.root)
    writer.write(1)
    scene.ship()
    scene.carrier.close()
    assert scene.sink.closed
    assert Positions(scene.spool.positions / "script").saved[writer.name].done == 1
