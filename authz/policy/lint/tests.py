"""Rules that no PolicyTest names: nobody would notice if they stopped to work."""

from __future__ import annotations

from collections.abc import Iterator

from authz.model.errors import PolicyError
from authz.policy.kind_policy import PolicySpec
from authz.policy.loaded import Document, Loaded

_SHOWN = 5  # names in one line


def about_tests(loaded: Loaded) -> Iterator[PolicyError]:
    """Yield one warning for each policy that tests leave out, or one for a set without tests.

    A policy in shadow answers nobody, so no test can name what it says.
    """
    policies = [document for document in loaded.policies if document.spec.mode == "enforce"]
    if policies and not loaded.tests:
        what = (
            f"{_counted(len(policies), 'policy', 'policies')} and no PolicyTest: write requests with their"
            " answers, and `authz policy test` holds the set to them"
        )
        yield policies[0].fault(what, "metadata", "name", code="no-tests")
        return
    named = _named(loaded)
    for document in policies:
        rules = [rule.name for rule in document.spec.rules]
        missing = [name for name in rules if (document.name, name) not in named]
        if len(missing) == len(rules):
            what = f"no test names a rule of `{document.name}` in `expect`: write one that does"
            yield document.fault(what, "metadata", "name", code="untested-policy")
        elif missing:
            yield _untested(document, missing)


def _named(loaded: Loaded) -> set[tuple[str, str]]:
    expected = (case.expect for test in loaded.tests for case in test.spec.cases)
    return {(one.policy, one.rule) for one in expected if one.policy and one.rule}


def _untested(document: Document[PolicySpec], missing: list[str]) -> PolicyError:
    shown = ", ".join(f"`{name}`" for name in missing[:_SHOWN])
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    rules = "rule" if len(missing) == 1 else "rules"
    what = f"no test names the {rules} {shown}{more} in `expect`: write one for each"
    at = next(index for index, rule in enumerate(document.spec.rules) if rule.name == missing[0])
    return document.fault(what, "spec", "rules", at, "name", code="untested-rules")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
