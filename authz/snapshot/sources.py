"""The files of a policy set, read so that nothing odd in a directory can hang, flood or split the reading.

Directories are looked at, the files are read, and the directories are looked at again: if anything moved in
between (a ConfigMap swaps its links in one step), the whole is read anew. So the files of one answer always
stood there together.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from authz.model.errors import Place, PolicyError, SnapshotRejected
from authz.policy.yaml import MAX_FILE_BYTES
from authz.snapshot.parts import Files, Reading
from authz.snapshot.scan import Entry, Look, ScopeOf, Watched, look, no_scope, why

ATTEMPTS = 3  # a swap takes a moment; what moves longer than that is still being written

# A file that changed so shortly before it was read may change again without any sign: file systems count
# time in steps of up to two seconds. Its bytes are read again the next time.
_SETTLED_NS = 2_500_000_000

_NOTHING_SEEN = Look([], [], Watched({}, frozenset()))


class Source:
    """Some directories, read again and again: a file that nobody has touched is not read twice.

    Args:
        directories: as the operator gave them; their names begin the names of the files.
        may_be_empty: without any file there is nothing, else a fault.
        wall_ns: the clock of file systems.
        breathe: called for each file, so that others may use the interpreter.
        scope_of: see `look`.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        may_be_empty: bool = False,
        wall_ns: Callable[[], int] = time.time_ns,
        breathe: Callable[[], None] = lambda: None,
        scope_of: ScopeOf = no_scope,
    ) -> None:
        self._breathe = breathe
        self._scope_of = scope_of
        self.directories = tuple(directories)
        self._roots = tuple(str(directory) for directory in self.directories)
        self._may_be_empty = may_be_empty
        self._wall_ns = wall_ns
        self._kept: dict[str, tuple[Entry, bytes]] = {}  # shown -> what is sure to be read again alike
        self.seen = _NOTHING_SEEN  # the look that the last reading was made by

    def moved(self) -> bool:
        """Whether anything was touched since the last reading, as far as the files' marks say."""
        now = self._look()
        return _marks(now) != _marks(self.seen)

    def read(self, *, every: bool = False) -> Files:
        """Read what can be read, with every fault.

        Args:
            every: trust no file's marks; read them all.
        """
        if every:
            self._kept = {}
        before, self.seen = _NOTHING_SEEN, self._look()
        contents: dict[str, bytes] = {}
        faults: list[PolicyError] = []
        for _ in range(ATTEMPTS):
            before = self.seen
            contents, faults = self._contents(before)
            self.seen = self._look()
            if self.seen.entries == before.entries:
                break
        else:
            faults += self._unsteady(before, self.seen)
        if not contents and not faults and not self._may_be_empty:
            names = " ".join(str(directory) for directory in self.directories)
            faults = [PolicyError(Place(names), "no documents here: write at least one `.yaml` file")]
        return Files(contents, tuple(faults), self._roots, self.seen.links)

    def _look(self) -> Look:
        return look(self.directories, self._breathe, self._scope_of)

    def _unsteady(self, before: Look, after: Look) -> Iterator[PolicyError]:
        """Yield a fault for each scope whose files were not the same before and after they were read.

        SECURITY: the others' stood there together all the same. A team whose files never stand still must not
        keep everybody's changes from coming into force.
        """
        moving = sorted({entry.shown for entry in {*before.entries} ^ {*after.entries}})
        of_scopes = {self._scope_of(shown): shown for shown in reversed(moving)}
        for shown in sorted(of_scopes.values()):
            yield PolicyError(Place(shown), "files change while they are read, this one too: try again")

    def _contents(self, found: Look) -> tuple[dict[str, bytes], list[PolicyError]]:
        contents: dict[str, bytes] = {}
        kept: dict[str, tuple[Entry, bytes]] = {}
        faults = list(found.faults)
        settled_ns = self._wall_ns() - _SETTLED_NS
        for entry in found.entries:
            self._breathe()
            try:
                content = self._content(entry)
            except OSError as error:
                faults.append(PolicyError(Place(entry.shown), f"{why(error)}: mend or remove it"))
                continue
            contents[entry.shown] = content
            if max(entry.changed_ns, entry.modified_ns) < settled_ns:
                kept[entry.shown] = (entry, content)
        self._kept = kept
        return contents, faults

    def _content(self, entry: Entry) -> bytes:
        known, content = self._kept.get(entry.shown, (None, b""))
        return content if known == entry else _read_one(Path(entry.real))


def _marks(one: Look) -> tuple[list[Entry], list[str], Mapping[str, str]]:
    # Faults are exceptions, which equal nothing but themselves.
    return one.entries, list(map(str, one.faults)), one.links


class Directories(NamedTuple):
    """What an operator names; empty where nothing of the kind is."""

    policies: Sequence[Path]
    scopes: Sequence[Path] = ()
    overrides: Sequence[Path] = ()


class Sources:
    """Everything that an operator names, read again and again.

    Args:
        breathe: see `Source`.
        rest: is called instead while overrides are read; default: the same.
        scope_of: which scope a file below the policies belongs to, as far as that is known before it is read.
    """

    def __init__(
        self,
        named: Directories,
        breathe: Callable[[], None] = lambda: None,
        rest: Callable[[], None] | None = None,
        scope_of: ScopeOf = no_scope,
    ) -> None:
        self._policies = Source(named.policies, breathe=breathe, scope_of=scope_of)
        self._scopes = Source(named.scopes, breathe=breathe) if named.scopes else None
        self._overrides = (
            Source(named.overrides, may_be_empty=True, breathe=rest or breathe) if named.overrides else None
        )
        self._divided: Files | None = None  # the Scope documents of the last reading
        self._all = [one for one in (self._policies, self._scopes, self._overrides) if one is not None]

    def moved(self) -> bool:
        """See `Source.moved`."""
        return any(source.moved() for source in self._all)

    def read(self, *, every: bool = False) -> Reading:
        """Read what stands there; see `Source.read`."""
        policies, scopes = self._read(every=every)
        overrides = self._overrides.read(every=every) if self._overrides is not None else None
        return Reading(policies, scopes, overrides)

    def _read(self, *, every: bool) -> tuple[Files, Files | None]:
        """Read policies, and the Scope documents that stood beside them.

        SECURITY: the directory of a team and its Scope may go in one step. Were the one read before and the
        other after that, what the team wrote would count as the platform's.
        """
        policies = self._policies.read(every=every)
        if self._scopes is None:
            return policies, None
        scopes = Files({})
        for _ in range(ATTEMPTS):
            scopes = self._scopes.read(every=every)
            known = self._divided is not None and scopes.contents == self._divided.contents
            if known or not self._policies.moved():
                self._divided = scopes
                return policies, scopes
            policies = self._policies.read(every=every)
        fault = PolicyError(
            Place(" ".join(scopes.roots)), "policies change while Scope documents do: try again"
        )
        return policies, self._divided or Files({}, (fault,), scopes.roots)

    def watched(self) -> Watched:
        """Return what the last reading depended on."""
        looks = [source.seen.watched for source in self._all]
        directories = {path: identity for one in looks for path, identity in one.directories.items()}
        names, holding = (one.names for one in looks), (one.holding for one in looks)
        return Watched(directories, frozenset().union(*names), frozenset().union(*holding))


def read_files(directories: Sequence[Path]) -> Files:
    """Read what can be read below some directories, with every fault."""
    return Source(directories).read()


def read(directories: Sequence[Path]) -> Mapping[str, bytes]:
    """Read every policy file below some directories.

    Args:
        directories: as the operator gave them; their names begin the names of the files.

    Returns:
        name of the file, as people know it -> content.

    Raises:
        SnapshotRejected: with everything that could not be read, or if nothing is there.

    Source: section 1 of the contract.
    """
    files = read_files(directories)
    if files.faults:
        raise SnapshotRejected(list(files.faults))
    return files.contents


def _read_one(real: Path) -> bytes:
    # SECURITY: without O_NONBLOCK a FIFO that took the file's place would hang us for ever.
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise OSError(0, f"more than {MAX_FILE_BYTES} bytes in one file")
    return content
