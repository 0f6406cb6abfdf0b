"""The rules of an explanation, as people read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from authz.cli.columns import wrapped
from authz.rehearsal.explaining.explanation import FitPart, RulePart

Paint = Callable[[str, str], str]  # text, colour -> text

_SAYS = {
    "does_not_fit": "does not fit",
    "condition_false": "its condition is false",
    "condition_failed": "its condition failed",
    "not_asked": "not asked: the credential is not good, and no rule for `anyone` holds",
    "not recorded": "not recorded",
}


def rule_lines(rules: Sequence[RulePart], paint: Paint) -> Iterator[str]:
    """Yield some rules, each with what it asks for and what it says."""
    for rule in rules:
        yield from _rule(rule, paint)


def _rule(rule: RulePart, paint: Paint) -> Iterator[str]:
    deny = rule.effect == "deny"
    if rule.says == "holds":
        said, colour = ("DENIES", "red") if deny else ("allows", "green")
    elif rule.says == "condition_failed" and deny:
        said, colour = "its condition failed: DENIES", "red"
    else:
        said, colour = _SAYS[rule.says], ""
    name = f"  {rule.policy}/{rule.rule}"
    yield f"{name}: {paint(said, colour) if colour else said}"
    if rule.place:
        yield from wrapped(rule.place, "    ")
    for fit in rule.fits:
        yield from wrapped(_fit(fit), "    ", "      ")
    if rule.when is not None:
        when = rule.when
        yield from wrapped(f"when {when.source}", "    ", "      ")
        yield from wrapped(f"is {when.value}{f': {when.failure}' if when.failure else ''}", "      ")
        for name, value in when.variables.items():
            yield from wrapped(f"{name} = {value}", "      ", "        ")
    if rule.limits and rule.says == "holds":
        yield from wrapped(f"limits {', '.join(rule.limits)}", "    ")


def _fit(fit: FitPart) -> str:
    if fit.wants == "anyone":
        return "identity anyone: yes (whoever it is)"
    wants = fit.wants or "none"
    return f"{fit.part} {wants}: {'yes' if fit.fits else 'no'} ({fit.has or 'the request has none'})"
