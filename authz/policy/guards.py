"""Sites that take the guard of a wider Site away, perhaps without meaning to."""

from __future__ import annotations

from collections.abc import Iterator

from authz.model.errors import PolicyError
from authz.model.site import Site
from authz.policy.host import parse_host
from authz.policy.loaded import Loaded
from authz.policy.sites import SiteIndex


def left_unguarded(loaded: Loaded) -> Iterator[PolicyError]:
    """Yield host patterns without a guard inside those of a Site that has one.

    Clients choose the host, so where one application serves both, naming the unguarded one dodges the guard.
    """
    guarding = SiteIndex()
    for site in loaded.sites:
        if site.spec.guard is not None:
            for text in site.spec.hosts:
                guarding.add(parse_host(text), Site(name=site.name))
    for site in loaded.sites:
        if site.spec.guard is None:
            for index, text in enumerate(site.spec.hosts):
                wider = guarding.of(_some_host(text)).name
                if wider:
                    what = (
                        f"`{text}` has no guard, though the Site `{wider}` around it has: Sites do not"
                        " inherit, so write `guard` here too"
                    )
                    yield site.fault(what, "spec", "hosts", index, code="unguarded-site")


def _some_host(text: str) -> str:
    """Return a host of a pattern, and of no pattern inside it."""
    pattern = parse_host(text)
    return pattern.host if pattern.kind == "exact" else f"_.{pattern.host}"
