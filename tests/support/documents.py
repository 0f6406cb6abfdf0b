"""Documents for tests, and the faults that loading them gives."""

from __future__ import annotations

from authz.model.errors import SnapshotRejected
from authz.policy.load import load
from authz.policy.loaded import Loaded

HEAD = "apiVersion: policy.authz/v1alpha1\n"


def document(kind: str, name: str, spec: str) -> str:
    """Write one document; `spec` is flow style YAML, which stands on line 4."""
    return f"{HEAD}kind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


PROVIDER = document("IdentityProvider", "keys", "{customers: example, apiKey: {in: [{header: x-api-key}]}}")
PER_KEY = document("Limit", "per-key", "{per: [identity.key_id], rate: 100/s}")
PER_CUSTOMER = document("Limit", "per-customer", "{per: [identity.customer], rate: 1000/s}")
DIGEST = "vCJ2Fu0ci8FgespuSLfPHvQG4Q5rlximYSTAGBYbv-g"


def key(name: str = "acme", key_id: str = "k7Qm2VxP0aZs", more: str = "") -> str:
    """Write one ApiKey of the provider `keys`; `more` begins with a comma."""
    secrets = f"[{{version: 1, pepper: e09102e2, digest: {DIGEST}}}]"
    return document(
        "ApiKey", name, f"{{id: {key_id}, provider: keys, customer: acme, secrets: {secrets}{more}}}"
    )


def policy(rule: str, name: str = "items", hosts: str = "[items.example.com]") -> str:
    """Write one Policy with one rule, in flow style without its name; the rule stands on line 4."""
    return document("Policy", name, f"{{hosts: {hosts}, rules: [{{name: read, {rule}}}]}}")


def join(*documents: str) -> str:
    """Put documents into one file."""
    return "---\n".join(documents)


def loaded(*documents: str) -> Loaded:
    """Load documents that must be free of faults."""
    return load({"set.yaml": join(*documents).encode()})


def faults(*documents: str) -> list[str]:
    """Load documents of one file `f.yaml` and return what was refused; empty where nothing was."""
    return faults_of_files({"f.yaml": join(*documents).encode()})


def faults_of_files(files: dict[str, bytes]) -> list[str]:
    """Load files and return what was refused."""
    try:
        load(files)
    except SnapshotRejected as rejected:
        return [str(fault) for fault in rejected.faults]
    return []


def place_of_mark(text: str) -> str:
    """Return where in the file `f.yaml` the mark `§` of a text stands; take it out before loading."""
    before = text.partition("§")[0]
    return f"f.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
