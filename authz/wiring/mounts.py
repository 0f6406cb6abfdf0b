"""Tells once of each mount of policies that can never change."""

from __future__ import annotations

from pathlib import Path

from authz.config.log import get_logger
from authz.snapshot.mounts import MOUNTINFO, Frozen, frozen, mounts
from authz.snapshot.scan import Watched

_log = get_logger("wiring")


class Mounts:
    """Looks at the mounts that policies are on."""

    def __init__(self, mountinfo: Path = MOUNTINFO) -> None:
        self._mountinfo = mountinfo
        self._known: tuple[str, frozenset[str]] = ("", frozenset())
        self._told: set[Frozen] = set()
        self.frozen: tuple[Frozen, ...] = ()

    def look(self, watched: Watched) -> None:
        """Look again, where anything may have changed, and warn of what is new."""
        try:
            text = self._mountinfo.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return  # another kernel: it is not known here how it shows them
        now = (text, watched.holding)
        if now == self._known:
            return
        self._known = now
        self.frozen = tuple(frozen(mounts(text), watched.holding))
        for one in self.frozen:
            if one not in self._told:
                self._told.add(one)
                _log.warning(
                    "policies are mounted so that they can never change", mount=one.point, why=one.why
                )
