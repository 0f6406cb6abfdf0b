"""Policy sets in parts, kept in memory: what is read, and what is decided under what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from authz.check import Call, Check, judge
from authz.identity.keyring import Peppers
from authz.limits.guard import Guard
from authz.model.decision import Allow, Deny
from authz.snapshot.assembly import Assembly, Outcome, no_gate
from authz.snapshot.build import Builder, Surroundings
from authz.snapshot.parts import Files, Reading
from authz.snapshot.snapshot import Snapshot
from authz.snapshot.trial import Gate
from tests.support.checks import check_request
from tests.support.documents import document
from tests.support.policies import PEPPER

ROOT = "policies"
Contents = dict[str, str]


def scope(name: str, more: str = "", hosts: str = "", directory: str = "") -> str:
    """Write a Scope of `NAME.example.com` and the directory `teams/NAME`; `more` begins with a comma."""
    spec = f"{{directory: {directory or f'teams/{name}'}, hosts: {hosts or f'[{name}.example.com]'}{more}}}"
    return document("Scope", name, spec)


def opening(
    name: str, host: str = "", rule: str = "effect: allow, identity: [anyone]", more: str = ""
) -> str:
    """Write a policy with one rule, by default one that lets everybody pass on `NAME.example.com`."""
    hosts = f"['{host or f'{name}.example.com'}']"
    return document("Policy", name, f"{{hosts: {hosts}, rules: [{{name: r, {rule}}}]{more}}}")


@dataclass
class Repository:
    """What stands in the directories that an operator names."""

    policies: Contents = field(default_factory=dict)  # by path below `policies`
    scopes: Contents | None = None
    overrides: Contents | None = None
    links: Mapping[str, str] = field(default_factory=dict)

    def reading(self) -> Reading:
        """Return what is read of it."""
        scopes = _files("scopes", self.scopes) if self.scopes is not None else None
        overrides = _files("overrides", self.overrides) if self.overrides is not None else None
        return Reading(_files(ROOT, self.policies, self.links), scopes, overrides)


def _files(root: str, contents: Contents, links: Mapping[str, str] | None = None) -> Files:
    found = {f"{root}/{name}": text.encode("utf-8", "surrogateescape") for name, text in contents.items()}
    return Files(found, (), (root,), {root: f"/{root}", **(links or {})})


class Served:
    """An assembly, and the snapshot that it has put in force."""

    def __init__(self, gate: Gate = no_gate, *, clustered: bool = False) -> None:
        self.assembly = Assembly(Builder(Surroundings(Peppers(PEPPER), clustered=clustered)), gate)
        self.snapshot: Snapshot | None = None
        self.outcome: Outcome = Outcome(None, {}, {})

    def offer(self, repository: Repository) -> dict[str, list[str]]:
        """Offer what stands there; return what was rejected, in words."""
        return self.take(self.assembly.offer(repository.reading(), 0))

    def take(self, outcome: Outcome) -> dict[str, list[str]]:
        """Put in force what came of it."""
        self.outcome = outcome
        if outcome.built is not None:
            self.snapshot = outcome.built.snapshot
        return {part: [str(fault) for fault in faults] for part, faults in outcome.rejected.items()}

    def ask(self, host: str, path: str = "/", method: str = "GET", **headers: str) -> str:
        """Return what is decided: `allow policy/rule`, `reason policy/rule` or `reason`."""
        assert self.snapshot is not None
        return decided(self.snapshot, host, path, method, **headers)


def judged(snapshot: Snapshot, host: str, path: str = "/", method: str = "GET", **headers: str) -> Check:
    """Judge one request; header names have `_` for `-`."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    payload = check_request(method, path, host, named)
    return judge(Call(1, payload), snapshot, Guard(lambda: 0), 0)


def decided(snapshot: Snapshot, host: str, path: str = "/", method: str = "GET", **headers: str) -> str:
    """Return what is decided about one request, in a few words."""
    check = judged(snapshot, host, path, method, **headers)
    if check.grant is not None:
        return f"limited {'/'.join(check.grant.rules[0])}"
    match check.decision:
        case Allow(grant):
            return f"allow {'/'.join(grant.rules[0])}"
        case Deny(reason, rule=rule):
            return f"{reason} {'/'.join(rule)}" if rule is not None else str(reason)
