"""All settings, read once at start: file, then files of secrets, environment, flags; the later wins.

One name serves everywhere: the key `trusted_hops` in `authz.toml` is `AUTHZ_TRUSTED_HOPS` in the environment
and `--trusted-hops` on the command line. Unknown names stop us: a typo must not leave a door open.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from authz.config import sources
from authz.config.rooms import (
    IdentitySettings,
    LimitSettings,
    LogSettings,
    RecordSettings,
    RequestSettings,
    SecretSettings,
    ServeSettings,
    SharedSettings,
    SnapshotSettings,
    TlsSettings,
    TraceSettings,
)
from authz.config.secretfiles import read_secrets, refuse_two_values
from authz.config.sources import Key, Layer
from authz.model.address import Address, TcpAddress, UnixAddress
from authz.model.errors import ConfigError
from authz.model.redis_address import RedisKind

RUNTIME_DIR = Path("/run/authz")  # where XDG_RUNTIME_DIR is not set; a chart mounts it, shared with Envoy
STATE_DIR = Path("/var/lib/authz")  # where XDG_STATE_HOME is not set; nobody else's

_IGNORED_URL = b"DATABASE_URL"
# Less would lose records at once: a spool is thinned by the segment, a file put aside by the batch.
_FLOORS = (
    ("record_spool_bytes", 256 * 1024, "so small a spool holds no batch of records"),
    ("record_file_max_bytes", 16 * 1024, "so small a file holds no batch of records, and few are kept"),
)


class Settings(BaseSettings):
    """All rooms' settings. Made by `load`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    serve: ServeSettings = ServeSettings()
    snapshot: SnapshotSettings = SnapshotSettings()
    tls: TlsSettings = TlsSettings()
    request: RequestSettings = RequestSettings()
    identity: IdentitySettings = IdentitySettings()
    limits: LimitSettings = LimitSettings()
    record: RecordSettings = RecordSettings()
    trace: TraceSettings = TraceSettings()
    secret: SecretSettings = SecretSettings()
    log: LogSettings = LogSettings()
    shared: SharedSettings = SharedSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the layers that `load` passes, strongest first, and nothing that the library would add."""
        if not isinstance(init_settings, InitSettingsSource):
            return ()
        layers = init_settings.init_kwargs.values()
        return tuple(InitSettingsSource(settings_cls, layer) for layer in layers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the operator should be told at start, a line each."""
        said = []
        if self.shared.database_url:
            said.append("DATABASE_URL is set: the sidecar has no database and ignores it")
        debug = self.serve.debug
        if isinstance(debug, TcpAddress) and not debug.is_loopback:
            said.append(f"--debug {debug} shows whole records to whoever reaches it: use a Unix socket")
        if not self.limits.rate_limit_enabled:
            said.append("RATE_LIMIT_ENABLED is false: no limit refuses anybody")
        if self.limits.limit_headers_on_allow and self.limits.limit_headers == "off":
            said.append("limit_headers_on_allow tells nobody anything while limit_headers is off")
        url = self.limits.redis_url
        if url and url.login and not url.tls and not all(map(_is_local, url.hosts)):
            said.append("REDIS_URL has a password and no TLS: the network can read it; write `rediss`")
        if url and self.limits.rate_limit_enabled and not self.limits.fleet_size:
            said.append(
                "AUTHZ_FLEET_SIZE is not set: until Redis was reached once, limits with `onStoreError: local`"
                " refuse; say how many sidecars there are"
            )
        return tuple(said)


KEYS: dict[str, Key] = sources.keys_of(Settings)


def load(
    flags: Mapping[str, object],
    environ: Mapping[bytes, bytes] | Mapping[str, str],
    toml: Path | None = None,
) -> Settings:
    """Read all settings.

    Args:
        flags: key -> value as the command line read it; None or empty where a flag was not given.
        environ: `os.environb`, or texts.
        toml: the file that `--config` names; None: AUTHZ_CONFIG, else `authz.toml` here if there is one.

    Raises:
        ConfigError: one line that says where, what, and what to do.
    """
    environment = _without_empty_url(_as_bytes(environ))
    path = _file(toml, environment)
    layers: dict[str, Any] = {
        "flags": sources.read_flags(flags, KEYS),
        "environment": sources.read_environment(environment, KEYS),
        "secret_files": {},
        "file": sources.read_file(path, KEYS) if path else {},
        "defaults": _directory_defaults(environment),
    }
    layers["secret_files"] = _secrets(layers)
    try:
        settings = Settings(**layers)  # layers, not rooms: see settings_customise_sources
    except ValidationError as error:
        found = sources.faults(error.errors(), KEYS, _origins(layers, path))
        raise ConfigError(next(found)) from None
    _refuse_contradictions(settings.limits)
    _refuse_record_contradictions(settings.record)
    return settings


def _secrets(layers: Mapping[str, Layer]) -> Layer:
    """Read the directory of secrets that the strongest layer names; {} where none does."""
    named = (layers[source].get("secret", {}).get("secrets") for source in ("flags", "environment", "file"))
    directory = next((value for value in named if value is not None), None)
    if not isinstance(directory, str | Path) or "\x00" in str(directory):
        return {}  # none, or nothing that is a path: that is said with the other faults
    files = read_secrets(Path(directory), KEYS)
    refuse_two_values(files, layers["environment"], KEYS)
    return files


def _refuse_contradictions(limits: LimitSettings) -> None:
    url = limits.redis_url
    if (limits.redis_cert is None) != (limits.redis_key is None):
        raise ConfigError("redis_cert: our certificate for Redis and its key go together; set both or none")
    if url is not None and not url.tls and (limits.redis_ca or limits.redis_cert):
        raise ConfigError(
            "REDIS_URL: is without TLS, and certificates are set for it; write `rediss`, or unset them"
        )
    if limits.redis_sentinel_user and not limits.redis_sentinel_password:
        raise ConfigError("redis_sentinel_user: has no password; set AUTHZ_REDIS_SENTINEL_PASSWORD")
    if limits.redis_sentinel_password and url is not None and url.kind is not RedisKind.SENTINEL:
        raise ConfigError(
            "redis_sentinel_password: REDIS_URL names no Sentinel; write `+sentinel`, or unset it"
        )


def _refuse_record_contradictions(record: RecordSettings) -> None:
    if (record.record_cert is None) != (record.record_key is None):
        raise ConfigError("record_cert: our certificate for sinks and its key go together; set both or none")
    if record.record_pseudonyms and record.record_pseudonym_key is None:
        raise ConfigError(
            "record_pseudonyms: needs a key; set AUTHZ_RECORD_PSEUDONYM_KEY to 32 random bytes or more"
        )
    for name, floor, why in _FLOORS:
        if 0 < getattr(record, name) < floor:
            raise ConfigError(f"{name}: {why}; say {floor} or more, or 0 for the default")
    if record.record_redis_user and record.record_redis_password is None:
        raise ConfigError("record_redis_user: has no password; set AUTHZ_RECORD_REDIS_PASSWORD")
    if bool(record.record_kafka_user) != (record.record_kafka_password is not None):
        raise ConfigError("record_kafka_user: user and password go together; set both or none")


def _is_local(address: Address) -> bool:
    return isinstance(address, UnixAddress) or address.is_loopback


def _as_bytes(environ: Mapping[bytes, bytes] | Mapping[str, str]) -> dict[bytes, bytes]:
    return {_bytes(name): _bytes(value) for name, value in environ.items()}


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _without_empty_url(environ: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Drop a shared URL that a compose file passes on empty, since nobody here reads it.

    An empty REDIS_URL stops us: taken for none, each sidecar would grant every limit for itself.
    """
    return {name: value for name, value in environ.items() if value or name != _IGNORED_URL}


def _file(toml: Path | None, environ: Mapping[bytes, bytes]) -> Path | None:
    if toml is not None:
        return toml
    named = environ.get(sources.CONFIG_ENV.encode())
    if named is not None:
        return Path(named.decode("utf-8", "surrogateescape"))
    return sources.DEFAULT_FILE if sources.DEFAULT_FILE.exists() else None


def _directory_defaults(environ: Mapping[bytes, bytes]) -> Layer:
    """Place sockets and state in the user's directories. Source: XDG Base Directory Specification 0.8."""
    runtime = _xdg(environ, b"XDG_RUNTIME_DIR", RUNTIME_DIR)
    return {
        "serve": {"listen": [f"unix:{runtime}/authz.sock"], "debug": f"unix:{runtime}/debug.sock"},
        "snapshot": {"state": str(_xdg(environ, b"XDG_STATE_HOME", STATE_DIR))},
    }


def _xdg(environ: Mapping[bytes, bytes], name: bytes, otherwise: Path) -> Path:
    directory = environ.get(name, b"").decode("utf-8", "surrogateescape")
    return Path(directory) / "authz" if directory.startswith("/") else otherwise


def _origins(layers: Mapping[str, Layer], path: Path | None) -> dict[str, str]:
    """Return for every key that was set where its winning value stands, in the user's words."""
    origins: dict[str, str] = {}
    for source in (
        "defaults",
        "file",
        "secret_files",
        "environment",
        "flags",
    ):  # the strongest comes last and stays
        for room in layers[source].values():
            origins |= {name: _origin(source, KEYS[name], path) for name in room}
    return origins


def _origin(source: str, key: Key, path: Path | None) -> str:
    match source:
        case "flags":
            return key.flag or key.name
        case "environment":
            return key.env
        case "secret_files":
            return f"{key.env} in its file"
        case "file":
            return f"{path}: {key.name}"
        case _:
            return f"default of {key.name}"
