"""Records into a topic of Kafka: a batch is a message, a stream is a key, and so in one partition.

Needs the extra `kafka`; without it the import of this module raises ModuleNotFoundError.

INVARIANT: one message is on its way at a time. Behind one that is refused, or that no report comes of, others
might be taken, and stand before it when it is offered again.
INVARIANT: a producer whose message went missing is of no more use. What waits in it is thrown away and a new
one is made: otherwise it might send later what we offer again meanwhile, behind what came after.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from confluent_kafka import KafkaError, KafkaException, Producer

from authz.model.sink import SinkAddress
from authz.shipping.delivery import Batch, Refused, Unavailable
from authz.shipping.errand import Access
from authz.shipping.kafka_client import Report, Trouble, configuration, error_of, words_of
from authz.shipping.tls import client_context

FORMAT = b"authz-records/1"
BATCH_BYTES = 256 * 1024  # 290 records of 900 bytes, a tenth of it compressed; brokers take 1 MiB unless told

_SLICE_S = 0.1  # how often a delivery asks whether there is any hope
_PURGE_S = 1.0
# By the library's names of errors; with an underscore its own, else a broker's.
_TOO_LARGE = ("MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE")
_NO_TOPIC = ("_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION")
_HINTS = {
    **dict.fromkeys(_NO_TOPIC, "create the topic `{topic}`"),
    **dict.fromkeys(
        ("_AUTHENTICATION", "_INVALID_ARG"), "see `record_kafka_user` and `record_kafka_password`"
    ),
    "TOPIC_AUTHORIZATION_FAILED": "let our user write to the topic `{topic}`",
    "CLUSTER_AUTHORIZATION_FAILED": "let our user do `IdempotentWrite` on the cluster",
    "INVALID_TIMESTAMP": "the clock here is ahead of theirs, or behind",
    "_SSL": "see `record_ca`, `record_cert` and `record_key`",
}


class KafkaSink:
    """Produces messages to one topic. It connects when it has something to deliver.

    Args:
        address: brokers to begin with, and the topic.
        access: who we are there.
    """

    batch_bytes = BATCH_BYTES

    def __init__(self, address: SinkAddress, access: Access, name: str) -> None:
        self._address, self._access, self.name = address, access, name
        self._producer: Producer | None = None
        self._trouble = Trouble(name)
        self._reopen = False

    def deliver(self, batch: Batch) -> None:
        """Produce a batch, and wait until all replicas that count have it.

        Raises:
            Unavailable: not now. What brokers may have taken all the same is offered again: at least once.
            Refused: it is larger than the topic takes.
        """
        try:
            producer = self._connected()
            self._wait(producer, self._produce(producer, batch))
        except Refused:
            raise  # nothing waits: the producer is as good as before
        except (BufferError, KafkaException) as error:
            failure = self._failure(error_of(error))
            if isinstance(failure, Unavailable):
                self.close()
            raise failure from None
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
        reopen, self._reopen = self._reopen, False
        self._trouble.forget()
        if self._producer is not None:
            self._producer.poll(0)  # what happened since the last batch
            if reopen or self._trouble.hopeless:
                self.close()  # a new one learns at once whether brokers are back
        if self._producer is None:
            if self._address.tls:
                client_context(self._access)  # says which setting names a file that is of no use
            self._trouble.forget()
            self._producer = Producer(configuration(self._address, self._access, self._trouble))
        return self._producer

    def _produce(self, producer: Producer, batch: Batch) -> Report:
        report = Report()
        producer.produce(
            self._address.target,
            batch.lines.removesuffix(b"\n"),
            batch.stream,
            on_delivery=report.note,
            headers=[
                ("format", FORMAT),
                ("first_seq", b"%d" % batch.first_seq),
                ("last_seq", b"%d" % batch.last_seq),
            ],
        )
        return report

    def _wait(self, producer: Producer, report: Report) -> None:
        deadline_s = monotonic() + self._access.timeout_s
        while not report.came and not self._trouble.hopeless and (left_s := deadline_s - monotonic()) > 0:
            producer.flush(min(_SLICE_S, left_s))
        if not report.came or report.error is not None:
            raise self._failure(report.error)

    def _failure(self, error: KafkaError | None) -> Unavailable | Refused:
        """Return what went wrong; that time ran out says less than what the client met meanwhile."""
        if error is not None and error.name() in _TOO_LARGE:
            return Refused(f"{self._address}: a message is larger than the topic takes")
        if error is None or error.name() == "_MSG_TIMED_OUT":
            error = self._trouble.cause
        if error is None:
            return Unavailable(f"{self._address}: no answer in time")
        words = words_of(error.str())
        # A handshake that fails late is told as any other end of a connection.
        name = "_SSL" if self._address.tls and "SSL routines" in words else error.name()
        hint = _HINTS.get(name, "").format(topic=self._address.target)
        return Unavailable(f"{self._address}: {words}{hint and f'; {hint}'}")
