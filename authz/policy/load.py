"""From the bytes of files to one policy set, or to everything that is wrong with them.

1. each file: YAML to plain data (`yaml.py`), kept by digest so that a reload reads only what changed
2. each document: its fields (`document.py`), then what they agree on (`coherence.py`)
3. the set: what documents agree on (`references.py`), and its revision

Conditions are compiled afterwards by `compile.py`, which may have faults of its own to add.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple, cast

from pydantic import ValidationError

from authz.model.errors import Place, PolicyError, SnapshotRejected
from authz.policy.coherence import flaws_in
from authz.policy.document import KINDS, READERS
from authz.policy.loaded import AnyDocument, Document, Loaded, canonical_json, revision_of
from authz.policy.newer import newer_flaw
from authz.policy.placement import Home, misplaced
from authz.policy.prose import Flaw, flaws_of
from authz.policy.references import faults_between, warnings_about
from authz.policy.source import Source
from authz.policy.texts import shown
from authz.policy.yaml import MAX_FAULTS, Data, Tree, parse

MAX_FAULTS_BETWEEN = 500  # documents of a set; more tell nobody more, and each may search for a near miss

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


class _FileResult(NamedTuple):
    documents: tuple[AnyDocument, ...]
    faults: tuple[PolicyError, ...]
    whole: bool  # every document of the file is there, if not without faults


class Cache:
    """What the files of the last load said, by name and digest; a reload reads only what changed."""

    def __init__(self) -> None:
        self._results: dict[str, tuple[bytes, _FileResult]] = {}

    def read(self, file: str, content: bytes) -> _FileResult:
        """Return what a file says."""
        digest = sha256(content).digest()
        known = self._results.get(file)
        if known is None or known[0] != digest:
            known = self._results[file] = (digest, _read_file(file, content))
        return known[1]

    def forget_others(self, files: Mapping[str, bytes]) -> None:
        """Forget the files that are no longer there."""
        self._results = {file: kept for file, kept in self._results.items() if file in files}


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
    files: Mapping[str, bytes], cache: Cache | None = None, home: Home = Home.POLICIES
) -> tuple[Loaded, list[PolicyError]]:
    """Read a policy set, and return what could be read together with every fault.

    INVARIANT: what comes with faults is for finding more of them and is never served.
    References are checked only where every document could be read: an unreadable provider is one fault, not
    one for every rule that names it.
    """
    cache = cache or Cache()
    results = [cache.read(file, files[file]) for file in sorted(files)]
    cache.forget_others(files)
    faults = [fault for result in results for fault in result.faults]
    documents = tuple(document for result in results for document in result.documents)
    faults.extend(islice(misplaced(documents, home), MAX_FAULTS_BETWEEN))
    whole = all(result.whole for result in results)
    loaded = _sorted(documents, whole=whole)
    if not faults and not documents:
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


def _sorted(documents: tuple[AnyDocument, ...], *, whole: bool) -> Loaded:
    # Named by file and position too, so that of two equal names it is always the same one that is at fault.
    ordered = sorted(documents, key=lambda one: (one.kind, one.name, one.file, one.position))
    kinds: dict[str, list[AnyDocument]] = {field: [] for field in _FIELD_OF_KIND.values()}
    for document in ordered:
        kinds[_FIELD_OF_KIND[document.kind]].append(document)
    by_kind = cast("dict[str, Any]", {field: tuple(found) for field, found in kinds.items()})
    warnings = tuple(islice(warnings_about(Loaded(**by_kind), whole=whole), MAX_FAULTS_BETWEEN))
    return Loaded(**by_kind, revision=revision_of(documents), warnings=warnings)


def _read_file(file: str, content: bytes) -> _FileResult:
    source, trees, faults, *_ = parse(content, file)
    documents: list[AnyDocument] = []
    found = list(faults)
    whole = not faults
    for tree in trees:
        try:
            document = _document(source, tree)
            documents.append(document)
            found.extend(_faults(source, tree, flaws_in(document.name, document.spec)))
        except _Faulty as faulty:
            found.extend(faulty.faults)
            whole = False
        if len(found) > MAX_FAULTS:
            found[MAX_FAULTS:] = [PolicyError(Place(file), "the file has more faults: mend these first")]
            whole = False
            break
    if not trees and not found:
        found.append(PolicyError(Place(file), "no document in this file: write one, or delete the file"))
    return _FileResult(tuple(documents), tuple(found), whole)


class _Faulty(Exception):
    def __init__(self, faults: list[PolicyError]) -> None:
        super().__init__()
        self.faults = faults


def _faults(source: Source, tree: Tree, flaws: Iterator[Flaw]) -> list[PolicyError]:
    return [
        PolicyError(source.place(tree.position, flaw.path, key=flaw.at_key), flaw.what, newer=flaw.newer)
        for flaw in flaws
    ]


def _document(source: Source, tree: Tree) -> AnyDocument:
    newer = newer_flaw(tree.data)
    if newer is not None:
        raise _Faulty(_faults(source, tree, iter([newer])))
    kind = tree.data.get("kind") if isinstance(tree.data, dict) else None
    reader = READERS.get(kind) if isinstance(kind, str) else None
    if reader is None or not isinstance(kind, str):
        raise _Faulty(_faults(source, tree, iter([_kind_flaw(tree.data, kind)])))
    # What is validated is what the revision covers: the canonical bytes, not the data they came from.
    canonical = canonical_json(tree.data)
    try:
        written = reader.validate_json(canonical)
    except ValidationError as error:
        raise _Faulty(_faults(source, tree, flaws_of(error, kind))) from None
    return Document(kind, written.metadata.name, written.spec, source, tree.position, canonical)


def _kind_flaw(data: Data, kind: object) -> Flaw:
    if not isinstance(data, dict):
        return Flaw((), "a document is a mapping: write `apiVersion`, `kind`, `metadata` and `spec`")
    known = ", ".join(f"`{name}`" for name in sorted(KINDS))
    if kind is None:
        return Flaw((), f"`kind` is missing: write one of {known}")
    guess = difflib.get_close_matches(str(kind), KINDS, n=1)
    mend = f"did you mean `{guess[0]}`?" if guess else f"write one of {known}"
    return Flaw(("kind",), f"there is no kind `{shown(kind)}`: {mend}")
