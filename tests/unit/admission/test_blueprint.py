"""The template's file, followed as a ConfigMap's mount changes; a broken one replaces nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.admission.blueprint import LOOK_S, Blueprint
from authz.admission.numbers import Numbers
from authz.injection.template import MAX_BYTES, Template
from authz.model.errors import ConfigError
from tests.support.admission import TEMPLATE


class _Mount:
    """A directory as the kubelet swaps it: a link to a link."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._version = 0
        self.path = root / "injection.json"
        self.put(TEMPLATE)
        self.path.symlink_to("..data/injection.json")

    def put(self, content: bytes) -> None:
        self._version += 1
        version = self._root / f"..{self._version}"
        version.mkdir()
        (version / "injection.json").write_bytes(content)
        link = self._root / "..new"
        link.symlink_to(version.name)
        link.rename(self._root / "..data")


class _Watched:
    """A blueprint, its metrics and its clock."""

    def __init__(self, mount: _Mount) -> None:
        self.now_s = 0.0
        self.numbers = Numbers()
        self.blueprint = Blueprint(mount.path, self.numbers, lambda: self.now_s)

    def look(self) -> Template:
        self.now_s += LOOK_S
        return self.blueprint.now()

    def good(self) -> bool:
        return b"authz_webhook_template_good 1.0" in self.numbers.page()


def test_a_change_of_the_mount_is_taken_in(tmp_path: Path) -> None:
    mount = _Mount(tmp_path)
    watched = _Watched(mount)
    before = watched.look()
    assert watched.look() is before
    mount.put(TEMPLATE.replace(b"authz:1", b"authz:2"))
    assert watched.blueprint.now() is before, "files are not looked at for every pod"
    assert watched.look().init_containers[0]["image"] == "authz:2"


@pytest.mark.parametrize(
    "broken", [b"", b"{", TEMPLATE + b" " * MAX_BYTES, TEMPLATE.replace(b'"version": 1', b'"version": 2')]
)
def test_a_broken_template_replaces_nothing_and_is_told_of(
    tmp_path: Path, broken: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    mount = _Mount(tmp_path)
    watched = _Watched(mount)
    before = watched.look()
    assert watched.good()
    mount.put(broken)
    assert watched.look() is before
    assert watched.look() is before
    assert not watched.good()
    said = capfd.readouterr()
    assert (said.out + said.err).count("the last good one is kept") == 1
    mount.put(TEMPLATE)
    assert watched.look() == before
    assert watched.good()


def test_a_file_that_went_replaces_nothing(tmp_path: Path) -> None:
    mount = _Mount(tmp_path)
    watched = _Watched(mount)
    before = watched.look()
    mount.path.unlink()
    assert watched.look() is before
    assert not watched.good()


def test_without_any_template_there_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="that the chart renders"):
        Blueprint(tmp_path / "none", Numbers())
    (tmp_path / "broken").write_bytes(b"{")
    with pytest.raises(ConfigError, match="broken"):
        Blueprint(tmp_path / "broken", Numbers())
