"""The steps of the demo's tour: one request each, and what has to come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from authz.model.reason import Reason
from authz.proxy.keys import Wanted, damaged

HOST = "shop.localhost"

HOSTS = (HOST, "localhost")
"""What the sidecar of the tour serves. `localhost` is for people who try further requests by hand."""

KEYS = (
    Wanted("reader", "acme", ("items:read",)),
    Wanted("writer", "globex", ("items:read", "items:write")),
    Wanted("revoked", "acme", ("items:read",), revoked=True),
    Wanted("unknown", "acme", ("items:read",), known=False),
)
"""Keys that the tour presents. The reader has no scope to write, nor to administer."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request and its expectations.

    Args:
        title: for people.
        reason: what the decision record says; None where Envoy answers by itself and nobody is asked.
        path: the path that the application sees; "" for the target.
        sees: headers that the application gets, with their values; "" means that it does not get it.
        replies: headers of the answer, with their values; "*" for any.
        waits: before it is sent, wait as long as the `retry-after` of the step before says.
    """

    title: str
    method: str
    target: str
    status: int
    reason: Reason | None
    headers: tuple[tuple[str, str], ...] = ()
    path: str = ""
    sees: Mapping[str, str] = field(default_factory=dict)
    replies: Mapping[str, str] = field(default_factory=dict)
    host: str = HOST
    waits: bool = False

    @property
    def passes(self) -> bool:
        """Whether the application is called."""
        return self.reason is Reason.ALLOWED


def steps(tokens: Mapping[str, str]) -> tuple[Step, ...]:
    """Return the tour for these keys, in the order in which it is walked."""
    reader, writer = ("x-api-key", tokens["reader"]), ("x-api-key", tokens["writer"])
    customer = {"x-auth-customer": "acme", "x-api-key": ""}
    return (
        Step("a valid key", "GET", "/api/v1/items", 200, Reason.ALLOWED, (reader,), sees=customer),
        Step(
            "the key as a bearer token", "GET", "/api/v1/items/7", 200, Reason.ALLOWED,
            (("authorization", f"Bearer {tokens['reader']}"),),
            sees={"x-auth-customer": "acme", "authorization": ""},
        ),
        Step("a key with the scope writes", "POST", "/api/v1/items", 200, Reason.ALLOWED, (writer,),
             sees={"x-auth-customer": "globex", "x-api-key": ""}),
        Step("a key without the scope", "POST", "/api/v1/items", 403, Reason.NOT_PERMITTED, (reader,)),
        *_credentials(tokens),
        *_spellings(reader),
        *_identity(reader),
        *_protocols(reader),
        *_limits(reader),
    )  # fmt: skip


def _credentials(tokens: Mapping[str, str]) -> tuple[Step, ...]:
    def refused(title: str, reason: Reason, *headers: tuple[str, str]) -> Step:
        return Step(
            title, "GET", "/api/v1/items", 401, reason, headers,
            replies={"x-authz-reason": "unauthenticated", "www-authenticate": "*"},
        )  # fmt: skip

    invalid = Reason.CREDENTIAL_INVALID
    return (
        refused("no key", Reason.CREDENTIAL_MISSING),
        refused("a mistyped key", invalid, ("x-api-key", damaged(tokens["reader"]))),
        refused("a key that nobody knows", invalid, ("x-api-key", tokens["unknown"])),
        refused("a revoked key", invalid, ("x-api-key", tokens["revoked"])),
        refused(
            "two keys at once", Reason.CREDENTIAL_AMBIGUOUS,
            ("x-api-key", tokens["reader"]), ("x-api-key", tokens["writer"]),
        ),
    )  # fmt: skip


def _spellings(reader: tuple[str, str]) -> tuple[Step, ...]:
    """`/admin` by other names, with a key that may not enter: Envoy cleans what it can, we judge the rest."""
    forbidden = Reason.NOT_PERMITTED
    return (
        Step("/public/%2e%2e/admin", "GET", "/public/%2e%2e/admin", 403, forbidden, (reader,)),
        Step("/public/..;/admin", "GET", "/public/..;/admin", 403, forbidden, (reader,)),
        Step("//admin", "GET", "//admin", 403, forbidden, (reader,)),
        Step("/admin%2f", "GET", "/admin%2f", 400, None, (reader,)),
        Step("/admin;x=1", "GET", "/admin;x=1", 400, Reason.BAD_REQUEST, (reader,)),
        Step(
            "//api/v1/./items",
            "GET",
            "//api/v1/./items",
            200,
            Reason.ALLOWED,
            (reader,),
            path="/api/v1/items",
        ),
        Step("/%61dmin", "GET", "/%61dmin", 403, forbidden, (reader,)),
    )


def _identity(reader: tuple[str, str]) -> tuple[Step, ...]:
    spoofed = ("x-auth-customer", "root")
    mine = {"x-auth-customer": "acme", "x-api-key": ""}
    return (
        Step("a forged identity header", "GET", "/api/v1/items", 200, Reason.ALLOWED, (reader, spoofed),
             sees=mine),
        Step("the same, marked hop-by-hop", "GET", "/api/v1/items", 200, Reason.ALLOWED,
             (reader, spoofed, ("connection", "x-auth-customer")), sees=mine),
        Step("the same with underscores", "GET", "/api/v1/items", 400, None,
             (reader, ("x_auth_customer", "root"))),
        Step("the public part, for anyone", "GET", "/public/hello", 200, Reason.ALLOWED, (spoofed,),
             sees={"x-auth-customer": ""}),
        Step("a deny rule wins", "GET", "/public/hello", 403, Reason.DENIED_BY_RULE,
             (("user-agent", "legacy/1.0"),)),
    )  # fmt: skip


def _protocols(reader: tuple[str, str]) -> tuple[Step, ...]:
    return (
        Step("HEAD is judged as GET", "HEAD", "/api/v1/items", 200, Reason.ALLOWED, (reader,),
             sees={"x-auth-customer": "acme"}),
        Step("TRACE", "TRACE", "/api/v1/items", 405, Reason.BAD_REQUEST, (reader,)),
        Step("a host that is not served here", "GET", "/api/v1/items", 421, Reason.BAD_REQUEST, (reader,),
             host="other.localhost"),
        Step("gRPC without a key", "POST", "/shop.v1.Orders/List", 200, Reason.CREDENTIAL_MISSING,
             (("content-type", "application/grpc"), ("te", "trailers")), replies={"grpc-status": "16"}),
    )  # fmt: skip


def _limits(reader: tuple[str, str]) -> tuple[Step, ...]:
    def report(title: str, status: int, reason: Reason, *, waits: bool = False) -> Step:
        replies = {} if status == 200 else {"retry-after": "*", "x-authz-reason": "limited"}
        return Step(title, "GET", "/api/v1/report", status, reason, (reader,), replies=replies, waits=waits)

    return (
        report("a report", 200, Reason.ALLOWED),
        report("a second one", 200, Reason.ALLOWED),
        report("a third: too many", 429, Reason.RATE_LIMITED),
        report("after `retry-after`", 200, Reason.ALLOWED, waits=True),
    )
