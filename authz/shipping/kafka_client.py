"""How the library for Kafka is set up, and what it says of itself: the other half of `kafka.py`."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from confluent_kafka import KafkaError, KafkaException, Message

from authz.config.log import get_logger
from authz.model.sink import SinkAddress
from authz.shipping.errand import Access

WORDS_MAX = 200
"""Characters of the library's words, which may be a broker's, in one of our lines."""

_LOG_EVERY_S = 10.0  # it says the same of each broker and each try; an outage is logged by whoever retries
_ANSWER_MAX_BYTES = 8 * 1024 * 1024  # room is made when a length is read, which may be no broker's
_WARNING = 4  # of syslog, as the library counts: smaller is worse
_ALL_DOWN = "_ALL_BROKERS_DOWN"
_HOPELESS = (_ALL_DOWN, "_AUTHENTICATION", "_FATAL")  # one batch need not wait for these to pass

_log = get_logger("shipping")


def configuration(address: SinkAddress, access: Access, trouble: Trouble) -> dict[str, object]:
    """Return the library's settings. Source: CONFIGURATION.md of librdkafka 2.x."""
    timeout_ms = int(access.timeout_s * 1000)
    return {
        "bootstrap.servers": ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in address.servers
        ),
        "client.id": "authz",
        "enable.idempotence": True,  # order within a partition survives its own retries; sets acks=all
        "acks": "all",
        "compression.type": "zstd",
        "partitioner": "murmur2_random",  # a key's partition is the one that Java's clients find
        "linger.ms": 0,  # a batch is one message: nothing else is on its way
        "message.timeout.ms": timeout_ms,
        "request.timeout.ms": timeout_ms,
        "socket.timeout.ms": max(timeout_ms, 1000),
        "socket.connection.setup.timeout.ms": max(timeout_ms, 1000),
        "socket.keepalive.enable": True,
        "topic.metadata.propagation.max.ms": min(timeout_ms // 2, 2000),  # a topic may just have been made
        "receive.message.max.bytes": _ANSWER_MAX_BYTES,
        "log.connection.close": False,  # brokers hang up on who is idle
        "log_level": _WARNING,
        "logger": trouble.said,
        "error_cb": trouble.note,
        **_security(address, access),
    }


def _security(address: SinkAddress, access: Access) -> dict[str, object]:
    sasl = bool(access.kafka_user or access.kafka_password)
    plain, tls = ("SASL_PLAINTEXT", "SASL_SSL") if sasl else ("PLAINTEXT", "SSL")
    found: dict[str, object] = {"security.protocol": tls if address.tls else plain}
    if sasl:
        found["sasl.mechanism"] = "SCRAM-SHA-512"  # the password itself is never sent
        found["sasl.username"], found["sasl.password"] = access.kafka_user, access.kafka_password
    if address.tls:
        # SECURITY: the default, and said all the same: a certificate must name the broker.
        found["ssl.endpoint.identification.algorithm"] = "https"
        paths = {
            "ssl.ca.location": access.ca,
            "ssl.certificate.location": access.cert,
            "ssl.key.location": access.key,
        }
        found |= {name: str(path) for name, path in paths.items() if path is not None}
    return found


class Trouble:
    """What goes wrong with a client as a whole, while one batch is delivered."""

    def __init__(self, name: str) -> None:
        self.said = Said(name)  # outlives clients, of which an outage makes many
        self.cause: KafkaError | None = None
        self.hopeless = False

    def note(self, error: KafkaError) -> None:
        """Take an error. The library calls it from within `poll` and `flush`."""
        self.hopeless = self.hopeless or error.name() in _HOPELESS
        # That all brokers are down says less than why the last one is.
        if error.name() != _ALL_DOWN or self.cause is None:
            self.cause = error

    def forget(self) -> None:
        """Begin a new delivery."""
        self.cause, self.hopeless = None, False


class Report:
    """What becomes of one message."""

    def __init__(self) -> None:
        self.came = False
        self.error: KafkaError | None = None

    def note(self, error: KafkaError | None, _: Message) -> None:
        """Take a delivery report."""
        self.came, self.error = True, error


class Said:
    """Takes the library's log where it wants a logger: at most a line in ten seconds goes to ours."""

    def __init__(self, name: str, clock: Callable[[], float] = monotonic) -> None:
        self._name, self._clock = name, clock
        self._next_s = 0.0
        self._omitted = 0

    def log(self, level: int, text: str, *words: object) -> None:
        """Take a line. The library calls it from within `poll` and `flush`."""
        now = self._clock()
        if now < self._next_s:
            self._omitted += 1
            return
        line = words_of(text % words if words else text)
        _log.info("the library for Kafka says", sink=self._name, line=line, omitted=self._omitted)
        self._next_s, self._omitted = now + _LOG_EVERY_S, 0


def words_of(text: str) -> str:
    """Return the library's or a broker's words as one line that is fit for a log."""
    line = text.removeprefix("Local: ").removeprefix("Broker: ").partition(" (after ")[0]
    return line.encode("unicode_escape").decode("ascii")[:WORDS_MAX]


def error_of(error: BufferError | KafkaException) -> KafkaError | None:
    """Return what an exception of the library carries."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, KafkaError) else None
