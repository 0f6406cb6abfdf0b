"""What policies decide, what they would decide in shadow, and how changes of them come into force."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from charts.monitoring.code.frame import framed
from charts.monitoring.code.panel import PER_S, SECONDS, number, series
from charts.monitoring.code.query import Query, increase, most, of, rate, top, total

_RULES = "authz_rule_decisions_total"
_RULE = "{{policy}}/{{rule}}"
_UNPERMITTED = 'reason=~"no_matching_policy|not_permitted|rule_error"'


def dashboard() -> Dashboard:
    """Return it."""
    return framed(
        "authz-policies",
        "authz / Policies and rules",
        "Which rules decide, what documents in shadow would change, and whether changes come into force.",
        [("In force", _in_force()), ("Decisions", _decisions()), ("Changes", _changes())],
    )


def _in_force() -> list[Builder[Panel]]:
    return [
        number(
            "Policies",
            "Policy documents of the set in force, on the sidecar that has most.",
            Query(most(of("authz_snapshot_documents", 'kind="Policy"'))),
        ),
        number(
            "Policy sets",
            "Different revisions in force.",
            Query(f"count(count by (revision) ({of('authz_snapshot_revision_info')}))"),
            steps=(2,),
            runbook="AuthzRevisionSkew",
        ),
        number(
            "Set is how old",
            "Since when the youngest set is in force. Older than the last merge: the change has not arrived.",
            Query(f"time() - {most(of('authz_snapshot_loaded_timestamp_seconds'))}"),
            unit=SECONDS,
        ),
        number(
            "Not in force",
            "The longest time for which a sidecar has not been serving what stands in its directories.",
            Query(most(of("authz_snapshot_age_seconds"))),
            unit=SECONDS,
            steps=(60, 300),
            runbook="AuthzPolicyNotInForce",
        ),
        number(
            "Rejected parts",
            "Parts of sets that are not in force as they stand in the directories, over all sidecars.",
            Query(total(of("authz_snapshot_part_rejected"))),
            steps=(1,),
            runbook="AuthzPolicyNotInForce",
        ),
        number(
            "Brake",
            "Deny rules of overrides in force. Above 0: somebody has pulled the emergency brake.",
            Query(most(of("authz_snapshot_overrides"))),
            steps=(1,),
            runbook="AuthzBrakeForgotten",
        ),
    ]


def _decisions() -> list[Builder[Panel]]:
    return [
        series(
            "Rules that allow most",
            "Checks that each rule allowed per second; a check may be allowed by several.",
            Query(top(10, total(rate(_RULES, 'mode="enforce"', 'outcome="allow"'), "policy, rule")), _RULE),
            unit=PER_S,
        ),
        series(
            "Rules that deny most",
            "Checks that a deny rule refused. A rule that was never here before: read its last change.",
            Query(top(10, total(rate(_RULES, 'mode="enforce"', 'outcome="deny"'), "policy, rule")), _RULE),
            unit=PER_S,
            runbook="AuthzRefusalSpike",
        ),
        series(
            "No rule allowed",
            "Checks for which no policy matched, or none permitted it. A step up: a path without a rule, or"
            " clients at the wrong place.",
            Query(
                total(
                    rate("authz_checks_total", 'reason=~"no_matching_policy|not_permitted|rule_error"'),
                    "reason",
                ),
                "{{reason}}",
            ),
            unit=PER_S,
            runbook="AuthzRefusalSpike",
        ),
        series(
            "Shadow: what would change",
            "Checks that would have ended otherwise, had this policy or limit been enforced. Enforce it once"
            " this is what you mean it to be.",
            Query(
                top(10, total(rate("authz_shadow_changes_total"), "kind, name, outcome")),
                "{{kind}} {{name}}: {{outcome}}",
            ),
            unit=PER_S,
        ),
        series(
            "Shadow: what rules say",
            "Decisions of rules in shadow, those that change nothing too.",
            Query(
                top(10, total(rate(_RULES, 'mode="shadow"'), "policy, rule, outcome")),
                f"{_RULE}: {{{{outcome}}}}",
            ),
            unit=PER_S,
        ),
        series(
            "Overrides: who is stopped",
            "Checks that the emergency brake refused, by its rules.",
            Query(top(10, total(rate(_RULES, 'mode="override"'), "policy, rule")), _RULE),
            unit=PER_S,
            runbook="AuthzBrakeForgotten",
        ),
    ]


def _changes() -> list[Builder[Panel]]:
    return [
        series(
            "Changes by result",
            "Changes of the policy set since the start of what is shown, over all sidecars: accepted, or"
            " rejected and the last good set kept.",
            Query(total(increase("authz_reloads_total"), "result"), "{{result}}"),
            runbook="AuthzPolicyNotInForce",
        ),
        series(
            "Parts that are rejected",
            "Which part of the set is not in force: the platform's, a team's scope, or the overrides.",
            Query(total(of("authz_snapshot_part_rejected"), "part"), "{{part}}"),
            runbook="AuthzPolicyNotInForce",
        ),
        series(
            "How long loading takes",
            "The last load of each sidecar, reading included. Checks are judged meanwhile.",
            Query(top(10, most(of("authz_reload_duration_seconds"), "instance")), "{{instance}}"),
            unit=SECONDS,
        ),
    ]
