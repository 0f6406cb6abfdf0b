"""The emergency brake: deny rules that are asked before everything else that policies say.

They see the caller as resolved, and decide alone: one that holds, or fails, refuses whatever the policy set
would have said, and none of them ever allows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from authz.model.decision import Deny
from authz.model.identity import Identity
from authz.model.request import Request
from authz.policy.evaluate import Memos, denying
from authz.policy.index import Index


@dataclass(frozen=True, slots=True)
class Overrides:
    """Compiled overrides.

    Args:
        rules: what they are called, as `policy/rule`, sorted: for those who ask whether the brake is pulled.
        memos: apart from those of the policy set, which outlives them.
    """

    index: Index
    rules: tuple[str, ...] = ()
    memos: Memos = field(default_factory=Memos)

    def refusal(self, request: Request, identity: Identity) -> Deny | None:
        """Return the refusal of one reading of a request; None where no override speaks about it."""
        candidates = self.index.candidates(self.index.view(request.host), request)
        if not candidates:
            return None
        refusal = denying(candidates, request, identity, self.memos)
        return refusal._replace(override=True) if refusal is not None else None
