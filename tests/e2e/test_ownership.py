"""Scopes and overrides through the real Envoy: one team's typo is its own, and the brake works in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.proxy.process import http_get
from tests.support.documents import join
from tests.support.parts import opening, scope
from tests.support.proxy import Live, eventually, live

pytestmark = pytest.mark.e2e

BROKEN = "kind: ["
DENY = "effect: deny"


class Place:
    """The directories that an operator names."""

    def __init__(self, below: Path) -> None:
        self.below = below
        for name, text in (
            (
                "policies/base.yaml",
                opening("base", "*", "effect: allow, identity: [anyone], paths: [/health]"),
            ),
            ("policies/teams/a/p.yaml", opening("a")),
            ("policies/teams/b/p.yaml", opening("b")),
            ("scopes/s.yaml", join(scope("a"), scope("b"))),
            ("overrides/o.yaml", "# nothing\n"),
        ):
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Write a file, and let it appear whole."""
        file = self.below / name
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}")
        beside.write_text(text)
        beside.replace(file)

    def serve(self) -> tuple[str, ...]:
        """Return the flags that name them."""
        return ("--scopes", str(self.below / "scopes"), "--overrides", str(self.below / "overrides"))


@pytest.fixture
def placed(tmp_path: Path) -> Iterator[tuple[Live, Place]]:
    place = Place(tmp_path)
    with live((), policies=(tmp_path / "policies",), serve=place.serve()) as app:
        yield app, place


def status(app: Live, host: str, path: str = "/") -> int:
    return app.send("GET", path, host=host)[0].status


def rejected(app: Live, part: str) -> bool:
    reply = http_get(app.stage.ops_port, "/metrics")
    wanted = f'authz_snapshot_part_rejected{{part="{part}"}} 1.0'
    return reply is not None and wanted in reply[1].decode()


def test_a_teams_typo_stops_that_teams_change_alone(placed: tuple[Live, Place]) -> None:
    app, place = placed
    assert (status(app, "a.example.com"), status(app, "b.example.com")) == (200, 200)
    place.write("policies/teams/a/p.yaml", BROKEN)
    assert eventually(lambda: rejected(app, "scope:a"))
    place.write("policies/teams/b/p.yaml", opening("b", rule=DENY))
    assert eventually(lambda: status(app, "b.example.com") == 403)
    assert status(app, "a.example.com") == 200
    assert not rejected(app, "scope:b")
    assert not rejected(app, "platform")


def test_the_brake_works_while_everything_else_is_broken_and_is_released(placed: tuple[Live, Place]) -> None:
    app, place = placed
    for name in ("policies/base.yaml", "policies/teams/a/p.yaml", "scopes/s.yaml"):
        place.write(name, BROKEN)
    assert eventually(lambda: rejected(app, "scopes"))
    place.write("overrides/o.yaml", opening("stop", "a.example.com", DENY))
    began = time.monotonic()
    assert eventually(lambda: status(app, "a.example.com") == 403)
    # 100 ms where nobody else uses the processor; here the poll of 10 s must not be what found it.
    assert time.monotonic() - began < 5.0
    assert (status(app, "b.example.com"), status(app, "c.example.com", "/health")) == (200, 200)
    (app_reply, seen) = app.send("GET", "/", host="a.example.com")
    assert (app_reply.status, seen) == (403, [])
    place.write("overrides/o.yaml", "# released\n")
    assert eventually(lambda: status(app, "a.example.com") == 200)


def test_a_team_that_was_never_good_is_closed_and_nobody_else(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.write("policies/teams/a/p.yaml", opening("a", "b.example.com"))
    with live((), policies=(tmp_path / "policies",), serve=place.serve()) as app:
        assert status(app, "a.example.com", "/health") == 503
        assert status(app, "b.example.com") == 200
        assert status(app, "c.example.com", "/health") == 200
        place.write("policies/teams/a/p.yaml", opening("a"))
        assert eventually(lambda: status(app, "a.example.com") == 200)
