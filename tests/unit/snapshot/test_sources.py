from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from authz.model.errors import SnapshotRejected
from authz.policy.yaml import MAX_FILE_BYTES
from authz.snapshot import scan, sources
from authz.snapshot.parts import Files
from authz.snapshot.sources import Directories, Source, Sources, read


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    return Path("set")


def refused(*directories: Path) -> list[str]:
    with pytest.raises(SnapshotRejected) as caught:
        read(directories)
    return [str(fault) for fault in caught.value.faults]


def test_files_are_named_as_the_directory_was_given(root: Path) -> None:
    (root / "a.yaml").write_bytes(b"a")
    (root / "below" / "deeper").mkdir(parents=True)
    (root / "below" / "deeper" / "b.yaml").write_bytes(b"b")
    assert read([root]) == {"set/a.yaml": b"a", "set/below/deeper/b.yaml": b"b"}
    assert list(read([root.absolute()])) == [
        f"{root.absolute()}/a.yaml",
        f"{root.absolute()}/below/deeper/b.yaml",
    ]


def test_dot_entries_and_other_files_are_skipped(root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git" / "x.yaml").write_bytes(b"x")
    (root / ".hidden.yaml").write_bytes(b"x")
    (root / "README.md").write_bytes(b"x")
    os.mkfifo(root / "pipe")
    (root / "a.yaml").write_bytes(b"a")
    assert read([root]) == {"set/a.yaml": b"a"}


def test_a_config_map_mount_is_read_once(root: Path) -> None:
    (root / "..2026_01_01").mkdir()
    (root / "..2026_01_01" / "a.yaml").write_bytes(b"a")
    (root / "..data").symlink_to("..2026_01_01")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    assert read([root]) == {"set/a.yaml": b"a"}


def test_a_directory_may_itself_be_a_link(root: Path) -> None:
    (root / "a.yaml").write_bytes(b"a")
    Path("link").symlink_to("set")
    assert read([Path("link")]) == {"link/a.yaml": b"a"}


def test_no_file_and_no_directory_is_read_twice(root: Path) -> None:
    (root / "a.yaml").write_bytes(b"a")
    (root / "b.yaml").symlink_to("a.yaml")
    os.link(root / "a.yaml", root / "c.yaml")
    (root / "below").mkdir()
    (root / "below" / "loop").symlink_to("..")
    assert read([root, root, root / "below"]) == {"set/a.yaml": b"a"}


def test_links_inside_the_directory_are_followed(root: Path) -> None:
    (root / "x").mkdir()
    (root / "x" / "a.yaml").write_bytes(b"a")
    (root / "w").symlink_to("x")
    assert read([root]) == {"set/w/a.yaml": b"a"}


def test_links_out_of_the_directory_are_refused(root: Path) -> None:
    Path("out.yaml").write_bytes(b"x")
    Path("outside").mkdir()
    (root / "a.yaml").symlink_to("../out.yaml")
    (root / "dir").symlink_to("../outside")
    (root / "NOTES").symlink_to("../out.yaml")
    assert refused(root) == [
        "set/a.yaml:1:1: a link out of the directory: copy the file, or name its directory too",
        "set/dir:1:1: a link out of the directory: copy the file, or name its directory too",
    ]


def test_broken_and_endless_links_are_refused(root: Path) -> None:
    (root / "a.yaml").symlink_to("nowhere.yaml")
    (root / "b.yaml").symlink_to("b.yaml")
    found = refused(root)
    assert found[0] == "set/a.yaml:1:1: no such file or directory: mend or remove it"
    assert found[1].startswith("set/b.yaml:1:1: ")
    assert found[1].endswith(": mend or remove it")


def test_what_is_no_regular_file_is_refused_without_opening_it(root: Path) -> None:
    os.mkfifo(root / "fifo.yaml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket.yaml"))
        (root / "device.yaml").symlink_to("/dev/zero")
        assert refused(root) == [
            "set/device.yaml:1:1: a link out of the directory: copy the file, or name its directory too",
            "set/fifo.yaml:1:1: not a regular file: remove it",
            "set/socket.yaml:1:1: not a regular file: remove it",
        ]


def test_a_fifo_that_took_the_place_of_a_file_does_not_hang(root: Path) -> None:
    os.mkfifo(root / "a.yaml")
    with pytest.raises(OSError, match="not a regular file"):
        sources._read_one(root / "a.yaml")


def test_a_link_that_took_the_place_of_a_file_is_not_followed(root: Path) -> None:
    Path("out").write_bytes(b"x")
    (root / "a.yaml").symlink_to("../out")
    with pytest.raises(OSError, match="symbolic links"):
        sources._read_one(root / "a.yaml")


def test_a_file_that_is_too_large_is_refused(root: Path) -> None:
    (root / "a.yaml").write_bytes(b"x" * MAX_FILE_BYTES)
    assert len(read([root])["set/a.yaml"]) == MAX_FILE_BYTES
    (root / "a.yaml").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    assert refused(root) == ["set/a.yaml:1:1: more than 1048576 bytes in one file: mend or remove it"]


@pytest.mark.parametrize("name", ["a.yml", "a.YAML", "a.Yml"])
def test_a_file_that_looks_like_a_policy_file_but_would_be_skipped_is_refused(root: Path, name: str) -> None:
    (root / name).write_bytes(b"x")
    assert refused(root) == [f"set/{name}:1:1: only files that end in `.yaml` are read: rename it"]


def test_directories_that_cannot_be_read_are_refused(root: Path) -> None:
    Path("file").write_bytes(b"x")
    assert refused(Path("nowhere"), Path("file"), root) == [
        "file:1:1: not a directory: name the directory that holds the files",
        "nowhere:1:1: no such file or directory: name a directory that can be read",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_files_and_directories_without_permission_are_refused(root: Path) -> None:
    (root / "a.yaml").write_bytes(b"x")
    (root / "a.yaml").chmod(0)
    (root / "below").mkdir(mode=0)
    assert refused(root) == [
        "set/a.yaml:1:1: permission denied: mend or remove it",
        "set/below:1:1: permission denied: make it readable",
    ]


def test_errors_of_the_system_are_told_at_the_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    def unlisted(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied")

    (root / "a.yaml").write_bytes(b"x")
    monkeypatch.setattr(sources, "_read_one", denied)
    assert refused(root) == ["set/a.yaml:1:1: permission denied: mend or remove it"]
    monkeypatch.setattr(os, "listdir", unlisted)
    assert refused(root) == ["set:1:1: permission denied: make it readable"]


def test_a_set_without_files_is_refused(root: Path) -> None:
    Path("other").mkdir()
    assert refused(root, Path("other")) == [
        "set other:1:1: no documents here: write at least one `.yaml` file"
    ]


def test_directories_are_bounded_in_depth_and_files_in_number(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = root.joinpath(*["d"] * 17)
    deep.mkdir(parents=True)
    assert refused(root)[0].endswith("more than 16 directories deep: flatten it")
    monkeypatch.setattr(scan, "MAX_FILES", 1)
    for name in "ab":
        (root / f"{name}.yaml").write_bytes(b"x")
    (root / "c.yaml").write_bytes(b"x")
    told = [fault for fault in refused(root) if "more than 1 files" in fault]
    assert [fault.partition(" ")[0] for fault in told] == ["set/b.yaml:1:1:"]


def test_names_are_one_line_and_no_two_are_written_alike(root: Path) -> None:
    for name in (b"a\n.yaml", b"a\\n.yaml", b"\xff.yaml", "é.yaml".encode()):
        (root / os.fsdecode(name)).write_bytes(name)
    found = read([root])
    assert set(found) == {"set/a\\n.yaml", "set/a\\\\n.yaml", "set/\\udcff.yaml", "set/é.yaml"}
    assert found["set/a\\n.yaml"] == b"a\n.yaml"


def test_a_set_that_changes_while_it_is_read_is_read_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a.yaml").write_bytes(b"old")
    real, calls = sources._read_one, []

    def swapping(path: Path) -> bytes:
        content = real(path)
        calls.append(content)
        if len(calls) == 1:
            (root / "new").write_bytes(b"new!")
            (root / "new").rename(root / "a.yaml")
        return content

    monkeypatch.setattr(sources, "_read_one", swapping)
    assert read([root]) == {"set/a.yaml": b"new!"}
    assert calls == [b"old", b"new!"]


def test_a_set_that_never_stands_still_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a.yaml").write_bytes(b"")
    real = sources._read_one

    def growing(path: Path) -> bytes:
        content = real(path)
        path.write_bytes(content + b"x")
        return content

    monkeypatch.setattr(sources, "_read_one", growing)
    unsteady = "files change while they are read, this one too: try again"
    assert refused(root) == [f"set/a.yaml:1:1: {unsteady}"]
    (root / "team").mkdir()
    (root / "team/b.yaml").write_bytes(b"")
    (root / "team/c.yaml").write_bytes(b"")
    found = Source([root], scope_of=lambda file: "t" if "/team/" in file else "").read()
    assert list(map(str, found.faults)) == [f"set/{one}.yaml:1:1: {unsteady}" for one in ("a", "team/b")]


def test_a_team_that_never_stands_still_holds_up_nobody_else(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "team").mkdir()
    for name in ("a", "team/b"):
        (root / f"{name}.yaml").write_bytes(b"x")
    real = sources._read_one

    def growing(path: Path) -> bytes:
        content = real(path)
        if path.name == "b.yaml":
            path.write_bytes(content + b"x")
        return content

    monkeypatch.setattr(sources, "_read_one", growing)
    found = Source([root], scope_of=lambda file: "t" if "/team/" in file else "").read()
    assert found.contents["set/a.yaml"] == b"x"
    assert [fault.place.file for fault in found.faults] == ["set/team/b.yaml"]


@pytest.mark.parametrize(("name", "size"), [("SCOPE_MAX_FILES", 2), ("SCOPE_MAX_BYTES", 100)])
def test_of_a_scope_beyond_its_bounds_nothing_is_read_and_everything_of_others(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    monkeypatch.setattr(scan, name, size)
    (root / "team").mkdir()
    for number in range(4):
        (root / f"team/{number}.yaml").write_bytes(b"x" * 50)
        (root / f"{number}.yaml").write_bytes(b"x" * 50)
    found = Source([root], scope_of=lambda file: "t" if "/team/" in file else "").read()
    assert sorted(found.contents) == [f"set/{number}.yaml" for number in range(4)]
    (fault,) = found.faults
    assert fault.place.file == "set/team/2.yaml"
    assert "in one scope: split it" in fault.what


@pytest.mark.parametrize(("name", "size"), [("MAX_FILES", 2), ("MAX_BYTES", 100)])
def test_of_a_set_beyond_its_bounds_nothing_is_read_but_scopes(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    monkeypatch.setattr(scan, name, size)
    (root / "team").mkdir()
    (root / "team/t.yaml").write_bytes(b"x")
    for number in range(4):
        (root / f"{number}.yaml").write_bytes(b"x" * 50)
    found = Source([root], scope_of=lambda file: "t" if "/team/" in file else "").read()
    assert list(found.contents) == ["set/team/t.yaml"]
    assert len(found.faults) == 1


def test_policies_are_read_again_where_the_scopes_beside_them_changed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A team's directory and its Scope go at once: the one must not be read before, and the other after."""
    policies, scopes = root / "policies", root / "scopes"
    for directory in (policies / "team", scopes):
        directory.mkdir(parents=True)
    (policies / "a.yaml").write_bytes(b"a")
    (policies / "team/t.yaml").write_bytes(b"t")
    (scopes / "s.yaml").write_bytes(b"s")
    (scopes / "t.yaml").write_bytes(b"t")
    made = Sources(Directories([policies], [scopes]))
    assert len(made.read().policies.contents) == 2
    real = Source.read

    def read(self: Source, *, every: bool = False) -> Files:
        found = real(self, every=every)
        if self.directories == (policies,) and (scopes / "t.yaml").exists():
            (scopes / "t.yaml").unlink()
            (policies / "team/t.yaml").unlink()
        return found

    monkeypatch.setattr(Source, "read", read)
    reading = made.read()
    assert reading.scopes is not None
    assert list(reading.scopes.contents) == ["set/scopes/s.yaml"]
    assert list(reading.policies.contents) == ["set/policies/a.yaml"]


def test_where_policies_never_stand_still_changed_scopes_wait(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies, scopes = root / "policies", root / "scopes"
    policies.mkdir(parents=True)
    scopes.mkdir()
    (policies / "a.yaml").write_bytes(b"a")
    (scopes / "s.yaml").write_bytes(b"s")
    named = Directories([policies], [scopes])
    made = Sources(named)
    made.read()
    (scopes / "s.yaml").write_bytes(b"other")
    monkeypatch.setattr(Source, "moved", lambda _: True)
    found = made.read().scopes
    assert found is not None
    assert found.contents == {"set/scopes/s.yaml": b"s"}
    first = Sources(named).read().scopes
    assert first is not None
    assert [fault.what for fault in first.faults] == ["policies change while Scope documents do: try again"]


DAY_NS = 86_400 * 10**9


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were really read."""
    real, seen = sources._read_one, list[str]()

    def noting(path: Path) -> bytes:
        seen.append(path.name)
        return real(path)

    monkeypatch.setattr(sources, "_read_one", noting)
    return seen


def later() -> int:
    return time.time_ns() + DAY_NS


def test_a_file_that_nobody_touched_is_read_once(root: Path, reads: list[str]) -> None:
    (root / "a.yaml").write_bytes(b"a")
    (root / "b.yaml").write_bytes(b"b")
    source = Source([root], wall_ns=later)
    assert source.read().contents == {"set/a.yaml": b"a", "set/b.yaml": b"b"}
    (root / "b.yaml").write_bytes(b"c")
    assert source.read().contents == {"set/a.yaml": b"a", "set/b.yaml": b"c"}
    assert reads == ["a.yaml", "b.yaml", "b.yaml"]


def test_a_file_that_changed_just_now_is_read_again_whatever_its_marks_say(
    root: Path, reads: list[str]
) -> None:
    (root / "a.yaml").write_bytes(b"a")
    source = Source([root])
    source.read()
    source.read()
    assert reads == ["a.yaml", "a.yaml"]


def test_every_file_is_read_where_no_marks_are_trusted(root: Path, reads: list[str]) -> None:
    (root / "a.yaml").write_bytes(b"a")
    source = Source([root], wall_ns=later)
    source.read()
    assert source.read(every=True).contents == {"set/a.yaml": b"a"}
    assert reads == ["a.yaml", "a.yaml"]


def test_a_source_knows_whether_anything_moved_since(root: Path) -> None:
    (root / "a.yml").write_bytes(b"a")
    source = Source([root])
    assert source.moved()
    source.read()
    assert not source.moved()
    (root / "a.yaml").write_bytes(b"a")
    source.read()
    assert not source.moved()
    (root / "a.yaml").unlink()
    assert source.moved()


def test_only_overrides_may_be_empty(root: Path) -> None:
    for name in ("scopes", "overrides"):
        Path(name).mkdir()
    (root / "a.yaml").write_bytes(b"a")
    sources_of_all = Sources(Directories([root], [Path("scopes")], [Path("overrides")]))
    reading = sources_of_all.read()
    assert reading.policies.contents == {"set/a.yaml": b"a"}
    assert reading.scopes is not None
    assert [str(fault) for fault in reading.scopes.faults] == [
        "scopes:1:1: no documents here: write at least one `.yaml` file"
    ]
    assert reading.overrides is not None
    assert reading.overrides[:2] == ({}, ())
    assert {Path(path).name for path in sources_of_all.watched().holding} == {"set", "scopes", "overrides"}
    assert Sources(Directories([root])).read()[1:] == (None, None)
