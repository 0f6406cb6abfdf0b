"""What deserves a look in a policy set that could be served: warnings, never faults.

Asked by `authz policy validate`; a sidecar that loads a set does not ask. Every warning has a code that stays
what it is, so that tools may count and silence it; `docs/warnings.md` has a chapter for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType

from authz.model.errors import PolicyError
from authz.policy.compile import compile_set
from authz.policy.condition import Compiler
from authz.policy.lint.expression import about_expressions
from authz.policy.lint.limits import about_limits
from authz.policy.lint.reach import about_reach
from authz.policy.lint.tests import about_tests
from authz.policy.loaded import Loaded

MAX_WARNINGS = 500  # of one set; more tell nobody more

# Code -> what it says, in one line. `docs/warnings.md` has the same chapters.
CODES: Mapping[str, str] = MappingProxyType(
    {
        "negative-only-policy": "a policy that only denies, on hosts where nothing is allowed",
        "negative-only-rule": "an allow rule for everybody whose condition only says who is left out",
        "unreachable-rule": "an allow rule that a deny rule without condition always outvotes",
        "constant-condition": "a condition that is always true, always false or always fails",
        "cannot-match": "a network, workload or method that no request has",
        "host-not-served": "a policy whose hosts the listener does not serve",
        "duplicate-rule": "a rule that says what another one says already",
        "expression-can-fail": "an expression that has no value for some requests",
        "limit-name-empty": "a limit that counts by something which some callers do not have",
        "header-comparison": "a deny rule that compares a header which may be sent twice",
        "cost-exceeds-burst": "a limit whose bucket never holds what one request costs",
        "limit-never-refuses": "a limit that never has anything to refuse",
        "burst-below-rate": "a bucket that holds less than a second's worth of its rate",
        "bucket-of-choice": "a limit that a client leaves behind by sending another value",
        "store-error-outvoted": "a limit that allows without its store, beside one that denies",
        "unused-limit": "a limit that no rule names",
        "unusual-method": "a method that is probably misspelled",
        "key-in-query": "a credential that ends up in logs",
        "unguarded-site": "a Site that takes the guard of a wider one away",
        "no-tests": "policies, and not one test",
        "untested-policy": "a policy of which no test names a rule",
        "untested-rules": "rules that no test names, of a policy that has tests",
    }
)


def lint(
    loaded: Loaded, compiler: Compiler | None = None, served: Sequence[str] = (), *, overrides: bool = False
) -> list[PolicyError]:
    """Return every warning about a set, sorted by place.

    Args:
        loaded: a set without faults.
        compiler: whatever has compiled it already, for speed.
        served: hosts that the listener is bound to; empty: every host.
        overrides: these are overrides, which do nothing but deny and have no tests.
    """
    compiler = compiler or Compiler()
    found: Iterable[PolicyError] = (
        *loaded.warnings,
        *compile_set(loaded, compiler).warnings,
        *islice(about_reach(loaded, served, overrides=overrides), MAX_WARNINGS),
        *islice(about_expressions(loaded, compiler), MAX_WARNINGS),
        *islice(about_limits(loaded, compiler), MAX_WARNINGS),
        *islice(() if overrides else about_tests(loaded), MAX_WARNINGS),
    )
    once = {(warning.place, warning.code, warning.what): warning for warning in found}
    return [once[key] for key in sorted(once)][:MAX_WARNINGS]
