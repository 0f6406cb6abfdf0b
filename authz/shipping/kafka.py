"""Records into a topic of Kafka: many lines a message, all of a stream with one key, so in one partition.

In: batches. Out: messages of at most `VALUE_BYTES` of whole lines, unless one line is longer.
Needs the extra `kafka`; without it the import of this module raises ModuleNotFoundError.

INVARIANT: a producer that failed once is of no more use. What waits in it is thrown away and a new one is
made: otherwise it might send later what we offer again meanwhile, behind what came after.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from time import monotonic

from confluent_kafka import KafkaError, KafkaException, Producer

from authz.model.sink import SinkAddress
from authz.shipping.delivery import Batch, Refused, Unavailable
from authz.shipping.errand import Access
from authz.shipping.kafka_client import Reports, Trouble, configuration, error_of, words_of
from authz.shipping.tls import client_context

FORMAT = b"authz-records/1"
VALUE_BYTES = 128 * 1024  # 145 records of 900 bytes, a tenth of it compressed; brokers take 1 MiB unless told
VALUE_MIN_BYTES = 1024  # a topic that takes less takes no record
BATCH_BYTES = 1024 * 1024  # one round trip to the brokers carries a thousand records

_SLICE_S = 0.1  # how often a delivery asks whether there is any hope
_PURGE_S = 1.0
# By the library's names of errors; with an underscore its own, else a broker's.
_TOO_LARGE = ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE")
_NO_TOPIC = ("_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION")
_HINTS = {
    **dict.fromkeys(_NO_TOPIC, "create the topic `{topic}`"),
    "_AUTHENTICATION": "see `record_kafka_user` and `record_kafka_password`",
    "TOPIC_AUTHORIZATION_FAILED": "let our user write to the topic `{topic}`",
    "CLUSTER_AUTHORIZATION_FAILED": "let our user do `IdempotentWrite` on the cluster",
    "_SSL": "see `record_ca`, `record_cert` and `record_key`",
}


class KafkaSink:
    """Produces messages to one topic. It connects when it has something to deliver.

    Args:
        address: brokers to begin with, and the topic.
        access: who we are there.
    """

    def __init__(self, address: SinkAddress, access: Access, name: str) -> None:
        self._address, self._access, self._name = address, access, name
        self._producer: Producer | None = None
        self._trouble = Trouble(name)
        self._value_bytes = VALUE_BYTES
        self._reopen = False

    @property
    def name(self) -> str:
        """Its name in metrics and logs."""
        return self._name

    @property
    def batch_bytes(self) -> int:
        """How much it is glad to take at once."""
        return BATCH_BYTES

    def deliver(self, batch: Batch) -> None:
        """Produce a batch, and wait until all replicas that count have it.

        Raises:
            Unavailable: not now. What brokers may have taken all the same is offered again: at least once.
            Refused: a message is larger than the topic takes; from now on they are smaller.
        """
        try:
            producer = self._connected()
            self._wait(producer, self._produce(producer, batch))
        except (BufferError, KafkaException) as error:
            self.close()
            raise self._failure(error_of(error)) from None
        except BaseException:
            self.close()
            raise

    def reopen(self) -> None:
        """Begin with a new client at the next batch."""
        self._reopen = True

    def close(self) -> None:
        """Throw away what waits, and end the client with its threads."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaException):
                producer.purge()
                producer.flush(_PURGE_S)
                producer.close()

    def _connected(self) -> Producer:
        if self._reopen:
            self._reopen = False
            self.close()
        if self._producer is None:
            if self._address.tls:
                client_context(self._access)  # says which setting names a file that is of no use
            self._producer = Producer(configuration(self._address, self._access, self._trouble))
        self._producer.poll(0)  # what happened since the last batch does not concern this one
        self._trouble.forget()
        return self._producer

    def _produce(self, producer: Producer, batch: Batch) -> Reports:
        values = list(split(batch.lines, self._value_bytes))
        reports = Reports(len(values))
        for number, value in enumerate(values, 1):
            producer.produce(
                self._address.target,
                value,
                batch.stream,
                on_delivery=reports.note,
                headers=[
                    ("format", FORMAT),
                    ("first_seq", b"%d" % batch.first_seq),
                    ("last_seq", b"%d" % batch.last_seq),
                    ("part", b"%d/%d" % (number, len(values))),
                ],
            )
        return reports

    def _wait(self, producer: Producer, reports: Reports) -> None:
        deadline_s = monotonic() + self._access.timeout_s
        while reports.waiting and not self._trouble.hopeless and (left_s := deadline_s - monotonic()) > 0:
            producer.flush(min(_SLICE_S, left_s))
        if reports.waiting or reports.error is not None:
            raise self._failure(reports.error)

    def _failure(self, error: KafkaError | None) -> Unavailable | Refused:
        """Return what went wrong; that time ran out says less than what the client met meanwhile."""
        if error is not None and error.name() in _TOO_LARGE:
            self._value_bytes = max(VALUE_MIN_BYTES, self._value_bytes // 2)
            return Refused(f"{self._address}: a message is larger than the topic takes")
        if error is None or error.name() == "_MSG_TIMED_OUT":
            error = self._trouble.cause or error
        if error is None:
            return Unavailable(f"{self._address}: no answer in time")
        hint = _HINTS.get(error.name(), "").format(topic=self._address.target)
        return Unavailable(f"{self._address}: {words_of(error.str())}{hint and f'; {hint}'}")


def split(lines: bytes, most: int) -> Iterator[bytes]:
    """Split lines into values: whole lines, without the last newline of each value.

    Args:
        most: bytes of one value, unless one line alone is longer.
    """
    at, end = 0, len(lines)
    while at < end:
        cut = end if end - at <= most else lines.rfind(b"\n", at, at + most) + 1
        if cut <= at:
            cut = lines.find(b"\n", at) + 1 or end  # a line that is longer
        yield lines[at:cut].removesuffix(b"\n")
        at = cut
