"""Keys: which expire, which cannot be used, why credentials fail. Customers: out of records alone.

No metric carries what a client sends, so a customer or a key is never a label. Who it was stands in records:
panels that ask Loki say so, and need one of the pipelines beside this folder.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from charts.monitoring.code.frame import framed
from charts.monitoring.code.panel import PER_S, SECONDS, SHARE, counted, log, number, prose, series
from charts.monitoring.code.query import Query, most, of, rate, share, top, total

_CREDENTIALS = 'reason=~"credential_missing|credential_invalid|credential_ambiguous"'
_FIELDS = 'identity_customer="identity.customer", key="identity.key_id", outcome="outcome"'
_RECORDS = '{service_name="authz"} | json ' + _FIELDS
_NAMED = ', reason="reason", detail="detail", path="request.path"'


def dashboard() -> Dashboard:
    """Return it."""
    return framed(
        "authz-keys",
        "authz / Keys and customers",
        "API keys that expire or cannot be used, why credentials fail, and who is refused: the last out of"
        " records, since no metric knows a customer.",
        [("Keys", _keys()), ("Credentials", _credentials()), ("Customers, out of records", _customers())],
        logs=True,
    )


def _keys() -> list[Builder[Panel]]:
    return [
        number(
            "API keys",
            "ApiKey documents of the set in force, on the sidecar that has most.",
            Query(most(of("authz_snapshot_documents", 'kind="ApiKey"'))),
        ),
        number(
            "Next expiry in",
            "When the next key expires. Its holder is refused with 401 from then on.",
            Query(f"min({of('authz_key_next_expiry_timestamp_seconds')}) - time()"),
            unit=SECONDS,
            steps=(86_400, 604_800),
            low_is_bad=True,
            runbook="AuthzKeyExpiring",
        ),
        number(
            "Expire within a week",
            "Keys in force that expire within seven days. `authz key list` says which.",
            Query(most(of("authz_keys_expiring", 'within="7d"'))),
            steps=(1, 50),
            runbook="AuthzKeyExpiring",
        ),
        number(
            "Without pepper",
            "Keys that can never be accepted, since the pepper that they were made with is not here.",
            Query(most(of("authz_keys_disabled"))),
            steps=(1,),
            runbook="AuthzKeysDisabled",
        ),
        number(
            "Refused for credentials",
            "Share of checks that ended with 401.",
            Query(share(total(rate("authz_checks_total", _CREDENTIALS)), total(rate("authz_checks_total")))),
            unit=SHARE,
            runbook="AuthzRefusalSpike",
        ),
        number(
            "Certificate expires in",
            "The certificate of ours, or the CA of callers, that expires first.",
            Query(f"min({of('authz_certificate_expiry_timestamp_seconds')}) - time()"),
            unit=SECONDS,
            steps=(172_800, 604_800),
            low_is_bad=True,
            runbook="AuthzCertificateExpiring",
        ),
    ]


def _credentials() -> list[Builder[Panel]]:
    return [
        series(
            "Why credentials fail",
            "Missing, invalid or ambiguous credentials. The finer cause (unknown, expired, revoked, ...)"
            " stands"
            " in records alone.",
            Query(total(rate("authz_checks_total", _CREDENTIALS), "reason"), "{{reason}}"),
            unit=PER_S,
            stacked=True,
            runbook="AuthzRefusalSpike",
        ),
        series(
            "Limits that refuse or are near",
            "Which limits hold somebody back now, and which soon will.",
            Query(
                top(
                    5, total(rate("authz_limit_decisions_total", 'mode="enforce"', 'outcome="deny"'), "limit")
                ),
                "{{limit}} refuses",
            ),
            Query(top(5, total(rate("authz_limit_near_total"), "limit")), "{{limit}} is near"),
            unit=PER_S,
        ),
        series(
            "Keys that expire",
            "Keys in force that expire within a day, a week and thirty days.",
            Query(most(of("authz_keys_expiring"), "within"), "within {{within}}"),
            runbook="AuthzKeyExpiring",
        ),
    ]


def _customers() -> list[Builder[Panel]]:
    return [
        prose(
            "Where this comes from",
            "What the panels below need.",
            "Metrics know no customers and no keys: what a client sends never becomes a label. The panels"
            " below"
            " ask **decision records in Loki**, brought there by one of the pipelines in"
            " `charts/monitoring/pipelines`. Without it they stay empty, and `authz logs search --customer"
            " ...`"
            " answers on the machine itself.",
        ),
        counted(
            "Customers with most refusals",
            "Refusals of the ten customers that have most.",
            "topk(10, sum by (identity_customer) (count_over_time("
            f'{_RECORDS} | outcome="deny" [$__interval])))',
            "{{identity_customer}}",
        ),
        counted(
            "Keys with most checks",
            "Checks of the ten keys that are used most.",
            f'topk(10, sum by (key) (count_over_time({_RECORDS} | key!="" [$__interval])))',
            "{{key}}",
        ),
        log(
            "Refusals",
            "The refusals themselves: whose, for what, and why.",
            f'{_RECORDS}{_NAMED} | outcome="deny" | line_format "{{{{.identity_customer}}}} {{{{.key}}}}'
            ' {{.path}} {{.reason}} {{.detail}}"',
        ),
    ]
