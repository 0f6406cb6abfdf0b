"""Build a snapshot: documents, rules, keys and sites of one policy set, or everything wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from authz.identity.apikey import prefix_of
from authz.identity.keyring import Key, Keyring, Peppers
from authz.model.errors import PolicyError, SnapshotRejected
from authz.model.identity import Provider
from authz.model.site import Listener, ReadingRules
from authz.policy.clustering import faults_on_cluster
from authz.policy.compile import Ruleset, compile_set
from authz.policy.load import Cache, load_lenient
from authz.policy.loaded import Loaded
from authz.policy.texts import plain_header
from authz.policy.workshop import Workshop
from authz.record.entry import FixedFields
from authz.record.pseudonym import Pseudonyms
from authz.record.redact import recordable
from authz.snapshot.keys import Keysmith, providers
from authz.snapshot.pace import hurry
from authz.snapshot.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a snapshot takes from settings instead of documents."""

    peppers: Peppers = field(default_factory=Peppers)
    brand: str = "ak"
    env: str = "live"
    listener: Listener = field(default_factory=Listener)
    source_revision: str = ""
    sidecar: str = ""
    stream: str = ""
    record_headers: tuple[str, ...] = ()
    pseudonyms: Pseudonyms | None = None
    processes: int = 1  # that share the guards of Sites, each in a memory of its own
    keepers: int = 1  # likewise of limits; 1 where all share a store
    clustered: bool = False  # that store is a Redis Cluster: a set must keep to `policy/clustering.py`

    @property
    def token_prefix(self) -> bytes:
        """What every API token of this installation begins with."""
        return prefix_of(self.brand, self.env).encode()

    @property
    def fixed(self) -> FixedFields:
        """What is alike in all records, whatever the set."""
        return FixedFields(
            self.sidecar, "", token_prefix=self.token_prefix, stream=self.stream, pseudonyms=self.pseudonyms
        )


Faults = Iterable[PolicyError]


def _nothing(_: Loaded) -> Faults:
    return ()


def _no_scope(_: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Built:
    """A snapshot, and what is worth telling about it.

    Args:
        scope_of: name of a file -> the scope that its documents belong to, "" for the platform.
    """

    snapshot: Snapshot
    loaded: Loaded
    warnings: tuple[PolicyError, ...]
    scope_of: Callable[[str], str] = _no_scope


class Builder:
    """Builds one set after the other, and only what is new of each. What it has built stays as it is.

    Args:
        pace: called between two steps, so that others have their turn.
    """

    def __init__(self, surroundings: Surroundings, pace: Callable[[], None] = hurry) -> None:
        self.surroundings = surroundings
        self.pace = pace
        self._cache = Cache()
        self._workshop = Workshop(processes=surroundings.processes, keepers=surroundings.keepers)
        self._smith = Keysmith(surroundings.keepers)
        self._rules: Ruleset | None = None
        self._ring = _Ring((), Keyring(), ())

    def build(
        self, files: Mapping[str, bytes], loaded_at_us: int, beyond: Callable[[Loaded], Faults] = _nothing
    ) -> Built:
        """Build a snapshot from the bytes of files.

        Args:
            files: name -> content, from `sources.read`.
            loaded_at_us: wall clock, microseconds since 1970.
            beyond: says which documents may not say what they say. With any, nothing else is a fault: what
                they have in common with others is not the others' doing.

        Raises:
            SnapshotRejected: with every fault of the set.
        """
        try:
            return self._build(files, loaded_at_us, beyond)
        finally:
            self._cache.slim()

    def _build(
        self, files: Mapping[str, bytes], loaded_at_us: int, beyond: Callable[[Loaded], Faults]
    ) -> Built:
        loaded, faults = load_lenient(files, self._cache, pace=self.pace)
        strangers = list(beyond(loaded))
        if strangers:
            raise SnapshotRejected(strangers)
        rules = compile_set(loaded, workshop=self._workshop, before=self._rules, pace=self.pace)
        self._rules = rules
        around = self.surroundings
        faults += [*rules.faults, *(faults_on_cluster(loaded) if around.clustered else ())]
        if faults:
            raise SnapshotRejected(faults)
        known = providers(loaded)
        ring = self._keyring(self._smith.keys(loaded, known, self.pace))
        snapshot = Snapshot(
            ready=True,
            revision=loaded.revision,
            source_revision=around.source_revision,
            loaded_at_us=loaded_at_us,
            index=rules.index,
            shadow=rules.shadow,
            limits=rules.limits,
            sites=rules.sites,
            providers=known,
            keyring=ring.keyring,
            reading=ReadingRules(
                rules.sites.of,
                frozenset(map(plain_header, rules.settable)),
                around.listener,
                time="request.time" in rules.names,
                body="request.body" in rules.names,
            ),
            fixed=_fixed(loaded, known, around),
            expiries_us=ring.expiries_us,
            contents={documents.kind: len(documents) for documents in loaded.kinds() if documents},
        )
        return Built(snapshot, loaded, (*loaded.warnings, *rules.warnings))

    def _keyring(self, keys: tuple[Key, ...]) -> _Ring:
        if keys is not self._ring.keys:
            around = self.surroundings
            keyring = Keyring(keys, around.peppers, around.brand, around.env)
            expiries = sorted([key.expires_at_us for key in keys if key.expires_at_us is not None])
            self._ring = _Ring(keys, keyring, tuple(expiries))
        return self._ring


class _Ring(NamedTuple):
    """What follows from the keys of a set."""

    keys: tuple[Key, ...]
    keyring: Keyring
    expiries_us: tuple[int, ...]


def build(files: Mapping[str, bytes], surroundings: Surroundings, loaded_at_us: int) -> Built:
    """Build one snapshot by itself; see `Builder.build`."""
    return Builder(surroundings).build(files, loaded_at_us)


def _fixed(loaded: Loaded, known: Mapping[str, Provider], surroundings: Surroundings) -> FixedFields:
    places = [place for provider in known.values() for place in provider.places]
    return surroundings.fixed._replace(
        revision=loaded.revision,
        source_revision=surroundings.source_revision,
        headers=recordable(surroundings.record_headers, places),
    )
