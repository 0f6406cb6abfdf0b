"""One policy set as the judging thread sees it: immutable, whole, with one revision."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from authz.identity.credential import Plan, plan
from authz.identity.keyring import Keyring
from authz.identity.removal import Removal, removal
from authz.model.identity import CredentialPlace, PlaceKind, Provider
from authz.model.site import DEFAULT_SITE, Listener, ReadingRules, Site
from authz.policy.evaluate import Memos
from authz.policy.host_map import HostMap
from authz.policy.index import Index
from authz.policy.overrides import Overrides
from authz.policy.rule import LimitRule
from authz.policy.shadow import Shadow
from authz.policy.sites import SiteIndex
from authz.record.entry import FixedFields

# Sets of providers that candidates of one request may name together: a handful in any real policy set.
# Past this many, a set is worked out anew each time, so memory stays bounded whatever the documents say.
_MEMO_MAX = 1024


@dataclass(frozen=True, slots=True)
class Access:
    """What a set of providers means for one request: where to look, what to strip, what to ask for.

    Args:
        plan: where their credentials stand.
        removal: what the upstream must not see of them.
        challenge: the value of `www-authenticate` for a caller who must bring one.
        parameters: query parameters that hold credentials of any provider of the set, named here or not:
            a redirect leads to another host, so it carries none of them on.
    """

    plan: Plan
    removal: Removal
    challenge: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that decides, besides the request, the time and the buckets.

    Args:
        revision: 12 hex digits over all documents but tests; "" where nothing is loaded.
        ready: whether a whole, valid policy set is here. A snapshot that is not ready allows nothing.
        problem: why it is not ready, one line.
        shadow: documents that are tried and change nothing; None where there are none.
        limits: every limit by name, for those who look at buckets; whoever judges has them in its rules.
        overrides: deny rules that are asked first; None where there are none.
        closed: hosts about which a scope speaks that was never good; None where there are none.
        fixed: what is alike in every record made under it.
        memos: what was worked out from identities alone.
        expiries_us: when its API keys expire, sorted, microseconds since 1970.
        contents: how many documents of each kind it is made of.
    """

    ready: bool
    revision: str = ""
    source_revision: str = ""
    problem: str = ""
    loaded_at_us: int = 0
    index: Index = field(default_factory=Index)
    shadow: Shadow | None = None
    limits: Mapping[str, LimitRule] = field(default_factory=dict)
    overrides: Overrides | None = None
    closed: HostMap[str] | None = None
    sites: SiteIndex = field(default_factory=SiteIndex)
    providers: dict[str, Provider] = field(default_factory=dict)
    keyring: Keyring = field(default_factory=Keyring)
    reading: ReadingRules = field(default_factory=lambda: ReadingRules(lambda _: DEFAULT_SITE))
    fixed: FixedFields = field(default_factory=lambda: FixedFields("", ""))
    expiries_us: tuple[int, ...] = ()
    contents: Mapping[str, int] = field(default_factory=dict)
    memos: Memos = field(default_factory=Memos)
    _accesses: dict[frozenset[str], Access] = field(default_factory=dict)

    def site(self, host: str) -> Site:
        """Return the Site that speaks about a host, or the defaults."""
        return self.sites.of(host)

    def access(self, names: frozenset[str]) -> Access:
        """Return what these providers mean together."""
        known = self._accesses.get(names)
        if known is None:
            named = [self.providers[name] for name in sorted(names)]
            known = _access(named, self.providers.values(), self.fixed.token_prefix)
            if len(self._accesses) < _MEMO_MAX:
                self._accesses[names] = known
        return known

    def next_expiry_us(self, now_us: int) -> int | None:
        """Return when the next API key expires; None where none will."""
        following = bisect_right(self.expiries_us, now_us)
        return self.expiries_us[following] if following < len(self.expiries_us) else None

    def expiring(self, now_us: int, within_us: int) -> int:
        """Return how many API keys expire within so much time, by now valid or not yet."""
        expiries = self.expiries_us
        return bisect_right(expiries, now_us + within_us) - bisect_right(expiries, now_us)


def not_ready(
    problem: str, listener: Listener | None = None, sidecar: str = "", fixed: FixedFields | None = None
) -> Snapshot:
    """Return a snapshot that refuses everything, and says why."""
    return Snapshot(
        ready=False,
        problem=problem,
        reading=ReadingRules(lambda _: DEFAULT_SITE, listener=listener or Listener()),
        fixed=fixed or FixedFields(sidecar, ""),
    )


def _access(providers: list[Provider], every: Iterable[Provider], token_prefix: bytes) -> Access:
    places = dict.fromkeys(place for provider in providers for place in provider.places)
    return Access(
        plan(providers),
        removal(providers, token_prefix),
        ", ".join(dict.fromkeys(_challenge(place) for place in places)),
        _parameters(every),
    )


def _parameters(providers: Iterable[Provider]) -> tuple[str, ...]:
    """Return the names of the query parameters in which some provider looks for credentials."""
    places = (place for provider in providers for place in provider.places)
    return tuple(dict.fromkeys(place.name for place in places if place.kind is PlaceKind.QUERY))


def _challenge(place: CredentialPlace) -> str:
    """Return how to ask for a credential in one place. Source: RFC 9110, section 11.6.1."""
    if place.scheme:
        return f'{place.scheme.capitalize()} realm="authz"'
    return f'ApiKey realm="authz", in="{place.kind.value}", name="{place.name}"'
