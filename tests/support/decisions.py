"""Ask for decisions as Envoy would, and read the answers as Envoy would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.service.auth.v3 import external_auth_pb2

from authz.check import Call, Check, answer, reply, review
from authz.limits.guard import Guard
from authz.limits.memory import MemoryLimiter
from authz.limits.store import Limiter
from authz.model.decision import Allow, Deny
from authz.model.shadow import Shade
from authz.response.refusal import Refuser
from authz.snapshot.snapshot import Snapshot
from tests.support.checks import check_request

DECISION_ID = "0190e2c0-1111-7222-8333-444455556666"
NOW_US = 1_780_000_000_000_000  # 2026-05-28


class Answer:
    """What came back for one check, and the decision behind it."""

    def __init__(self, check: Check, payload: bytes, status: int, shadow: tuple[Shade, ...] = ()) -> None:
        self.check = check
        self.shadow = shadow
        self.payload = payload
        self.status = status
        self.message: Any = external_auth_pb2.CheckResponse.FromString(payload)

    @property
    def allowed(self) -> bool:
        """Whether Envoy would let the request pass: it reads this code alone."""
        return bool(self.message.status.code == 0)

    @property
    def reason(self) -> str:
        """The reason, as records and metrics have it."""
        decision = self.check.decision
        return "allowed" if isinstance(decision, Allow) else decision.reason.value

    @property
    def detail(self) -> str:
        """The finer cause of a refusal, or ""."""
        decision = self.check.decision
        return decision.detail.value if isinstance(decision, Deny) and decision.detail else ""

    @property
    def rule(self) -> str:
        """The first deciding rule, as `policy/rule`, or ""."""
        decision = self.check.decision
        named = decision.grant.rules[0] if isinstance(decision, Allow) else decision.rule
        return f"{named.policy}/{named.rule}" if named else ""

    @property
    def headers(self) -> dict[str, str]:
        """Headers for the upstream, or for the client where it is refused."""
        part = self.message.ok_response if self.allowed else self.message.denied_response
        return {option.header.key: option.header.value for option in part.headers}

    @property
    def removed(self) -> list[str]:
        """Headers that the upstream must not see."""
        return list(self.message.ok_response.headers_to_remove)

    @property
    def body(self) -> str:
        """What the refused client reads."""
        return str(self.message.denied_response.body)


class Judge:
    """A sidecar without its sockets: one snapshot, one limiter, a clock that is set by hand."""

    def __init__(
        self,
        snapshot: Snapshot,
        limiter: Limiter | None = None,
        guard: Guard | None = None,
        refuser: Refuser | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.ticks_us = 0
        self.now_us = NOW_US
        self._limiter = limiter or MemoryLimiter(lambda: self.ticks_us)
        self.guard = guard or Guard(lambda: self.ticks_us)
        self._refuser = refuser or Refuser("sidecar-1")

    def answer(self, payload: bytes) -> Answer:
        """Answer the bytes of one check."""
        done: list[Check] = []

        def finish(checks: Sequence[Check]) -> None:
            done.extend(checks)

        answer([Call(1, payload)], self.snapshot, self._limiter, self.guard, finish, self.now_us)
        (check,) = done
        status, answered = reply(check, self.snapshot, self._refuser, DECISION_ID)
        return Answer(check, answered, status, self._shadow(check))

    def _shadow(self, check: Check) -> tuple[Shade, ...]:
        found = review(check, self.snapshot)
        if found is None:
            return ()
        self._limiter.spend_in_shadow(list(found.trials.values()), lambda _: None)
        return found.settled()

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        host: str = "items.example.com",
        key: str = "",
        **more: Any,
    ) -> Answer:
        """Answer one request; `key` goes into `x-api-key`, `more` are arguments of `check_request`."""
        headers = [*more.pop("headers", ()), *([("x-api-key", key)] if key else [])]
        return self.answer(check_request(method=method, path=path, host=host, headers=headers, **more))
