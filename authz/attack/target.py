"""Where the suite is pointed, whether it may be, and the doors that this opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from authz.attack.aim import Aim
from authz.attack.case import Wire
from authz.attack.dial import Dial, tls_context
from authz.attack.doors import CheckDoor, Door, Http1Door, Http2Door
from authz.model.address import Address, TcpAddress, parse_address
from authz.model.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Target:
    """A deployment.

    Args:
        envoy: a listener of Envoy, or of any proxy that asks before it lets pass.
        check: an ext_authz server.
        versions: of HTTP that are spoken to Envoy.
        tls: speak it to Envoy.
        ca: the authority that signed Envoy's certificate; None for the system's.
        timeout_s: for one exchange.
        echo: the upstream tells what it saw.
    """

    envoy: TcpAddress | None = None
    check: Address | None = None
    versions: tuple[Wire, ...] = (Wire.HTTP1, Wire.HTTP2)
    tls: bool = False
    ca: Path | None = None
    timeout_s: float = 5.0
    echo: bool = False

    @property
    def url(self) -> str:
        """Envoy's address for commands that repeat a case; "" where there is none."""
        return f"{'https' if self.tls else 'http'}://{self.envoy}" if self.envoy else ""


def allowed_address(text: str, authorized_for: str) -> Address:
    """Read an address, if the suite may be pointed at it.

    Args:
        authorized_for: the host of whom the caller says that its owner allows this; "" for nobody.

    Raises:
        ConfigError: it is no address, or not this machine's and nobody has said that it may be attacked.
    """
    address = parse_address(text)
    # SECURITY: a suite like this is harmful where it is not wanted. The name has to be repeated, so that a
    # command that was copied attacks nobody but who was meant.
    if isinstance(address, TcpAddress) and not address.is_loopback and address.host != authorized_for:
        raise ConfigError(
            f"`{text}` is not this machine: attack only what its owner lets you attack, and say so with"
            f" --authorized-for {address.host}"
        )
    return address


@contextmanager
def opened(target: Target, aim: Aim) -> Iterator[dict[Wire, Door]]:
    """Open every door that a target has.

    Raises:
        ConfigError: a library is missing, or the authority's file cannot be read.
    """
    with ExitStack() as stack:
        doors: dict[Wire, Door] = {}
        if target.envoy is not None:
            doors.update(_through_envoy(target, target.envoy, aim))
        if target.check is not None:
            for wire, raw in ((Wire.RAW, True), (Wire.JOINED, False)):
                door = CheckDoor(target.check, aim.host, target.timeout_s, raw=raw)
                doors[wire] = stack.enter_context(door)
            doors.update(_frames(target, target.check, aim))
        yield doors


def _through_envoy(target: Target, address: TcpAddress, aim: Aim) -> Iterator[tuple[Wire, Door]]:
    name = aim.host.decode("latin-1").partition(":")[0]
    for wire in target.versions:
        protocol = "http/1.1" if wire is Wire.HTTP1 else "h2"
        tls = tls_context(target.ca, protocol) if target.tls else None
        dial = Dial(address, target.timeout_s, tls, name)
        kind = Http1Door if wire is Wire.HTTP1 else Http2Door
        yield wire, kind(dial, aim.host, echo=target.echo)


def _frames(target: Target, address: Address, aim: Aim) -> dict[Wire, Door]:
    """Open the door for frames, or none where the optional library is missing: the report will say so."""
    try:
        from authz.attack.exchange import FramesDoor
    except ConfigError:
        return {}
    # Some of these take a server a while: it may wait for what never comes.
    return {Wire.FRAMES: FramesDoor(Dial(address, max(target.timeout_s, 10.0)), aim.host)}
