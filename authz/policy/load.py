"""From the bytes of files to one policy set, or to everything that is wrong with them.

1. each file is cut into documents; those that stood there before are kept (`reading.py`)
2. each new document: YAML to plain data (`yaml.py`), its fields (`document.py`), then what they agree on
   (`coherence.py`)
3. the set: what documents agree on (`references.py`), and its revision

Conditions are compiled afterwards by `compile.py`, which may have faults of its own to add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from authz.model.errors import Place, PolicyError, SnapshotRejected
from authz.policy.group import Group
from authz.policy.leaf import Bonds, Leaf
from authz.policy.loaded import Documents, Loaded, Reviser
from authz.policy.page import Page
from authz.policy.placement import Home, misplaced
from authz.policy.reading import read_page
from authz.policy.references import faults_between, warnings_about

MAX_FAULTS_BETWEEN = 500  # documents of a set; more tell nobody more, and each may search for a near miss

_VERSIONS = 2  # of a file, and of a kind: as it is in force, and as it stands in the directory now
_LOADS = 32  # for which a file is kept that is gone

_FIELD_OF_KIND = {
    "Policy": "policies",
    "IdentityProvider": "providers",
    "ApiKey": "keys",
    "Customer": "customers",
    "Limit": "limits",
    "Site": "sites",
    "PolicyTest": "tests",
    "Scope": "scopes",
}


class Cache:
    """What was read before: a load reads only what changed; a kind in which nothing changed stays as it is.

    Two versions of each file are kept, since parts of a set are tried with and without a change. A file that
    is gone is kept for some loads more.
    """

    def __init__(self) -> None:
        self._bonds = Bonds()
        self._pages: dict[str, list[Page]] = {}  # newest first
        self._used: dict[str, int] = {}  # the load that last asked for a file
        self._groups: dict[str, list[Group]] = {}
        self._reviser = Reviser()
        self._loads = 0

    def pages(self, files: Mapping[str, bytes], pace: Callable[[], None]) -> list[Page]:
        """Return what some files say, sorted by name."""
        self._loads += 1
        found: dict[str, Page] = {}
        known: dict[bytes, Leaf] | None = None
        for file in sorted(files):
            self._used[file] = self._loads
            page = self._page(file, files[file])
            if page is None:
                if known is None:
                    known = self._known(files)
                page = read_page(file, files[file], known, self._bonds, pace)
                self._pages[file] = [page, *self._pages.get(file, ())][:_VERSIONS]
            found[file] = page
        self._forget()
        return list(found.values())

    def group(self, kind: str, pages: Sequence[Page]) -> Group:
        """Return the documents of one kind."""
        parts = tuple(page.by_kind[kind] for page in pages if kind in page.by_kind)
        groups = self._groups.setdefault(kind, [])
        for group in groups:
            if group.parts == parts:
                return group
        groups.insert(0, Group(parts, groups[0] if groups else None))
        del groups[_VERSIONS:]
        return groups[0]

    def revision(self, loaded: Loaded) -> str:
        """Return the revision of a set."""
        return self._reviser.revision(loaded)

    def slim(self) -> None:
        """Forget what nobody needs between two loads."""
        for pages in self._pages.values():
            for page in pages:
                page.slim()

    def _page(self, file: str, content: bytes) -> Page | None:
        """Return what was read of the same bytes, and hold on to the newer copy of them."""
        for page in self._pages.get(file, ()):
            if page.content is content or page.content == content:
                page.content = content
                return page
        return None

    def _known(self, files: Mapping[str, bytes]) -> dict[bytes, Leaf]:
        """Return the documents of files that changed or are gone, by text: they may stand elsewhere now."""
        known: dict[bytes, Leaf] = {}
        for file, pages in self._pages.items():
            if file not in files or self._page(file, files[file]) is None:
                for page in pages:
                    known.update(page.parts())
        return known

    def _forget(self) -> None:
        for file in [file for file, load in self._used.items() if load < self._loads - _LOADS]:
            del self._used[file]
            self._pages.pop(file, None)


def load(files: Mapping[str, bytes], cache: Cache | None = None) -> Loaded:
    """Read a policy set.

    Args:
        files: name, as people know it -> content.
        cache: kept by the caller between loads of one set.

    Raises:
        SnapshotRejected: with every fault of every file.
    """
    loaded, faults = load_lenient(files, cache)
    if faults:
        raise SnapshotRejected(faults)
    return loaded


def load_lenient(
    files: Mapping[str, bytes],
    cache: Cache | None = None,
    home: Home = Home.POLICIES,
    pace: Callable[[], None] = lambda: None,
) -> tuple[Loaded, list[PolicyError]]:
    """Read a policy set, and return what could be read together with every fault.

    INVARIANT: what comes with faults is for finding more of them and is never served.
    References are checked only where every document could be read: an unreadable provider is one fault, not
    one for every rule that names it.
    """
    cache = cache or Cache()
    pages = cache.pages(files, pace)
    faults = [fault for page in pages for fault in page.faults]
    whole = all(page.whole for page in pages)
    loaded = _loaded(cache, pages, pace)
    faults.extend(islice(misplaced(loaded, home), MAX_FAULTS_BETWEEN))
    warnings = tuple(islice(warnings_about(loaded, whole=whole), MAX_FAULTS_BETWEEN))
    pace()
    loaded = replace(loaded, revision=cache.revision(loaded), warnings=warnings)
    pace()
    if not faults and not any(page.leaves for page in pages):
        faults.append(PolicyError(Place("policies"), "no documents in the set: write at least one policy"))
    if whole:
        faults.extend(_bounded(faults_between(loaded)))
    return loaded, faults


def _bounded(faults: Iterator[PolicyError]) -> list[PolicyError]:
    found = list(islice(faults, MAX_FAULTS_BETWEEN + 1))
    if len(found) > MAX_FAULTS_BETWEEN:
        what = "the set has more faults: mend these first"
        found[MAX_FAULTS_BETWEEN:] = [PolicyError(found[-1].place, what)]
    return found


def _loaded(cache: Cache, pages: Sequence[Page], pace: Callable[[], None]) -> Loaded:
    by_kind: dict[str, Any] = {}
    for kind, field in _FIELD_OF_KIND.items():
        by_kind[field] = Documents(kind, cache.group(kind, pages), pages)
        pace()
    return Loaded(**by_kind)
