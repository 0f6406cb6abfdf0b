"""The suite against a server that is wrong on purpose: each fault is found, by the class that names it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authz.attack.aim import Aim, Place, Spot
from authz.attack.report import Report
from authz.attack.run import Pace
from authz.attack.suite import CLASSES, Choice
from authz.attack.target import Target
from authz.model.address import parse_address
from authz.model.errors import NotStarted
from tests.support.attack import attack
from tests.support.naive import DEAD, HOST, LIMIT, TOKEN, Fault, naive

AIM = Aim(
    host=HOST.encode(),
    protected=b"/admin",
    open=b"/open",
    places=(Place(Spot.HEADER, b"x-api-key"), Place(Spot.COOKIE, b"session")),
    token=TOKEN.encode(),
    dead=(DEAD.encode(),),
    identity=(b"x-user",),
    limited=b"/limited",
    tokens=LIMIT,
)

# What must be found where, and how bad it must be said to be.
FOUND = {
    Fault.RAW_PREFIX: ("slashes dots escapes parameters utf8 forms generated-paths long-paths", "high"),
    Fault.DECODES_ONCE: ("slashes dots escapes parameters utf8 generated-paths", "high"),
    Fault.CUTS_BLANKS: ("control-bytes", "high"),
    Fault.MATCHES_QUERY: ("query-and-fragment", "high"),
    Fault.ALLOWS_GARBAGE: ("messages odd-messages", "high"),
    Fault.FAILS_ON_GARBAGE: ("messages odd-messages", "low"),
    Fault.EMPTY_ON_EXCEPTION: ("hosts methods forms", "high"),
    Fault.TRIMS_KEYS: ("bent-credentials", "high"),
    Fault.IGNORES_CASE_OF_KEYS: ("bent-credentials", "high"),
    Fault.TAKES_ANY_KEY: ("credentials bent-credentials", "high"),
    Fault.FIRST_OF_TWO: ("two-credentials", "low"),
    Fault.LAST_OF_TWO: ("two-credentials", "low"),
    Fault.KEY_FROM_QUERY: ("credential-places", "low"),
    Fault.KNOWS_ONE_HOST: ("hosts generated-hosts", "high"),
    Fault.LISTED_METHODS: ("methods", "high"),
    Fault.FREE_OPTIONS: ("methods", "high"),
    Fault.FREE_PROBES: ("free-passes", "high"),
    Fault.TRUSTS_FORWARDED_URI: ("free-passes", "high"),
    Fault.TRUSTS_LOOPBACK: ("free-passes", "high"),
    Fault.KEEPS_IDENTITY: ("identity-headers", "high"),
    Fault.KEEPS_UNDERSCORES: ("identity-headers", "high"),
    Fault.KEEPS_CREDENTIAL: ("credential-removal", "low"),
    Fault.TELLS_DEAD_FROM_UNKNOWN: ("alike", "low"),
    Fault.TAKES_DEAD: ("dead-credentials", "high"),
    Fault.READS_ONE_MAP: ("header-forms", "high"),
    Fault.BELIEVES_PSEUDO: ("contradictions header-forms", "high"),
    Fault.OPEN_WITHOUT_PATH: ("forms", "high"),
    Fault.ANY_ORIGIN: ("cookies", "low"),
    Fault.COUNTS_PER_ADDRESS: ("limits", "high"),
    Fault.FOLLOWS_UPGRADES: ("upgrades", "high"),
    Fault.SLOW_ON_MANY_HEADERS: ("sizes", "low"),
    Fault.DIES_OF_GARBAGE: ("frames", "high"),
    Fault.KEEPS_OVERRIDES: ("method-overrides", "low"),
    Fault.KEEPS_LINE_BREAKS: ("header-values", "low"),
}


def _attacked(aim: Aim, classes: frozenset[str], *faults: Fault, timeout_s: float = 10) -> Report:
    with naive(*faults) as address:
        target = Target(check=parse_address(address), timeout_s=timeout_s)
        return attack(target, aim, Choice(classes=classes, spellings=64), Pace(budget_s=300, jobs=8))


def test_a_server_without_faults_is_not_accused() -> None:
    told = _attacked(AIM, frozenset())
    assert [(each.group, each.name, each.what) for each in told.findings] == []
    assert told.held > 800
    assert told.whole


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
def test_a_fault_is_found_by_the_class_that_names_it(fault: Fault) -> None:
    groups, severity = FOUND[fault]
    wanted = frozenset(groups.split())
    # What kills a server is found only by those that come after it.
    others = frozenset({"messages"}) if fault is Fault.DIES_OF_GARBAGE else frozenset()
    timeout_s = 1 if fault is Fault.SLOW_ON_MANY_HEADERS else 10
    told = _attacked(AIM, wanted | others, fault, timeout_s=timeout_s)
    assert {each.group for each in told.findings if each.severity == severity} - others == wanted


def test_every_class_that_a_check_can_carry_finds_a_fault_of_the_naive_server() -> None:
    named = {group for groups, _ in FOUND.values() for group in groups.split()}
    assert set(CLASSES) - named == {"framing", "http2", "hop-by-hop"}  # see tests/unit/attack/test_suite.py


def test_a_path_that_is_not_protected_at_all_is_said_before_anything_else() -> None:
    with pytest.raises(NotStarted, match="`/open` is allowed without a credential"):
        _attacked(replace(AIM, protected=b"/open", open=b""), frozenset())


def test_a_bad_key_and_a_closed_path_are_said_before_anything_else() -> None:
    with pytest.raises(NotStarted, match="with the good credential is not allowed"):
        _attacked(replace(AIM, token=b"wrong"), frozenset())
    with pytest.raises(NotStarted, match="the open path `/closed` is not allowed"):
        _attacked(replace(AIM, open=b"/closed"), frozenset())


def test_nobody_there_is_said_in_one_line() -> None:
    target = Target(check=parse_address("127.0.0.1:1"), timeout_s=1)
    with pytest.raises(NotStarted, match="gives no plain answer"):
        attack(target, AIM, Choice())


def test_a_run_that_ends_early_is_not_whole() -> None:
    with naive() as address:
        target = Target(check=parse_address(address))
        told = attack(target, AIM, Choice(), Pace(budget_s=0, jobs=2))
    assert not told.whole
    assert told.findings == ()
    assert told.held == 0
