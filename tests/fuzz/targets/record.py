"""A client's text in every field of a record: one line of JSON, ASCII, bounded, without a secret in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from authz.model.decision import Allow, Answered, Deny, Grant, RuleName
from authz.model.identity import NOBODY, Caller, Identity, IdentityKind, Standing
from authz.model.reason import Detail, Reason
from authz.model.request import Request, Unreadable
from authz.record.entry import FixedFields, encode
from tests.fuzz.target import Target
from tests.fuzz.world import shows_a_secret
from tests.support.decisions import DECISION_ID, NOW_US
from tests.support.keys import TOKEN
from tests.support.requests import request

FIXED = FixedFields("sidecar-1", "0123456789ab", "", ("user-agent", "referer"), b"ak_live_")
_MAX_BYTES = 32 * 1024
_ALLOW = Allow(Grant((RuleName("p", "r"),), (), ()))
_DENY = Deny(Reason.BAD_REQUEST, Detail.UNDECODABLE)


def _requests(text: Any, data: bytes) -> Iterator[Request | Unreadable]:
    for name in ("sent_method", "host", "path", "protocol", "request_id"):
        yield request(**{name: text})
    yield request(headers={"user-agent": data, "referer": data, "cookie": data, "x-api-key": data})
    for name in ("method", "host", "path", "scheme", "protocol", "request_id"):
        yield Unreadable(**{"detail": Detail.UNDECODABLE, name: text})


def _callers(text: str) -> Iterator[Caller]:
    """A token's issuer chooses these."""
    yield NOBODY
    yield Caller(
        Identity(IdentityKind.JWT, "corporate", text, "", text, text, (text, text), {text: text}),
        Standing.PROVEN,
    )


def run(data: bytes) -> None:
    """Record a check with this text in each field in turn."""
    for text in {
        data.decode("utf-8", "replace"),
        data.decode("utf-8", "surrogateescape"),
        data.decode("latin-1"),
    }:
        for asked in _requests(text, data):
            for caller in _callers(text):
                for decision in (_ALLOW, _DENY):
                    fields = (DECISION_ID, NOW_US, asked, caller, decision, 200, 1)
                    record = _one_line(encode(Answered(*fields), FIXED, 1))
                    # What an issuer calls its customers is for the operator to see, whatever it looks like.
                    assert caller is not NOBODY or not shows_a_secret(record)


def _one_line(line: bytes) -> object:
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert len(line) <= _MAX_BYTES
    record = json.loads(line)
    json.dumps(record, ensure_ascii=False).encode()  # fails where a lone surrogate is in it
    assert record["decision_id"] == DECISION_ID
    assert "null" not in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", line).decode()
    return record


TARGET = Target(
    run,
    2048,
    (
        TOKEN.encode(),
        b"ak_live_",
        b"?",
        b"#",
        b"%3f",
        b"user:pw@",
        b"\xe2\x80\xa8",
        b"\xed\xa0\x80",
        b"\x1b[2J",
        b"\x7f",
        b"\n",
        b"\\u",
        b'"',
        b"\\",
        b"\xc2\x85",
        b"\xf0\x9f\x92\xa9",
        b"//",
    ),
)
