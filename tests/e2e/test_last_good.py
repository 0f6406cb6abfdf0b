"""The last good set stays in force, over everything that happens to directories, disks and processes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from authz.model.errors import StateUnusable
from authz.proxy.stage import short_directory
from authz.snapshot.parts import Files
from authz.snapshot.state import State
from tests.support.hostile import CASES, GOOD, good_set, mount, mountable, restore, unmount
from tests.support.proxy import eventually
from tests.support.serving import SOON_S, Callers, asked, running

TRANSPORTS = ("native",)  # what loads is the same before every front
LATE_S = 2.0  # an answer that takes so long was held up
as_root = pytest.mark.skipif(not mountable(), reason="only root may mount")


@pytest.fixture
def home() -> Path:
    home = short_directory()
    good_set(home / "policies")
    return home


def test_hostile_directories_under_load_change_nothing_but_what_is_told(home: Path) -> None:
    with running(home, AUTHZ_QUIET_MS="5") as app, Callers(home / "a.sock") as callers:
        revision = app.ready()[1]["revision"]
        took_s: list[float] = []
        for case in CASES:
            began_s = time.monotonic()
            case.spoil(app.policies)
            assert eventually(lambda: case.what in app.ready()[1].get("rejected", ""), SOON_S), case.name  # noqa: B023
            took_s.append(time.monotonic() - began_s)
            code, body = app.ready()
            assert (code, body["ready"], body["revision"]) == (200, True, revision), case.name
            restore(app.policies)
            assert eventually(lambda: "rejected" not in app.ready()[1], SOON_S), case.name
        refused = app.number('authz_reloads_total{result="rejected"}')
        newer = app.number('authz_reloads_total{result="needs_newer"}')
    assert set(callers.statuses) == {200}
    late = [wait_s for wait_s in callers.waits_s if wait_s > LATE_S]
    assert not late
    assert refused >= len(CASES) - 2
    assert newer >= 2
    assert statistics.median(took_s) < 1.0


def test_a_first_start_with_a_broken_set_denies_everything_until_it_is_mended(home: Path) -> None:
    (home / "policies" / "good.yaml").write_text(GOOD[:-20])
    with running(home) as app:
        code, body = app.ready()
        assert (code, body["ready"]) == (503, False)
        assert "good.yaml" in body["why"]
        assert asked(home / "a.sock") == 503
        assert not (home / "state").exists()
        restore(app.policies)
        assert eventually(lambda: asked(home / "a.sock") == 200, SOON_S)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_restart_with_a_broken_set_begins_with_the_last_good_one(home: Path, workers: str) -> None:
    sockets = [home / "a.sock"] if workers == "1" else [home / "a-0.sock", home / "a-1.sock"]
    with running(home, AUTHZ_WORKERS=workers) as app:
        assert eventually(lambda: app.ready()[0] == 200, SOON_S)
        assert eventually(lambda: any((home / "state").glob("*.set")), SOON_S)
        revision = app.ready()[1]["revision"]
    (home / "policies" / "good.yaml").write_text(GOOD[:-20])
    with running(home, AUTHZ_WORKERS=workers) as app:
        assert eventually(lambda: app.ready()[0] == 200, SOON_S)
        body = app.ready()[1]
        assert (body["revision"], body["from_state"]) == (revision, "platform")
        assert "good.yaml" in body["rejected"]
        assert [asked(socket) for socket in sockets] == [200] * len(sockets)
        assert len(app.told("started from the last good policy set")) == int(workers)
        assert app.number("authz_snapshot_from_state") == 1
        restore(app.policies)
        assert eventually(lambda: not app.ready()[1].keys() & {"from_state", "rejected"}, SOON_S)
        assert app.number("authz_snapshot_from_state") == 0


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _older(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"authz-state 1", b"authz-state 0"))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_cut, "damaged: its digest is another one: remove it, or let it be overwritten"),
        (_older, "written by another version of authz: remove it, or let it be overwritten"),
        (lambda file: file.chmod(0o666), "open to others (mode 0666): run `chmod 0600` on it"),
        (lambda file: file.parent.chmod(0o777), "open to others (mode 0777): run `chmod 0700` on it"),
    ],
    ids=["tampered", "older", "writable file", "writable directory"],
)
def test_a_kept_set_that_cannot_be_trusted_is_not_used_and_stops_nobody(
    home: Path, spoil: Callable[[Path], None], why: str
) -> None:
    with running(home) as app:
        assert eventually(lambda: any((home / "state").glob("*.set")), SOON_S)
    (file,) = (home / "state").glob("*.set")
    spoil(file)
    (home / "policies" / "good.yaml").write_text(GOOD[:-20])
    with running(home) as app:
        assert app.ready()[0] == 503
        assert asked(home / "a.sock") == 503
        (line,) = app.told("the kept policy set is not used")
        assert line["why"].endswith(why)
        restore(app.policies)
        assert eventually(lambda: app.ready()[0] == 200, SOON_S)


@as_root
def test_a_file_system_that_is_unmounted_takes_nothing_away(home: Path) -> None:
    if not mount(home / "policies"):
        pytest.skip("nothing may be mounted here")
    (home / "policies" / "good.yaml").write_text(GOOD)
    with running(home, AUTHZ_POLL_S="1") as app, Callers(home / "a.sock") as callers:
        revision = app.ready()[1]["revision"]
        unmount(home / "policies")
        (home / "policies" / "good.yaml").unlink()  # what stood below the mount
        assert eventually(lambda: "no documents here" in app.ready()[1].get("rejected", ""), SOON_S)
        assert app.ready()[1]["revision"] == revision
        assert mount(home / "policies")
        (home / "policies" / "good.yaml").write_text(GOOD.replace("name: open", "name: opened"))
        assert eventually(lambda: app.ready()[1]["revision"] != revision, SOON_S)
        unmount(home / "policies")
    assert set(callers.statuses) == {200}


@as_root
def test_a_full_disk_keeps_what_was_kept(tmp_path: Path) -> None:
    if not mount(tmp_path):
        pytest.skip("nothing may be mounted here")
    try:
        made = State(tmp_path / "state", "x")
        assert made.keep("000000000001", {"platform": Files({"a.yaml": b"a" * 400_000})}, 10**15)
        with pytest.raises(StateUnusable, match="no space left on device"):
            made.keep("000000000002", {"platform": Files({"a.yaml": b"b" * 900_000})}, 10**15)
        former = State(tmp_path / "state", "x").load(10**15)
        assert former is not None
        assert former.revision == "000000000001"
        assert len(list((tmp_path / "state").iterdir())) == 1
    finally:
        unmount(tmp_path)


def test_a_state_directory_that_goes_wrong_while_serving_costs_one_line(home: Path) -> None:
    with running(home, AUTHZ_POLL_S="1") as app, Callers(home / "a.sock") as callers:
        assert eventually(lambda: any((home / "state").glob("*.set")), SOON_S)
        (home / "state").rename(home / "gone")
        (home / "state").write_bytes(b"")
        for number in range(3):
            revision = app.ready()[1]["revision"]
            (app.policies / "good.yaml").write_text(GOOD.replace("name: open", f"name: open{number}"))
            assert eventually(lambda: app.ready()[1]["revision"] != revision, SOON_S)  # noqa: B023
        failed = 'authz_state_writes_total{result="failed"}'
        assert eventually(lambda: app.number(failed) > 1, SOON_S)
        assert len(app.told("the last good set is not kept: a restart cannot begin with it")) == 1
        (home / "state").unlink()
        (app.policies / "good.yaml").write_text(GOOD.replace("name: open", "name: last"))
        assert eventually(lambda: len(app.told("the last good set is kept again")) == 1, SOON_S)
    assert set(callers.statuses) == {200}
