"""Every metric of `authz inject-webhook` and `authz inject-watch`."""

from __future__ import annotations

from collections.abc import Mapping

from authz.record.catalogue import Shape

METRICS: Mapping[str, Shape] = {
    "authz_injection_pods": Shape(
        "gauge",
        ("pod_namespace",),
        "Pods labelled for injection that are not over, as last looked; the hundred namespaces that lack"
        " most, and `(others)`.",
    ),
    "authz_injection_pods_missing_sidecar": Shape(
        "gauge",
        ("pod_namespace",),
        "Those among them without every container of the template. Any is a pod that everybody gets into.",
    ),
    "authz_injection_last_look_timestamp_seconds": Shape(
        "gauge", (), "When all labelled pods were last seen; 0: never."
    ),
    "authz_injection_looks_total": Shape(
        "counter", ("result",), "Looks at all labelled pods: `done`, or `failed`."
    ),
    "authz_webhook_reviews_total": Shape(
        "counter",
        ("kind", "outcome"),
        "Questions of the API server about a `pod` or `service`: `patched`, `untouched`, `refused` for what"
        " it is, `failed` for a fault of ours, `unreadable`.",
    ),
    "authz_webhook_review_seconds": Shape("histogram", (), "From having read a question to its answer."),
    "authz_webhook_ready": Shape(
        "gauge", (), "1 while the API server knows our certificate's CA, as far as was last seen.", "min"
    ),
    "authz_webhook_certificate_expiry_timestamp_seconds": Shape(
        "gauge", (), "When the certificate that is served expires; it is replaced 30 days before.", "min"
    ),
    "authz_webhook_bundle_repairs_total": Shape(
        "counter",
        (),
        "How often the CA bundle of the webhook configuration was written: rotated, or emptied.",
    ),
    "authz_webhook_looks_total": Shape(
        "counter",
        ("result",),
        "Looks at the Secret and the webhook configuration: `done`, or `failed`, as without the API server.",
    ),
    "authz_webhook_template_good": Shape(
        "gauge",
        (),
        "0 while the file of the template holds one that cannot be used; the last good one is.",
        "min",
    ),
}
