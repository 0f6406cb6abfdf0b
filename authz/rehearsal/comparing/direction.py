"""Whether a change of one rule lets more requests through, or fewer, where that can be told.

Told is what holds for every request with one good credential or none. Who sends a bad one, or two, may fare
otherwise even where access is wider: a rule that names a provider has its credentials read.

    deny rules     more of them never allow more
    allow rules    more of them allow more where nothing else allows, or where the rule brings nothing along
                   (providers whose credentials are read, limits, headers) that others would feel
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from authz.policy.cover import identities_cover, reach_covers, reach_meets
from authz.policy.host import HostPattern
from authz.policy.kind_policy import Rule
from authz.rehearsal.comparing.facets import Facets

_SPECIAL = frozenset(("anonymous", "anyone"))
_MAX_OTHERS = 20_000  # rules that one is compared with; beyond them nothing is told


class Effect(StrEnum):
    """What a change does to who may do what."""

    WIDER = "wider"  # some requests may be allowed that were refused, none the other way
    NARROWER = "narrower"  # the reverse
    EITHER = "either"  # it cannot be told
    NONE = "none"  # no request is answered otherwise


class Voice(NamedTuple):
    """One enforcing rule, with what its policy adds to it.

    Args:
        headers: its policy sets some for the application.
        reads_params: what its policy sets, or its limits, look at what patterns capture.
    """

    policy: str
    rule: Rule
    hosts: tuple[HostPattern, ...]
    headers: bool
    reads_params: bool
    facets: Facets

    @property
    def providers(self) -> frozenset[str]:
        """The providers whose credentials are read for its sake."""
        return frozenset(self.rule.identity or ()) - _SPECIAL


def together(effects: Iterable[Effect]) -> Effect:
    """Return what several changes do together."""
    found = set(effects) - {Effect.NONE}
    if len(found) > 1:
        return Effect.EITHER
    return found.pop() if found else Effect.NONE


def reverse(effect: Effect) -> Effect:
    """Return what a change does when it is taken back."""
    turned = {Effect.WIDER: Effect.NARROWER, Effect.NARROWER: Effect.WIDER}
    return turned.get(effect, effect)


def of_adding(voice: Voice, others: Sequence[Voice]) -> Effect:
    """Return what one more rule does.

    Args:
        others: every enforcing allow rule of both sets.
    """
    if voice.rule.effect == "deny":
        return Effect.NARROWER
    return Effect.WIDER if _brings_nothing(voice) or _alone(voice, others) else Effect.EITHER


def of_changing(old: Voice, new: Voice, others: Sequence[Voice]) -> Effect:
    """Return what a rule does that says something else now."""
    if old.rule.effect != new.rule.effect:
        return Effect.EITHER
    more, less = _covers(new, old), _covers(old, new)
    if more is less or (_places_capture(old, new) and (old.reads_params or new.reads_params)):
        return Effect.EITHER
    effect = Effect.WIDER if more else Effect.NARROWER
    if old.rule.effect == "deny":
        return reverse(effect)
    if old.providers != new.providers and _SPECIAL & {*(old.rule.identity or ()), *(new.rule.identity or ())}:
        return Effect.EITHER  # who came as nobody is somebody now, or the reverse
    apart = (_brings_nothing(old) and _brings_nothing(new)) or (_alone(old, others) and _alone(new, others))
    return effect if apart else Effect.EITHER


def _places_capture(old: Voice, new: Voice) -> bool:
    """Whether patterns differ of which some capture: then another one may match first, and name `params`."""
    if old.hosts == new.hosts and old.facets.get("paths") == new.facets.get("paths"):
        return False
    paths = (*(old.rule.paths or ()), *(new.rule.paths or ()))
    return any(host.capture for host in (*old.hosts, *new.hosts)) or any("{" in path for path in paths)


def _brings_nothing(voice: Voice) -> bool:
    return not (voice.providers or voice.rule.limits or voice.headers)


def _alone(voice: Voice, others: Sequence[Voice]) -> bool:
    """Whether no other rule allows anything that this one speaks about."""
    if len(others) > _MAX_OTHERS:
        return False
    return not any(
        (other.policy, other.rule.name) != (voice.policy, voice.rule.name)
        and reach_meets(voice.hosts, voice.rule, other.hosts, other.rule)
        for other in others
    )


def _covers(wide: Voice, narrow: Voice) -> bool:
    """Whether a rule fits, and holds, wherever another one does."""
    return (
        reach_covers(wide.hosts, wide.rule, narrow.hosts, narrow.rule)
        and identities_cover(wide.rule, narrow.rule)
        and _upgrade_covers(wide.rule, narrow.rule)
        and _condition_covers(wide, narrow)
        and {*(wide.rule.limits or ())} <= {*(narrow.rule.limits or ())}
    )


def _upgrade_covers(wide: Rule, narrow: Rule) -> bool:
    if wide.upgrade is None or narrow.upgrade is None:
        # An allow rule without `upgrade` fits only requests that ask for none.
        return wide.upgrade is None and (narrow.upgrade is None or wide.effect == "deny")
    return {*narrow.upgrade} <= {*wide.upgrade}


def _condition_covers(wide: Voice, narrow: Voice) -> bool:
    """A condition that looks at what patterns capture is another one where the patterns are others."""
    if wide.rule.when is None:
        return True
    if narrow.rule.when is None or wide.facets["when"].essence != narrow.facets["when"].essence:
        return False
    same = [wide.facets.get(name) == narrow.facets.get(name) for name in ("paths", "grpc")]
    return "params" not in wide.rule.when or (all(same) and wide.hosts == narrow.hosts)
