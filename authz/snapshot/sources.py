"""The files of a policy set, read so that nothing odd in a directory can hang, flood or split the reading.

Directories are scanned, the files are read, and the directories are scanned again: if anything moved in
between (a ConfigMap swaps its links in one step), the whole is read anew. So the files of one answer always
stood there together.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from authz.model.errors import Place, PolicyError, SnapshotRejected
from authz.policy.yaml import MAX_FILE_BYTES
from authz.snapshot.parts import Files

MAX_DEPTH = 16  # directories in directories
MAX_FILES = 100_000  # a set of a million keys has a thousand
ATTEMPTS = 3  # a swap takes a moment; what moves longer than that is still being written


class _Entry(NamedTuple):
    """One file to read. Two equal entries in two scans: nobody has touched it in between."""

    shown: str  # as people know it: the directory as it was given, and the way below it
    real: Path  # with every link resolved
    identity: tuple[int, int]  # device and inode
    size: int
    modified_ns: int


def read_files(directories: Sequence[Path]) -> Files:
    """Read what can be read below some directories, with every fault."""
    contents, faults = read_lenient(directories)
    return Files(contents, tuple(faults))


def read(directories: Sequence[Path]) -> dict[str, bytes]:
    """Read every policy file below some directories.

    Args:
        directories: as the operator gave them; their names begin the names of the files.

    Returns:
        name of the file, as people know it -> content.

    Raises:
        SnapshotRejected: with everything that could not be read, or if nothing is there.

    Source: section 1 of the contract.
    """
    files, faults = read_lenient(directories)
    if faults:
        raise SnapshotRejected(faults)
    return files


def read_lenient(directories: Sequence[Path]) -> tuple[dict[str, bytes], list[PolicyError]]:
    """Read what can be read, and return it together with every fault."""
    entries, faults = _scan(directories)
    files = _read_all(entries, faults)
    for _ in range(ATTEMPTS):
        again, more = _scan(directories)
        if again == entries:
            break
        entries, faults = again, more
        files = _read_all(entries, faults)
    else:
        faults = [PolicyError(Place(str(directories[0])), "the files change while they are read: try again")]
    if not files and not faults:
        names = " ".join(str(directory) for directory in directories)
        faults.append(PolicyError(Place(names), "no documents here: write at least one `.yaml` file"))
    return files, faults


def _scan(directories: Sequence[Path]) -> tuple[list[_Entry], list[PolicyError]]:
    scan = _Scan()
    for directory in directories:
        scan.root(directory)
    return scan.entries, scan.faults


class _Scan:
    """One look at everything below some directories; each file and each directory counts once."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.faults: list[PolicyError] = []
        self._seen: set[tuple[int, int]] = set()

    def root(self, directory: Path) -> None:
        """Look at a directory as it was given; it may itself be a link."""
        try:
            real = directory.resolve(strict=True)
            if stat.S_ISDIR(real.stat().st_mode):
                self._directory(str(directory), real, real, 0)
            else:
                self._fault(str(directory), "not a directory: name the directory that holds the files")
        except (OSError, RuntimeError) as error:
            self._fault(str(directory), f"{_why(error)}: name a directory that can be read")

    def _directory(self, shown: str, real: Path, root: Path, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._fault(shown, f"more than {MAX_DEPTH} directories deep: flatten it")
            return
        try:
            found = real.stat()
            entries = sorted(real.iterdir())
        except OSError as error:
            self._fault(shown, f"{_why(error)}: make it readable")
            return
        if self._is_new(found):
            for entry in entries:
                if not entry.name.startswith("."):
                    self._entry(f"{shown.rstrip('/')}/{_printable(entry.name)}", entry, root, depth)

    def _entry(self, shown: str, path: Path, root: Path, depth: int) -> None:
        """Look at one entry; `path` is real but for its last part."""
        try:
            real = path.resolve(strict=True) if path.is_symlink() else path
            found = real.stat(follow_symlinks=False)
        except (OSError, RuntimeError) as error:
            self._fault(shown, f"{_why(error)}: mend or remove it")
            return
        if stat.S_ISDIR(found.st_mode):
            if self._is_inside(shown, real, root):
                self._directory(shown, real, root, depth + 1)
        elif shown.lower().endswith((".yaml", ".yml")) and self._is_inside(shown, real, root):
            self._file(shown, real, found)

    def _file(self, shown: str, real: Path, found: os.stat_result) -> None:
        if not shown.endswith(".yaml"):
            self._fault(shown, "only files that end in `.yaml` are read: rename it")
        elif not stat.S_ISREG(found.st_mode):
            self._fault(shown, "not a regular file: remove it")
        elif len(self.entries) >= MAX_FILES:
            self._fault(shown, f"more than {MAX_FILES} files: put several documents into one")
        elif self._is_new(found):
            identity = (found.st_dev, found.st_ino)
            self.entries.append(_Entry(shown, real, identity, found.st_size, found.st_mtime_ns))

    def _is_inside(self, shown: str, real: Path, root: Path) -> bool:
        # SECURITY: a link must not bring in files that nobody reviewed as part of the set.
        if real.is_relative_to(root):
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


def _read_all(entries: list[_Entry], faults: list[PolicyError]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for entry in entries:
        try:
            files[entry.shown] = _read_one(entry.real)
        except OSError as error:
            faults.append(PolicyError(Place(entry.shown), f"{_why(error)}: mend or remove it"))
    return files


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


def _why(error: OSError | RuntimeError) -> str:
    if isinstance(error, RuntimeError) or error.strerror is None:
        return "a link that leads to itself"  # pathlib says so with a RuntimeError
    return error.strerror[:1].lower() + error.strerror[1:]


def _printable(name: str) -> str:
    """Write a file name so that it is one line, and no two names are written alike."""
    return "".join(
        character if character.isprintable() and character != "\\" else _escaped(character)
        for character in name
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
