"""What can be set, one frozen class per room. A field's name is its key, its meaning its line in the docs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretBytes

from authz.config import values
from authz.model.address import TcpAddress
from authz.model.sink import SinkAddress, SinkKind

MESSAGE_MAX_BYTES = 4 * 1024 * 1024  # what every transport lets through; a setting may only lower it


def _set(
    default: object, meaning: str, *, env: str = "", flag: bool = False, secret: bool = False, **bounds: Any
) -> Any:
    """Declare a setting.

    Args:
        default: used where nobody says otherwise.
        meaning: the line in `docs/settings.md`.
        env: its name in the environment, where the contract fixes one; else `AUTHZ_` and the key.
        flag: `authz serve` has a flag of this name.
        secret: read from the environment or a file of its own, masked, and never repeated in an error.
        bounds: pydantic's own (`ge`, `le`).
    """
    extra: dict[str, Any] = {"flag": flag, "secret": secret} | ({"env": env} if env else {})
    return Field(default, description=meaning, json_schema_extra=extra, **bounds)


class Room(BaseModel):
    """Base of every room's settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class ServeSettings(Room):
    """Which documents are served, and where."""

    policies: values.Paths = _set((), "directories of documents; together they are one set", flag=True)
    listen: values.Listens = _set(
        (), "where checks are answered; default: `authz.sock` in the runtime directory", flag=True
    )
    ops: values.EndpointOrOff = _set(
        TcpAddress("127.0.0.1", 9192), "where `/health`, `/ready` and `/metrics` are; or `off`", flag=True
    )
    debug: values.EndpointOrOff = _set(
        None,
        "where `/logs` and `/limits` are, which `authz logs` and `authz limits` ask; default: `debug.sock` in"
        " the runtime directory; or `off`",
        flag=True,
    )
    transport: Annotated[Literal["native", "grpcio"], values.Lower] = _set(
        "native",
        "what answers on sockets and plain TCP: `native`, or `grpcio`, which costs several times as much;"
        " TLS is always served by `grpcio`",
        flag=True,
    )
    max_wait_ms: values.Whole = _set(
        100, "a check that would wait longer to be judged is refused at once with 503", ge=5, le=10_000
    )
    drain_s: values.Whole = _set(
        10, "seconds to go on answering after SIGTERM; it ends earlier once nobody asks", ge=0, le=3600
    )
    workers: values.Whole = _set(
        1,
        "processes that answer checks, each at addresses of its own, under a supervisor; see operations.md",
        flag=True,
        ge=1,
        le=64,
    )
    stuck_after_s: values.Whole = _set(
        5,
        "seconds without progress after which a process that answers checks is ended, to be started anew",
        ge=2,
        le=3600,
    )
    source_revision: values.Line = _set(
        "",
        "the commit that the documents come from, for records and metrics; it stays what it was at the start,"
        " so name it only where documents change with the sidecar alone",
        flag=True,
    )


class SnapshotSettings(Room):
    """How the policy set is kept up to date."""

    scopes: values.Paths = _set(
        (), "directories of Scope documents: which directory may speak about what; see policies.md", flag=True
    )
    overrides: values.Paths = _set(
        (), "directories of deny rules that come first, loaded on their own: the emergency brake", flag=True
    )
    state: values.PathOrOff = _set(
        None,
        "private directory where the last good set is kept for the next start; or `off`; default:"
        " `authz` in XDG_STATE_HOME, else `/var/lib/authz`",
        flag=True,
    )
    policy_tests: Annotated[Literal["gate", "warn", "off"], values.Lower] = _set(
        "gate", "what failing PolicyTests do to a changed set: `gate` rejects it, `warn` only tells, or `off`"
    )
    max_staleness_s: values.Whole = _set(
        0,
        "seconds that a set may stay in force while what stands in the directories cannot be; 0: for ever",
        ge=0,
        le=31_536_000,
    )
    when_stale: Annotated[Literal["serve", "not-ready", "deny"], values.Lower] = _set(
        "serve",
        "what follows then: `serve` on, be `not-ready` but answer, or `deny` with 503; a metric says so",
    )
    poll_s: values.Whole = _set(
        10, "seconds between looks at the directories where the system tells of no change", ge=1, le=3600
    )
    quiet_ms: values.Whole = _set(
        25, "files written in place are read once nothing changed for so long", ge=5, le=10_000
    )


class TlsSettings(Room):
    """How TCP listeners are secured. Unix sockets never are: their mode is what secures them."""

    tls_cert: values.File = _set(
        None, "our certificate, PEM, with those that lead to its CA: every TCP listener speaks TLS", flag=True
    )
    tls_key: values.File = _set(None, "its key, PEM, without a passphrase", flag=True)
    tls_client_ca: values.File = _set(
        None, "CA whose certificates callers must show, PEM; needed beyond loopback", flag=True
    )
    tls_clients: values.Clients = _set(
        (),
        "SPIFFE ids that may ask; `spiffe://domain/path/*`: one segment below; `*`: every certificate of that"
        " CA",
        flag=True,
    )


class RequestSettings(Room):
    """How requests are read."""

    hosts: values.Hosts = _set(
        (),
        "hosts that are served here, `*.suffix` too; any other gets 421; default: every host",
        flag=True,
    )
    trusted_hops: values.Whole = _set(0, "how many proxies of ours stand before ours", flag=True, ge=0, le=16)
    xff_appended: bool = _set(
        default=False, meaning="our Envoy appends its peer to `x-forwarded-for` before it asks"
    )
    context: values.Names = _set((), "names of context extensions that policies may read; default: none")
    metadata: values.Names = _set((), "name spaces of dynamic metadata that policies may read; default: none")
    max_message_bytes: values.Whole = _set(
        MESSAGE_MAX_BYTES, "a larger check is refused with 413", ge=1024, le=MESSAGE_MAX_BYTES
    )
    max_header_count: values.Whole = _set(1000, "more headers are refused with 431", ge=1, le=10_000)
    max_header_bytes: values.Whole = _set(
        96 * 1024, "more bytes of header names and values are refused with 431", ge=1024, le=MESSAGE_MAX_BYTES
    )


class IdentitySettings(Room):
    """How callers are proven."""

    key_brand: values.TokenPart = _set("ak", "first part of the tokens of our API keys")
    key_env: values.TokenPart = _set("live", "second part of the tokens of our API keys")
    api_key_salt: values.Pepper = _set(
        None,
        "pepper under which API keys are hashed: at least 32 random bytes, used as they stand;"
        " without it every key is disabled",
        env="API_KEY_SALT",
        secret=True,
    )
    api_key_salt_previous: values.Pepper = _set(
        None, "the pepper before that, while it is being rotated", env="API_KEY_SALT_PREVIOUS", secret=True
    )


class LimitSettings(Room):
    """How often callers may ask."""

    rate_limit_enabled: bool = _set(
        default=True,
        meaning="`false` switches every limit off; `/ready`, a metric and the log say so",
        env="RATE_LIMIT_ENABLED",
    )
    max_buckets: values.Whole = _set(
        100_000,
        "buckets in memory, and as many for limits in shadow; when full, new callers of a limit share one",
        ge=1,
        le=10_000_000,
    )
    redis_url: values.RedisUrl = _set(
        None,
        "the Redis in which every sidecar keeps its buckets: `redis://`, `rediss://` (TLS), `unix://`,"
        " `redis+sentinel://`, `redis+cluster://`; default: each process keeps buckets of its own;"
        " see redis.md",
        env="REDIS_URL",
        secret=True,
    )
    keyspace: values.Keyspace = _set(
        "default",
        "whose buckets these are: sidecars of one keyspace share them, those of others never meet them",
    )
    redis_timeout_ms: values.Whole = _set(
        20,
        "how long an answer of Redis is waited for; after that each limit does what its `onStoreError` says",
        ge=5,
        le=1000,
    )
    redis_ca: values.File = _set(
        None, "CA that vouches for Redis, PEM; default: those that this machine trusts"
    )
    redis_cert: values.File = _set(None, "our certificate for Redis, PEM, where it asks for one")
    redis_key: values.File = _set(None, "its key, PEM, without a passphrase")
    redis_sentinel_user: values.Line = _set("", "user at the Sentinels, whose users are their own")
    redis_sentinel_password: SecretBytes | None = _set(
        None, "password at the Sentinels; default: they ask for none", secret=True
    )
    fleet_size: values.Whole = _set(
        0,
        "how many sidecars share the limits, for the time before Redis was ever reached; 0: not known, and"
        " limits that keep buckets locally in an outage refuse until then",
        ge=0,
        le=100_000,
    )
    limit_headers: Annotated[Literal["draft", "triple", "x-ratelimit", "off"], values.Lower] = _set(
        "draft",
        "how clients are told of limits: the IETF `draft`'s structured headers, the `triple` of its older"
        " versions, `x-ratelimit`, or `off`; see refusals.md",
    )
    limit_headers_on_allow: bool = _set(
        default=False, meaning="also tell clients whose requests pass, in headers of their responses"
    )
    near_limit_percent: values.Whole = _set(
        20,
        "a check that passes and leaves less than so much of a limit's burst counts as near it, in"
        " `authz_limit_near_total`; 0: none does",
        ge=0,
        le=100,
    )


class RecordSettings(Room):
    """What is written down."""

    record_sink: values.Sinks = _set(
        (SinkAddress(SinkKind.STDOUT, "stdout"),),
        "where records go: `stdout`, `file:PATH`, `https://HOST/PATH`, `otlp://HOST:PORT`,"
        " `redis://HOST:PORT/DB/STREAM`, `kafka://HOST:PORT/TOPIC`; several with commas; or `off`; see"
        " sinks.md",
    )
    record_queue: values.Whole = _set(
        16_384, "records that may wait to be written; more are dropped and counted", ge=1, le=1_000_000
    )
    record_on_full: Annotated[Literal["drop_allows", "drop", "deny"], values.Lower] = _set(
        "drop_allows",
        "what is given up where records come faster than they go: allows first (`drop_allows`), whatever is"
        " the oldest (`drop`), or no record: checks are refused with 503 (`deny`)",
    )
    record_sample_allows: values.Whole = _set(
        100, "percent of allows that are recorded; refusals always are", ge=0, le=100
    )
    record_events: bool = _set(
        default=False,
        meaning="also record what is no check: starts, stops, policy sets accepted or rejected, limits reset",
    )
    record_recent: values.Whole = _set(4096, "records kept for `/logs` and `authz logs`", ge=0, le=100_000)
    record_headers: values.HeaderNames = _set(
        (), "request headers copied into records; credentials' places are refused; default: none"
    )
    record_pseudonyms: values.Pseudonyms = _set(
        (),
        "fields that stand in records as a keyed hash alone: `subject`, `key_id`, `customer`,"
        " `client_address`; default: none",
    )
    record_pseudonym_key: values.Pepper = _set(
        None, "key of those hashes: at least 32 random bytes, used as they stand", secret=True
    )
    record_chain_key: values.File = _set(
        None,
        "private Ed25519 key, PEM: each sink's records are chained, and checkpoints signed; default: they are"
        " not",
    )
    record_spool: values.Spool = _set(
        None,
        "private directory where records wait for sinks; default: `memory`, so that they end with the"
        " container, and none at all where `stdout` or one file is the only sink",
    )
    record_spool_bytes: values.Whole = _set(
        0, "how much may wait there; 0: 32 MiB in memory, 1 GiB on disk", ge=0, le=1 << 40
    )
    record_drain_s: values.Whole = _set(
        5, "seconds to go on shipping records after the last check, at the end", ge=0, le=3600
    )
    record_file_max_bytes: values.Whole = _set(
        0, "a file of records that has grown so large is put aside, as `PATH.1`; 0: never", ge=0, le=1 << 40
    )
    record_file_keep: values.Whole = _set(5, "how many of those are kept", ge=1, le=1000)
    record_timeout_s: values.Whole = _set(10, "how long a sink is waited for", ge=1, le=300)
    record_ca: values.File = _set(
        None, "CA that vouches for sinks, PEM; default: those that this machine trusts"
    )
    record_cert: values.File = _set(None, "our certificate for sinks, PEM, where they ask for one")
    record_key: values.File = _set(None, "its key, PEM, without a passphrase")
    record_http_token: values.Token = _set(
        None, "bearer token for HTTP and OTLP sinks; default: none", secret=True
    )
    record_redis_user: values.Line = _set("", "user at the Redis of records")
    record_redis_password: values.Password = _set(None, "password there; default: none", secret=True)
    record_redis_max_len: values.Whole = _set(
        1_000_000, "entries that a stream in Redis keeps, about; 0: all", ge=0, le=1 << 40
    )
    record_kafka_user: values.Line = _set("", "user at Kafka (SASL SCRAM-SHA-512)")
    record_kafka_password: values.Password = _set(None, "password there; default: none", secret=True)
    rule_series: Annotated[Literal["all", "denies", "off"], values.Lower] = _set(
        "all", "which decisions are counted per rule: `all`, `denies` or `off`"
    )
    dynamic_metadata: bool = _set(
        default=False,
        meaning="answers carry their decision as dynamic metadata, for Envoy's access log; not supported yet",
    )
    sidecar: values.Line = _set("", "name of this sidecar in records; default: the host name")


class TraceSettings(Room):
    """Spans of checks whose callers trace them."""

    trace_sink: values.OtlpOrOff = _set(
        None, "where spans of sampled checks go: `otlp://HOST:PORT` or `otlp+http://HOST:PORT/PATH`; or `off`"
    )
    trace_service: values.Line = _set("authz", "name of this service in spans")
    trace_max_per_s: values.Whole = _set(
        500,
        "spans a second, at most: of the sampled checks beyond them `authz_traces_total` is all that tells;"
        " whoever may send requests may set the flag, unless Envoy traces itself",
        ge=1,
        le=100_000,
    )


class SecretSettings(Room):
    """Where secrets come from that do not stand in the environment."""

    secrets: values.File = _set(
        None,
        "directory whose files are named like the secrets here (`API_KEY_SALT`, `REDIS_URL`) and hold them,"
        " as a mounted Secret does; default: secrets come from the environment alone",
        flag=True,
    )


class LogSettings(Room):
    """What the process says of itself, on standard error."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], values.Lower] = _set(
        "info", "least severity that is logged: `debug`, `info`, `warning` or `error`", env="LOG_LEVEL"
    )


class SharedSettings(Room):
    """Names that the whole product shares, accepted so that one environment serves all of it."""

    database_url: SecretBytes | None = _set(
        None,
        "database of the control plane: accepted, and ignored by the sidecar",
        env="DATABASE_URL",
        secret=True,
    )
