"""Answers what the door brings: one path, reviews alone, each counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from authz.admission.numbers import Numbers
from authz.admission.review import FAILED, REFUSED, UNREADABLE, Reviewed, review
from authz.admission.wire import Question
from authz.config.log import get_logger
from authz.injection.template import Template

PATH = "/inject"

_REVIEWS, _SECONDS = "authz_webhook_reviews_total", "authz_webhook_review_seconds"
_LINES_PER_S = 10  # whoever reaches the webhook can have pods turned away; all are counted
_log = get_logger("webhook")


class Desk:
    """Answers questions. Safe for threads.

    Args:
        template: returns the template in force.
        numbers: where reviews are counted.
        now_s: a clock that never goes back.
    """

    def __init__(
        self, template: Callable[[], Template], numbers: Numbers, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._template = template
        self._numbers = numbers
        self._turn = threading.Lock()
        self._lines = _Lines(now_s)
        for kind in ("pod", "service"):
            numbers.begin(_REVIEWS, kind, FAILED)

    def answer(self, asked: Question) -> tuple[HTTPStatus, bytes]:
        """Return status and body."""
        if asked.path != PATH:
            return HTTPStatus.NOT_FOUND, b"{}"
        if asked.method != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, b"{}"
        begun_s = time.perf_counter()
        # One after another: a review is work for the processor alone, and so takes memory only once.
        with self._turn:
            done = review(asked.body, self._template())
        self._numbers.count(_REVIEWS, done.kind, done.outcome)
        self._numbers.observe(_SECONDS, time.perf_counter() - begun_s)
        if done.outcome in (FAILED, REFUSED):
            self._lines.tell(done)
        if done.outcome == UNREADABLE:
            return HTTPStatus.BAD_REQUEST, b"{}"
        return HTTPStatus.OK, done.reply


class _Lines:
    """Logs what was not let in: so many lines a second, and how many there would have been besides."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._second_s = -1.0
        self._left = self._unlogged = 0

    def tell(self, done: Reviewed) -> None:
        with self._lock:
            second_s = self._now_s() // 1
            if second_s != self._second_s:
                self._second_s, self._left = second_s, _LINES_PER_S
            if not self._left:
                self._unlogged += 1
                return
            self._left -= 1
            unlogged, self._unlogged = self._unlogged, 0
        if done.outcome == FAILED:
            _log.error("a review failed", thing=done.kind, why=done.why, unlogged=unlogged)
        else:
            _log.info("turned away", thing=done.kind, why=done.why, unlogged=unlogged)
