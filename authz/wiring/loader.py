"""Replaces the snapshot in force by one assignment, and never by a broken one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from authz.config.log import get_logger
from authz.config.settings import Settings
from authz.identity.keyring import Peppers
from authz.model.errors import Place, PolicyError
from authz.model.site import Listener
from authz.request.host import served_hosts
from authz.snapshot.assembly import Assembly
from authz.snapshot.build import Builder, Built, Surroundings
from authz.snapshot.memory import tidy
from authz.snapshot.parts import Reading
from authz.snapshot.snapshot import Snapshot, not_ready
from authz.snapshot.sources import read_files
from authz.wiring.clock import SystemClock

_log = get_logger("wiring")


class Loader:
    """Loads the policy set, and keeps the one in force."""

    def __init__(self, directories: Sequence[Path], surroundings: Surroundings, clock: SystemClock) -> None:
        self._directories = directories
        self._surroundings = surroundings
        self._assembly = Assembly(Builder(surroundings))
        self._clock = clock
        self._said = ""
        self.results: Counter[str] = Counter()
        self.snapshot: Snapshot = self._without("no policy set is loaded yet")

    def current(self) -> Snapshot:
        """Return the snapshot in force."""
        return self.snapshot

    def load(self) -> None:
        """Try to load; a set that is rejected changes nothing, and is told once."""
        began_us = self._clock.ticks_us()
        try:
            outcome = self._assembly.offer(Reading(read_files(self._directories)), self._clock.wall_us())
        except Exception as error:  # noqa: BLE001 - SECURITY: no set, however odd, ends what is being served
            what = f"reading the set crashed ({type(error).__name__}): please report it with the set"
            self._reject([PolicyError(Place(str(self._directories[0])), what)])
            return
        for faults in outcome.rejected.values():
            self._reject(faults)
        if outcome.built is None:
            return
        self.results["accepted"] += 1
        self._said = ""
        snapshot = outcome.built.snapshot
        self._tell(outcome.built, self._clock.ticks_us() - began_us)
        del outcome  # the documents: more than half of what loading took
        tidy()
        self.snapshot = snapshot

    def _reject(self, faults: Sequence[PolicyError]) -> None:
        self.results["rejected"] += 1
        problem = str(faults[0]) + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")
        if problem != self._said:
            self._said = problem
            _log.error(
                "policy set rejected",
                faults=[str(fault) for fault in faults[:20]],
                count=len(faults),
                mend="run `authz policy validate` on the same directories",
            )
        if not self.snapshot.ready:
            self.snapshot = self._without(problem)

    def _without(self, problem: str) -> Snapshot:
        around = self._surroundings
        return not_ready(problem, around.listener, around.sidecar, around.token_prefix)

    def _tell(self, built: Built, took_us: int) -> None:
        loaded, keyring = built.loaded, built.snapshot.keyring
        _log.info(
            "policy set loaded",
            revision=loaded.revision,
            policies=len(loaded.policies),
            keys=len(loaded.keys),
            warnings=len(built.warnings),
            took_ms=took_us // 1000,
        )
        if keyring.disabled:
            _log.warning(
                "keys are disabled: their pepper is not here",
                count=len(keyring.disabled),
                keys=list(keyring.disabled[:20]),
                mend="set API_KEY_SALT (or API_KEY_SALT_PREVIOUS) to the pepper that made them",
            )


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
