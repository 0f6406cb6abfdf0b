from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz.shipping.carrier import Carrier
from authz.shipping.housekeeping import Housekeeper
from authz.shipping.positions import Position, Positions
from authz.shipping.spool import Spool
from authz.shipping.stream import GONE
from authz.shipping.thinning import Thinner
from tests.support.shipper import until
from tests.support.spool import StreamWriter, gaps, seqs
from tests.unit.shipping.test_carrier import Script


class House:
    """A spool, its housekeeper, and carriers without threads."""

    def __init__(self, root: Path, *names: str) -> None:
        self.now_s = 0.0
        self.spool = Spool(root)
        self.spool.positions.mkdir(exist_ok=True)
        self.keeper = Housekeeper(self.spool, Thinner(1 << 20, allows_first=True), clock=lambda: self.now_s)
        files = [self.spool.positions / name for name in names]
        self.keeper.remember(files)
        self.sinks = [Script() for _ in names]
        self.carriers = [
            Carrier(sink, Positions(path), self.spool, self.keeper.passed, clock=lambda: self.now_s)
            for sink, path in zip(self.sinks, files, strict=True)
        ]
        self.keeper.carriers = self.carriers

    def go_on(self, *carriers: int) -> None:
        """Look, have these sinks get everything, keep their positions, and look again."""
        self.now_s += 1.0
        self.keeper.round()
        for which in carriers:
            for _ in range(2):
                while self.carriers[which].step() is not None:
                    pass
                self.now_s += 1.0
        self.keeper.round()


def test_a_segment_goes_when_every_sink_has_it(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path, segment_bytes=100)
    for _ in range(3):
        writer.write(2)
    house = House(tmp_path, "one", "two")
    house.go_on(0)
    assert len(writer.segments()) == 3
    house.go_on(1)
    assert [path.name for path in writer.segments()] == ["0000000000000005.seg"]


def test_a_stream_goes_when_it_is_over_and_every_sink_has_it(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path)
    writer.write(2)
    house = House(tmp_path, "one", "two")
    house.go_on(0, 1)
    writer.close()
    house.go_on(0)
    assert writer.path.exists()
    house.go_on(1)
    assert not writer.path.exists()
    assert not house.spool.streams
    assert house.carriers[0].positions.get(writer.name) is None


def test_somebody_elses_directory_in_a_stream_stops_nothing(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path)
    writer.write(2)
    (writer.path / "theirs").mkdir()
    writer.close()
    house = House(tmp_path, "one")
    house.go_on(0)
    assert not writer.path.exists()
    assert (tmp_path / f"{writer.name}{GONE}" / "theirs").is_dir()


def test_what_a_killed_one_was_taking_away_is_gone_after_the_next_start(tmp_path: Path) -> None:
    gone = tmp_path / f"{'1' * 16}{GONE}"
    gone.mkdir()
    (gone / "head").write_bytes(b"x")
    House(tmp_path, "one").keeper.round()
    assert not gone.exists()


def test_a_new_sink_begins_with_what_there_is_and_says_of_no_gap(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path, segment_bytes=100)
    for _ in range(3):
        writer.write(2)
    house = House(tmp_path, "one")
    house.go_on(0)
    for names in (("one", "two"), ("three",)):
        later = House(tmp_path, *names)
        later.go_on(*range(len(later.sinks)))
        assert seqs(later.sinks[-1].lines) == [5, 6]
        assert gaps(later.sinks[-1].lines) == []
    assert sorted(path.name for path in (tmp_path / "positions").iterdir()) == ["three"]


def test_what_nobody_ever_had_is_a_gap_for_a_new_sink_too(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path, segment_bytes=100)
    for _ in range(2):
        writer.write(2)
    writer.segments()[0].unlink()
    house = House(tmp_path, "one")
    house.go_on(0)
    assert [gap["why"] for gap in gaps(house.sinks[0].lines)] == ["damaged"]


def test_positions_of_streams_that_are_no_more_are_forgotten(tmp_path: Path) -> None:
    house = House(tmp_path, "one")
    house.carriers[0].positions.set("9" * 16, Position(5))
    house.keeper.round()
    assert house.carriers[0].positions.get("9" * 16) is None


def test_a_stream_that_its_writer_begins_anew_is_shipped_on(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path)
    writer.write(2)
    house = House(tmp_path, "one")
    house.go_on(0)
    shutil.rmtree(writer.path)
    again = StreamWriter(tmp_path, writer.name)
    again.skip(2)
    again.write(1)
    house.spool.streams[writer.name].alive = False  # seen in between
    house.spool.version += 1
    house.go_on(0)
    assert again.path.exists()
    house.go_on(0)
    house.go_on(0)
    assert seqs(house.sinks[0].lines)[-1] == 3


def test_links_and_other_names_are_no_streams(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    spool = tmp_path / "spool"
    spool.mkdir()
    (spool / ("1" * 16)).symlink_to(outside)
    (spool / ("2" * 16)).write_text("a file")
    (spool / "notes").mkdir()
    house = House(spool, "one")
    house.go_on(0)
    assert house.sinks[0].lines == b""
    assert outside.exists()


def test_its_thread_looks_by_itself_and_wakes_carriers(tmp_path: Path) -> None:
    house = House(tmp_path, "one")
    house.keeper._clock = lambda: house.now_s
    house.keeper.start()
    try:
        until(lambda: house.keeper.rounds > 1)
        house.carriers[0].more.clear()
        house.now_s += 1.0
        StreamWriter(tmp_path).write(1)
        house.keeper.look_now()
        until(house.carriers[0].more.is_set)
        assert house.keeper.alive
    finally:
        house.keeper.stop()
    assert not house.keeper.alive


def test_a_disk_that_refuses_is_complained_of_once(tmp_path: Path) -> None:
    house = House(tmp_path, "one")
    rounds = [0]

    def refused() -> None:
        rounds[0] += 1
        house.keeper._wake.set()
        raise OSError(5, "Input/output error")

    house.keeper.round = refused  # type: ignore[method-assign]  # a disk that breaks
    with capture_logs() as logs:
        house.keeper.start()
        until(lambda: rounds[0] > 2)
        house.keeper.stop()
    assert len(logs) == 1


@pytest.mark.parametrize(("share", "patient"), [(0.95, True), (1.5, False)])
def test_what_waited_for_a_start_is_offered_before_it_is_given_up(
    tmp_path: Path, share: float, patient: bool
) -> None:
    """A sink was away until we were started anew, and takes everything now; but no writer waits for it."""
    writer = StreamWriter(tmp_path, segment_bytes=2000)
    for _ in range(20):
        writer.write(8, size=50)

    def stand() -> list[bytes]:
        return [path.read_bytes() for path in writer.segments()]

    whole, now_s = stand(), [0.0]
    thinner = Thinner(int(sum(map(len, whole)) / share), allows_first=True)
    house = House(tmp_path, "one")
    keeper = Housekeeper(house.spool, thinner, clock=lambda: now_s[0], grace_s=3.0)
    keeper.carriers = house.carriers
    keeper.round()
    assert (stand() == whole) is patient
    now_s[0] = 3.0
    keeper.round()
    assert stand() != whole
