"""Whatever happens to a spool, its sinks and its shipper: each record arrives, or one gap line counts it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz.record.segment import encode_block
from authz.shipping.carrier import Carrier
from authz.shipping.delivery import Batch, Refused, Unavailable
from authz.shipping.housekeeping import Housekeeper
from authz.shipping.positions import Positions
from authz.shipping.spool import Spool
from authz.shipping.thinning import Thinner
from tests.support.spool import TIME_US, StreamWriter, flip, gaps, record, seqs, tear, zero

SPOOL_BYTES = 12_000
UNSAVED_MAX = 20
SEGMENT_BYTES = 2_000
STREAM_MS = 1_790_000_000_000


class Place:
    """A sink: what arrived there, and how it treats what comes."""

    batch_bytes = 3_000

    def __init__(self, name: str, dislikes: int) -> None:
        self.name = name
        self.arrived: dict[str, list[bytes]] = {}
        self.mood = "up"
        self._dislikes = dislikes  # it refuses every so many-th record

    def deliver(self, batch: Batch) -> None:
        if self.mood == "down":
            raise Unavailable("down")
        if any(seq % self._dislikes == 0 for seq in seqs(batch.lines)):
            raise Refused("disliked")
        self.arrived.setdefault(batch.stream, []).append(batch.lines)
        if self.mood == "mute":  # it has the batch, and its answer is lost
            raise Unavailable("no answer")

    def reopen(self) -> None: ...

    def close(self) -> None: ...

    def lines(self, stream: str) -> list[bytes]:
        """What arrived, each once."""
        return list(dict.fromkeys(b"".join(self.arrived.get(stream, [])).splitlines(keepends=True)))


class World:
    """Writers, a spool, and the objects of one shipper after another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now_s = 0.0
        self.places = (Place("one", 1_000_000), Place("two", 13))
        self.writers: list[StreamWriter] = []
        self.living: list[StreamWriter] = []
        self.damaged: set[str] = set()
        self.carriers: list[Carrier] = []
        self.begin_shipper()
        self.begin_writer()

    def begin_shipper(self) -> None:
        """Begin anew, as after a kill: nothing is closed or saved."""
        for carrier in self.carriers:
            carrier._route.close()  # its files: the system closes those of a process
        self.spool = Spool(self.root)
        self.spool.positions.mkdir(exist_ok=True)
        self.keeper = Housekeeper(
            self.spool, Thinner(SPOOL_BYTES, allows_first=True), clock=lambda: self.now_s
        )
        files = [self.spool.positions / place.name for place in self.places]
        self.keeper.remember(files)
        self.carriers = [
            Carrier(
                place,
                Positions(path, unsaved_max=UNSAVED_MAX),
                self.spool,
                self.keeper.passed,
                clock=lambda: self.now_s,
            )
            for place, path in zip(self.places, files, strict=True)
        ]
        self.keeper.carriers = self.carriers

    def begin_writer(self) -> None:
        if len(self.writers) < 5:
            name = f"{STREAM_MS + len(self.writers):011x}00000"
            writer = StreamWriter(self.root, name, segment_bytes=SEGMENT_BYTES)
            self.writers.append(writer)
            self.living.append(writer)

    def look(self) -> None:
        self.now_s += 0.3
        self.keeper.round()

    def step(self, which: int, count: int) -> None:
        for _ in range(count):
            self.now_s += 0.01
            if self.carriers[which].step() is None:
                return

    def finish(self) -> None:
        """Let everything come to its end."""
        for place in self.places:
            place.mood = "up"
        for writer in self.living:
            writer.close()
        for _ in range(500):
            self.look()
            for which in range(2):
                self.step(which, 200)
            if not self.spool.streams:
                return
        raise AssertionError("it never came to an end")


def check(world: World) -> None:
    for place in world.places:
        for writer in world.writers:
            lines = place.lines(writer.name)
            numbers = [seq for line in lines for seq in seqs(line)]
            assert numbers == sorted(set(numbers)), "in order, and the same to the byte when they come twice"
            declared = {
                (gap["first_seq"], gap["last_seq"], gap["why"]): gap["count"] for gap in gaps(b"".join(lines))
            }
            most = writer.last_seq + writer.promised
            missing = set(range(1, most + 1)) - set(numbers)
            for seq in missing:
                assert any(first <= seq <= last for first, last, _ in declared), (place.name, seq, declared)
            counted = sum(declared.values())
            if writer.name in world.damaged:  # after a kill it may be damaged that had arrived
                assert counted >= len(missing)
            else:
                assert counted == len(missing), (place.name, writer.name, declared, sorted(missing))
                assert {why for _, _, why in declared} <= {"queue_full", "spool_full", "killed", "refused"}


def _write(world: World, which: int, outcomes: list[str]) -> None:
    if world.living:
        world.living[which % len(world.living)].write_mixed(outcomes, size=60)


def _gap(world: World, which: int, count: int) -> None:
    if world.living:
        world.living[which % len(world.living)].write_gap(count)


def _turn(world: World, which: int) -> None:
    if world.living:
        world.living[which % len(world.living)].turn()


def _kill_writer(world: World, which: int, promised: int, torn: int) -> None:
    """End one in the middle of a block."""
    if world.living:
        writer = world.living.pop(which % len(world.living))
        first = writer.last_seq + 1
        block = encode_block(record(first, size=60, stream=writer.name), 1, first, first, TIME_US)
        writer.append(block[: min(torn, len(block) - 1)])
        writer.last_seq += 1
        writer.note(writer.last_seq, promised)
        writer.kill()


def _close_writer(world: World, which: int) -> None:
    if world.living:
        world.living.pop(which % len(world.living)).close()


def _mood(world: World, which: int, mood: str) -> None:
    world.places[which].mood = mood


def _damage(world: World, which: int, at: int, how: str) -> None:
    writer = world.writers[which % len(world.writers)]
    segments = [path for path in writer.segments() if path.stat().st_size]
    if not segments:
        return
    world.damaged.add(writer.name)
    path = segments[at % len(segments)]
    size = path.stat().st_size
    match how:
        case "flip":
            flip(path, at % size)
        case "zero":
            zero(path, at % size, min(500, size - at % size))
        case "tear":
            if path != segments[-1]:
                tear(path, at % size)
        case _:
            if path != segments[-1]:
                path.unlink()


class Action(NamedTuple):
    """Something that happens."""

    function: Callable[..., None]
    arguments: tuple[Any, ...]


WHICH = st.integers(0, 4)
OUTCOMES = st.lists(st.sampled_from(["allow", "allow", "allow", "deny"]), min_size=1, max_size=12)


def action(function: Callable[..., None], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Action]:
    """Return actions that call it with these."""
    return st.tuples(*arguments).map(lambda chosen: Action(function, chosen))


ACTIONS = st.one_of(
    action(_write, WHICH, OUTCOMES),
    action(_write, WHICH, OUTCOMES),
    action(_write, WHICH, st.lists(st.just("allow"), min_size=10, max_size=40)),
    action(_gap, WHICH, st.integers(1, 50)),
    action(_turn, WHICH),
    action(_kill_writer, WHICH, st.integers(0, 5), st.integers(0, 200)),
    action(_close_writer, WHICH),
    action(World.begin_writer),
    action(World.begin_shipper),
    action(World.look),
    action(World.look),
    action(World.step, st.integers(0, 1), st.integers(1, 6)),
    action(World.step, st.integers(0, 1), st.integers(1, 6)),
    action(_mood, st.integers(0, 1), st.sampled_from(["up", "down", "mute"])),
)
DAMAGES = action(_damage, WHICH, st.integers(0, 100_000), st.sampled_from(["flip", "zero", "tear", "unlink"]))

quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


def play(actions: list[Action]) -> None:
    with tempfile.TemporaryDirectory() as root:
        world = World(Path(root))
        for act in actions:
            act.function(world, *act.arguments)
        world.finish()
        check(world)


@quick
@given(st.lists(ACTIONS, min_size=5, max_size=60))
def test_each_record_arrives_or_is_counted_by_one_gap(actions: list[Action]) -> None:
    play(actions)


@quick
@given(st.lists(st.one_of(ACTIONS, ACTIONS, ACTIONS, DAMAGES), min_size=5, max_size=60))
def test_damage_is_declared_and_stops_nothing(actions: list[Action]) -> None:
    play(actions)


def test_what_arrived_and_was_not_kept_is_not_given_up_after_a_kill() -> None:
    play(
        [
            Action(_gap, (0, 20)),
            Action(_write, (0, ["allow"] * 3)),
            Action(World.look, ()),
            Action(World.step, (0, 1)),
            Action(_write, (0, ["allow"] * 3)),
            Action(_write, (0, ["allow"] * 40)),
            Action(World.begin_shipper, ()),
        ]
    )
