"""The master that Sentinels point at, asked anew for each connection."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from authz.limits.redis.dial import Dial
from authz.limits.redis.errors import ErrorReply, LinkFailed
from authz.limits.redis.link import Link
from authz.model.address import Address, TcpAddress


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

    def opened(self) -> Link:
        """Connect to the master.

        Raises:
            LinkFailed: no Sentinel leads to one.
        """
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

    def _led_by(self, host: Address) -> Link:
        link = self._serving.open(self._found(host))
        try:
            self._check(link)
        except BaseException:
            link.close()
            raise
        return link

    def _found(self, host: Address) -> TcpAddress:
        """Ask one Sentinel. Source: the Sentinel client's guide, step 2."""
        link = self._asking.open(host)
        try:
            reply = link.ask(self._deadline_s(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
        finally:
            link.close()
        if reply is None:
            raise LinkFailed("down", f"sentinel {host}: monitors no master `{self._master}`")
        if isinstance(reply, ErrorReply):
            raise LinkFailed(reply.word, f"sentinel {host}: {reply.line}")
        address = as_address(reply)
        if address is None:
            raise LinkFailed("broken", f"sentinel {host}: answers what no Sentinel would")
        return address

    def _check(self, link: Link) -> None:
        """Ask the server itself: a Sentinel may not have heard yet. Source: the same, step 3."""
        reply = link.ask(self._deadline_s(), "ROLE")
        if isinstance(reply, ErrorReply):
            return  # an ACL may forbid ROLE; the script that tries to write tells as well
        if not isinstance(reply, list) or reply[:1] != [b"master"]:
            raise LinkFailed("readonly", f"{link.where}: is no master, though a Sentinel says so")

    def _deadline_s(self) -> float:
        return monotonic() + self._serving.connect_s


def as_address(reply: object) -> TcpAddress | None:
    """Read a host and a port as servers tell them; None for anything else."""
    if not isinstance(reply, list) or len(reply) < 2 or not isinstance(reply[0], bytes) or not reply[0]:
        return None
    try:
        return TcpAddress(reply[0].decode("ascii"), int(reply[1]))
    except (ValueError, TypeError):
        return None
