"""What operators ask about buckets in the memory of sidecars, at the debug socket."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

import msgspec

from authz.limits.inquiry import COUNT_MAX, Answers, Inquiry, encode, inquiry_of
from authz.model.address import Address, UnixAddress
from authz.transport.routes import Post, Response, Route, buckets, problem


class Asked(Protocol):
    """Who knows how buckets stand, in one process or in many."""

    def buckets(self, inquiry: Inquiry) -> Answers:
        """Return how they stand; where the inquiry says so, they are filled up."""
        ...


def posts(asked: Asked, address: Address) -> Mapping[str, Post]:
    """Return what is asked about buckets by POST.

    SECURITY: limits are lifted over a Unix socket alone, which only our own user opens. Whoever reaches a
    port would be anybody on this machine, or beyond.
    """
    reset = buckets(lambda body: _reset(asked, body))
    return {
        "/limits/find": buckets(lambda body: _find(asked, body)),
        "/limits/reset": reset if isinstance(address, UnixAddress) else _refused,
    }


def fullest(asked: Asked) -> Route:
    """Return the route that shows the fullest buckets."""
    return lambda _: buckets(lambda body: _find(asked, body))(b"")


def _find(asked: Asked, body: bytes) -> bytes:
    inquiry = inquiry_of(body)
    return encode(asked.buckets(msgspec.structs.replace(inquiry, forgive=False)))


def _reset(asked: Asked, body: bytes) -> bytes:
    inquiry = inquiry_of(body)
    if not inquiry.buckets:
        raise ValueError("name the buckets to fill up in `buckets`")
    return encode(asked.buckets(msgspec.structs.replace(inquiry, forgive=True, count=COUNT_MAX)))


def _refused(_: bytes) -> Response:
    return problem(HTTPStatus.FORBIDDEN, "limits are reset over a Unix socket alone: see `serve --debug`")
