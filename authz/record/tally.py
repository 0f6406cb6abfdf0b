"""What one judging thread counts: plain dicts and integers that it alone changes, read by whoever scrapes.

A lock or a metrics library on this path would cost more than the counting. A reader copies (one step of the
interpreter), so it sees each number whole; two numbers may differ by the check that is being counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from authz.model.decision import Allow, Answered, RuleName
from authz.model.latency import BUCKETS_US, Exemplar, later
from authz.model.reason import Outcome, Reason
from authz.model.shadow import Shade, Would

RuleSeries = Literal["all", "denies", "off"]
LimitKey = tuple[str, str, bool]  # limit, store, passed
ShadowRuleKey = tuple[str, str, Would]  # policy, rule, what it would have done
ShadowLimitKey = tuple[str, str, Would]  # limit, store ("" where its bucket was not asked), likewise
ChangeKey = tuple[str, str, Outcome]  # `policy` or `limit`, its name, how the check would have ended

_ALLOWED = Reason.ALLOWED
_REFUSING = (Would.DENY, Would.ERROR)
_DICTS = (
    *("reasons", "rules_allowed", "rules_denied", "rules_overriding", "limits", "limits_near"),
    *("shadow_rules", "shadow_limits", "changes", "traces"),
)


class Tally:
    """Counts of one judging thread.

    Args:
        rule_series: which decisions are counted per rule, which bounds the series of large policy sets.
        near: a limit of whose burst less than this share is left is near; 0: none is ever.
    """

    __slots__ = (
        "_near",
        "_per_allow",
        "_per_deny",
        "changes",
        "duration_sum_us",
        "durations",
        "exemplars",
        "limits",
        "limits_near",
        "reasons",
        "rules_allowed",
        "rules_denied",
        "rules_overriding",
        "sampled_out",
        "shadow_crashes",
        "shadow_limits",
        "shadow_rules",
        "traces",
    )

    def __init__(self, rule_series: RuleSeries = "all", near: float = 0.2) -> None:
        self._near = near
        self._per_allow = rule_series == "all"
        self._per_deny = rule_series != "off"
        self.reasons: dict[Reason, int] = defaultdict(int)
        self.rules_allowed: dict[RuleName, int] = defaultdict(int)
        self.rules_denied: dict[RuleName, int] = defaultdict(int)
        self.rules_overriding: dict[RuleName, int] = defaultdict(int)  # an override may have a rule's name
        self.limits: dict[LimitKey, int] = defaultdict(int)
        self.limits_near: dict[str, int] = defaultdict(int)
        self.shadow_rules: dict[ShadowRuleKey, int] = defaultdict(int)
        self.shadow_limits: dict[ShadowLimitKey, int] = defaultdict(int)
        self.changes: dict[ChangeKey, int] = defaultdict(int)
        self.shadow_crashes = 0
        self.sampled_out = 0  # allows that are not recorded, as the operator wants
        self.durations = [0] * (len(BUCKETS_US) + 1)  # the last is beyond every bound
        self.duration_sum_us = 0
        self.traces: dict[str, int] = defaultdict(int)  # sampled checks: what `Tracing` made of them
        self.exemplars: list[Exemplar | None] = [None] * len(self.durations)

    def add(self, answered: Answered) -> None:
        """Count one answered check, or as many as were refused by one decision."""
        decision, duration_us, count = answered.decision, answered.duration_us, answered.checks
        if isinstance(decision, Allow):
            self.reasons[_ALLOWED] += 1
            if self._per_allow:
                for rule in decision.grant.rules:
                    self.rules_allowed[rule] += 1
        else:
            self.reasons[decision.reason] += count
            # Where a limit refused, the rule is one that allows: it has denied nobody.
            if decision.rule is not None and self._per_deny and not decision.spent:
                counts = self.rules_overriding if decision.override else self.rules_denied
                counts[decision.rule] += 1
        for limit, passed, remaining, _, _, rate, store, _ in decision.spent:
            self.limits[limit, store, passed] += 1
            if passed and remaining < rate.burst_tokens * self._near:
                self.limits_near[limit] += 1
        self.durations[bisect_left(BUCKETS_US, duration_us)] += count
        self.duration_sum_us += duration_us * count
        if answered.trace is not None:
            self._show(answered.trace.trace_id, duration_us, answered.time_us)
        if answered.shadow:
            otherwise = Outcome.DENY if isinstance(decision, Allow) else Outcome.ALLOW
            for shade in answered.shadow:
                self._add_shade(shade, otherwise)

    def _show(self, trace_id: str, duration_us: int, time_us: int) -> None:
        """Keep a traced check as the example of its bucket: the last one can be found for longest."""
        self.exemplars[bisect_left(BUCKETS_US, duration_us)] = Exemplar(trace_id, duration_us, time_us)

    def _add_shade(self, shade: Shade, otherwise: Outcome) -> None:
        """Count what one document in shadow would have done.

        Args:
            otherwise: how the check did not end.
        """
        would = shade.would
        if shade.changes:
            document = ("limit", shade.limit) if shade.limit else ("policy", shade.policy)
            self.changes[*document, otherwise] += 1
        if would is Would.CRASHED:
            self.shadow_crashes += 1
        elif shade.limit:
            store = shade.spent.store if shade.spent is not None else ""
            self.shadow_limits[shade.limit, store, would] += 1
        elif self._per_allow or (self._per_deny and would in _REFUSING):
            self.shadow_rules[shade.policy, shade.rule, would] += 1


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of the tallies, as they are now. Any thread may ask."""
    whole = Tally()
    for tally in tallies:
        for name in _DICTS:
            sums = getattr(whole, name)
            for key, count in (
                getattr(tally, name).copy().items()
            ):  # a copy: its owner may add a key meanwhile
                sums[key] += count
        whole.durations = [
            ours + theirs for ours, theirs in zip(whole.durations, tally.durations, strict=True)
        ]
        whole.duration_sum_us += tally.duration_sum_us
        whole.shadow_crashes += tally.shadow_crashes
        whole.exemplars = later(whole.exemplars, tally.exemplars)
        whole.sampled_out += tally.sampled_out
    return whole
