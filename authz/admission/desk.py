"""Answers what the door brings: one path, reviews alone, each counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from authz.admission.numbers import Numbers
from authz.admission.review import FAILED, REFUSED, UNREADABLE, review
from authz.admission.wire import Question
from authz.config.log import get_logger
from authz.injection.template import Template

PATH = "/inject"

_REVIEWS, _SECONDS = "authz_webhook_reviews_total", "authz_webhook_review_seconds"
_log = get_logger("webhook")


class Desk:
    """Answers questions. Safe for threads.

    Args:
        template: returns the template in force.
        numbers: where reviews are counted.
    """

    def __init__(self, template: Callable[[], Template], numbers: Numbers) -> None:
        self._template = template
        self._numbers = numbers
        self._turn = threading.Lock()
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
        if done.outcome == FAILED:
            _log.error("a review failed", thing=done.kind, why=done.why)
        elif done.outcome == REFUSED:
            _log.info("turned away", thing=done.kind, why=done.why)
        if done.outcome == UNREADABLE:
            return HTTPStatus.BAD_REQUEST, b"{}"
        return HTTPStatus.OK, done.reply
