"""Buckets as people read them, and as JSON."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import typer

from authz.cli.colour import coloured
from authz.lookout.standing import NEVER, Standing
from authz.model.limit import OnStoreError, Rate, Store, document_of, in_shadow
from authz.policy.rule import LimitRule

HEADINGS = ("LIMIT", "WHOSE", "RATE", "LEFT", "DEBT", "FULL IN", "REFUSES", "WHERE")
_WHOSE = 1
_WHOSE_LEAST = 16
_UNITS = {1: "s", 60: "min", 3600: "h", 86_400: "d"}


def table(rows: Sequence[Standing]) -> Iterator[str]:
    """Yield a table; on a terminal it is as narrow as that, by saying less of whose a bucket is."""
    cells = [HEADINGS, *map(_cells, rows)]
    if {row[-1] for row in cells[1:]} - {""} in ({"redis"}, {"memory"}, set()):
        cells = [row[:-1] for row in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    spare = _columns() - sum(widths) - 2 * (len(widths) - 1)
    if spare < 0:
        widths[_WHOSE] = max(_WHOSE_LEAST, widths[_WHOSE] + spare)
    for number, line in enumerate(cells):
        text = "  ".join(_cut(cell, width).ljust(width) for cell, width in zip(line, widths, strict=True))
        red = number > 0 and refused(rows[number - 1])
        yield coloured(text.rstrip(), typer.colors.RED) if red else text.rstrip()


def verdict(rows: Sequence[Standing], now: datetime, *, whole: bool) -> Iterator[str]:
    """Yield whether a request would be refused now, by which buckets, and until when.

    Args:
        whole: every store was seen; else nobody can say that nothing refuses.
    """
    refusing = list(filter(refused, rows))
    for row in refusing:
        limit, where = document_of(row.bucket[0] or ""), f" in {where_of(row)}" if where_of(row) else ""
        only = ", where redis does not decide" if whole and _in_outage(row) else ""
        does = "broken:" if row.debt is None else "refused by"
        line = f"{does} `{limit}` ({row.whose}){where}: {_until(row, now)}{only}"
        yield coloured(line, typer.colors.RED)
    if not whole:
        yield "redis cannot be read; here is what the sidecar has for a time without it"
    elif not refusing:
        yield coloured("nothing here refuses a request now", typer.colors.GREEN)


def without_buckets(limits: Sequence[LimitRule]) -> Iterator[str]:
    """Say which limits have no bucket while Redis is away, and what they do."""
    does = {OnStoreError.DENY: "refuses everything", OnStoreError.ALLOW: "refuses nothing"}
    for limit in {limit.name: limit for limit in limits}.values():
        if limit.on_store_error in does:
            yield f"a sidecar without redis {does[limit.on_store_error]} by `{limit.name}` (`onStoreError`)"


def refused(row: Standing) -> bool:
    """Whether a bucket refuses requests now; one in shadow only would."""
    return row.refuses and not in_shadow(row.bucket)


def as_json(row: Standing, limit: LimitRule | None, now: datetime) -> dict[str, Any]:
    """Return a bucket for machines; absent means that there is none."""
    told: dict[str, Any] = {"limit": document_of(row.bucket[0] or ""), "whose": row.whose}
    if in_shadow(row.bucket):
        told["shadow"] = True
    if limit is not None and len(row.bucket) == 2 + len(limit.per):
        told["customers"] = row.bucket[1]
        sources = (part.source for part in limit.per)
        told["per"] = dict(zip(sources, row.bucket[2:], strict=True))
    found = row.found
    if found is not None:
        told |= {"store": found.store.value, "digest": found.digest}
        if found.worker >= 0:
            told["worker"] = found.worker
    told |= {"rate_per_s": row.rate.rate_per_s, "burst": row.rate.burst_tokens, "refuses": row.refuses}
    if row.shared:
        told["shared"] = True
    if row.debt is None:
        return told | {"unreadable": True}
    told |= {"remaining": row.remaining, "debt": row.debt, "full_in_s": row.full_s}
    if row.wait_s > 0:
        told |= {"refuses_for_s": row.wait_s, "refuses_until": _moment(now, row.wait_s)}
    elif row.wait_s == NEVER:
        told["never"] = True
    return told


def where_of(row: Standing) -> str:
    """Return where a bucket is held, for people; "" for one that is held nowhere."""
    found = row.found
    if found is None:
        return ""
    if found.worker < 0:
        return found.store.value
    return f"outage, worker {found.worker}" if found.store is Store.OUTAGE else f"worker {found.worker}"


def _cells(row: Standing) -> tuple[str, ...]:
    limit = document_of(row.bucket[0] or "") + (" (shadow)" if in_shadow(row.bucket) else "")
    rate, burst = _rate(row.rate), f"{row.rate.burst_tokens:.10g}"
    if row.debt is None:
        return limit, row.whose, rate, f"?/{burst}", "not a bucket", "?", "all", where_of(row)
    return (
        limit,
        row.whose,
        rate,
        f"{row.remaining}/{burst}",
        f"{math.ceil(row.debt * 10) / 10:.10g}",
        _seconds(row.full_s) if row.full_s else "full",
        _refuses(row),
        where_of(row),
    )


def _refuses(row: Standing) -> str:
    if row.wait_s == NEVER:
        return "always"
    return _seconds(row.wait_s) if row.wait_s else "no"


def _until(row: Standing, now: datetime) -> str:
    if row.debt is None:
        return (
            "what stands there in redis is no bucket, and each check does what `onStoreError` says; reset it"
        )
    if row.wait_s == NEVER:
        return "always, since one request costs more than the burst"
    return f"until {_moment(now, row.wait_s)}, for {_seconds(row.wait_s)}"


def _moment(now: datetime, wait_s: float) -> str:
    """Return a moment in whole seconds, never before the truth."""
    moment = now + timedelta(seconds=wait_s)
    if moment.microsecond:
        moment = moment.replace(microsecond=0) + timedelta(seconds=1)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _seconds(seconds: float) -> str:
    """Return a time in the unit that says most, rounded up."""
    if seconds < 10:
        return f"{math.ceil(seconds * 10) / 10:g} s"
    for unit, size, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds <= most:
            return f"{math.ceil(seconds / size)} {unit}"
    return f"{math.ceil(seconds / 86_400)} d"


def _rate(rate: Rate) -> str:
    return f"{rate.rate_per_s * rate.window_s:.6g}/{_UNITS.get(rate.window_s, 's')}"


def _in_outage(row: Standing) -> bool:
    return row.found is not None and row.found.store is Store.OUTAGE


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _columns() -> int:
    """Return how wide the terminal is; a pipe or a file is as wide as it needs to be."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 10_000
