from __future__ import annotations

from pathlib import Path

from authz.record.cgroup import MemoryFacts, memory

MIB = 1024 * 1024


def group(folder: Path, limit: str, used: int, forgettable: int, *, v1: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(f"{limit}\n")
    (folder / ("memory.usage_in_bytes" if v1 else "memory.current")).write_text(f"{used}\n")
    name = "total_inactive_file" if v1 else "inactive_file"
    (folder / "memory.stat").write_text(f"anon 7\n{name} {forgettable}\nshmem 9\n")


def belongs(root: Path, *lines: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")


def test_the_limit_of_a_container_and_what_it_holds(tmp_path: Path) -> None:
    belongs(tmp_path, "0::/")
    group(tmp_path / "sys/fs/cgroup", str(100 * MIB), 80 * MIB, 30 * MIB)
    assert memory(tmp_path) == MemoryFacts(100 * MIB, 50 * MIB)


def test_the_level_with_the_least_room_counts(tmp_path: Path) -> None:
    belongs(tmp_path, "0::/pod/container")
    mount = tmp_path / "sys/fs/cgroup"
    group(mount / "pod/container", str(200 * MIB), 10 * MIB, 0)
    group(mount / "pod", str(100 * MIB), 90 * MIB, 0)
    group(mount, "max", 900 * MIB, 0)
    assert memory(tmp_path) == MemoryFacts(100 * MIB, 90 * MIB)


def test_the_first_version_is_read_beside_other_controllers(tmp_path: Path) -> None:
    belongs(tmp_path, "9:name=systemd:/", "4:cpu,memory:/docker/abc", "0::/")
    # Inside a container the path of the host is not there: the mount itself is ours.
    group(tmp_path / "sys/fs/cgroup/memory", str(64 * MIB), 40 * MIB, 8 * MIB, v1=True)
    assert memory(tmp_path) == MemoryFacts(64 * MIB, 32 * MIB)


def test_without_a_limit_there_is_nothing_to_compare(tmp_path: Path) -> None:
    belongs(tmp_path, "4:memory:/", "0::/")
    group(tmp_path / "sys/fs/cgroup/memory", "9223372036854771712", 40 * MIB, 0, v1=True)
    group(tmp_path / "sys/fs/cgroup", "max", 40 * MIB, 0)
    assert memory(tmp_path) is None


def test_what_cannot_be_read_is_not_guessed(tmp_path: Path) -> None:
    assert memory(tmp_path) is None
    belongs(tmp_path, "0::/a", "no line of the kernel's")
    assert memory(tmp_path) is None
    group(tmp_path / "sys/fs/cgroup/a", str(MIB), 1, 0)
    (tmp_path / "sys/fs/cgroup/a/memory.stat").write_text("garbage")
    assert memory(tmp_path) is None


def test_a_path_cannot_lead_out_of_the_mount(tmp_path: Path) -> None:
    belongs(tmp_path, "0::/../../../etc")
    group(tmp_path / "sys/fs/cgroup", str(MIB), 1, 5)
    assert memory(tmp_path) == MemoryFacts(MIB, 0)


def test_this_machine_can_be_asked() -> None:
    found = memory()
    assert found is None or found.limit_bytes > 0
