"""Running the adversarial suite from tests, against whatever they have started."""

from __future__ import annotations

from dataclasses import replace

from authz.attack.aim import Aim, Place, Spot
from authz.attack.report import Report, report
from authz.attack.run import Pace, preflight, run
from authz.attack.suite import Choice, suite
from authz.attack.target import Target, opened
from authz.model.address import TcpAddress, UnixAddress
from authz.proxy.stage import socket_path
from tests.support.proxy import Live

# A machine that runs everything at once is slow, and speed is not what is asked here. Envoy takes a second
# to close a connection of HTTP/2 that it cannot read, so many are under way at once.
PATIENCE = Pace(budget_s=300, jobs=24)
PLACES = (
    Place(Spot.HEADER, b"x-api-key"),
    Place(Spot.HEADER, b"authorization", b"Bearer"),
    Place(Spot.COOKIE, b"session"),
)


def attack(target: Target, aim: Aim, choice: Choice, pace: Pace = PATIENCE) -> Report:
    """Run the suite as the command does."""
    with opened(target, aim) as doors:
        preflight(doors, aim, echo=target.echo)
        results = run(suite(aim, choice), doors, aim, pace, echo=target.echo)
    return report(results, aim, target.url, choice.seed, 0.0)


def keyed(app: Live) -> Aim:
    """The host whose paths need keys, of which some were taken back."""
    return Aim(
        host=b"app.test",
        protected=b"/items",
        open=b"/public",
        places=PLACES,
        token=app.tokens["acme"].encode(),
        dead=(app.tokens["gone"].encode(), app.tokens["stranger"].encode()),
        identity=(b"x-auth-customer", b"x-auth-key-id", b"x-tenant"),
        limited=b"/tenth",
        tokens=10,
    )


# Everything but /admin is open to anyone: what dodges the rule gets through.
OPEN = Aim(host=b"open.test", protected=b"/admin", open=b"/other")
# Nothing but /public is open.
CLOSED = Aim(host=b"closed.test", protected=b"/admin", open=b"/public")


def through_envoy(app: Live, port: int = 0, *, direct: bool = True) -> Target:
    """Point at a scene's Envoy, and at its sidecar too if asked."""
    target = Target(TcpAddress("127.0.0.1", port or app.stage.port), timeout_s=10, echo=True)
    return replace(target, check=UnixAddress(socket_path(app.stage.scene))) if direct else target
