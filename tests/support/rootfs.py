"""A Dockerfile built without an engine, in a mount namespace of its own.

The base image is made up from this machine: its programs and C library in `/usr`, and the Python that runs
the tests at `/usr/local`, where Python's own image has it, stripped as that one is. Every RUN and COPY is
then done as it stands. What runs afterwards runs in a read-only root without a shell, as the image's user.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.dockerfile import Dockerfile, Instruction, Stage, context, expanded

_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT_S = 300

# `$1`: the tmpfs; `$2`: the stage's root in it; `$3`: the Python; `$4`: the wheels.
_BASE = r"""
mkdir -p "$2" "$1/up" "$1/work" "$1/site"
cd "$2"
mkdir -p usr etc tmp run var/lib home opt proc dev/shm wheels
for link in bin sbin lib lib64; do ln -s "usr/$link" "$link"; done
chmod 1777 tmp
mount --bind /usr usr
mount -o remount,bind,ro usr
lib=$(basename "$(ls -d "$3"/lib/python3.*)")
mkdir -p "$1/up/lib/$lib"
mknod "$1/up/lib/$lib/test" c 0 0   # to overlayfs: nothing is here
mount -t overlay none -o "lowerdir=$3,upperdir=$1/up,workdir=$1/work" usr/local
site="usr/local/lib/$lib/site-packages"
cp -a "$site"/pip "$site"/pip-* "$site"/setuptools "$site"/setuptools-* "$1/site"
mount --bind "$1/site" "$site"
find usr/local/lib "$site" -type d \( -name test -o -name tests -o -name idle_test -o -name __pycache__ \) \
    -prune -exec rm -rf {} +
ln -sf python3 usr/local/bin/python
cp -a /etc/ld.so.conf /etc/ld.so.conf.d /etc/nsswitch.conf etc
mkdir -p var/cache/ldconfig
chroot . ldconfig   # as Python's image: its own library comes before the system's
echo 'root:x:0:0:root:/:/bin/sh' > etc/passwd
echo 'root:x:0:' > etc/group
mount --rbind /proc proc
for node in null zero random urandom; do touch "dev/$node"; mount --bind "/dev/$node" "dev/$node"; done
mount -t tmpfs -o mode=1777 none dev/shm
mount --bind "$4" wheels
"""

# As `readOnlyRootFilesystem` and the volumes of a pod make it.
_FREEZE = r"""
cd "$1"
umount wheels
rmdir wheels
mount -o remount,ro usr/local
mount --rbind "$1" "$1"
cd "$1"
mount -o remount,bind,ro "$1"
mount -t tmpfs -o mode=750,uid=65532,gid=65532 none run/authz
mount -t tmpfs -o mode=700,uid=65532,gid=65532 none var/lib/authz
"""


class Broken(Exception):
    """A step of the build failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Image:
    """What was built, ready to run commands in.

    Args:
        root: of the last stage, in the namespace.
        environment: what ENV set.
        stage: for what else the image says.
    """

    rooms: Rooms
    root: Path
    environment: Mapping[str, str]
    stage: Stage

    def command(self, *words: str, **environment: str) -> list[str]:
        """Return the command line that runs a command in the image, as its user."""
        user, group = self.stage.of("USER")[-1].rest.split(":")
        directory = self.stage.of("WORKDIR")[-1].rest
        rights = [
            f"--reuid={user}",
            f"--regid={group}",
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
        ]
        variables = [f"{name}={value}" for name, value in {**self.environment, **environment}.items()]
        inside = ["setpriv", *rights, "env", "-i", "-C", directory, *variables, *words]
        return self.rooms.command("chroot", str(self.root), *inside)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the image to its end."""
        command = self.command(*words, **environment)
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)


class Rooms:
    """A mount namespace with a tmpfs in it; both go away with the process that holds them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        script = 'mount -t tmpfs -o mode=755 none "$1" && echo ready && exec cat'
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise Broken("no mount namespace")

    def command(self, *words: str) -> list[str]:
        """Return the command line that runs a command in the namespace."""
        return [shutil.which("nsenter") or "nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", *words]

    def sh(self, script: str, *arguments: object) -> None:
        """Run a script in the namespace."""
        done = subprocess.run(
            self.command("sh", "-euc", script, "sh", *map(str, arguments)),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise Broken(f"{script}\n{done.stdout}{done.stderr}")

    def close(self) -> None:
        """Let the namespace go."""
        self._holder.communicate(timeout=10)


def lacking() -> str:
    """Return what this machine lacks for building; "" where it can."""
    if os.geteuid():
        return "only root builds an image without an engine"
    absent = [name for name in ("unshare", "nsenter", "setpriv", "chroot") if shutil.which(name) is None]
    if absent:
        return f"there is no {absent[0]} here"
    if sys.base_prefix == "/usr" or not Path("/bin").is_symlink():
        return "this machine is laid out otherwise than Python's image"
    return ""


@contextmanager
def built(dockerfile: Dockerfile, project: Path, wheels: Path, directory: Path) -> Iterator[Image]:
    """Build a Dockerfile from the files of a project; the wheels that it would fetch lie in a directory."""
    given = _given(project, directory / "context")
    (directory / "rooms").mkdir()
    rooms = Rooms(directory / "rooms")
    try:
        images = [
            _Build(rooms, rooms.directory / f"stage-{stage.name or index}", stage).done(given, wheels)
            for index, stage in enumerate(dockerfile.stages)
        ]
        _freeze(images[-1])
        yield images[-1]
    finally:
        rooms.close()


def _given(project: Path, into: Path) -> Path:
    """Copy what a build is given."""
    files = [str(path.relative_to(project)) for path in _files(project)]
    for file in context(project, files):
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project / file, into / file)
    return into


def _files(project: Path) -> Iterator[Path]:
    for top in project.iterdir():
        if top.is_file():
            yield top
        elif not top.name.startswith("."):
            yield from (path for path in top.rglob("*") if path.is_file())


class _Build:
    """One stage on its way."""

    def __init__(self, rooms: Rooms, root: Path, stage: Stage) -> None:
        self._rooms, self._root, self._stage = rooms, root, stage
        self._environment = {"PATH": _PATH, "LANG": "C.UTF-8"}
        self._variables: dict[str, str] = {}
        self._directory = "/"

    def done(self, given: Path, wheels: Path) -> Image:
        self._rooms.sh(_BASE, f"{self._root}.base", self._root, sys.base_prefix, wheels)
        for one in self._stage.instructions:
            self._do(one, given)
        return Image(self._rooms, self._root, self._environment, self._stage)

    def _do(self, one: Instruction, given: Path) -> None:
        match one.word:
            case "ARG":
                self._variables |= one.pairs
            case "ENV":
                self._environment |= one.pairs
            case "WORKDIR":
                self._directory = one.rest
                self._rooms.sh('mkdir -p "$1"', self._inside("."))
            case "RUN":
                self._run(one.rest)
            case "COPY":
                self._copy(one, given)
            case _:
                assert one.word in ("LABEL", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"), one

    def _run(self, script: str) -> None:
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "PIP_CONFIG_FILE": "/dev/null"}
        variables = {**self._variables, **self._environment, **offline}
        words = [f"{name}={value}" for name, value in variables.items()]
        inside = ["env", "-i", "-C", self._directory, *words, "sh", "-c", script]
        self._rooms.sh(shlex.join(["chroot", str(self._root), *inside]))

    def _copy(self, one: Instruction, given: Path) -> None:
        *sources, target = one.words
        other = one.flags.get("from")
        home = self._root.with_name(f"stage-{other}") if other else given
        where = self._inside(target)
        for source in sources:
            path = home / expanded(source, self._variables).lstrip("/")
            # A directory's content is copied, a file under its own name or the target's.
            self._rooms.sh(
                'if [ -d "$1" ]; then mkdir -p "$2"; cp -a "$1/." "$2"; else cp "$1" "$2"; fi', path, where
            )
            if not other:
                self._rooms.sh('chown -R 0:0 "$1"', where)

    def _inside(self, path: str) -> Path:
        return self._root / os.path.normpath(os.path.join(self._directory, path)).lstrip("/")  # noqa: PTH118


def _freeze(image: Image) -> None:
    """Take away what a running container has not: a writable root, and a shell."""
    image.rooms.sh(_FREEZE, image.root)
    image.rooms.sh(
        'cd "$1/usr/bin"; for shell in sh dash bash; do mount --bind /dev/null $shell; done', image.root
    )
