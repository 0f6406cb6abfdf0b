"""The adversarial suite against our own sidecar, on both fronts: directly, and through the real Envoy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from authz.attack.aim import Aim
from authz.attack.report import Report
from authz.attack.suite import CLASSES, Choice
from tests.support.attack import CLOSED, OPEN, attack, keyed, through_envoy
from tests.support.proxy import Live, another_envoy, careless, live

pytestmark = pytest.mark.e2e

# What only a target with a credential, or with one that was taken back, can be asked.
_KEYED = {
    *("bent-credentials", "two-credentials", "credential-places", "dead-credentials", "cookies", "limits"),
    *("credential-removal", "identity-headers"),
}
_DIRECT = {"messages", "odd-messages", "contradictions", "header-forms", "frames"}


@pytest.fixture(scope="module", params=["native", "grpcio"])
def app(request: pytest.FixtureRequest) -> Iterator[Live]:
    with live(serve=("--transport", request.param)) as running:
        yield running


@pytest.fixture(scope="module")
def careless_port(app: Live) -> Iterator[int]:
    with another_envoy(app, "careless", edit=careless) as port:
        yield port


def _assert_held(told: Report, classes: set[str]) -> None:
    """Nothing got through, and nothing was left out that was meant to be tried."""
    assert [(each.group, each.name, each.wire, each.what) for each in told.findings] == []
    assert {row.group for row in told.rows if row.held} == classes
    assert told.whole


def test_where_keys_are_needed_everything_holds(app: Live) -> None:
    told = attack(through_envoy(app), keyed(app), Choice(spellings=32))
    _assert_held(told, set(CLASSES))


@pytest.mark.parametrize("aim", [OPEN, CLOSED], ids=["open but for", "closed but for"])
def test_without_any_key_everything_holds(app: Live, aim: Aim) -> None:
    told = attack(through_envoy(app), aim, Choice(spellings=32, seed=2))
    _assert_held(told, set(CLASSES) - _KEYED)


def test_behind_an_envoy_that_cleans_nothing_we_alone_keep_them_out(app: Live, careless_port: int) -> None:
    told = attack(through_envoy(app, careless_port, direct=False), OPEN, Choice(spellings=64, seed=3))
    _assert_held(told, set(CLASSES) - _KEYED - _DIRECT)


def test_behind_such_an_envoy_nobody_forges_an_identity_either(app: Live, careless_port: int) -> None:
    wanted = frozenset({"identity-headers", "credential-removal", "two-credentials", "credential-places"})
    told = attack(
        through_envoy(app, careless_port, direct=False), keyed(app), Choice(classes=wanted, spellings=64)
    )
    _assert_held(told, set(wanted))
