"""Volumes of a pod, made of what the API server holds, as a kubelet lays them out.

What comes from ConfigMaps and Secrets is owned by root, stands in a directory with a time in its name, is
reached through the link `..data`, and changes by that link alone: either all of it is new, or nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tests.kube.node.environment import Object, Stored, contents, pod_field, quantity, resource
from tests.kube.node.fields import NotHonoured

_MODE = 0o644
_ANYBODY = 0o777  # an `emptyDir` is everybody's


class NotMounted(Exception):
    """A volume cannot be made; the text is the event that a kubelet writes."""


class File(NamedTuple):
    """A file of a volume: where, what and for whom."""

    path: str
    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Volumes:
    """The volumes of one pod.

    Args:
        pod: as stored.
        home: where they are on this machine.
        stored: where ConfigMaps and Secrets are read.
        token: makes a token of the pod's service account for an audience and seconds.
        memory: makes a directory that is kept in memory, with options of its mount.
    """

    pod: Object
    home: Path
    stored: Stored
    token: Callable[[str, int], bytes]
    memory: Callable[[Path, str], None]

    def make(self) -> None:
        """Make every volume.

        Raises:
            NotMounted: one is made of what is not there.
        """
        for volume in self._all():
            directory = self.path(volume["name"])
            directory.mkdir(parents=True)
            if "emptyDir" in volume:
                self._empty(directory, volume["emptyDir"])
        self.refresh()

    def refresh(self) -> bool:
        """Lay out anew what has changed in the API server, as a kubelet does each minute; return whether."""
        made = [self._refreshed(volume) for volume in self._all() if "emptyDir" not in volume]
        return any(made)

    def path(self, name: str) -> Path:
        """Where a volume is on this machine.

        Raises:
            KeyError: the pod has none of that name.
        """
        if all(volume["name"] != name for volume in self._all()):
            raise KeyError(name)
        return self.home / name

    def _all(self) -> list[Object]:
        return list(self.pod["spec"].get("volumes", ()))

    def _empty(self, directory: Path, wanted: Object) -> None:
        directory.chmod(_ANYBODY)
        if wanted.get("medium") == "Memory":
            size = f",size={int(quantity(wanted['sizeLimit']))}" if "sizeLimit" in wanted else ""
            self.memory(directory, f"mode=0{_ANYBODY:o}{size}{self._group(',gid=')}")
        elif group := self._group():
            os.chown(directory, -1, int(group))
            directory.chmod(_ANYBODY | 0o2000)

    def _group(self, before: str = "") -> str:
        group = self.pod["spec"].get("securityContext", {}).get("fsGroup")
        return "" if group is None else f"{before}{group}"

    def _refreshed(self, volume: Object) -> bool:
        try:
            files = sorted(self._files(volume))
        except NotMounted as error:
            raise NotMounted(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from None
        return write_whole(self.path(volume["name"]), files, self._group())

    def _files(self, volume: Object) -> Iterator[File]:
        for kind, source in volume.items():
            match kind:
                case "name":
                    pass
                case "projected":
                    for part in source["sources"]:
                        for inner, wanted in part.items():
                            yield from self._part(inner, wanted, source.get("defaultMode", _MODE))
                case _:
                    yield from self._part(kind, source, source.get("defaultMode", _MODE))

    def _part(self, kind: str, source: Object, mode: int) -> Iterator[File]:
        match kind:
            case "configMap":
                yield from self._keys("configmaps", source["name"], source, mode)
            case "secret":
                yield from self._keys("secrets", source.get("secretName") or source["name"], source, mode)
            case "downwardAPI":
                for item in source["items"]:
                    yield File(item["path"], self._told(item).encode(), item.get("mode", mode))
            case "serviceAccountToken":
                content = self.token(source.get("audience", ""), source.get("expirationSeconds", 3600))
                yield File(source["path"], content, mode)
            case _:
                raise NotHonoured(f"volume: {kind}")

    def _told(self, item: Object) -> str:
        if "fieldRef" in item:
            return pod_field(self.pod, item["fieldRef"]["fieldPath"])
        reference = item["resourceFieldRef"]
        spec = self.pod["spec"]
        every = [*spec.get("initContainers", ()), *spec["containers"]]
        return resource(next(one for one in every if one["name"] == reference["containerName"]), reference)

    def _keys(self, kind: str, name: str, source: Object, mode: int) -> Iterator[File]:
        found = self.stored.get(kind, self.pod["metadata"]["namespace"], name)
        if found is None:
            if source.get("optional"):
                return
            raise NotMounted(f'{kind[:-1]} "{name}" not found')
        values = contents(found)
        for item in source.get("items") or [{"key": key, "path": key} for key in values]:
            if item["key"] in values:
                yield File(item["path"], values[item["key"]], item.get("mode", mode))
            elif not source.get("optional"):
                raise NotMounted(f"references non-existent {kind[:-1]} key: {item['key']}")


def write_whole(directory: Path, files: list[File], group: str = "") -> bool:
    """Lay files out behind the link `..data`, all at once; return whether anything is new."""
    data = directory / "..data"
    if data.is_symlink() and _read(data) == [(file.path, file.content) for file in files]:
        return False
    old = data.resolve() if data.is_symlink() else None
    fresh = directory / datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.%f000")
    fresh.mkdir(mode=0o755)
    for file in files:
        _write(fresh / file.path, file, group)
    turned = directory / "..data_tmp"
    turned.symlink_to(fresh.name)
    turned.rename(data)
    _link(directory, {file.path.partition("/")[0] for file in files})
    if old is not None:
        shutil.rmtree(old)
    return True


def _link(directory: Path, names: set[str]) -> None:
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")


def _write(path: Path, file: File, group: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.write_bytes(file.content)
    path.chmod(file.mode | (0o440 if group else 0))
    if group:
        os.chown(path, -1, int(group))


def _read(data: Path) -> list[tuple[str, bytes]]:
    every = [path for path in data.resolve().rglob("*") if path.is_file()]
    return sorted((str(path.relative_to(data.resolve())), path.read_bytes()) for path in every)
