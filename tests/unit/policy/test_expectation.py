from __future__ import annotations

import pytest

from authz.model.reason import Reason
from tests.support.documents import PROVIDER, document, faults, join, place_of_mark, policy

SET = join(PROVIDER, policy("effect: allow, identity: [keys]"))


def case(expect: str) -> str:
    asked = "request: {host: items.example.com, path: /}"
    return document(
        "PolicyTest", "t", f"{{now: 2026-06-01T12:00:00Z, cases: [{{name: a, {asked}, expect: {expect}}}]}}"
    )


@pytest.mark.parametrize(
    ("expect", "what"),
    [
        ("{outcome: allow, status: §403}", "an allow has the status 200: remove it, or expect `deny`"),
        (
            "{outcome: allow, reason: §not_permitted}",
            "an allow has the reason `allowed`: remove it, or expect `deny`",
        ),
        ("{outcome: allow, detail: §rule_error}", "only a refusal has a detail: remove it, or expect `deny`"),
        ("{outcome: deny, headers: §{x-a: b}}", "a refusal has no `headers`: remove them, or expect `allow`"),
        ("{outcome: deny, reason: §allowed}", "a refusal has another reason than `allowed`: write which"),
        (
            "{outcome: deny, reason: §overloaded}",
            "no test ends with `overloaded`: tests have all the time they need: remove the case",
        ),
        (
            "{outcome: deny, detail: §host_not_served}",
            "no test ends so: which hosts are served belongs to a listener, not to a set: remove the case",
        ),
        (
            "{outcome: deny, reason: credential_missing, status: §403}",
            "`credential_missing` is answered with 302, 401, never 403: write one of them",
        ),
        (
            "{outcome: deny, reason: bad_request, status: §302}",
            "`bad_request` is answered with 400, 405, 413, 414, 431, never 302: write one of them",
        ),
        (
            "{outcome: deny, reason: bad_request, detail: path_too_long, status: §400}",
            "`bad_request` is answered with 414, never 400: write one of them",
        ),
        (
            "{outcome: deny, status: §200}",
            "a refusal has 302, 400, 401, 403, 405, 413, 414, 429, 431, never 200: write one of them",
        ),
    ],
)
def test_what_no_request_can_get_is_refused_at_its_place(expect: str, what: str) -> None:
    text = join(SET, case(expect))
    assert faults(text.replace("§", "")) == [f"{place_of_mark(text)}: {what}"]


def test_limits_of_a_refusal_are_refused() -> None:
    limit = document("Limit", "per-key", "{per: [identity.key_id], rate: 100/s}")
    (fault,) = faults(SET, limit, case("{outcome: deny, limits: [per-key]}"))
    assert fault.endswith("a refusal has no `limits`: remove them, or expect `allow`")


@pytest.mark.parametrize(
    "expect",
    [
        "{outcome: allow, status: 200, reason: allowed, headers: {x-a: b}, limits: []}",
        "{outcome: deny, headers: {}, limits: []}",
        "{outcome: deny, status: 302}",
        "{outcome: deny, status: 302, reason: not_permitted}",
        "{outcome: deny, status: 431, reason: bad_request}",
        "{outcome: deny, status: 429, reason: rate_limited, detail: cost_exceeds_burst}",
        *(
            f"{{outcome: deny, reason: {reason.value}}}"
            for reason in Reason
            if reason.value
            not in ("allowed", "guarded", "store_unavailable", "overloaded", "not_ready", "internal_error")
        ),
    ],
)
def test_what_a_request_can_get_is_accepted(expect: str) -> None:
    assert faults(SET, case(expect)) == []
