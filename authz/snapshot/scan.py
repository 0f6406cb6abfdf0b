"""One look at everything below some directories: which files there are, without reading any.

Two looks that are equal: nobody has touched anything in between.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from authz.model.errors import Place, PolicyError
from authz.policy.yaml import MAX_FILE_BYTES
from authz.snapshot.ways import Ways

MAX_DEPTH = 16  # directories in directories

# What is more is not even read: files that fill a memory must not end what is served.
MAX_FILES = 100_000  # a set of a million keys has a thousand
MAX_BYTES = 512 * 1024 * 1024  # and half of this. Without the files of scopes, which have bounds of their own
SCOPE_MAX_FILES = 5000  # reading it takes some seconds, of a thread that all scopes share
SCOPE_MAX_BYTES = 16 * 1024 * 1024

ScopeOf = Callable[[str], str]  # name of a file, as people know it -> the scope that it belongs to, "": none


class Entry(NamedTuple):
    """One file to read."""

    shown: str  # as people know it: the directory as it was given, and the way below it
    real: str  # with every link resolved
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int  # nobody can set it, unlike the time before


class Watched(NamedTuple):
    """What a look depended on.

    Args:
        directories: real path -> device and inode of all that hold what was seen.
        names: what is a link on the way to it, or the directory itself, or is not there yet.
        holding: the directories that hold documents or may, without those that hold a name alone.
    """

    directories: dict[str, tuple[int, int]]
    names: frozenset[str]
    holding: frozenset[str] = frozenset()


class Look(NamedTuple):
    """What stands in the directories."""

    entries: list[Entry]
    faults: list[PolicyError]
    watched: Watched
    links: Mapping[str, str] = MappingProxyType({})  # what was given, and each link: shown -> real path


def no_scope(_: str) -> str:
    """Say of a file that it belongs to no scope."""
    return ""


def look(
    directories: Sequence[Path], breathe: Callable[[], None] = lambda: None, scope_of: ScopeOf = no_scope
) -> Look:
    """Look at everything below some directories; each file and each directory counts once.

    Args:
        breathe: called for each file, so that others may use the interpreter.
        scope_of: who has bounds of its own. Of whoever is beyond its bounds nothing is to be read.
    """
    scan = _Scan(breathe, scope_of)
    for directory in directories:
        scan.root(directory)
    scan.outward()
    holding = frozenset(scan.directories)
    watched = Watched(scan.directories, scan.names(), holding)
    return Look(scan.within_bounds(), scan.faults, watched, scan.links)


_Outward = tuple[str, str, os.stat_result, str, int]  # a link: name, real path, its marks, root, depth


class _Scan:
    def __init__(self, breathe: Callable[[], None], scope_of: ScopeOf) -> None:
        self._breathe = breathe
        self._scope_of = scope_of
        self._sizes: dict[str, tuple[int, int]] = {}  # scope -> how many files, how many bytes
        self._beyond: set[str] = set()
        self.entries: list[Entry] = []
        self.faults: list[PolicyError] = []
        self.directories: dict[str, tuple[int, int]] = {}
        self.links: dict[str, str] = {}
        self._outward: deque[_Outward] = deque()
        self._ways = Ways()
        self._roots: set[str] = set()
        self._seen: set[tuple[int, int]] = set()  # directories
        self._read: dict[tuple[int, int], str] = {}  # files, by device and inode

    def names(self) -> frozenset[str]:
        """Return every name whose replacement changes what is seen; what holds one is watched, too."""
        names = self._roots | self._ways.links | self._ways.missing
        for name in names:
            self._hold(os.path.dirname(name))  # noqa: PTH120 - text
        return frozenset(names)

    def root(self, directory: Path) -> None:
        """Look at a directory as it was given; it may itself be a link."""
        shown = str(directory)
        try:
            real = self._ways.resolve(os.path.abspath(shown))  # noqa: PTH100 - must not follow links
            self._roots.add(real)
            self.links[shown] = real
            if stat.S_ISDIR(os.stat(real).st_mode):  # noqa: PTH116
                self._directory(shown, real, real, 0)
            else:
                self._fault(shown, "not a directory: name the directory that holds the files")
        except (OSError, RuntimeError) as error:
            self._fault(shown, f"{why(error)}: name a directory that can be read")

    def outward(self) -> None:
        """Follow the links that lead out of where they stand, once everything else was looked at.

        SECURITY: each file counts once, under the name that is met first. A link in the directory of one team
        must not take away what stands in that of another.
        """
        while self._outward:
            self._found(*self._outward.popleft())

    def _hold(self, directory: str) -> None:
        if directory not in self.directories:
            try:
                found = os.stat(directory)  # noqa: PTH116
            except OSError:
                return  # gone since
            self.directories[directory] = (found.st_dev, found.st_ino)

    def _directory(self, shown: str, real: str, root: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._fault(shown, f"more than {MAX_DEPTH} directories deep: flatten it")
            return
        try:
            found = os.stat(real)  # noqa: PTH116
            self.directories[real] = (found.st_dev, found.st_ino)
            names = sorted(os.listdir(real))  # noqa: PTH208
        except OSError as error:
            self._fault(shown, f"{why(error)}: make it readable")
            return
        if self._is_new(found):
            above = shown.rstrip("/")
            for name in names:
                if not name.startswith("."):
                    self._entry(f"{above}/{printable(name)}", f"{real.rstrip('/')}/{name}", root, depth)

    def _entry(self, shown: str, path: str, root: str, depth: int) -> None:
        """Look at one entry; `path` is real but for its last part."""
        self._breathe()
        try:
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode):
                holder = os.path.dirname(path)  # noqa: PTH120 - text
                self.links[shown] = path = self._ways.resolve(path)
                self._hold(os.path.dirname(path))  # noqa: PTH120 - text
                found = os.lstat(path)
                if not path.startswith(f"{holder.rstrip('/')}/"):
                    self._outward.append((shown, path, found, root, depth))
                    return
        except (OSError, RuntimeError) as error:
            self._fault(shown, f"{why(error)}: mend or remove it")
            return
        self._found(shown, path, found, root, depth)

    def _found(self, shown: str, path: str, found: os.stat_result, root: str, depth: int) -> None:
        """Look at an entry whose real path is known."""
        if stat.S_ISDIR(found.st_mode):
            if self._is_inside(shown, path, root):
                self._directory(shown, path, root, depth + 1)
        elif shown.lower().endswith((".yaml", ".yml")) and self._is_inside(shown, path, root):
            self._file(shown, path, found)

    def _file(self, shown: str, real: str, found: os.stat_result) -> None:
        if not shown.endswith(".yaml"):
            self._fault(shown, "only files that end in `.yaml` are read: rename it")
        elif not stat.S_ISREG(found.st_mode):
            self._fault(shown, "not a regular file: remove it")
        elif self._is_new(found):
            self._read[found.st_dev, found.st_ino] = real
            if self._fits(shown, min(found.st_size, MAX_FILE_BYTES)):  # no more of one is read
                marks = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
                self.entries.append(Entry(shown, real, *marks))
        else:  # a hard link is told as a link: it may take a file from where somebody else has it
            self.links.setdefault(shown, self._read[found.st_dev, found.st_ino])

    def _fits(self, shown: str, size: int) -> bool:
        scope = self._scope_of(shown)
        if scope in self._beyond:
            return False
        count, total = self._sizes.get(scope, (0, 0))
        self._sizes[scope] = count, total = count + 1, total + size
        files, most = (SCOPE_MAX_FILES, SCOPE_MAX_BYTES) if scope else (MAX_FILES, MAX_BYTES)
        if count <= files and total <= most:
            return True
        self._beyond.add(scope)
        what, mend = (
            ("one scope", "split it") if scope else ("a set", "put several documents into one, or less")
        )
        self._fault(shown, f"more than {files} files or {most} bytes in {what}: {mend}")
        return False

    def within_bounds(self) -> list[Entry]:
        """Return the files to read."""
        beyond = self._beyond
        return (
            [one for one in self.entries if self._scope_of(one.shown) not in beyond]
            if beyond
            else self.entries
        )

    def _is_inside(self, shown: str, real: str, root: str) -> bool:
        # SECURITY: a link must not bring in files that nobody reviewed as part of the set.
        if real.startswith(f"{root.rstrip('/')}/") or real == root:
            return True
        self._fault(shown, "a link out of the directory: copy the file, or name its directory too")
        return False

    def _is_new(self, found: os.stat_result) -> bool:
        identity = (found.st_dev, found.st_ino)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True

    def _fault(self, shown: str, what: str) -> None:
        self.faults.append(PolicyError(Place(shown), what))


def why(error: OSError | RuntimeError) -> str:
    """Return what the system says, in our prose."""
    if isinstance(error, RuntimeError) or error.strerror is None:
        return "a link that leads to itself"  # a way too long for the interpreter's stack
    return error.strerror[:1].lower() + error.strerror[1:]


def printable(name: str) -> str:
    """Write a file name so that it is one line, and no two names are written alike."""
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(
        character if character.isprintable() and character != "\\" else _escaped(character)
        for character in name
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
