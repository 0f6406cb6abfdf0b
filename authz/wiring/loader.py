"""Replaces the snapshot in force by one assignment, and never by a broken one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from authz.config.log import get_logger
from authz.config.settings import Settings
from authz.identity.keyring import Peppers
from authz.model.errors import Place, PolicyError
from authz.model.site import Listener
from authz.request.host import served_hosts
from authz.snapshot.assembly import Assembly, Gate, Outcome, no_gate
from authz.snapshot.build import Builder, Built, Surroundings
from authz.snapshot.memory import tidy
from authz.snapshot.parts import PLATFORM, Faults, Files, Reading
from authz.snapshot.scan import Watched
from authz.snapshot.snapshot import Snapshot, not_ready
from authz.snapshot.sources import Directories, Sources
from authz.wiring.clock import SystemClock
from authz.wiring.crashes import place_of
from authz.wiring.rejections import Rejections

_log = get_logger("wiring")


class Loader:
    """Loads the policy set, and keeps the one in force. One thread loads; any may ask.

    Args:
        gate: has the last word on a set that is valid.
    """

    def __init__(
        self, named: Directories, surroundings: Surroundings, clock: SystemClock, gate: Gate = no_gate
    ) -> None:
        self._named = named
        self._surroundings = surroundings
        self._sources = Sources(named)
        self._assembly = Assembly(Builder(surroundings), gate)
        self._clock = clock
        self._rejections = Rejections()
        self._last: Reading | None = None  # what was offered last; None: offer whatever is read
        self._began_us: int | None = None
        self.took_us = 0  # the last time that something was offered, reading included
        self.agreed_us = 0  # ticks, when what is in force was last known to stand in the directories
        self.results: Counter[str] = Counter()
        self.snapshot: Snapshot = self._without("no policy set is loaded yet")

    def current(self) -> Snapshot:
        """Return the snapshot in force."""
        return self.snapshot

    def running_us(self) -> int:
        """Return for how long loading has been going on; 0 where it is not."""
        began_us = self._began_us
        return max(1, self._clock.ticks_us() - began_us) if began_us is not None else 0

    def moved(self) -> bool:
        """Whether files were touched since they were last read."""
        try:
            return self._sources.moved()
        except Exception:  # noqa: BLE001 - then `load` says what is the matter
            return True

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
            new = self._load(seen, every=every)
        except BaseException as error:  # noqa: BLE001 - SECURITY: no set, however odd, ends what is served
            self._last = None  # tried again at the next look
            what = f"loading crashed ({type(error).__name__} at {place_of(error)}): please report it"
            self._refused({PLATFORM: (PolicyError(Place(str(self._named.policies[0])), what),)})
            new = True
        finally:
            self._began_us = None
        if new:
            self.took_us = self._clock.ticks_us() - began_us
        elif told:
            self.results["unchanged"] += 1
        return new

    def _load(self, seen: Callable[[Watched], object], *, every: bool) -> bool:
        reading = self._sources.read(every=every)
        seen(self._sources.watched())
        if self._last is not None and _alike(reading, self._last):
            if not self._rejections.standing:
                self.agreed_us = self._clock.ticks_us()
            return False
        self._last = reading
        self._take(self._assembly.offer(reading, self._clock.wall_us()))
        return True

    def _take(self, outcome: Outcome) -> None:
        if outcome.rejected:
            self._refused(outcome.rejected)
        built = outcome.built
        if built is not None:
            self._put_in_force(built)
        if not outcome.rejected:
            self._rejections.ended()
            self.agreed_us = self._clock.ticks_us()

    def _put_in_force(self, built: Built) -> None:
        self.results["accepted"] += 1
        self._tell(built)
        snapshot = built.snapshot
        del built  # the documents: more than half of what loading took
        tidy()
        self.snapshot = snapshot

    def _refused(self, rejected: Faults) -> None:
        self.results["rejected"] += 1
        problem = self._rejections.tell(rejected)
        if not self.snapshot.ready:
            self.snapshot = self._without(problem)

    def _without(self, problem: str) -> Snapshot:
        around = self._surroundings
        return not_ready(problem, around.listener, around.sidecar, around.token_prefix)

    def _tell(self, built: Built) -> None:
        loaded, keyring = built.loaded, built.snapshot.keyring
        began_us = self._began_us
        _log.info(
            "policy set loaded",
            revision=loaded.revision,
            policies=len(loaded.policies),
            keys=len(loaded.keys),
            warnings=len(built.warnings),
            took_ms=(self._clock.ticks_us() - began_us) // 1000 if began_us is not None else 0,
        )
        if keyring.disabled:
            _log.warning(
                "keys are disabled: their pepper is not here",
                count=len(keyring.disabled),
                keys=list(keyring.disabled[:20]),
                mend="set API_KEY_SALT (or API_KEY_SALT_PREVIOUS) to the pepper that made them",
            )


def directories(settings: Settings) -> Directories:
    """Return what the operator names."""
    return Directories(settings.serve.policies, settings.snapshot.scopes, settings.snapshot.overrides)


def surroundings(settings: Settings, sidecar: str, processes: int = 1) -> Surroundings:
    """Return what a snapshot takes from settings; `processes` share its limits."""
    identity, request = settings.identity, settings.request
    return Surroundings(
        peppers=Peppers(
            identity.api_key_salt.get_secret_value() if identity.api_key_salt else None,
            identity.api_key_salt_previous.get_secret_value() if identity.api_key_salt_previous else None,
        ),
        brand=identity.key_brand,
        env=identity.key_env,
        listener=Listener(
            hosts=served_hosts(request.hosts),
            trusted_hops=request.trusted_hops,
            xff_appended=request.xff_appended,
            context=frozenset(request.context),
            metadata=frozenset(request.metadata),
            max_message_bytes=request.max_message_bytes,
            max_header_count=request.max_header_count,
            max_header_bytes=request.max_header_bytes,
        ),
        source_revision=settings.serve.source_revision,
        sidecar=sidecar,
        record_headers=settings.record.record_headers,
        processes=processes,
    )


def _alike(one: Reading, other: Reading) -> bool:
    return all(_same(ours, theirs) for ours, theirs in zip(one, other, strict=True))


def _same(one: Files | None, other: Files | None) -> bool:
    if one is None or other is None:
        return one is other
    # Faults are exceptions, which equal nothing but themselves.
    return one.contents == other.contents and list(map(str, one.faults)) == list(map(str, other.faults))
