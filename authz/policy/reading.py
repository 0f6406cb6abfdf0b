"""From the bytes of one file to its page: every document on its own, so that what stood there before is kept.

A line that begins with `---` begins a document wherever it stands: in a quoted text or in brackets it is an
error, and a block text ends there (YAML 1.2.2, section 9.1, "c-forbidden"). So a file is cut there, and each
part is read by itself. INVARIANT: that gives what reading the file in one go gives. Where it might not
(directives, `...`, a part that cannot be read to its end, more of anything than a file may have), the file is
read in one go.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from pydantic import ValidationError

from authz.model.errors import Place, PolicyError
from authz.policy.coherence import flaws_in
from authz.policy.document import KINDS, READERS
from authz.policy.leaf import Bonds, Leaf
from authz.policy.loaded import canonical_json
from authz.policy.methods import unusual_methods
from authz.policy.newer import newer_flaw
from authz.policy.page import Page, Stand, relative
from authz.policy.prose import Flaw, flaws_of
from authz.policy.source import Source
from authz.policy.texts import shown
from authz.policy.yaml import MAX_DOCUMENTS, MAX_FAULTS, MAX_FILE_BYTES, MAX_VALUES, Data, Parsed, Tree, parse


class _Part(NamedTuple):
    """A part of a file, from one line `---` to before the next."""

    start: int
    end: int
    line: int  # lines before it


class _Whole(Exception):
    """The file must be read in one go."""


class _Faulty(Exception):
    def __init__(self, faults: list[PolicyError]) -> None:
        super().__init__()
        self.faults = faults


def read_page(
    file: str,
    content: bytes,
    known: Mapping[bytes, Leaf] | None = None,
    bonds: Bonds | None = None,
    pace: Callable[[], None] = lambda: None,
) -> Page:
    """Read one file.

    Args:
        file: its name, as people know it.
        known: documents that were read before, by the text of their part.
        pace: called after each document.
    """
    bonds = bonds or Bonds()
    try:
        return _in_parts(file, content, known or {}, bonds, pace)
    except _Whole:
        return _in_one_go(file, content, bonds)


def _in_parts(
    file: str, content: bytes, known: Mapping[bytes, Leaf], bonds: Bonds, pace: Callable[[], None]
) -> Page:
    found: list[Stand] = []
    faults: list[PolicyError] = []
    whole, documents, values = True, 0, 0
    for part in _parts(content):
        text = content[part.start : part.end]
        leaf = known.get(text)
        pace()
        if leaf is not None:
            parsed_documents, parsed_values = 1, leaf.values
            leaves = [leaf]
        else:
            parsed = parse(text, file, part.line)
            # Aliases are rare, and bounded for the whole file: not worth counting twice.
            if not parsed.whole or parsed.documents > 1 or parsed.aliases:
                raise _Whole
            parsed_documents, parsed_values = parsed.documents, parsed.values
            leaves, told, good = _documents(parsed, bonds, part.line)
            faults += told
            whole = whole and good
        found += (Stand(each, *part, documents) for each in leaves)
        documents += parsed_documents
        values += parsed_values
        if len(faults) >= MAX_FAULTS or documents >= MAX_DOCUMENTS or values >= MAX_VALUES:
            raise _Whole
    if not found and not faults:
        faults.append(_nothing(file))
    return Page(file, content, found, faults, whole=whole)


def _in_one_go(file: str, content: bytes, bonds: Bonds) -> Page:
    parsed = parse(content, file)
    leaves, faults, whole = _documents(parsed, bonds, 0)
    if len(faults) > MAX_FAULTS:
        # At the last place, since faults are sorted: the first one told must be one that can be mended.
        what = "the file has more faults: mend these first"
        faults[MAX_FAULTS:] = [PolicyError(faults[MAX_FAULTS - 1].place, what)]
        whole = False
    if not parsed.trees and not faults:
        faults.append(_nothing(file))
    found = [Stand(leaf, 0, len(content), 0, leaf.index) for leaf in leaves]
    return Page(file, content, found, faults, whole=whole)


def _nothing(file: str) -> PolicyError:
    return PolicyError(Place(file), "no document in this file: write one, or delete the file")


def _parts(content: bytes) -> Iterator[_Part]:
    """Cut a file; raises _Whole where that might change what it says."""
    if len(content) > MAX_FILE_BYTES or content.startswith((b"%", b"...")):
        raise _Whole
    if b"\n%" in content or b"\n..." in content:
        raise _Whole
    start = line = 0
    at = content.find(b"\n---")
    while at >= 0:
        if content[at + 4 : at + 5] in (b"", b" ", b"\n", b"\r"):
            yield _Part(start, at + 1, line)
            line += content.count(b"\n", start, at + 1)
            start = at + 1
        at = content.find(b"\n---", at + 4)
    yield _Part(start, len(content), line)


def _documents(parsed: Parsed, bonds: Bonds, line: int) -> tuple[list[Leaf], list[PolicyError], bool]:
    """Return the documents of a text, everything that is wrong in it, and whether all of them are there."""
    leaves: list[Leaf] = []
    faults = list(parsed.faults)
    whole = not faults
    for tree in parsed.trees:
        if len(faults) > MAX_FAULTS:
            break
        try:
            leaf = _leaf(parsed, tree, bonds)
        except _Faulty as faulty:
            faults += faulty.faults
            whole = False
            continue
        told = _faults(parsed.source, tree, flaws_in(leaf.name, leaf.read()))
        leaf.clean = not (told or parsed.faults)
        leaf.warnings = _warnings(parsed.source, tree, leaf, line)
        leaves.append(leaf)
        faults += told
    return leaves, faults, whole


def _faults(source: Source, tree: Tree, flaws: Iterable[Flaw]) -> list[PolicyError]:
    return [
        PolicyError(source.place(tree.position, flaw.path, key=flaw.at_key), flaw.what, newer=flaw.newer)
        for flaw in flaws
    ]


def _warnings(source: Source, tree: Tree, leaf: Leaf, line: int) -> tuple[PolicyError, ...]:
    return tuple(
        relative(PolicyError(source.place(tree.position, path), what, code="unusual-method"), line)
        for path, what in unusual_methods(leaf.read())
    )


def _leaf(parsed: Parsed, tree: Tree, bonds: Bonds) -> Leaf:
    newer = newer_flaw(tree.data)
    if newer is not None:
        raise _Faulty(_faults(parsed.source, tree, [newer]))
    kind = tree.data.get("kind") if isinstance(tree.data, dict) else None
    reader = READERS.get(kind) if isinstance(kind, str) else None
    if reader is None or not isinstance(kind, str):
        raise _Faulty(_faults(parsed.source, tree, [_kind_flaw(tree.data, kind)]))
    # What is validated is what the revision covers: the canonical bytes, not the data they came from.
    canonical = canonical_json(tree.data)
    try:
        written = reader.validate_json(canonical)
    except ValidationError as error:
        raise _Faulty(_faults(parsed.source, tree, flaws_of(error, kind))) from None
    ties = bonds.of(written.spec)
    return Leaf(kind, written.metadata.name, written.spec, canonical, tree.position, parsed.values, ties)


def _kind_flaw(data: Data, kind: object) -> Flaw:
    if not isinstance(data, dict):
        return Flaw((), "a document is a mapping: write `apiVersion`, `kind`, `metadata` and `spec`")
    known = ", ".join(f"`{name}`" for name in sorted(KINDS))
    if kind is None:
        return Flaw((), f"`kind` is missing: write one of {known}")
    guess = difflib.get_close_matches(str(kind), KINDS, n=1)
    mend = f"did you mean `{guess[0]}`?" if guess else f"write one of {known}"
    return Flaw(("kind",), f"there is no kind `{shown(kind)}`: {mend}")
