"""Compiled rules: what a document's rule has become when it is asked per check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from authz.model.decision import RuleName
from authz.model.identity import Identity
from authz.model.limit import OnStoreError, Rate
from authz.model.request import Client, Request
from authz.policy.condition import Condition, Expression


class Network(NamedTuple):
    """A range of addresses of one IP version, both ends included, as integers."""

    version: int
    first: int
    last: int

    def holds(self, client: Client) -> bool:
        """Whether a client is in it; a client without an address is in no network."""
        return client.version == self.version and self.first <= client.number <= self.last


class PeerPattern(NamedTuple):
    """A workload's principal, or all principals with one more segment below a prefix."""

    text: str  # the principal itself, or everything up to and including the last "/"
    wildcard: bool

    def holds(self, principal: str) -> bool:
        """Whether a principal fits. The wildcard is exactly one non-empty segment."""
        if not self.wildcard:
            return principal == self.text
        rest = principal.removeprefix(self.text)
        return bool(rest) and "/" not in rest and principal.startswith(self.text)


@dataclass(frozen=True, slots=True)
class Tier:
    """A rate for callers for whom a condition holds."""

    when: Condition
    rate: Rate


class Whose(Enum):
    """Who shares the buckets of a limit, as far as `per` says so by plain attributes."""

    CUSTOMER = "customer"  # `identity.customer` or `identity.key_id`
    NETWORK = "network"  # `client.network`, and neither of those
    ANYBODY = "anybody"


@dataclass(frozen=True, slots=True, eq=False)
class LimitRule:
    """A compiled Limit document.

    Args:
        whose: who shares its buckets.
        on_store_error: what it does while their store does not answer.
        of_identity: bucket, rate and cost follow from the identity alone.
    """

    name: str
    per: tuple[Expression, ...]
    rate: Rate
    tiers: tuple[Tier, ...] = ()
    fixed_cost: float = 1.0  # tokens
    cost: Expression | None = None  # where the cost depends on the request
    of_identity: bool = False
    whose: Whose = Whose.ANYBODY
    on_store_error: OnStoreError = OnStoreError.LOCAL


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule of one policy. Compared by identity; where an order is needed, it is that of names.

    Args:
        methods: canonical methods; empty: every method.
        grpc: fits only requests whose content type is gRPC's.
        providers: names of providers that its identities may come from.
        anonymous: fits a caller who presented nothing.
        anyone: does not look at the identity (of a deny rule: it names none).
        limits: those in `mode: enforce`.
        shadow_limits: those in `mode: shadow`.
        headers: what its policy sets for the upstream where this rule allows.
        when_of_identity: the condition reads nothing but the identity.
        grant_of_identity: headers, buckets and costs read nothing but the identity.
        params: some expression reads what host and path patterns captured.
    """

    name: RuleName
    allow: bool
    methods: frozenset[str] = frozenset()
    grpc: bool = False
    providers: frozenset[str] = frozenset()
    anonymous: bool = False
    anyone: bool = False
    when: Condition | None = None
    peers: tuple[PeerPattern, ...] = ()
    networks: tuple[Network, ...] = ()
    upgrade: frozenset[str] = frozenset()
    limits: tuple[LimitRule, ...] = ()
    shadow_limits: tuple[LimitRule, ...] = ()
    headers: tuple[tuple[str, Expression], ...] = ()
    when_of_identity: bool = False
    grant_of_identity: bool = False
    params: bool = True

    def asks(self, request: Request) -> bool:
        """Whether a request of a matching host and path is one that this rule speaks about."""
        if self.methods and request.method not in self.methods:
            return False
        return request.grpc or not self.grpc

    def fits(self, request: Request, identity: Identity) -> bool:
        """Whether identity, peer, address and upgrade are those that this rule names."""
        if not (
            self.anyone or identity.provider in self.providers or (self.anonymous and identity.anonymous)
        ):
            return False
        if (self.upgrade or request.upgrade) and not self._fits_upgrade(request):
            return False
        if self.peers and not any(peer.holds(request.principal) for peer in self.peers):
            return False
        return not self.networks or any(network.holds(request.client) for network in self.networks)

    def _fits_upgrade(self, request: Request) -> bool:
        """An allow rule needs every protocol that is asked for to be its own; a deny rule just one."""
        if self.allow:
            return bool(self.upgrade) == bool(request.upgrade) and self.upgrade.issuperset(request.upgrade)
        return not self.upgrade or not self.upgrade.isdisjoint(request.upgrade)


class Candidate(NamedTuple):
    """A rule whose host, method and path match a request, with what its patterns captured."""

    rule: Rule
    params: Mapping[str, str]
