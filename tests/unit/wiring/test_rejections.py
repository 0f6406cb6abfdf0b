"""Whoever reads the line of a rejection knows what is served meanwhile, and which command shows it again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from structlog.testing import capture_logs

from authz.model.errors import Place, PolicyError
from authz.wiring.rejections import Rejections

FAULT = PolicyError(Place("policies/a.yaml", 3, 5), "there is no limit `x`")
NEWER = PolicyError(Place("policies/a.yaml", 1, 1), "needs a newer authz", newer=True)


def told(part: str, fault: PolicyError = FAULT, active: Collection[str] = ()) -> dict[str, Any]:
    with capture_logs() as logs:
        Rejections().tell({part: (fault,)}, active)
    (line,) = logs
    return dict(line)


@pytest.mark.parametrize("part", ["platform", "scopes", "overrides", "scope:items"])
def test_a_part_that_was_good_stays_and_the_line_says_so(part: str) -> None:
    assert told(part, active=[part])["meanwhile"] == "what was last good stays in force"


@pytest.mark.parametrize("part", ["platform", "scopes", "overrides"])
def test_without_a_part_that_all_depend_on_nothing_is_served(part: str) -> None:
    assert told(part)["meanwhile"] == "every check gets 503 not_ready, since it was never good"


def test_a_scope_that_was_never_good_closes_its_own_hosts() -> None:
    line = told("scope:items", active=["platform"])
    assert line["meanwhile"] == "its hosts get 503 not_ready, since it was never good"


def test_where_buckets_are_on_a_cluster_the_command_is_told_so() -> None:
    with capture_logs() as logs:
        Rejections(clustered=True).tell({"platform": (FAULT,)})
    assert "`authz policy validate --clustered`" in logs[0]["mend"]
    assert "--clustered" not in told("platform")["mend"]


def test_the_command_to_run_also_shows_failing_tests_but_for_overrides_which_they_do_not_gate() -> None:
    assert "`authz policy test`" in told("platform")["mend"]
    assert "`authz policy test`" in told("scope:items")["mend"]
    assert "`authz policy validate`" in told("overrides")["mend"]


def test_what_needs_a_newer_version_is_not_mended_by_a_command() -> None:
    assert told("platform", NEWER)["mend"] == "upgrade this sidecar first"


def test_the_line_of_readiness_names_every_part_that_is_refused() -> None:
    rejections = Rejections()
    assert rejections.problem == ""
    one = rejections.tell({"scope:b": (FAULT,)})
    assert one == str(FAULT)
    both = rejections.tell({"scope:b": (FAULT,), "scope:c": (NEWER,)})
    assert both == f"{FAULT}; refused, too: scope:c"
