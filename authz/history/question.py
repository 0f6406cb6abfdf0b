"""What is searched for: a question, and whether a line answers it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta

from authz.history.line import Entry, Kind, kind_of
from authz.model.errors import ConfigError
from authz.model.moment import EPOCH
from authz.model.text import visible
from authz.record.pseudonym import Field, pseudonym

_AGO = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_STATUS = re.compile(r"[1-5](xx|[0-9]{2})")
_OF_ALL = frozenset({"since", "until", "sidecar", "kinds"})  # what lines of all kinds have
_STREAM_MS_DIGITS = 11  # of a stream's id: when it began, see `segment.new_stream`


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that must hold of a line; what is empty is not asked.

    Args:
        since, until: as records have times; from the first on, and before the second.
        path: exact; ending in `*` a beginning; ending in `/**` that path and all below it.
        statuses: `429`, or a class: `4xx`.
        kinds: empty: decisions, events and gaps.
        pseudonym_key: then a name is also found where it stands as its pseudonym.
    """

    since: str = ""
    until: str = ""
    outcome: str = ""
    reasons: frozenset[str] = frozenset()
    details: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    policy: str = ""
    rule: str = ""
    key: str = ""
    customer: str = ""
    address: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    request_id: str = ""
    trace_id: str = ""
    sidecar: str = ""
    kinds: frozenset[Kind] = frozenset()
    pseudonym_key: bytes = field(default=b"", repr=False)

    of_decisions: bool = field(init=False, default=False)  # it asks for what only a decision has
    # What stands in records for whom is asked about: the name, its pseudonym, or either.
    keys: frozenset[str] = field(init=False, default=frozenset())
    customers: frozenset[str] = field(init=False, default=frozenset())
    addresses: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        asked = any(
            getattr(self, one.name)
            for one in fields(self)
            if one.init and one.name not in _OF_ALL and one.name != "pseudonym_key"
        )
        object.__setattr__(self, "of_decisions", asked)  # so a frozen value learns what follows from the rest
        object.__setattr__(self, "keys", self._names(Field.KEY_ID, self.key))
        object.__setattr__(self, "customers", self._names(Field.CUSTOMER, self.customer))
        object.__setattr__(self, "addresses", self._names(Field.CLIENT_ADDRESS, self.address))

    def fits(self, entry: Entry) -> bool:
        """Whether a line is to be shown.

        A gap is, whatever is asked of decisions: what is missing may be what is searched for.
        """
        kind = Kind.DECISION if not entry.kind else kind_of(entry)
        if (self.kinds and kind not in self.kinds) or (self.sidecar and entry.sidecar != self.sidecar):
            return False
        if kind is Kind.GAP:
            return self._may_hide(entry)
        if (self.since and entry.time < self.since) or (self.until and entry.time >= self.until):
            return False
        if not self.of_decisions:
            return kind is not Kind.OTHER
        return kind is Kind.DECISION and self._fits_decision(entry)

    def _names(self, field: Field, text: str) -> frozenset[str]:
        if not text:
            return frozenset()
        return frozenset((text, pseudonym(self.pseudonym_key, field, text) if self.pseudonym_key else text))

    def _may_hide(self, gap: Entry) -> bool:
        """Whether missing records may be of the time that is asked about: not if they were noticed before it,
        or if their process began after it.
        """
        if self.since and gap.time < self.since:
            return False
        return not self.until or _began(gap.stream) < self.until

    def _fits_decision(self, entry: Entry) -> bool:
        status = str(entry.status)
        return (
            (not self.outcome or entry.outcome == self.outcome)
            and (not self.reasons or entry.reason in self.reasons)
            and (not self.details or entry.detail in self.details)
            and (not self.statuses or status in self.statuses or f"{status[:1]}xx" in self.statuses)
            and (not self.policy or entry.policy == self.policy)
            and (not self.rule or self.rule in (entry.rule, f"{entry.policy}/{entry.rule}"))
            and (not self.request_id or entry.request_id == self.request_id)
            and (not self.trace_id or entry.trace_id == self.trace_id)
            and self._fits_caller(entry)
            and self._fits_request(entry)
        )

    def _fits_caller(self, entry: Entry) -> bool:
        if not self.key and not self.customer:
            return True
        who = entry.identity
        return (
            who is not None
            and (not self.keys or who.key_id in self.keys)
            and (not self.customers or who.customer in self.customers)
        )

    def _fits_request(self, entry: Entry) -> bool:
        if not (self.method or self.host or self.path or self.address):
            return True
        asked = entry.request
        return (
            asked is not None
            and (not self.method or asked.method == self.method)
            and (not self.host or asked.host == self.host)
            and (not self.addresses or asked.client_address in self.addresses)
            and (not self.path or fits_path(asked.path, self.path))
        )


def fits_path(path: str, wanted: str) -> bool:
    """Whether a path is the one that is wanted, or one of those."""
    if wanted.endswith("/**"):
        base = wanted.removesuffix("/**")
        return path == (base or "/") or path.startswith(f"{base}/")
    if wanted.endswith("*"):
        return path.startswith(wanted.rstrip("*"))
    return path == wanted


def _began(stream: str) -> str:
    """Return when a stream began, as records have times; "" where its id does not say."""
    try:
        return moment_text(EPOCH + timedelta(milliseconds=int(stream[:_STREAM_MS_DIGITS], 16)))
    except (ValueError, OverflowError):
        return ""


def moment_text(moment: datetime) -> str:
    """Return a moment as records have times, which sort as they are."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment_of(option: str, text: str, now: datetime) -> str:
    """Return a time that somebody wrote: RFC 3339, or how long ago; "" where nothing is written.

    Raises:
        ConfigError: it is neither.
    """
    if not text:
        return ""
    if ago := _AGO.fullmatch(text):
        try:
            return moment_text(now - timedelta(seconds=int(ago["count"]) * _UNITS[ago["unit"]]))
        except OverflowError:
            return moment_text(EPOCH)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None:
        raise ConfigError(
            f"{option}: `{visible(text)[:60]}` is no time; write one such as 2026-06-01T12:00:00Z, or `15m`,"
            " `2h`, `3d` for so long ago"
        )
    if moment.tzinfo is None:
        raise ConfigError(
            f"{option}: `{visible(text)[:60]}` says no zone; write one such as 2026-06-01T12:00:00Z"
        )
    return moment_text(moment)


def chosen(option: str, given: Iterable[str], known: Collection[str]) -> frozenset[str]:
    """Return words out of a closed list.

    Raises:
        ConfigError: one is not in it; with the nearest, and the list.
    """
    words = frozenset(given)
    for word in sorted(words - frozenset(known)):
        near = difflib.get_close_matches(word, known, 1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        listed = ", ".join(known)
        raise ConfigError(f"{option}: there is no `{visible(word)[:60]}`; {hint}there are: {listed}")
    return words


def statuses(option: str, given: Iterable[str]) -> frozenset[str]:
    """Return statuses and classes of them.

    Raises:
        ConfigError: one is neither.
    """
    words = frozenset(given)
    for word in sorted(words):
        if not _STATUS.fullmatch(word):
            raise ConfigError(
                f"{option}: `{visible(word)[:60]}` is no status; write `429`, or `4xx` for all such"
            )
    return words
