from __future__ import annotations

import pytest

from authz.limits.redis.errors import ErrorReply, is_fatal, judged, said
from authz.limits.redis.session import Unanswered


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("NOSCRIPT No matching script.", "noscript"),
        ("MOVED 3999 127.0.0.1:6381", "moved"),
        ("OOM command not allowed", "oom"),
        ("ERR", "err"),
        ("WHATEVER a hostile server invents", "other"),
        ("", "other"),
        # Redis 6.2 and 7.0, of a command inside a script.
        (
            "ERR Error running script (call to f_0): @user_script:9: @user_script: 9: -READONLY You can't",
            "readonly",
        ),
        ("ERR Error running script (call to f_0): @user_script:9: user_script:9: attempt to", "err"),
        ("READONLY You can't write against a read only replica. script: 0, on @user_script:9.", "readonly"),
    ],
)
def test_a_word_for_metrics_is_one_of_a_closed_list(text: str, word: str) -> None:
    assert ErrorReply(text).word == word


def test_a_servers_own_words_fit_one_line() -> None:
    line = ErrorReply("ERR a\nb\x00\u202e" + "x" * 1000).line
    assert line.isprintable()
    assert line.isascii()
    assert len(line) == 200


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"OK", "broken"),
        (7, "broken"),
        (None, "broken"),
        ([1, b"2"], "broken"),
        ([1, 0.5], "broken"),
        ([1, float("nan")], "broken"),
        ([0, float("inf")], "broken"),
        ([1, None], "broken"),
        ([1, [2]], "broken"),
        ([1, ErrorReply("OOM")], "broken"),
        (ErrorReply("READONLY no"), "readonly"),
        (Unanswered("timeout"), "timeout"),
    ],
)
def test_whatever_is_no_list_of_numbers_is_no_answer(reply: object, why: str) -> None:
    assert judged(reply) == Unanswered(why)


def test_a_list_of_numbers_is_an_answer() -> None:
    assert judged([]) == []
    assert judged([1, -1, 7]) == [1, -1, 7]


def test_a_server_that_cannot_serve_is_left_and_one_that_refused_a_call_is_not() -> None:
    leaving = [
        "readonly",
        "loading",
        "clusterdown",
        "masterdown",
        "oom",
        "busy",
        "timeout",
        "broken",
        "other",
    ]
    assert all(map(is_fatal, leaving))
    assert not any(map(is_fatal, ["noscript", "moved", "ask", "tryagain", "wrongtype", "err", "noperm"]))


def test_every_word_says_something_to_people() -> None:
    assert said("timeout") == "does not answer in time"
    assert said("oom") == "answers OOM"
