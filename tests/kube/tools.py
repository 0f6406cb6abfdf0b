"""The programs of Kubernetes that the tests run: built once from pinned Go modules, then kept.

`python -m tests.kube.tools` builds what is missing: ten minutes on two cores where nothing is there. They are
kept in `~/.cache/authz-tests/kube`, each below its version.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

KUBERNETES = "1.37.2"
CACHE = Path.home() / ".cache" / "authz-tests" / "kube"
_GO = Path(__file__).with_name("go")  # pins every module of Kubernetes by its hash
_VERSION = "k8s.io/component-base/version"
_MINUTES_MAX = 30


class Tool(NamedTuple):
    """A program built with Go.

    Args:
        package: what is built.
        version: of its module.
        pinned: built inside of `tests/kube/go`; else by `go install` of that one version, whose hash the
            checksum database of Go vouches for.
        named: it takes long and few tests ask it, so it is built only where it is named, and they are skipped
            where it was not, in CI, too.
    """

    package: str
    version: str
    pinned: bool = False
    named: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return self.package.rpartition("/")[2]

    def path(self, key: str) -> Path:
        """Where it is kept."""
        return CACHE / f"{key}-{self.version}" / self.name


TOOLS: Mapping[str, Tool] = {
    **{
        name: Tool(f"k8s.io/kubernetes/cmd/{name}", KUBERNETES, pinned=True)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    },
    "helm3": Tool("helm.sh/helm/v3/cmd/helm", "3.22.0"),
    "helm4": Tool("helm.sh/helm/v4/cmd/helm", "4.3.1"),
    "kwok": Tool("sigs.k8s.io/kwok/cmd/kwok", "0.8.0"),
    "egctl": Tool("github.com/envoyproxy/gateway/cmd/egctl", "1.9.1", named=True),
}


def tool(key: str) -> str:
    """Return the path of a program; where it was not built the test is skipped, but never in CI."""
    path = TOOLS[key].path(key)
    if TOOLS[key].named and not path.is_file():
        pytest.skip(f"`{key}` is not built: it takes minutes, by `python -m tests.kube.tools {key}`")
    if not path.is_file():
        missing(f"`{key}` is not built: run `make test-kube`, or `python -m tests.kube.tools {key}`")
    return str(path)


def etcd() -> str:
    """Return the path of etcd, which the system has; likewise."""
    found = shutil.which("etcd")
    if found is None:
        missing("`etcd` is not here: install Debian's etcd-server")
    return str(found)


def missing(why: str) -> None:
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


def build(key: str) -> None:
    """Build a program, unless it is there.

    Raises:
        subprocess.CalledProcessError: Go could not; it has said why.
    """
    made = TOOLS[key]
    path = made.path(key)
    with _alone(key):
        if path.is_file():
            return
        began = time.monotonic()
        print(f"building {key} {made.version}", flush=True)  # noqa: T201 - a command's own output
        fresh = path.parent / "new"
        fresh.mkdir(parents=True, exist_ok=True)
        _go(made, fresh)
        (fresh / made.name).replace(path)  # whole or not there
        fresh.rmdir()
        print(f"built {key} in {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201


@contextmanager
def _alone(key: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _go(made: Tool, into: Path) -> None:
    if made.pinned:
        major, minor, _ = made.version.split(".")
        stamp = {"gitVersion": f"v{made.version}", "gitMajor": major, "gitMinor": minor}
        flags = " ".join(f"-X {_VERSION}.{name}={value}" for name, value in stamp.items())
        words = [
            "go",
            "build",
            "-trimpath",
            f"-ldflags=-s -w {flags}",
            "-o",
            str(into / made.name),
            made.package,
        ]
    else:
        words = ["go", "install", "-trimpath", "-ldflags=-s -w", f"{made.package}@v{made.version}"]
    env = {**os.environ, "GOBIN": str(into), "GOFLAGS": "-mod=readonly" if made.pinned else ""}
    subprocess.run(words, cwd=_GO, env=env, check=True, timeout=_MINUTES_MAX * 60)


def main() -> None:
    """Build the programs named on the command line, or all."""
    wanted = sys.argv[1:] or [key for key, made in TOOLS.items() if not made.named]
    if unknown := [key for key in wanted if key not in TOOLS]:
        sys.exit(f"no such program: {', '.join(unknown)}; there are {', '.join(TOOLS)}")
    if shutil.which("go") is None:
        sys.exit("`go` is not here: install Go 1.26 or newer")
    for key in wanted:
        build(key)


if __name__ == "__main__":
    main()
