"""Build a snapshot: documents, rules, keys and sites of one policy set, or everything wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from authz.identity.apikey import prefix_of
from authz.identity.keyring import Keyring, Peppers
from authz.model.errors import PolicyError, SnapshotRejected
from authz.model.identity import Provider
from authz.model.site import Listener, ReadingRules
from authz.policy.compile import compile_set
from authz.policy.condition import Compiler
from authz.policy.load import Cache, load_lenient
from authz.policy.loaded import Loaded
from authz.policy.texts import plain_header
from authz.record.entry import FixedFields
from authz.record.redact import recordable
from authz.snapshot.keys import keys, providers
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
    record_headers: tuple[str, ...] = ()
    processes: int = 1  # that share every limit, each in a memory of its own

    @property
    def token_prefix(self) -> bytes:
        """What every API token of this installation begins with."""
        return prefix_of(self.brand, self.env).encode()


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
    """Builds one set after the other, and only what is new of each."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self._cache = Cache()
        self._compiler = Compiler()

    def build(self, files: Mapping[str, bytes], loaded_at_us: int) -> Built:
        """See `build`."""
        return build(files, self.surroundings, loaded_at_us, self._cache, self._compiler)


def build(
    files: Mapping[str, bytes],
    surroundings: Surroundings,
    loaded_at_us: int,
    cache: Cache | None = None,
    compiler: Compiler | None = None,
) -> Built:
    """Build a snapshot from the bytes of files.

    Args:
        files: name -> content, from `sources.read`.
        loaded_at_us: wall clock, microseconds since 1970.

    Raises:
        SnapshotRejected: with every fault of the set.
    """
    loaded, faults = load_lenient(files, cache)
    rules = compile_set(loaded, compiler, surroundings.processes)
    if faults or rules.faults:
        raise SnapshotRejected(faults + rules.faults)
    known = providers(loaded)
    ring = tuple(keys(loaded, known, surroundings.processes))
    snapshot = Snapshot(
        ready=True,
        revision=loaded.revision,
        source_revision=surroundings.source_revision,
        loaded_at_us=loaded_at_us,
        index=rules.index,
        shadow=rules.shadow,
        sites=rules.sites,
        providers=known,
        keyring=Keyring(ring, surroundings.peppers, surroundings.brand, surroundings.env),
        reading=ReadingRules(
            rules.sites.of,
            frozenset(map(plain_header, rules.settable)),
            surroundings.listener,
            time="request.time" in rules.names,
            body="request.body" in rules.names,
        ),
        fixed=_fixed(loaded, known, surroundings),
        expiries_us=tuple(sorted(key.expires_at_us for key in ring if key.expires_at_us is not None)),
    )
    return Built(snapshot, loaded, (*loaded.warnings, *rules.warnings))


def _fixed(loaded: Loaded, known: Mapping[str, Provider], surroundings: Surroundings) -> FixedFields:
    places = [place for provider in known.values() for place in provider.places]
    return FixedFields(
        surroundings.sidecar,
        loaded.revision,
        surroundings.source_revision,
        recordable(surroundings.record_headers, places),
        surroundings.token_prefix,
    )
