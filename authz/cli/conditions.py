"""The page about conditions: every variable of the vocabulary, and examples that a test compiles."""

from __future__ import annotations

from collections.abc import Iterator

from authz.policy.condition import FEW_MAX, SOURCE_MAX_BYTES
from authz.policy.vocabulary import VOCABULARY

Row = tuple[str, ...]

INTRODUCTION = """\
Expressions are written in [CEL](https://cel.dev). They stand in four kinds of fields, tabled below, and are
compiled when the documents are loaded: a misspelt variable or a wrong type is a fault of the file, with its
line."""

BOUNDS = f"""\
An expression cannot be made expensive by what a client sends. So these are load errors:

- more than {SOURCE_MAX_BYTES} bytes, or nesting of more than 32;
- a comprehension (`exists`, `all`, `map`, `filter`) inside another; a concatenation, `replace`, `join` or
  `format` inside one; `request.body`, a `split` of anything but its own element, and `matches` with a pattern
  that is no literal inside one; `map`, `filter` and steps that do more than compare of what `split` gives;
- `replace`, `join` or `format` of what one of them gives, and more than a short literal text as that which
  `replace` and `join` put in;
- a pattern of `matches` that comes from the request.

And `map` and `filter` over more than {FEW_MAX} elements fail, as do `exists` and `all` whose steps do more
than compare their element, such as `matches` or a look into `request.headers`."""

FIELDS: tuple[Row, ...] = (
    ("`when` of a rule", "true or false", "in a deny rule: denies. In an allow rule: does not allow"),
    (
        "`when` of a tier",
        "true or false, from `identity.key_id`, `customer`, `scopes` and `labels` alone",
        "`rule_error`",
    ),
    ("`per` of a limit", "text that is not empty", "`rule_error`, and nothing is spent"),
    ("`cost` of a limit", "a finite number, not negative", "`rule_error`, and nothing is spent"),
    (
        "header of `onAllow`",
        "text; where it is empty, no header is set",
        "`rule_error`, and nothing is spent",
    ),
)

PITFALLS = """\
- A key that a map may not have: `m["k"]` and `m.k` fail where it is missing. Ask first (`"k" in m && ...`),
  or use the optional form, `m[?"k"].orValue("")`.
- Headers: `request.headers` joins repeated headers with commas, so in a deny rule `== "blocked"` is dodged by
  sending `blocked,x`. Look for a value in `request.header_values`.
- `request.path` does not exist: Envoy's includes the query. The canonical path is `request.url_path`.
- `has(identity.customer)` and the like are refused: variables are always there, empty where there is nothing.
- Nobody's `identity.customer` is the empty text, and `"" == ""`: compare two values that may both be empty
  only after asking that one is not.
- YAML quotes: a condition that holds `: ` or begins with a quote or a bracket needs quotes of its own, as in
  `when: '"a" in identity.scopes'`."""

# Source, and what it says. Each is of type bool; a test compiles all of them.
EXAMPLES: tuple[tuple[str, str], ...] = (
    ('"items:read" in identity.scopes', "the key has a scope"),
    ('identity.labels[?"tier"].orValue("") in ["gold", "silver"]', "a label has one of some values"),
    (
        'identity.customer != "" && params.tenant == identity.customer',
        "the customer acts on its own part: `{tenant}` is captured by the host or path",
    ),
    (
        'request.headers[?"user-agent"].orValue("").startsWith("legacy/")',
        "a header begins so, if it is there",
    ),
    (
        'request.header_values[?"x-role"].orValue([]).exists(role, role == "blocked")',
        "one of the values of a header, however often it is sent",
    ),
    ('request.query[?"debug"].orValue([]).exists(value, value == "1")', "a query parameter has a value"),
    (r'request.url_path.matches("^/v[0-9]+/")', "the path looks so (RE2; anchor it yourself)"),
    ("request.size >= 0 && request.size <= 1048576", "the size of the body is known, and at most 1 MiB"),
    (
        'request.time.getHours("UTC") >= 8 && request.time.getHours("UTC") < 18',
        "in office hours; give the zone, `Europe/Vienna` for example",
    ),
    ('request.time < timestamp("2027-01-01T00:00:00Z")', "before a moment"),
    ('identity.kind == "api_key"', "the caller came with an API key"),
    ('context[?"stage"].orValue("") == "beta"', "what Envoy's route says, where the operator lists `stage`"),
)

# Expressions for the other fields: source, where it goes, what it says.
VALUES: tuple[tuple[str, str, str], ...] = (
    ("identity.customer", "`per`, `onAllow`", "one bucket for each customer; its name for the upstream"),
    ("client.network", "`per`", "one bucket for each network of clients"),
    ('identity.customer + "/" + identity.key_id', "`onAllow`", "two values in one header"),
    ('identity.scopes.join(" ")', "`onAllow`", "a list in one header"),
    ('request.method == "GET" ? 1 : 5', "`cost`", "writing costs more"),
    ("request.size > 0 ? request.size / 1024 + 1 : 1", "`cost`", "a token for each KiB begun, at least one"),
)


def variables() -> Iterator[Row]:
    """Yield a row for each variable: name, type, meaning."""
    for name, variable in VOCABULARY.items():
        yield f"`{name}`", f"`{variable.type.value}`", variable.doc


def examples() -> Iterator[Row]:
    """Yield a row for each example of a condition."""
    for source, meaning in EXAMPLES:
        yield f"`{source}`", meaning


def values() -> Iterator[Row]:
    """Yield a row for each example of another expression."""
    for source, field, meaning in VALUES:
        yield f"`{source}`", field, meaning
