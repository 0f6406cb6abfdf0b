"""Mounts that can never change are known by what the kernel says of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from authz.snapshot.mounts import Frozen, Mount, frozen, mounts

KUBELET = "/var/lib/kubelet/pods/0c2a/volumes/kubernetes.io~configmap/policies"
SUBPATH = "it is a `subPath` of a volume; mount the whole volume, as a directory"
FILE = "it is a single file; mount the directory that it is in"


def line(root: str, point: str) -> str:
    return f"36 35 98:0 {root} {point} rw,noatime master:1 - ext4 /dev/root rw,errors=continue\n"


def found(directories: set[str], *lines: str) -> list[Frozen]:
    return frozen(mounts("".join((line("/", "/"), *lines))), directories)


def test_lines_are_read_with_their_escapes_and_odd_ones_left_out() -> None:
    text = line("/a\\040b", "/mnt/c\\134d") + "\n36 35\n"
    assert mounts(text) == [Mount("/a b", "/mnt/c\\d")]


def test_a_whole_volume_and_plain_directories_change() -> None:
    assert found({"/policies", "/policies/..2026_01_01"}, line(KUBELET, "/policies")) == []
    assert found({"/home/me/policies"}) == []
    assert found({"/srv/data/policies"}, line("/export/team/policies", "/srv/data")) == []


@pytest.mark.parametrize(
    "root",
    [
        f"{KUBELET}/..2026_11_22_10_00_00.123456789/base",
        "/..2026_11_22_10_00_00.123456789/base",
        "/var/lib/kubelet/pods/0c2a/volume-subpaths/policies/authz/0",
    ],
)
def test_one_version_of_a_volume_never_changes(root: str) -> None:
    mounted = line(root, "/etc/authz/policies")
    assert found({"/etc/authz/policies"}, mounted) == [Frozen("/etc/authz/policies", SUBPATH)]
    assert found({"/etc/authz/policies/below"}, mounted) == [Frozen("/etc/authz/policies", SUBPATH)]
    assert found({"/etc/authz"}, mounted) == []


def test_a_file_of_a_version_or_any_single_file_never_changes() -> None:
    of_version = line(f"{KUBELET}/..2026_11_22_10_00_00.1/a.yaml", "/policies/a.yaml")
    of_host = line("/home/me/b.yaml", "/policies/b.yaml")
    other = line("/home/me/notes", "/policies/notes") + line("/home/me/.c.yaml", "/policies/.c.yaml")
    assert found({"/policies"}, of_version, of_host, other) == [
        Frozen("/policies/a.yaml", SUBPATH),
        Frozen("/policies/b.yaml", FILE),
    ]


def test_a_mount_that_another_hides_says_nothing() -> None:
    hidden = line(f"{KUBELET}/..2026_11_22_10_00_00.1", "/policies")
    assert found({"/policies"}, hidden, line(KUBELET, "/policies")) == []


@pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="only root mounts",
)
def test_real_mounts_are_told_as_they_are(tmp_path: Path) -> None:
    """In a mount name space of its own: nothing of it is left."""
    version = tmp_path / "volume" / "..2026_11_22_10_00_00.1"
    version.mkdir(parents=True)
    for name in ("a.yaml", "b.yaml"):
        (version / name).touch()
    for place in ("whole", "sub", "files"):
        (tmp_path / place).mkdir()
    (tmp_path / "files" / "b.yaml").touch()
    script = (
        f"cd {tmp_path} && mount --bind volume whole && mount --bind {version} sub"
        f" && mount --bind {version}/b.yaml files/b.yaml && exec {sys.executable} -c '"
        "import sys; from authz.snapshot.mounts import *;"
        " print([one.point for one in frozen(mounts(MOUNTINFO.read_text()), sys.argv[1:])])'"
        f" {tmp_path}/whole {tmp_path}/sub {tmp_path}/files"
    )
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{[f'{tmp_path}/files/b.yaml', f'{tmp_path}/sub']}\n"
