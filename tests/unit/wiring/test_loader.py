"""The loader keeps what is good, and says why it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from authz.config.settings import load as settings_of
from authz.identity.keyring import Peppers
from authz.model.site import ServedHosts
from authz.snapshot.build import Builder, Surroundings
from authz.snapshot.sources import Directories, Sources
from authz.wiring.clock import SystemClock
from authz.wiring.loader import Loader
from authz.wiring.surroundings import surroundings
from tests.support.policies import PEPPER, PROVIDER
from tests.support.sets import KEY, POLICY, events, small_set, write

STOP = """
kind: Policy
metadata: {name: stop}
spec: {hosts: ["*"], rules: [{name: r, effect: deny}]}
"""


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    return small_set(tmp_path / "policies")


def loader(directory: Path, **around: Any) -> Loader:
    return Loader(
        Directories([directory]),
        Surroundings(**{"peppers": Peppers(PEPPER), "sidecar": "s-1", **around}),
        SystemClock(),
    )


def test_before_the_first_set_nothing_is_ready(policies: Path) -> None:
    made = loader(policies)
    assert not made.current().ready
    assert made.current().problem == "no policy set is loaded yet"
    assert made.current().fixed.sidecar == "s-1"


def test_a_good_set_is_in_force(policies: Path) -> None:
    made = loader(policies)
    with capture_logs() as logs:
        made.load()
    assert made.current().ready
    assert made.results == {"accepted": 1}
    (line,) = events(logs, "policy set loaded")
    assert (line["revision"], line["policies"], line["keys"]) == (made.current().revision, 1, 1)


@pytest.mark.parametrize(
    "broken",
    [["kind: Policy"], [POLICY], ["a: [b"], [PROVIDER, POLICY.replace("r, effect", "r, when: foo, effect")]],
)
def test_a_broken_set_keeps_the_good_one_and_says_why_once(policies: Path, broken: list[str]) -> None:
    made = loader(policies)
    made.load()
    good = made.current()
    write(policies, *broken)
    with capture_logs() as logs:
        for _ in range(3):
            made.load()
    assert made.current() is good
    assert made.results == {"accepted": 1, "rejected": 1}
    (line,) = events(logs, "policy set rejected")
    assert line["count"] == len(line["faults"]) > 0


def test_an_empty_or_missing_directory_is_not_ready_and_says_so(tmp_path: Path) -> None:
    for directory in (write(tmp_path / "empty"), tmp_path / "gone"):
        made = loader(directory)
        with capture_logs() as logs:
            made.load()
            made.load()
        assert not made.current().ready
        assert str(directory) in made.current().problem
        assert len(events(logs, "policy set rejected")) == 1


def test_a_fault_that_comes_back_is_told_again(policies: Path) -> None:
    made = loader(policies)
    with capture_logs() as logs:
        for texts in (["kind: Policy"], [PROVIDER, POLICY], ["kind: Policy"]):
            write(policies, *texts)
            made.load()
    assert len(events(logs, "policy set rejected")) == 2


def test_a_crash_while_loading_keeps_what_is_served(policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loader(policies)
    made.load()
    good = made.current()

    def broken(*_: object) -> None:
        raise RecursionError("deep")

    (policies / "0.yaml").write_bytes((policies / "0.yaml").read_bytes() + b"# more\n")
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Builder, "build", broken)
        made.load()
        made.load()
    assert made.current() is good
    (line,) = events(logs, "policy set rejected")
    assert "RecursionError at test_loader.py:" in line["faults"][0]
    assert made.load()
    assert made.results == {"accepted": 2, "rejected": 2}


@pytest.mark.parametrize("peppers", [Peppers(), Peppers(b"another-pepper-of-32-bytes-long!")])
def test_keys_without_their_pepper_are_disabled_and_told(policies: Path, peppers: Peppers) -> None:
    made = loader(policies, peppers=peppers)
    with capture_logs() as logs:
        made.load()
    assert made.current().ready
    assert made.current().keyring.disabled_count == 1
    (line,) = events(logs, "keys are disabled: their pepper is not here")
    assert (line["count"], line["keys"]) == (1, [KEY.id])


def test_what_a_snapshot_takes_from_settings_is_handed_on() -> None:
    flags = {"hosts": ["A.example.com.", "*.b.example.com"], "trusted_hops": 2}
    listener = surroundings(settings_of(flags, {}), "s-1").listener
    assert listener.hosts == ServedHosts(frozenset({"a.example.com"}), frozenset({"b.example.com"}))
    assert listener.trusted_hops == 2
    assert surroundings(settings_of({}, {}), "s-1").listener.hosts is None
    assert surroundings(settings_of({"hosts": ["*"]}, {}), "s-1").listener.hosts is None


@pytest.mark.parametrize(
    ("url", "keepers", "clustered"),
    [
        (None, 4, False),
        ("redis://r", 1, False),
        ("redis+sentinel://s/m", 1, False),
        ("redis+cluster://c", 1, True),
    ],
)
@pytest.mark.parametrize("enabled", ["true", "false"])
def test_where_buckets_lie_says_who_shares_them_and_what_they_must_keep_to(
    url: str | None, keepers: int, clustered: bool, enabled: str
) -> None:
    environ = {"RATE_LIMIT_ENABLED": enabled} | ({"REDIS_URL": url} if url else {})
    found = surroundings(settings_of({}, environ), "s-1", 4)
    assert (found.processes, found.keepers, found.clustered) == (4, keepers, clustered)


def test_who_asks_whether_the_brake_is_pulled_is_told_which_rules_it_has(
    policies: Path, tmp_path: Path
) -> None:
    brake = write(tmp_path / "overrides")
    (brake / "0.yaml").write_text("# nothing is denied\n")
    named = Directories([policies], overrides=[brake])
    made = Loader(named, Surroundings(peppers=Peppers(PEPPER)), SystemClock())
    with capture_logs() as logs:
        made.load()
        assert "overrides" not in made.about()
        write(brake, STOP)
        made.load()
        assert made.about()["overrides"] == "stop/r"
        (brake / "0.yaml").write_text("# released\n")
        made.load()
        assert "overrides" not in made.about()
    assert [line.get("overrides") for line in events(logs, "policy set loaded")] == [None, "stop/r", None]


def test_a_look_that_hangs_shows(policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loader(policies)
    seen: list[int] = []

    def hanging(_: Sources) -> bool:
        seen.append(made.running_us())
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Sources, "moved", hanging)
    assert made.moved()
    assert seen[0] > 0
    assert made.running_us() == 0
