"""Where `authz limits` looks for buckets: in Redis by the settings of `serve`, and in a running sidecar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from authz.cli import door
from authz.config.settings import Settings
from authz.limits.inquiry import Answers, Inquiry, answers_of, encode
from authz.limits.redis.inspect import inspector
from authz.limits.redis.keys import Keys
from authz.lookout.in_redis import InRedis
from authz.lookout.in_sidecar import InSidecar
from authz.model.address import Address, UnixAddress
from authz.model.errors import ConfigError, StoreUnavailable
from authz.model.redis_address import Login, RedisTls

_ANSWER_MAX_BYTES = 64 * 1024 * 1024  # 64 workers, each with a thousand buckets of two stores


def sidecar(settings: Settings, keys: Keys, *, wanted: bool) -> InSidecar | None:
    """Return the running sidecar.

    Args:
        wanted: nothing else is asked; else None where none seems to run here.

    Raises:
        ConfigError: the operator switched its debug socket off.
    """
    address = settings.serve.debug
    if address is None:
        if wanted:
            raise ConfigError("--debug: is `off`; name the address of `serve --debug`, or set REDIS_URL")
        return None
    if not wanted and isinstance(address, UnixAddress) and not address.path.exists():
        return None
    return InSidecar(
        partial(_asked, address, "/limits/find"), partial(_asked, address, "/limits/reset"), keys
    )


def _asked(address: Address, path: str, inquiry: Inquiry) -> Answers:
    reply = door.ask(address, path, _ANSWER_MAX_BYTES, encode(inquiry))
    return door.told(
        address, reply, answers_of, "knows nothing of limits; name the address of `serve --debug`"
    )


@contextmanager
def redis(settings: Settings, keys: Keys, visits_max: int) -> Iterator[InRedis]:
    """Connect to Redis as `serve` does.

    Raises:
        StoreUnavailable: it cannot be reached. One line that holds no password.
        ConfigError: a certificate cannot be used.
    """
    limits = settings.limits
    if limits.redis_url is None:
        raise ConfigError("REDIS_URL: is not set")
    secret = limits.redis_sentinel_password
    login = Login(limits.redis_sentinel_user, secret.get_secret_value() if secret else b"")
    tls = RedisTls(limits.redis_ca, limits.redis_cert, limits.redis_key)
    try:
        found = inspector(limits.redis_url, tls, login, keys.prefix, visits_max)
    except StoreUnavailable as error:
        raise StoreUnavailable(f"REDIS_URL: {error}") from None
    try:
        where = f"the keyspace `{limits.keyspace}` of {limits.redis_url}"
        yield InRedis(found, keys, where, _progress())
    except StoreUnavailable as error:
        raise StoreUnavailable(f"REDIS_URL: {error}") from None
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        found.close()


def _progress() -> Callable[[int, int], None]:
    """Return what tells how far a search is, where somebody watches."""

    def show(visited: int, total: int) -> None:
        of = f" of {total:,}" if total else ""
        sys.stderr.write(f"\r{min(visited, total or visited):,}{of} keys looked at\x1b[K")
        sys.stderr.flush()

    return show if sys.stderr.isatty() else lambda *_: None
