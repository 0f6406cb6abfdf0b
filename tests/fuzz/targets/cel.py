"""A condition as its author types it: refused in one line, or evaluated in bounded time; never a crash."""

from __future__ import annotations

import time
from contextlib import suppress

from authz.policy.condition import Compiler, EvaluationFailed, ExpressionFault, Truth
from authz.policy.vocabulary import VOCABULARY, Facts
from tests.fuzz.target import Target
from tests.support.facts import facts, token

COMPILER = Compiler()
COMPILE_CPU_S = 1.0
EVALUATE_CPU_S = 1.0
_LONG = "a,b;c=d " * 400
FACTS: tuple[Facts, ...] = (
    facts(),
    facts(
        token(
            {"a": 1, "b": [1, 2.5, "x", None], "c": {"d": True}}, scopes=("a", "b"), labels={"tier": "gold"}
        ),
        {"id": "a%2Fb"},
        path="/a/b%20c?x=1&x=2&y",
        headers={"user-agent": "curl/8", "x-list": "a,b , c", "x-bytes": b"\xff"},
    ),
    facts(
        path="/" + "/".join("s" * 3 for _ in range(200)) + "?" + "&".join(f"p{n}=v{n}" for n in range(600)),
        headers={"x-long": _LONG, **{f"x-{n}": "value" for n in range(100)}},
        body=b"\0body" * 1000,
    ),
)


def evaluate(source: str) -> bool:
    """Compile and evaluate an expression in every role; return whether it was accepted in one."""
    accepted = False
    COMPILER._compiled.clear()
    began = time.thread_time()
    for compile_it in (COMPILER.condition, COMPILER.text, COMPILER.number):
        try:
            compiled = compile_it(source)
        except ExpressionFault as fault:
            told = str(fault)
        else:
            accepted, told = True, "accepted"
            assert {name for name, _ in compiled.bindings} <= VOCABULARY.keys()
        assert told
        assert told.isprintable()
    assert time.thread_time() - began < COMPILE_CPU_S, "slow to compile"
    if accepted:
        for each in FACTS:
            _evaluate_once(source, each)
    return accepted


def _evaluate_once(source: str, about: Facts) -> None:
    began = time.thread_time()
    try:
        truth = COMPILER.condition(source).holds(about)
        assert isinstance(truth, Truth)
    except ExpressionFault:
        with suppress(ExpressionFault, EvaluationFailed):
            assert isinstance(COMPILER.text(source).text(about), str)
        with suppress(ExpressionFault, EvaluationFailed):
            assert 0 <= COMPILER.number(source).number(about) < float("inf")
    assert time.thread_time() - began < EVALUATE_CPU_S, "slow to evaluate"


def run(data: bytes) -> None:
    """Take the input as a source."""
    evaluate(data.decode("utf-8", "surrogateescape"))


WORDS = (
    *VOCABULARY,
    *(" == ", " != ", " < ", " in ", " && ", " || ", "!", " ? ", " : ", " + ", " - ", " * ", " / ", " % "),
    *(
        "(",
        ")",
        "[",
        "]",
        "[?",
        "{",
        "}",
        ".",
        ",",
        '"',
        "'",
        "r'",
        'b"',
        "'''",
        "\\",
        "\\u0000",
        "true",
        "null",
    ),
    *(
        ".exists(v, v",
        ".all(v, v",
        ".map(v, v",
        ".filter(v, v",
        ".exists_one(v, v",
        "has(",
        "size(",
        "cel.bind(",
    ),
    *(
        ".orValue(",
        ".optMap(v, v",
        "optional.of(",
        "optional.none()",
        ".hasValue()",
        ".matches(",
        ".contains(",
    ),
    *(".startsWith(", ".endsWith(", ".split(", ".join(", ".replace(", ".substring(", ".format([", ".charAt("),
    *(
        "timestamp(",
        "duration(",
        "int(",
        "uint(",
        "double(",
        "string(",
        "bytes(",
        "dyn(",
        "type(",
        ".getHours()",
    ),
    *(
        "9223372036854775807",
        "-1",
        "1u",
        "1e308",
        "0x7f",
        "1.5",
        "strings.quote(",
        ".lowerAscii()",
        ".trim()",
    ),
)
TARGET = Target(run, 1024, tuple(word.encode() for word in WORDS))
