"""One container: a program of its own that makes its namespaces, mounts its files and becomes its process.

    python -I container.py pause                  keeps a pod's mounts; lines of JSON say what to mount
    python -I container.py run PLAN.json          runs one container to its end, and ends as that ended
    python -I container.py exec PID PLAN.json     runs one more command in a container, as a probe does

It is written for the standard library alone, and speaks to the kernel as a container runtime does: the image
is what `PLAN.json` binds, everything else is empty. The process is number 1 in its own process namespace, so
a signal that it does not handle does nothing, as in a cluster.

Whoever started it holds its standard input: when that closes, everything here is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET and its like: sched.h
_NEW_MOUNTS = 0x00020000
_NEW_PROCESSES = 0x20000000
_NEW_IPC = 0x08000000
_NEW_NAME = 0x04000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_LAST_CAPABILITY = 40
_SIGNALLED = 128
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Do what the command line says."""
    os.umask(0o022)
    match sys.argv[1:]:
        case ["pause"]:
            _pause()
        case ["run", plan]:
            _run(json.loads(Path(plan).read_text()))
        case ["exec", pid, plan]:
            _exec(int(pid), json.loads(Path(plan).read_text()))
        case _:
            sys.exit(__doc__)


def _pause() -> None:
    """Hold the pod's mounts: each line names a directory, and the options of the tmpfs that belongs there."""
    _call("unshare", _NEW_MOUNTS)
    _mount("none", "/", "", _REC | _PRIVATE)
    _say("ready")
    for line in sys.stdin:
        wanted = json.loads(line)
        _mount("tmpfs", wanted["directory"], "tmpfs", _NOSUID | _NODEV, wanted["options"])
        _say("mounted")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _run(plan: dict[str, Any]) -> None:
    _enter(plan["network"], _NEW_NETWORK)
    _enter(plan["mounts"], _NEW_MOUNTS)
    _call("unshare", _NEW_MOUNTS | _NEW_PROCESSES | _NEW_IPC | _NEW_NAME)
    child = os.fork()
    if not child:
        _become(plan)
    sys.exit(_watch(child))


def _watch(child: int) -> int:
    """Pass on what is asked of us, and say how the child ended; it is killed when nobody holds us."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(0, select.POLLIN)
    while ended not in (ready := {fd for fd, _ in poll.poll()}):
        if 0 in ready and not os.read(0, 1):
            os.kill(child, signal.SIGKILL)
            poll.unregister(0)
    status = os.waitpid(child, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else _SIGNALLED + os.WTERMSIG(status)


def _become(plan: dict[str, Any]) -> None:
    try:
        _make_root(plan)
        _call("sethostname", plan["hostname"].encode(), len(plan["hostname"].encode()))
        _drop(plan)
        os.chdir(plan["directory"])
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)  # ours is the leash
        os.execve(_found(plan["command"][0], plan["env"]), plan["command"], plan["env"])
    except OSError as error:
        sys.stderr.write(f"container: {error}\n")
        sys.stderr.flush()
    os._exit(_SIGNALLED)


def _make_root(plan: dict[str, Any]) -> None:
    """Make the container's own file system, and let nothing of the machine's show but what is bound."""
    root = plan["root"]
    _mount("none", "/", "", _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", 0, "mode=0755")
    for link, target in plan["links"].items():
        (Path(root) / link.lstrip("/")).symlink_to(target)
    for directory, mode in plan["directories"].items():
        _made(root, directory).chmod(mode)
    _mount("proc", _made(root, "/proc"), "proc", _NOSUID | _NODEV | _NOEXEC)
    _make_devices(root)
    for bind in plan["binds"]:
        _bind(bind["source"], root, bind["target"], read_only=bind["read_only"])
    old = _made(root, "/.old")
    _call("pivot_root", str(root).encode(), str(old).encode())
    os.chdir("/")
    _call("umount2", b"/.old", _DETACH)
    Path("/.old").rmdir()
    if plan["read_only_root"]:
        _mount("none", "/", "", _REMOUNT | _BIND | _RDONLY)


def _make_devices(root: str) -> None:
    for name in _DEVICES:
        _bind(f"/dev/{name}", root, f"/dev/{name}", read_only=False)
    _mount("tmpfs", _made(root, "/dev/shm"), "tmpfs", _NOSUID | _NODEV | _NOEXEC, "mode=1777,size=64m")
    for link, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (Path(root) / "dev" / link).symlink_to(target)


def _bind(source: str, root: str, target: str, *, read_only: bool) -> None:
    if Path(source).is_dir():
        place = _made(root, target)
    else:
        place = _made(root, str(Path(target).parent)) / Path(target).name
        place.touch()
    _mount(source, place, "", _BIND | _REC)
    if read_only:
        _mount("none", place, "", _REMOUNT | _BIND | _RDONLY)


def _made(root: str, directory: str) -> Path:
    path = Path(root) / directory.lstrip("/")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _drop(plan: dict[str, Any]) -> None:
    """Become the user, without any way back where the container says so."""
    if plan["drop_capabilities"]:
        for number in range(_LAST_CAPABILITY + 1):
            _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    os.setgroups(plan["groups"])
    os.setresgid(plan["gid"], plan["gid"], plan["gid"])
    os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    if not plan["escalation"]:
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # last: becoming another user takes it away


def _exec(pid: int, plan: dict[str, Any]) -> None:
    """Run a command beside the container's process: in its namespaces, as its user."""
    handles = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), kind) for name, kind in _JOINED]
    for handle, kind in handles:
        _call("setns", handle, kind)
    child = os.fork()
    if not child:
        with suppress(OSError):
            _drop(plan)
            os.chdir(plan["directory"])
            os.execve(_found(plan["command"][0], plan["env"]), plan["command"], plan["env"])
        os._exit(_SIGNALLED - 1)
    sys.exit(_watch(child))


_JOINED = (("net", _NEW_NETWORK), ("pid", _NEW_PROCESSES), ("ipc", _NEW_IPC), ("mnt", _NEW_MOUNTS))


def _found(name: str, env: dict[str, str]) -> str:
    if "/" in name:
        return name
    for directory in env.get("PATH", "/usr/bin:/bin").split(":"):
        if os.access(path := f"{directory}/{name}", os.X_OK):
            return path
    raise FileNotFoundError(f"there is no `{name}` in the container's PATH")


def _enter(namespace: str, kind: int) -> None:
    handle = os.open(namespace, os.O_RDONLY)
    _call("setns", handle, kind)
    os.close(handle)


def _mount(source: str, target: str | Path, kind: str, flags: int, options: str = "") -> None:
    words = (source, str(target), kind, options)
    what, where, file_system, data = (word.encode() for word in words)
    _call("mount", what, where, file_system, ctypes.c_ulong(flags), data, about=str(target))


def _call(name: str, *arguments: Any, about: str = "") -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name} {about}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
