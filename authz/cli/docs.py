"""`authz docs` (hidden): writes the pages that are generated from code. A test fails where they differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from authz.admission.catalogue import METRICS as INJECTION
from authz.cli import conditions, explain_page, proxies_page
from authz.cli.explain_page import examples, recorded
from authz.config.settings import KEYS
from authz.config.sources import Key
from authz.model.meaning import DETAILS, REASONS
from authz.model.reason import Reason, coarse_of, code_of, status_of
from authz.policy.integration import Proxy
from authz.record import fields, notice
from authz.record.catalogue import METRICS, Shape
from authz.rehearsal.explaining import explanation

_GENERATED = "<!-- Written by `authz docs` from {source}. Change it there. -->"


def command(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="The project's root.")] = Path(),
) -> None:
    """Write the generated pages below the project's root."""
    for name, text in pages().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        typer.echo(str(path))


def pages() -> Mapping[str, str]:
    """Return every generated page: path below the project's root -> text."""
    return {
        ".env.example": _env_example(),
        "docs/settings.md": _settings(),
        "docs/metrics.md": _metrics(),
        "docs/reasons.md": _reasons(),
        "docs/conditions.md": _conditions(),
        "docs/records.md": _records(),
        "docs/explain.md": _explain(),
        "docs/proxies.md": _proxies(),
    }


def _page(title: str, source: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", _GENERATED.format(source=f"`{source}`"), *parts)) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _settings() -> str:
    rows = (
        (
            f"`{key.name}`" if not key.secret else "",
            f"`{key.env}`",
            _code(key.flag),
            _default(key),
            key.meaning,
        )
        for key in KEYS.values()
    )
    return _page(
        "Settings",
        "authz/config/rooms.py",
        "Read once at start: `authz.toml` (or the file that `--config` or `AUTHZ_CONFIG` names), then the\n"
        "environment, then flags; the later wins. Unknown keys and unknown `AUTHZ_*` variables stop the\n"
        "start, and so does an empty value. A list is a list in the file, a repeated flag, and one text\n"
        "with commas in the environment. Paths are relative to the working directory; the runtime\n"
        "directory is `$XDG_RUNTIME_DIR/authz`, else `/run/authz`.",
        "Secrets have no key in `authz.toml`. They come from the environment, or from files: each in a\n"
        "file that is named like its variable, in the directory that `secrets` names. A file there that\n"
        "is no secret of ours stops the start, names that begin with a dot do not; so does a secret that\n"
        "stands in both places with two values. One newline at the end of a file is no part of the\n"
        "secret, while the environment is taken as it stands.",
        _table(("key in `authz.toml`", "environment", "flag of `serve`", "default", "meaning"), rows),
    )


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _default(key: Key) -> str:
    text = _default_text(key)
    return f"`{text}`" if text else ""


def _default_text(key: Key) -> str:
    if isinstance(key.default, bool):
        return str(key.default).lower()
    if isinstance(key.default, tuple):
        return ",".join(map(str, key.default))
    return "" if key.default in (None, "") else str(key.default)


def _env_example() -> str:
    lines = [
        "# Environment of the sidecar, written by `authz docs` from `authz/config/rooms.py`.",
        "# Values are taken as they stand: no quotes. What is commented out shows its default.",
        "# An empty value stops the start; leave a line out instead. The program does not read",
        "# this file: hand it over, for example with `docker run --env-file .env`.",
    ]
    for key in KEYS.values():
        lines += ["", f"# {_plain(key.meaning)}", f"# {key.env}={_default_text(key)}"]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    bare = text.replace("`", "")
    return f"{bare[:1].upper()}{bare[1:]}."


def _metrics() -> str:
    header = ("metric", "kind", "labels", "meaning")
    return _page(
        "Metrics",
        "authz/record/catalogue.py` and `authz/admission/catalogue.py",
        "Shown at `/metrics` of the address `--ops`. Series appear on first use, but for counters that\n"
        "alerts ask, which begin at 0. Label values come from documents and enums, never from requests.\n"
        "The usual `process_*` metrics stand beside them, with workers those of the supervisor.\n"
        "Dashboards and alerts: [monitoring.md](monitoring.md).",
        _table(header, map(_metric, METRICS.items())),
        "## Of `authz inject-webhook` and `authz inject-watch`",
        "What injects pods and counts them: see [webhook.md](webhook.md).",
        _table(header, map(_metric, INJECTION.items())),
    )


def _metric(told: tuple[str, Shape]) -> tuple[str, str, str, str]:
    name, shape = told
    return f"`{name}`", shape.kind, ", ".join(f"`{label}`" for label in shape.labels), shape.help


def _reasons() -> str:
    rows = ((f"`{reason}`", _status(reason), _told(reason), text) for reason, text in REASONS.items())
    details = (
        (f"`{detail}`", f"`{reason}`", str(status_of(reason, detail)), text)
        for reason, of_reason in DETAILS.items()
        for detail, text in of_reason.items()
    )
    return _page(
        "Reasons",
        "authz/model/reason.py` and `authz/model/meaning.py",
        "Every check ends with one of these, in its record and in `authz_checks_total`. The client is\n"
        "told the coarse word in `x-authz-reason`, or the reason itself where the Site says `reasons:\n"
        "full`. Where a Site redirects, the status is 302 and the reason stays.",
        _table(("reason", "status (`google.rpc` code)", "told to the client", "meaning"), rows),
        "## Details",
        "A detail stands in the record only; of `bad_request` it also chooses the status. Of an allowed\n"
        "request it says why a credential that no rule needed was invalid.",
        _table(("detail", "of reason", "status", "meaning"), details),
    )


def _status(reason: Reason) -> str:
    status = status_of(reason)
    return f"{status} ({int(code_of(status))})"


def _told(reason: Reason) -> str:
    return "" if reason is Reason.ALLOWED else f"`{coarse_of(reason)}`"


def _conditions() -> str:
    return _page(
        "Conditions",
        "authz/policy/vocabulary.py` and `authz/cli/conditions.py",
        conditions.INTRODUCTION,
        _table(("field", "gives", "where it fails"), conditions.FIELDS),
        "## Variables",
        "Where there is nothing, text, lists and maps are empty; no variable is ever missing.",
        _table(("variable", "type", "meaning"), conditions.variables()),
        "## Examples",
        _table(("condition", "true where"), conditions.examples()),
        "Expressions that give something else:",
        _table(("expression", "for", "meaning"), conditions.values()),
        "Besides the functions of CEL there are its optional values and the string functions `charAt`,\n"
        "`format`, `indexOf`, `join`, `lowerAscii`, `replace`, `reverse`, `split`, `substring`, `trim`\n"
        "and `upperAscii`. Regular expressions are RE2: linear time, no back-references.",
        "## Bounds",
        conditions.BOUNDS,
        "## Pitfalls",
        conditions.PITFALLS,
    )


def _records() -> str:
    return _page(
        "Records",
        "authz/record/fields.py` and `authz/record/notice.py",
        "One JSON line for each check, written after its reply has left, to standard output unless\n"
        "`record_sink` says otherwise: see [sinks.md](sinks.md). Lines are ASCII. A field that does not\n"
        "apply is absent, never null. What clients control is cut at a bound, with a marker such as\n"
        "`...[+120 characters]`. No record holds a credential, a cookie or a query string.\n\n"
        "Nothing is missing without a trace: in a stream each `seq` is there as a line, or counted by a\n"
        "gap. A line that is no decision says by `kind` what it is: `gap`, `event` (with `record_events`),\n"
        "or `checkpoint` (with `record_chain_key`: see [evidence.md](evidence.md)). `authz logs` reads all\n"
        "of them: [logs-command.md](logs-command.md). A sink may get a line twice, byte for byte, after\n"
        "something was killed: tell decisions apart by `decision_id`, events by `stream` and `seq`, gaps by\n"
        "`stream`, `first_seq`, `last_seq` and `why`.",
        "## A decision",
        _fields(fields.Record),
        "## Each of `shadow`",
        _fields(fields.ShadowPart),
        "## `identity`",
        _fields(fields.IdentityPart),
        "## `request`",
        _fields(fields.RequestPart),
        "## Each of `limits`",
        _fields(fields.LimitPart),
        "## A gap",
        "Records are given up where the alternative is to delay answers, or where their process or disk\n"
        "fails; allows before everything else, unless `record_on_full` says otherwise.",
        _fields(notice.Gap),
        _table(("why", "means"), ((f"`{why}`", meaning) for why, meaning in notice.WHY.items())),
        "## An event",
        _fields(notice.Event),
        _table(("event", "means"), ((f"`{event}`", meaning) for event, meaning in notice.EVENTS.items())),
    )


def _proxies() -> str:
    return _page(
        "What each Envoy sends",
        "authz/policy/integration.py` and `authz/cli/proxies_page.py",
        proxies_page.INTRODUCTION,
        _table(
            ("`--sends`", "what it is", "needed by", *(f"`{proxy}`" for proxy in Proxy)), proxies_page.rows()
        ),
        "## What is alike",
        proxies_page.ALIKE,
        _table(("", *(f"`{proxy}`" for proxy in Proxy)), proxies_page.DIFFERENCES),
    )


def _explain() -> str:
    shown = "\n\n".join(f"```sh\n{command}\n```\n\n```text\n{text}\n```" for command, text in examples())
    line, command, text = recorded()
    return _page(
        "Why a request is allowed or refused",
        "authz/cli/explain_page.py` and `authz/rehearsal/explaining/explanation.py",
        explain_page.INTRODUCTION,
        "## An example",
        f"With this set in `policies/`:\n\n```yaml\n{explain_page.SET}```",
        shown,
        "## Reading it",
        explain_page.READING,
        explain_page.COVERED,
        "## Describing the request",
        _table(("flag", "says"), explain_page.FLAGS),
        explain_page.DESCRIBED,
        "## From a record",
        explain_page.RECORDED,
        f"```json\n{line}```\n\n```sh\n{command}\n```\n\n```text\n{text}\n```",
        "## JSON",
        "`--output json` prints one object. A field that does not apply is absent, never null.",
        _fields(explanation.Explanation),
        *(part for name, struct in _PARTS for part in (f"## {name}", _fields(struct))),
    )


_PARTS = (
    ("`answer`", explanation.AnswerPart),
    ("`request`", explanation.RequestPart),
    ("`site`", explanation.SitePart),
    ("Each of `readings`", explanation.ReadingPart),
    ("Each of `candidates` and `overrides`", explanation.RulePart),
    ("Each of `fits`", explanation.FitPart),
    ("`when`", explanation.WhenPart),
    ("Each of `near`", explanation.MissPart),
    ("`identity`", explanation.IdentityPart),
    ("Each of `looked`", explanation.LookPart),
    ("Each of `limits`", explanation.LimitPart),
    ("`upstream`", explanation.UpstreamPart),
    ("Each of `shadow`", explanation.ShadowPart),
)


# What the encoder is handed as ready JSON has no type of its own there, and a step is a pair in JSON.
_READY_JSON = {
    "allowed_by": "list of text",
    "identity": "object",
    "shadow": "list of objects",
    "steps": "list of pairs",
}
_TYPES = {
    msgspec.inspect.StrType: "text",
    msgspec.inspect.IntType: "number",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.BoolType: "true or absent",
    msgspec.inspect.ListType: "list of objects",
    msgspec.inspect.VarTupleType: "list of text",
    msgspec.inspect.DictType: "object of text",
    msgspec.inspect.StructType: "object",
    msgspec.inspect.UnionType: "object",
}


def _fields(struct: type[msgspec.Struct]) -> str:
    described = msgspec.inspect.type_info(struct)
    if not isinstance(described, msgspec.inspect.StructType):
        raise TypeError("a record's part is a struct")
    return _table(("field", "type", "meaning"), (_field(field) for field in described.fields))


def _field(field: msgspec.inspect.Field) -> tuple[str, str, str]:
    kind, meaning = field.type, ""
    if isinstance(kind, msgspec.inspect.Metadata):
        meaning = str((kind.extra_json_schema or {}).get("description", ""))
        kind = kind.type
    name = field.name
    if field.required and isinstance(kind, msgspec.inspect.BoolType):
        return f"`{name}`", "true or false", meaning
    return f"`{name}`", _READY_JSON.get(name) or _type(kind), meaning


def _type(kind: msgspec.inspect.Type) -> str:
    if isinstance(kind, msgspec.inspect.VarTupleType) and isinstance(
        kind.item_type, msgspec.inspect.StructType
    ):
        return "list of objects"
    if isinstance(kind, msgspec.inspect.UnionType) and kind.includes_none:
        (kind,) = (one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType))
        return "true or false" if isinstance(kind, msgspec.inspect.BoolType) else _TYPES[type(kind)]
    return _TYPES[type(kind)]
