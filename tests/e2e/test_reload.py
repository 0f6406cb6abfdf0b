"""A changed set is in force at once, through the real Envoy and under load; a broken one replaces nothing."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.proxy.process import http_get
from tests.soak.swaps import Swapping, swap_soak
from tests.support.proxy import KEYS, Live, eventually, live
from tests.support.swaps import HOST, STYLES, Marks, Place, files, revision

pytestmark = pytest.mark.e2e


def test_sets_change_in_every_style_under_load_and_nobody_notices_but_by_their_answers(
    tmp_path: Path,
) -> None:
    found = swap_soak(Swapping(seconds=0, at_least=2, callers=2), tmp_path)
    assert found.faults() == [], "\n".join(found.lines())
    assert set(found.took_ms) == set(STYLES)


def test_two_workers_change_over_by_themselves(tmp_path: Path) -> None:
    place = Place(tmp_path / "sets", files(Marks(0, 0)))
    with live((), policies=(place.policies,), serve=("--workers", "2")) as app:
        place.config_map(files(Marks(1, 1)))
        wanted = {str(index): revision(files(Marks(1, 1))) for index in range(2)}
        assert eventually(lambda: ready(app).get("workers") == wanted, 20)


@pytest.fixture
def placed(tmp_path: Path) -> Iterator[tuple[Live, Place]]:
    place = Place(tmp_path / "sets", files(Marks(0, 0)))
    with live((), policies=(place.policies,)) as app:
        yield app, place


def test_a_key_that_is_revoked_in_its_file_is_refused_within_a_second() -> None:
    with live(KEYS[:1]) as app:
        (file,) = (app.stage.scene.directory / "keys").glob("*acme*.yaml")
        assert app.send("GET", "/items/1", app.key())[0].status == 200
        command = [str(Path(app.stage.sidecar.plan.command[0])), "key", "revoke", str(file)]
        subprocess.run(command, check=True, capture_output=True)
        end = time.monotonic() + 1.0
        while (status := app.send("GET", "/items/1", app.key())[0].status) == 200:
            assert time.monotonic() < end
        assert status == 401


def test_a_broken_set_keeps_the_good_one_and_says_so_once(placed: tuple[Live, Place]) -> None:
    app, place = placed
    good = revision(files(Marks(0, 0)))
    for style in ("in place", "rename-over", "in place"):
        STYLES[style][0](place, {"policy.yaml": b"kind: [" + style.encode()})
        assert eventually(lambda: said(app, "policy set rejected") == 1)
        assert opened(app) == "0"
    assert (ready(app)["ready"], ready(app)["revision"]) == (True, good)
    place.git_sync(files(Marks(7, 7)))
    assert eventually(lambda: opened(app) == "7")
    assert eventually(lambda: said(app, "policy set is good again") == 1)
    assert said(app, "policy set rejected") == 1


@pytest.mark.parametrize("gone", ["files", "directory", "everything"])
def test_what_is_taken_away_replaces_nothing_and_what_comes_back_is_served(
    placed: tuple[Live, Place], gone: str
) -> None:
    app, place = placed
    away = place.policies.resolve()
    if gone == "everything":
        away = away.parent
    hidden = away.with_name("hidden")
    if gone == "files":
        for file in away.iterdir():
            file.unlink()
    else:
        away.rename(hidden)
    assert eventually(lambda: said(app, "policy set rejected") >= 1)
    assert opened(app) == "0"
    if gone != "files":
        hidden.rename(away)
    STYLES["in place"][0](place, files(Marks(3, 3)))
    assert eventually(lambda: opened(app) == "3", 20)


def test_a_checkout_of_git_is_taken_whole(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "policies").mkdir(parents=True)
    git(tree, "init", "--quiet", "--initial-branch", "main")
    for number in range(6):
        for name, content in files(Marks(number, number)).items():
            (tree / "policies" / name).write_bytes(content)
        git(tree, "add", ".")
        git(tree, "commit", "--quiet", "--message", str(number))
        git(tree, "tag", f"v{number}")
    with live((), policies=(tree / "policies",)) as app:
        for number in (0, 3, 1, 5, 2):
            git(tree, "checkout", "--quiet", f"v{number}")
            assert eventually(lambda: opened(app) == str(number), 20)  # noqa: B023 - called at once
        whole = {revision(files(Marks(number, number))) for number in range(6)}
        assert {json.loads(line)["revision"] for line in app.stage.records.read_text().splitlines()} <= whole


def git(tree: Path, *arguments: str) -> None:
    who = ("-c", "user.name=tests", "-c", "user.email=tests@example.com")
    subprocess.run(["git", "-C", str(tree), *who, *arguments], check=True, capture_output=True)


def opened(app: Live) -> str:
    """Return the mark of the set that an allowed request was judged by."""
    reply, seen = app.send("GET", "/open", host=HOST)
    assert reply.status == 200
    return seen[0].values("x-set")[0]


def said(app: Live, event: str) -> int:
    return (app.stage.scene.directory / "sidecar.log").read_text().count(f'"event": "{event}"')


def ready(app: Live) -> dict[str, object]:
    reply = http_get(app.stage.ops_port, "/ready")
    return dict(json.loads(reply[1])) if reply else {}
