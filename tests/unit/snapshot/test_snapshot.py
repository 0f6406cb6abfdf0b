"""A snapshot answers what providers mean together, and is whole or refuses everything."""

from __future__ import annotations

import pytest

from authz.model.site import DEFAULT_SITE, Listener
from authz.snapshot import snapshot as snapshot_module
from authz.snapshot.snapshot import Snapshot, not_ready
from tests.support.policies import PROVIDER, snapshot

OTHER = (
    PROVIDER.replace("partner-keys", "other")
    .replace("x-api-key", "x-other")
    .replace("query: api_key", "query: q2")
)
POLICY = """
kind: Policy
metadata: {name: p}
spec:
  hosts: ["*"]
  rules: [{name: r, effect: allow, identity: [partner-keys, other]}]
"""
NOBODY: frozenset[str] = frozenset()
BOTH = frozenset({"partner-keys", "other"})


@pytest.fixture
def made() -> Snapshot:
    return snapshot(PROVIDER, OTHER, POLICY)


def test_a_snapshot_that_is_not_ready_says_why_and_knows_nothing() -> None:
    empty = not_ready("nothing here", Listener(trusted_hops=3), "s-1")
    assert not empty.ready
    assert (empty.problem, empty.revision, empty.fixed.sidecar) == ("nothing here", "", "s-1")
    assert empty.site("a.b") is DEFAULT_SITE
    assert empty.reading.site_of("a.b") is DEFAULT_SITE
    assert empty.reading.listener.trusted_hops == 3
    assert empty.index.view("a.b").tries == ()
    assert empty.access(NOBODY).challenge == ""
    assert not_ready("x").reading.listener == Listener()


def test_providers_ask_for_what_they_take_each_once(made: Snapshot) -> None:
    assert made.access(frozenset({"partner-keys"})).challenge == (
        'ApiKey realm="authz", in="header", name="x-api-key", Bearer realm="authz",'
        ' ApiKey realm="authz", in="cookie", name="session", ApiKey realm="authz", in="query", name="api_key"'
    )
    both = made.access(BOTH).challenge
    assert both.count("Bearer") == 1
    assert "x-api-key" in both
    assert "x-other" in both
    assert made.access(NOBODY).challenge == ""


def test_parameters_that_hold_credentials_are_those_of_every_provider(made: Snapshot) -> None:
    for names in (NOBODY, BOTH, frozenset({"other"})):
        assert set(made.access(names).parameters) == {"api_key", "q2"}


def test_what_providers_mean_is_worked_out_once_and_bounded(
    made: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made.access(BOTH) is made.access(frozenset(BOTH))
    monkeypatch.setattr(snapshot_module, "_MEMO_MAX", 1)
    assert made.access(NOBODY) is not made.access(NOBODY)
    assert made.access(BOTH) is made.access(BOTH)


def test_an_unknown_provider_is_a_bug_and_not_nothing(made: Snapshot) -> None:
    with pytest.raises(KeyError):
        made.access(frozenset({"gone"}))


def test_nothing_of_one_snapshot_is_shared_with_another() -> None:
    one, other = snapshot(PROVIDER, POLICY.replace(", other", "")), not_ready("x")
    one.access(NOBODY)
    assert one.memos is not other.memos
    assert other._accesses == {}
