"""From a Site document to how requests for its hosts are read and refused."""

from __future__ import annotations

from authz.model.reason import Coarse
from authz.model.site import Redirect, Refusal, Site
from authz.policy.kind_site import Refusal as RefusalSpec
from authz.policy.kind_site import SiteSpec
from authz.policy.loaded import Document


def site(document: Document[SiteSpec], processes: int) -> Site:
    """Compile a Site; `processes` share its guard."""
    spec = document.spec
    written = spec.on_deny or {}
    default = written.get("default")
    refusals = {
        coarse: _refusal(written.get(coarse), default)
        for coarse in Coarse
        if coarse in written or default is not None
    }
    return Site(
        name=document.name,
        keep_matrix=spec.path.matrix_parameters == "keep",
        keep_slashes=spec.path.encoded_slash == "keep",
        path_max_bytes=spec.path.max_bytes,
        remove_method_override=spec.method_override == "remove",
        full_reasons=spec.reasons == "full",
        refusals=refusals,
        guard=spec.guard.to_rate().share(processes) if spec.guard is not None else None,
    )


def _refusal(own: RefusalSpec | None, default: RefusalSpec | None) -> Refusal:
    """What an entry leaves out, `default` fills, field by field."""
    redirect = (own and own.redirect) or (default and default.redirect)
    headers = (own and own.headers) or (default and default.headers) or {}
    return Refusal(
        Redirect(redirect.to, redirect.return_to or "") if redirect else None, tuple(headers.items())
    )
