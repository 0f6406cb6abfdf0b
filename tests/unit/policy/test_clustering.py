"""Which sets may be served from a Redis Cluster."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.model.decision import Grant
from authz.model.identity import NOBODY, Caller, Identity, IdentityKind, Standing
from authz.model.reason import Detail
from authz.policy.clustering import MAX_FAULTS, faults_on_cluster
from authz.policy.compile import compile_set
from authz.policy.evaluate import evaluate
from authz.policy.load import load_lenient
from tests.support.documents import (
    PER_CUSTOMER,
    PER_KEY,
    PROVIDER,
    document,
    join,
    loaded,
    place_of_mark,
    policy,
)
from tests.support.requests import request

PER_NETWORK = document("Limit", "per-network", "{per: [client.network, request.host], rate: 5/s}")
MIXED = "a rule for `anonymous` alone may spend"


def told(*documents: str) -> list[str]:
    """Return the faults of a set, which is one where nothing is clustered."""
    read, faults = load_lenient({"f.yaml": join(*documents).encode()})
    assert faults == []
    return [str(fault) for fault in faults_on_cluster(read)]


def allow(name: str, identity: str, limits: str, more: str = "") -> str:
    return f"{{name: {name}, effect: allow, identity: [{identity}], limits: [{limits}]{more}}}"


def policies(*rules: str, mode: str = "enforce") -> str:
    return document("Policy", "p", f"{{mode: {mode}, hosts: ['*'], rules: [{', '.join(rules)}]}}")


def test_limits_of_customers_and_of_the_unknown_may_be_served_together() -> None:
    rules = policies(
        allow("a", "keys", "per-key, per-customer"),
        allow("b", "keys, anonymous", "per-customer"),
        allow("c", "anyone", "per-key"),
        allow("d", "anonymous", "per-network"),
    )
    assert told(PROVIDER, PER_KEY, PER_CUSTOMER, PER_NETWORK, rules) == []


@pytest.mark.parametrize(
    "per", ["request.host", "client.address", "identity.subject", '"identity.customer + request.host"']
)
@pytest.mark.parametrize("mode", ["enforce", "shadow"])
@pytest.mark.parametrize("used", [True, False])
def test_a_limit_that_is_no_one_callers_is_a_fault_of_the_limit(per: str, mode: str, used: bool) -> None:
    limit = document("Limit", "l", f"{{mode: {mode}, rate: 5/s, per: §[{per}]}}")
    rules = policies(allow("a", "keys", "l" if used else "per-key"))
    (fault,) = told(limit.replace("§", ""), PROVIDER, PER_KEY, rules)
    assert fault.startswith(f"{place_of_mark(limit)}: the limit `l` is not supported yet on Cluster")


@pytest.mark.parametrize("identity", ["keys", "anyone", "anonymous, keys", "anonymous, anyone"])
@pytest.mark.parametrize("limits", ["§per-network", "per-key, §per-network"])
@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_a_limit_of_networks_is_for_the_unknown_alone(identity: str, limits: str, mode: str) -> None:
    marked = policies(allow("a", "anonymous", "per-network"), allow("b", identity, limits), mode=mode)
    (fault,) = told(marked.replace("§", ""), PROVIDER, PER_KEY, PER_NETWORK)
    assert fault.startswith(f"{place_of_mark(marked)}: the limit `per-network` is not supported yet on")
    assert MIXED in fault


def test_what_has_a_customer_may_have_the_network_too() -> None:
    both = document("Limit", "both", "{per: [client.network, identity.customer], rate: 5/s}")
    assert told(PROVIDER, both, policies(allow("a", "keys", "both"))) == []


def test_every_policy_that_mixes_is_told_and_no_more_than_help_anybody() -> None:
    many = [policy("effect: allow, identity: [keys], limits: [per-network]", f"p{n}") for n in range(3)]
    found = told(PROVIDER, PER_NETWORK, *many, policy("effect: allow, identity: [keys]", "other"))
    assert len(found) == len(many)
    limits = [document("Limit", f"l{n}", "{per: [request.host], rate: 1/s}") for n in range(MAX_FAULTS + 1)]
    assert len(told(*limits)) == MAX_FAULTS


# --- what it is for: everything that one check spends lies together

_CALLERS = (
    NOBODY,
    *(
        Caller(Identity(IdentityKind.API_KEY, "keys", key, key, customer, "example"), Standing.PROVEN)
        for key, customer in (("k1", "acme"), ("k2", "acme"), ("k3", "beta"))
    ),
    Caller(NOBODY.identity, Standing.INVALID, Detail.KEY_UNKNOWN),
)
_PER = st.lists(
    st.sampled_from(["identity.customer", "identity.key_id", "client.network", "request.host"]),
    min_size=1,
    max_size=3,
    unique=True,
)
_RULE = st.tuples(
    st.sampled_from(["keys", "anonymous", "anyone", "keys, anonymous"]),
    st.lists(st.sampled_from(["l0", "l1", "l2"]), min_size=1, max_size=3, unique=True),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_PER, min_size=3, max_size=3), st.lists(_RULE, min_size=1, max_size=4))
def test_what_an_accepted_set_spends_for_a_check_is_one_callers(
    pers: list[list[str]], rules: list[tuple[str, list[str]]]
) -> None:
    limits = [
        document("Limit", f"l{n}", f"{{per: [{', '.join(per)}], rate: 5/s}}") for n, per in enumerate(pers)
    ]
    written = [allow(f"r{n}", identity, ", ".join(names)) for n, (identity, names) in enumerate(rules)]
    read = loaded(PROVIDER, *limits, policies(*written))
    index = compile_set(read).index
    spent = [
        {spend.caller for spend in found.spends}
        for caller in _CALLERS
        if isinstance(
            found := evaluate(index.candidates(index.view("a"), request(host="a")), request(), caller), Grant
        )
    ]
    if not faults_on_cluster(read):
        assert all(len(callers) == 1 and callers != {()} for callers in spent)
