"""Replaces the snapshot in force by one assignment, and never by a broken one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from authz.config.log import place_of
from authz.config.rooms import SnapshotSettings
from authz.model.errors import Place, PolicyError
from authz.record.facts import AgeFacts
from authz.snapshot.assembly import Assembly, Outcome, no_gate
from authz.snapshot.build import Builder, Built, Surroundings
from authz.snapshot.memory import let_go, no_full_collection, tidy, tidy_again
from authz.snapshot.pace import Pace, yielding
from authz.snapshot.parts import OVERRIDES, PLATFORM, Faults, Files, Parts, Reading, alike
from authz.snapshot.scan import Watched
from authz.snapshot.snapshot import Snapshot, not_ready
from authz.snapshot.sources import Directories, Sources
from authz.snapshot.state import Former, State
from authz.snapshot.trial import Gate
from authz.wiring.brake import Brake
from authz.wiring.clock import SystemClock
from authz.wiring.inforce import InForce
from authz.wiring.news import overriding, tell_loaded
from authz.wiring.past import Past
from authz.wiring.rejections import Rejections

Note = Callable[[str, Mapping[str, str]], None]

_WHY_MAX = 1000  # characters of a reason that are recorded


class GivenUp(BaseException):
    """A load is over before its end. No Exception: whoever catches those goes on working."""


class Loader:
    """Loads the policy set, and keeps the one in force. One thread loads; any may ask.

    Args:
        gate: has the last word on a set that is valid.
        past: what earlier lives kept; default: nothing, nor is anything kept.
        note: told of what is in force from now on, or was refused, for the records.
    """

    def __init__(
        self,
        named: Directories,
        surroundings: Surroundings,
        clock: SystemClock,
        gate: Gate = no_gate,
        settings: SnapshotSettings | None = None,
        past: Past | None = None,
        note: Note = lambda event, about: None,
    ) -> None:
        self._named = named
        self._surroundings = surroundings
        self._sources = Sources(named, self.breathe, self._rest, lambda file: self._assembly.scope_of(file))
        self._gate = gate
        self._clock = clock
        self._assembly = Assembly(Builder(surroundings, self.breathe), self._ask)
        self._pace = Pace(clock.ticks_us)
        self._brake = Brake(named.overrides, clock.ticks_us, self._stop)
        self._rejections = Rejections(clustered=surroundings.clustered)
        self._active: Parts = {}
        self._former: Former | None = None  # what the set in force comes from, until that was told
        self._kept: Outcome | None = None  # what came of it, until something is in force
        self._last: Reading | None = None  # what was offered last; None: offer whatever is read
        self._began_us: int | None = None
        self._given_up = False
        self._record = note
        self.took_us = 0  # the last time that something was offered, reading included
        self.results: Counter[str] = Counter()
        self.past = past or Past(State(None, ""), clock, keeps=False)
        self.in_force = InForce(settings or SnapshotSettings(), clock, self._without)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot in force."""
        return self.in_force.snapshot

    def current(self) -> Snapshot:
        """Return the snapshot in force."""
        return self.in_force.snapshot

    def about(self) -> dict[str, str]:
        """Return what there is to know about the set in force, as fields of `/ready`."""
        told = {
            "rejected": self._rejections.problem,
            "from_state": ", ".join(sorted(self.past.resumed)),
            "overrides": overriding(self.in_force.snapshot),
            "stale": f"for {self.in_force.age_us() // 1_000_000} s" if self.in_force.stale else "",
        }
        return {name: text for name, text in told.items() if text}

    def facts(self) -> AgeFacts:
        """Return what metrics say of how the set in force stands to the directories."""
        age_s, past = self.in_force.age_us() / 1e6, self.past
        newer = self._rejections.newer
        refused = self._rejections.parts
        parts = {part: part in refused for part in (*self._active, *refused)}
        return AgeFacts(age_s, self.in_force.stale, len(past.resumed), newer, past.results, parts)

    def running_us(self) -> int:
        """Return for how long loading has been going on; 0 where it is not."""
        began_us = self._began_us
        return max(1, self._clock.ticks_us() - began_us) if began_us is not None else 0

    def moved(self) -> bool:
        """Whether files were touched since they were last read."""
        self._began_us = self._clock.ticks_us()  # a disk may hang
        try:
            moved = self._sources.moved()
        except Exception:  # noqa: BLE001 - then `load` says what is the matter
            return True
        finally:
            self._began_us = None
        if not moved:
            self._unchanged()
        return moved

    def load(
        self, seen: Callable[[Watched], object] = lambda _: None, *, every: bool = False, told: bool = False
    ) -> bool:
        """Read, and offer what is new; a set that is rejected changes nothing, and is told once.

        Args:
            seen: told what the reading depended on, before anything is made of it.
            every: trust no file's marks.
            told: somebody said that something changed, so it counts even where nothing did.

        Returns: whether there was something new.
        """
        self._began_us = began_us = self._clock.ticks_us()
        try:
            with yielding(), no_full_collection():
                new = self._load(seen, every=every)
        except GivenUp:
            raise
        except BaseException as error:  # noqa: BLE001 - SECURITY: no set, however odd, ends what is served
            self._last = None  # tried again at the next look
            what = f"loading crashed ({type(error).__name__} at {place_of(error)}): please report it"
            self._crashed({PLATFORM: (PolicyError(Place(str(self._named.policies[0])), what),)})
            new = True
        finally:
            self._began_us = None
            self.past.over()
        if new:
            self.took_us = self._clock.ticks_us() - began_us
        elif told:
            self.results["unchanged"] += 1
        return new

    def _load(self, seen: Callable[[Watched], object], *, every: bool) -> bool:
        self.past.recall()
        reading = self._sources.read(every=every)
        seen(self._sources.watched())
        if self._last is not None and alike(reading, self._last):
            self._unchanged()
            return False
        self._last = reading
        outcome = self._assembly.offer(reading, self._clock.wall_us())
        if self._resume(outcome):
            # SECURITY: only together with what is good of the directories: a key that was revoked there since
            # must not work again for as long as it takes to find out.
            outcome = self._or_kept(self._assembly.offer(reading, self._clock.wall_us()))
        self._take(outcome)
        return True

    def _or_kept(self, outcome: Outcome) -> Outcome:
        """Return what came of a load, with what was kept where nothing better came of it."""
        kept, self._kept = self._kept, None
        if kept is None or outcome.built is not None:
            return outcome
        return Outcome(kept.built, outcome.rejected, outcome.active or kept.active)

    def _take(self, outcome: Outcome) -> None:
        self._active = outcome.active
        if outcome.rejected:
            self._refused(outcome.rejected)  # first: what is stale must not be in force for a moment
        else:
            self._rejections.ended()
        if outcome.built is not None:
            self.results["accepted"] += 1
            self._put_in_force(outcome.built)
        if not self._rejections.concern_all:
            self.in_force.agree()
        self._note(outcome.rejected)

    def _put_in_force(self, built: Built) -> None:
        began_us = self._began_us
        tell_loaded(built, self._clock.ticks_us() - began_us if began_us is not None else 0)
        snapshot = built.snapshot
        del built  # the documents: more than half of what loading took
        if self.in_force.snapshot.ready:
            tidy_again()
        else:
            tidy()
        before = self.in_force.snapshot
        self.in_force.put(snapshot)
        self._record("policy_set_accepted", {"before": before.revision} if before.revision else {})
        lost = before.index.lost(snapshot.index)
        del before
        let_go(lost, self.breathe)

    def _refused(self, rejected: Faults) -> None:
        problem = self._rejections.tell(rejected, self._active)
        self.results["needs_newer" if self._rejections.newer else "rejected"] += 1
        self._record("policy_set_rejected", {"why": problem[:_WHY_MAX]})
        former, self._former = self._former, None
        if self._rejections.concern_all:
            self.in_force.differ(problem, self._clock.wall_us() - former.known_us if former else None)
        if former is not None:
            self.past.resume(former, rejected, problem)

    def _crashed(self, rejected: Faults) -> None:
        """Go on with what is in force, or begin with what was kept, unless that crashes, too."""
        nothing = Outcome(None, rejected, {})
        try:
            self._resume(nothing)
        except GivenUp:
            raise
        except BaseException as error:  # noqa: BLE001 - SECURITY: as in `load`
            self.past.refuse(f"loading it crashed ({type(error).__name__} at {place_of(error)}): remove it")
        outcome = self._or_kept(nothing)
        if outcome.built is not None:
            self._take(outcome)
        else:
            self._refused(rejected)

    def _resume(self, outcome: Outcome) -> bool:
        """Begin with what an earlier life kept, where this one finds nothing as good at its first look."""
        former = self.past.take()
        if former is None or not (outcome.rejected or _lost(former.parts, outcome.active)):
            return False
        outcome = self._assembly.resume(former.parts, former.revision, self._clock.wall_us())
        if outcome.built is None:
            fault = next(fault for faults in outcome.rejected.values() for fault in faults)
            self.past.refuse(f"this version makes nothing of it: {fault}")
            return False
        self._former, self._kept = former, outcome
        return True

    def _unchanged(self) -> None:
        """Note that what was read last is still what stands there."""
        if not self._rejections.concern_all:
            self.in_force.agree()
        if not self._rejections.standing:
            self._note({})

    def _note(self, rejected: Faults) -> None:
        """Have what is in force kept for the next start."""
        revision = self.in_force.revision
        if revision:
            self.past.note(revision, self._active, rejected, self.in_force.age_us())

    def _ask(self, built: Built, changed: frozenset[str]) -> Sequence[PolicyError]:
        """Ask the gate, unless this set was in force in an earlier life: a restart must not take it away."""
        return () if self.past.was_active(built.snapshot.revision) else self._gate(built, changed)

    def give_up(self) -> None:
        """Have a load that is under way end at its next step; any thread may."""
        self._given_up = True

    def breathe(self) -> None:
        """Let the judging threads have their turn, if there is a set to judge by, and see to the brake.

        Raises:
            GivenUp: nobody wants the load any more.
        """
        self._rest()
        if self.in_force.snapshot.ready:
            self._brake.look()

    def _rest(self) -> None:
        """Breathe while overrides are read.

        SECURITY: the brake may see there what this reading does not; what is read would then replace it.
        """
        if self._given_up:
            raise GivenUp
        if self.in_force.snapshot.ready:
            self._pace()

    def _stop(self, files: Files) -> None:
        """Put overrides in force in the midst of a load; what is loaded comes into force with them."""
        self._last = None  # it was not offered with these: who takes them back changes something
        outcome = self._assembly.brake(files)
        if outcome.built is not None:
            self.results["accepted"] += 1
            self._put_in_force(outcome.built)
            self._active = outcome.active

    def _without(self, problem: str) -> Snapshot:
        around = self._surroundings
        return not_ready(problem, around.listener, fixed=around.fixed)


def _lost(former: Parts, active: Parts) -> bool:
    """Whether a part is empty that held something: empty never replaces good, nor over a restart."""
    return any(
        former[part].contents and not (part in active and active[part].contents)
        for part in (PLATFORM, OVERRIDES)
        if part in former
    )
