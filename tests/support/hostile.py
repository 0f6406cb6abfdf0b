"""Policy directories as nobody should leave them: every line of "Policy files" in the threats, as data.

Each case takes a directory that holds a good set and spoils it; `what` must stand in the problem told.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.support.documents import document, policy

HOST = "hostile.test"
GOOD = document(
    "Policy",
    "good",
    f"{{hosts: [{HOST}], rules: [{{name: open, effect: allow, paths: [/open], identity: [anyone]}}]}}",
)


class Hostile(NamedTuple):
    """One way to spoil a directory.

    Args:
        name: what was done.
        spoil: does it, to a directory that holds `good.yaml`.
        what: stands in the fault.
        placed: whether the fault names a line beyond the first.
    """

    name: str
    spoil: Callable[[Path], None]
    what: str
    placed: bool = False


def good_set(directory: Path) -> Path:
    """Write a set that allows GET /open on HOST."""
    directory.mkdir(parents=True)
    (directory / "good.yaml").write_text(GOOD)
    return directory


def restore(directory: Path) -> None:
    """Make it good again, whatever became of it."""
    if directory.is_symlink() or directory.is_file():
        directory.unlink()
    elif directory.exists():
        for path in directory.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        directory.rmdir()
    good_set(directory)


def _holds(name: str, content: bytes | str, what: str, *, placed: bool = True) -> Hostile:
    """A file beside the good one."""
    data = content.encode() if isinstance(content, str) else content
    return Hostile(name, lambda root: _write(root / "hostile.yaml", data), what, placed)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _when(name: str, condition: str, what: str) -> Hostile:
    rule = f"\n        when: {_quoted(condition)}\n"
    text = "\n".join(
        (
            "apiVersion: policy.authz/v1alpha1",
            "kind: Policy",
            "metadata: {name: hostile}",
            "spec:",
            f"  hosts: [{HOST}]",
            "  rules:",
            "    - {name: r, effect: deny,",
        )
    )
    return _holds(name, f"{text}{rule}      }}\n", what)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _field(name: str, line: str, what: str) -> Hostile:
    """A policy with one line more in its spec; it is the fifth."""
    text = f"apiVersion: policy.authz/v1alpha1\nkind: Policy\nmetadata: {{name: hostile}}\nspec:\n{line}\n"
    rules = f"  hosts: [{HOST}]\n  rules: [{{name: r, effect: deny}}]\n"
    return _holds(name, text + rules, what)


def _every(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        for step in steps:
            step(root)

    return spoil


def _listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is bounded
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def _laughs() -> str:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines)


_NESTED = "request.headers.all(a, request.headers.all(b, request.headers.all(c, true)))"
_BOMBS = (
    _when("a condition nested deeply", "(" * 2000 + "true" + ")" * 2000, "nested more than 32 deep"),
    _when("lists in lists", "[" * 3000 + "]" * 3000 + " == []", "nested more than 32 deep"),
    _when("a comprehension in a comprehension", _NESTED, "comprehension"),
    _when("concatenation in a comprehension", "request.segments.map(s, s + s).size() > 9", "comprehension"),
    _when("a long condition", "true || " * 1100 + "true", "longer than 8192 bytes"),
    _when("a condition that is none", "request.method ==", "Syntax error"),
    _holds("a thousand aliases", "a: &a x\nb: [" + ", ".join(["*a"] * 1000) + "]\n", "aliases"),
    _holds("aliases of aliases", _laughs(), "alias"),
    _holds("flow depth 1,000", "a:\n  " + "[" * 1000 + "]" * 1000, "nested deeper than"),
    _holds("block depth 1,000", "".join(" " * n + "a:\n" for n in range(1000)), "nested deeper than"),
    _holds("10 MB", b"# filler\n" * (10 * 116_509), "more than 1048576 bytes", placed=False),
    _holds("1 MB of brackets", "[" * 1_000_000, "nested deeper than"),
    _holds("100,000 documents", "---\na: b\n" * 100_000, "`kind` is missing", placed=False),
    _holds("a million values", "a: [" + "1, " * 340_000 + "1]", "values in one file"),
    _holds("an endless key", "? " + "x" * 900_000 + "\n: y\n", "`kind` is missing", placed=False),
)
_SPELLINGS = (
    _holds("not UTF-8", b"a: b\nc: \xff\xfe\n", "not UTF-8"),
    _holds("overlong UTF-8", b"a: b\nc: \xc0\xaf\n", "not UTF-8"),
    _holds("UTF-16", "\ufeffa: b\n".encode("utf-16-le"), "not UTF-8", placed=False),
    _holds("NUL", b"a: b\nc: \x00\n", "U+0000"),
    _holds("a tag", GOOD.replace("kind: Policy", "kind: !!python/object:os.system Policy"), "a tag"),
    _field("a merge key", "  <<: {owner: a}", "a merge key"),
    _field("a key twice", "  owner: a\n  owner: b", "stands twice"),
    _field("an unknown field", "  onwer: a", "unknown field"),
    _field("no", "  owner: no thanks\n  mode: no", "cannot be `no`"),
    _field("010", "  owner: 010", "must be a text, not a number"),
    _field("a tab", "  owner:\ta", "a tab"),
    _holds("a version to come", "# later\n" + GOOD.replace("v1alpha1", "v9"), "needs a newer authz"),
    _holds("a kind to come", "# later\nkind: Data\n", "needs a newer authz"),
    _holds("a name twice", "# again\n" + GOOD, "good"),
    _holds("a provider that is not there", policy("effect: allow, identity: [gone]"), "gone"),
    FAILING_TEST := _holds(
        "a test that fails",
        document(
            "PolicyTest",
            "t",
            "{now: 2026-01-01T00:00:00Z, cases: [{name: shut, request: {host: hostile.test, path: /open},"
            " expect: {outcome: deny}}]}",
        ),
        "shut",
    ),
)
_FILES = (
    Hostile(
        "half a file", lambda root: _write(root / "good.yaml", GOOD.encode()[: len(GOOD) // 2]), "good.yaml"
    ),
    Hostile("an empty file", lambda root: _write(root / "good.yaml", b""), "no document in this file"),
    Hostile("another empty file", lambda root: _write(root / "more.yaml", b""), "no document in this file"),
    Hostile("an empty directory", lambda root: (root / "good.yaml").unlink(), "no documents here"),
    Hostile("a deleted directory", shutil.rmtree, "no such file or directory"),
    Hostile("a file in the directory's place", _every(shutil.rmtree, Path.touch), "not a directory"),
    Hostile(
        "a directory in the file's place",
        _every(lambda root: (root / "good.yaml").unlink(), lambda root: (root / "good.yaml").mkdir()),
        "no documents here",
    ),
    Hostile("a name that would be skipped", lambda root: _write(root / "more.yml", b""), "rename it"),
    Hostile("a link to itself", lambda root: (root / "l.yaml").symlink_to("l.yaml"), "l.yaml"),
    Hostile("a link to nowhere", lambda root: (root / "l.yaml").symlink_to("gone.yaml"), "no such file"),
    Hostile(
        "a link out of the tree", lambda root: (root / "l.yaml").symlink_to("/etc/passwd"), "a link out of"
    ),
    Hostile(
        "a linked directory out of the tree", lambda root: (root / "l").symlink_to("/etc"), "a link out of"
    ),
    Hostile("a link to a device", lambda root: (root / "l.yaml").symlink_to("/dev/zero"), "a link out of"),
    Hostile(
        "a loop in the directory's place",
        _every(shutil.rmtree, lambda root: root.symlink_to(root.name)),
        "symbolic links",
    ),
    Hostile("a FIFO", lambda root: os.mkfifo(root / "f.yaml"), "not a regular file"),
    Hostile("a socket", lambda root: _listening(root / "s.yaml"), "not a regular file"),
    Hostile(
        "directories without end",
        lambda root: root.joinpath(*["d"] * 40).mkdir(parents=True),
        "directories deep",
    ),
    Hostile("a name with a line break", lambda root: _write(root / "a\nb.yaml", b"{"), r"a\nb.yaml"),
)
_OF_ROOT = (
    Hostile(
        "a device",
        lambda root: os.mknod(root / "zero.yaml", 0o600 | stat.S_IFCHR, os.makedev(1, 5)),
        "not a regular file",
    ),
)
CASES = (*_BOMBS, *_SPELLINGS, *_FILES, *(_OF_ROOT if os.geteuid() == 0 else ()))


def mountable() -> bool:
    """Whether this user may mount file systems here."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


def mount(directory: Path) -> bool:
    """Mount an empty file system over a directory; False where this machine lets nobody."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", str(directory)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def unmount(directory: Path) -> None:
    """Take it away again, whoever has it open."""
    subprocess.run(["umount", "--lazy", str(directory)], check=True, capture_output=True)
