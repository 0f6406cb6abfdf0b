"""Documents that a newer version of this program may read: they are not wrong, this program is old.

Whoever rolls out a set before the sidecars that it needs must be told so, and not to mend the documents.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from authz.model.errors import PolicyError
from authz.policy.document import API_VERSION, LATER_KINDS
from authz.policy.prose import Flaw
from authz.policy.texts import shown
from authz.policy.yaml import Data

_GROUP = API_VERSION.partition("/")[0]
# How versions of a group are written; anything else is a slip of the pen and no version at all.
# Source: Kubernetes, "API versioning".
_VERSION = re.compile(r"v[1-9]\d{0,3}((alpha|beta)[1-9]\d{0,3})?", re.ASCII)


def newer_flaw(data: Data) -> Flaw | None:
    """Return why a document needs a newer `authz`; None where it does not say that it does."""
    if not isinstance(data, dict):
        return None
    version, kind = data.get("apiVersion"), data.get("kind")
    if isinstance(version, str) and version != API_VERSION and _is_version(version):
        what = (
            f"needs a newer authz: this one reads `{API_VERSION}`, not `{shown(version)}`; upgrade it first"
        )
        return Flaw(("apiVersion",), what, newer=True)
    if isinstance(kind, str) and kind in LATER_KINDS:
        what = (
            f"needs a newer authz: this one knows no kind `{kind}`; upgrade it first, or remove the document"
        )
        return Flaw(("kind",), what, newer=True)
    return None


def need_newer(faults: Sequence[PolicyError]) -> bool:
    """Whether a set was refused because this program is too old for it."""
    return any(fault.newer for fault in faults)


def _is_version(version: str) -> bool:
    group, _, rest = version.partition("/")
    return group == _GROUP and _VERSION.fullmatch(rest) is not None
