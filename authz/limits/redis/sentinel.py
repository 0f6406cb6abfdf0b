"""The master that Sentinels point at, asked anew for each connection."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from authz.limits.redis.dial import Dial
from authz.limits.redis.errors import ErrorReply, LinkFailed
from authz.limits.redis.link import Link
from authz.model.address import Address, TcpAddress, parse_address
from authz.model.errors import ConfigError


class Sentinels:
    """Where a master is asked for. One thread at a time.

    Args:
        hosts: the Sentinels. Whoever led to a master last is asked first the next time.
        master: the name that they know.
        asking: how they are spoken to.
        serving: how the master is spoken to.
    """

    def __init__(self, hosts: Sequence[Address], master: str, asking: Dial, serving: Dial) -> None:
        self._hosts = [*hosts]
        self._master = master
        self._asking, self._serving = asking, serving
        self._kept: Link | None = None  # to the Sentinel that is asked again and again

    def opened(self) -> Link:
        """Connect to the master.

        Raises:
            LinkFailed: no Sentinel leads to one.
        """
        self.close()  # whoever leads there is the one to be asked on
        failed = LinkFailed("down", "there is no Sentinel")
        for host in tuple(self._hosts):
            try:
                link = self._led_by(host)
            except LinkFailed as error:
                failed = error
                continue
            self._hosts.remove(host)
            self._hosts.insert(0, host)
            return link
        raise failed

    def still_lead(self, link: Link) -> bool:
        """Whether the Sentinels still point at this server; where none says anything, they do.

        After a promotion by hand the old master takes writes for another ten seconds, until it is told.
        """
        try:
            pointed = self._pointed(self._sentinel())
            if pointed != link.where:
                self._master_at(pointed).close()  # a Sentinel that remembers old times leads nowhere
                return False
        except LinkFailed:
            self.close()
            self._hosts.append(self._hosts.pop(0))  # another may know more the next time
        return True

    def close(self) -> None:
        """Close the connection to the Sentinel that is asked again and again."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _sentinel(self) -> Link:
        if self._kept is None:
            self._kept = self._asking.open(self._hosts[0])
        return self._kept

    def _led_by(self, host: Address) -> Link:
        """Connect to the server that one points at. Source: the Sentinel client's guide, steps 2 and 3."""
        sentinel = self._asking.open(host)
        try:
            address = self._pointed(sentinel)
        finally:
            sentinel.close()
        return self._master_at(address)

    def _pointed(self, sentinel: Link) -> TcpAddress:
        """Ask one Sentinel."""
        reply = sentinel.ask(self._deadline_s(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
        if reply is None:
            raise LinkFailed("down", f"sentinel {sentinel.where}: monitors no master `{self._master}`")
        if isinstance(reply, ErrorReply):
            raise LinkFailed(reply.word, f"sentinel {sentinel.where}: {reply.line}")
        address = as_address(reply)
        if address is None:
            raise LinkFailed("broken", f"sentinel {sentinel.where}: answers what no Sentinel would")
        return address

    def _master_at(self, address: TcpAddress) -> Link:
        link = self._serving.open(address)
        try:
            self._check(link)
        except BaseException:
            link.close()
            raise
        return link

    def _check(self, link: Link) -> None:
        """Ask the server itself: a Sentinel may not have heard yet."""
        reply = link.ask(self._deadline_s(), "ROLE")
        if isinstance(reply, ErrorReply):
            return  # an ACL may forbid ROLE; the script that tries to write tells as well
        if not isinstance(reply, list) or reply[:1] != [b"master"]:
            raise LinkFailed("readonly", f"{link.where}: is no master, though a Sentinel says so")

    def _deadline_s(self) -> float:
        return monotonic() + self._serving.connect_s


def as_address(reply: object) -> TcpAddress | None:
    """Read a host and a port as servers tell them; None for anything that nobody could be connected to."""
    match reply:
        case [bytes(host), (bytes() | int()) as port, *_]:
            name = host.decode("ascii", "replace")
            number = str(port) if isinstance(port, int) else port.decode("ascii", "replace")
        case _:
            return None
    try:
        address = parse_address(f"[{name}]:{number}" if ":" in name else f"{name}:{number}")
    except ConfigError:
        return None
    return address if isinstance(address, TcpAddress) and address.port else None
