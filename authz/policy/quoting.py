"""Which quotes are missing where YAML cannot be read: most of those faults are an expression or a pattern."""

from __future__ import annotations

import re

_EXPRESSION = re.compile(r"(?:^|[\s{,])(when|cost): ")
_PATTERN = re.compile(
    r"(?:^|[\s\[,])(/[^\s,\"']*\{|\{\w+\}[./])"
)  # unquoted: `/items/{id}`, `{tenant}.example.com`


def quoting_hint(line: str, column: int) -> str:
    """Return what probably mends a line that is no YAML; "" where nobody knows.

    Args:
        line: the whole line.
        column: where in it reading stopped, from 0.
    """
    read = line[: column + 1]
    expression = _EXPRESSION.search(read)
    if expression is not None:
        return f"put the whole expression after `{expression[1]}:` in quotes"
    if _PATTERN.search(read):
        return 'put the whole pattern with `{` in quotes, such as `"/items/{id}"`'
    if re.search(r"(^|[\s\[,])\*\W?$", read):
        return 'put a pattern that begins with `*` in quotes, such as `"*.example.com"`'
    return ""
