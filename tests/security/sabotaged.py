"""`authz` with a room that breaks and tells everything it knows, for the test of what a crash gives away.

python -m tests.security.sabotaged serve ...
"""

from __future__ import annotations

from typing import Any, NoReturn

import authz.check
import authz.transport.shield
from authz.cli.main import main
from authz.record.keeper import Keeper


class Panic(BaseException):
    """What a library throws that is no Exception."""


def _telling(whole: Any, mark: bytes, kind: type[BaseException]) -> Any:
    """Return a function that breaks for marked requests, with all of them in its message."""

    def broken(*arguments: Any) -> Any:
        for each in arguments:
            headers = getattr(each, "headers", {})
            if isinstance(headers, dict) and headers.get("x-break") == mark:
                _tell(kind, each)
        return whole(*arguments)

    return broken


def _tell(kind: type[BaseException], request: Any) -> NoReturn:
    values = dict(zip(request._fields, request, strict=True))
    raise kind(f"outer: {values}") from ValueError(f"inner: {values}")


def _break_keeper() -> None:
    whole = Keeper.keep

    def keep(self: Keeper, answered: Any, fixed: Any) -> None:
        whole(self, answered, fixed)
        for one in answered:
            headers = getattr(one.request, "headers", {})
            if headers.get("x-break") == b"record":
                _tell(RuntimeError, one.request)

    Keeper.keep = keep  # type: ignore[method-assign]  # that is what this module is for


if __name__ == "__main__":
    authz.check.evaluate = _telling(authz.check.evaluate, b"policy", RuntimeError)  # type: ignore[attr-defined]
    authz.check.resolve = _telling(authz.check.resolve, b"identity", Panic)  # type: ignore[attr-defined]
    authz.check.strip = _telling(authz.check.strip, b"removal", KeyError)  # type: ignore[attr-defined]
    _break_keeper()
    main()
