"""Documents in `mode: shadow`: what they would have said about a request that is answered already.

Each policy is asked by itself, over the caller that was resolved for the enforcing rules. Whether it would
have turned the reply around follows from what was decided:

    it says / decided   allow    denied by a rule   bad credential       nobody allowed   limited
    deny                 turns    -                  -                    -                -
    allow                -        -                  both asked together  turns            -
    none                 -        -                  -                    -                -

An error counts as what it would become: of a deny rule, a header or a limit a refusal, of an allow rule none.
Enforced, a policy would also have the credentials read that its allow rules name. Where they were not read,
and where a Site keeps two readings of the path, only a deny rule that does not look at the caller is sure;
anything else is `undecidable`. Source: section 3 of the contract, "Shadow".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from authz.model.decision import Allow, Decision, Deny, Grant
from authz.model.identity import Caller, Identity
from authz.model.limit import SHADOW, Spend
from authz.model.reason import Detail, Reason
from authz.model.request import Request
from authz.model.shadow import Review, Shade, Trial, Would
from authz.policy.evaluate import Memos, alone, evaluate, spend_of
from authz.policy.index import Index
from authz.policy.memo import Memo
from authz.policy.rule import Candidate, LimitRule, Rule
from authz.policy.vocabulary import Facts

_Spend = TypeVar("_Spend", Spend, Spend | Detail)

_NOBODY_ALLOWED = frozenset({Reason.NO_MATCHING_POLICY, Reason.NOT_PERMITTED, Reason.CREDENTIAL_MISSING})
_BAD_CREDENTIAL = frozenset({Reason.CREDENTIAL_INVALID, Reason.CREDENTIAL_AMBIGUOUS})
_RULES_DECIDED = _NOBODY_ALLOWED | _BAD_CREDENTIAL | {Reason.DENIED_BY_RULE, Reason.RULE_ERROR}
# What ended otherwise (unread, guarded, overloaded, crashed) met no rule, so it meets none in shadow either.
_JUDGED = _RULES_DECIDED | {Reason.RATE_LIMITED, Reason.STORE_UNAVAILABLE}


class Judged(NamedTuple):
    """One request, and everything that its decision was made from.

    Args:
        readings: the request, and its other readings where a Site keeps two.
        named: the providers whose credentials were looked for.
        enforced: returns the enforcing candidates, for the few cases in which both are asked together.
    """

    readings: tuple[Request, ...]
    caller: Caller
    decision: Decision
    named: frozenset[str]
    enforced: Callable[[], Sequence[Candidate]]


@dataclass(frozen=True, slots=True)
class Shadow:
    """Every document of a set that is in shadow, compiled apart.

    Args:
        policies: the rules of policies in shadow.
        limited: enforcing allow rules that name limits in shadow.
        memos: apart from those of the enforcing rules, which it must not crowd out.
        spends: of limits in shadow that read nothing but the identity.
    """

    policies: Index = field(default_factory=Index)
    limited: Index = field(default_factory=Index)
    memos: Memos = field(default_factory=Memos)
    spends: Memo[tuple[Identity, LimitRule], Spend | Detail] = field(default_factory=Memo)

    def review(self, judged: Judged) -> Review:
        """Ask everybody in shadow; spends nothing."""
        review = Review()
        decision = judged.decision
        if isinstance(decision, Allow):
            self._ask_limits(judged, decision, review)
            self._ask_policies(judged, review)
        elif decision.reason in _JUDGED:
            self._ask_policies(judged, review)
        return review

    def _ask_policies(self, judged: Judged, review: Review) -> None:
        shades: dict[str, Shade] = {}
        for request in judged.readings:
            for policy, candidates in _by_policy(self.policies, request):
                known = shades.get(policy)
                if known is None or known.would is Would.UNDECIDABLE:
                    shades[policy] = self._ask(policy, candidates, request, judged, review)
        review.shades += [shades[policy] for policy in sorted(shades)]

    def _ask(
        self, policy: str, candidates: list[Candidate], request: Request, judged: Judged, review: Review
    ) -> Shade:
        unread = _unread(candidates, judged.named)
        if unread is not None or len(judged.readings) > 1:
            return self._ask_blindly(policy, candidates, request, judged, unread)
        verdict = alone(candidates, request, judged.caller, self.memos)
        decision = judged.decision
        if isinstance(verdict, Deny):
            shade = _refusing(policy, verdict, decision)
            if (
                shade.would is Would.ERROR and shade.changes
            ):  # unless an enforcing rule sets that header first
                return shade._replace(changes=not self._together(candidates, judged))
            return shade
        rule = verdict.rules[0].rule
        if isinstance(decision, Allow):
            spent = {spend.limit for spend in decision.grant.spends}
            for spend in verdict.spends:
                if spend.limit not in spent:  # else it is spent for an enforcing rule, and only once
                    _try(_apart(spend), policy, review).policies.append(policy)
            self._try_own(verdict, candidates, judged, policy, review)
            return Shade(Would.ALLOW, policy, rule)
        return Shade(Would.ALLOW, policy, rule, changes=self._opens(candidates, decision, judged))

    def _try_own(
        self, grant: Grant, candidates: list[Candidate], judged: Judged, policy: str, review: Review
    ) -> None:
        """Limits in shadow that a policy in shadow names."""
        for candidate in candidates:
            if candidate.rule.shadow_limits and candidate.rule.name in grant.rules:
                self._try_all(candidate, judged, policy, review)

    def _ask_blindly(
        self, policy: str, candidates: list[Candidate], request: Request, judged: Judged, unread: Rule | None
    ) -> Shade:
        """Ask only the deny rules that would say the same about every caller."""
        blind = [each for each in candidates if not each.rule.allow and _is_blind(each.rule)]
        verdict = alone(blind, request, judged.caller, self.memos) if blind else None
        if isinstance(verdict, Deny) and verdict.rule is not None:
            return _refusing(policy, verdict, judged.decision)
        return Shade(Would.UNDECIDABLE, policy, unread.name.rule if unread is not None else "")

    def _opens(self, candidates: list[Candidate], refusal: Deny, judged: Judged) -> bool:
        """Whether a refusal would have been an allow, but for what the policy's limits would say."""
        if refusal.reason in _NOBODY_ALLOWED:
            return True
        # Such a refusal comes before the deny rules, so nobody knows yet what they say about this caller.
        return refusal.reason in _BAD_CREDENTIAL and self._together(candidates, judged)

    def _together(self, candidates: list[Candidate], judged: Judged) -> bool:
        """Whether the rules of a policy and the enforcing ones would allow together, but for their limits."""
        every = [*judged.enforced(), *candidates]
        return isinstance(evaluate(every, judged.readings[0], judged.caller, self.memos), Grant)

    def _ask_limits(self, judged: Judged, allow: Allow, review: Review) -> None:
        """Limits in shadow of the rules that allowed."""
        request = judged.readings[0]
        for candidate in self.limited.candidates(self.limited.view(request.host), request):
            if candidate.rule.name in allow.grant.rules:
                self._try_all(candidate, judged, "", review)

    def _try_all(self, candidate: Candidate, judged: Judged, policy: str, review: Review) -> None:
        """Try the limits in shadow of a rule that allows, or would."""
        facts = Facts(judged.readings[0], judged.caller.identity, candidate.params)
        for limit in candidate.rule.shadow_limits:
            if limit.name in review.trials or any(shade.limit == limit.name for shade in review.shades):
                continue
            spend = self._spend_of(limit, facts)
            if isinstance(spend, Detail):
                failed = Shade(Would.ERROR, policy, limit=limit.name, detail=spend, changes=not policy)
                review.shades.append(failed)
            else:
                _try(spend, policy, review)

    def _spend_of(self, limit: LimitRule, facts: Facts) -> Spend | Detail:
        if not limit.of_identity:
            return _apart(spend_of(limit, facts))
        key = (facts.identity, limit)
        known = self.spends.get(key)
        if known is None:
            known = _apart(spend_of(limit, facts))
            self.spends.keep(key, known)
        return known


def _try(spend: Spend, policy: str, review: Review) -> Trial:
    """Try a limit once, whoever else names it."""
    known = review.trials.get(spend.limit)
    if known is None:
        known = review.trials[spend.limit] = Trial(spend, policy)
    return known


def _apart(spend: _Spend) -> _Spend:
    """Return a spend that draws from the bucket in shadow; a fault stays one."""
    if isinstance(spend, Spend):
        return spend._replace(bucket=(SHADOW + spend.bucket[0], *spend.bucket[1:]))
    return spend


def _by_policy(index: Index, request: Request) -> Iterator[tuple[str, list[Candidate]]]:
    found: dict[str, list[Candidate]] = {}
    for candidate in index.candidates(index.view(request.host), request):
        found.setdefault(candidate.rule.name.policy, []).append(candidate)
    return iter(found.items())


def _unread(candidates: Sequence[Candidate], named: frozenset[str]) -> Rule | None:
    """Return an allow rule for whose sake a credential would be read that was not, if there is one."""
    for candidate in candidates:
        rule = candidate.rule
        if rule.allow and not rule.providers <= named:
            return rule
    return None


def _is_blind(rule: Rule) -> bool:
    """Whether a rule says the same about every caller."""
    if not rule.anyone or rule.when is None:
        return rule.anyone
    return not any(name.startswith("identity.") for name in rule.when.inspection.names)


def _refusing(policy: str, verdict: Deny, decision: Decision) -> Shade:
    """Say what a policy would do that does not allow."""
    rule = verdict.rule.rule if verdict.rule is not None else ""
    passed = isinstance(decision, Allow)
    match verdict.reason:
        case Reason.DENIED_BY_RULE:
            return Shade(Would.DENY, policy, rule, changes=passed)
        case Reason.RULE_ERROR:
            return Shade(Would.ERROR, policy, rule, detail=verdict.detail, changes=passed)
        case _ if rule:  # the condition of an allow rule failed: it does not allow, and denies nobody
            return Shade(Would.ERROR, policy, rule, detail=verdict.detail)
        case _:
            return Shade(Would.NONE, policy)
