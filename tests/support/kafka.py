"""A real Kafka for tests: one broker of its own controller, from jars that Maven fetches once.

It listens three times on the loopback: in the clear; over TLS for clients with a certificate of its CA; over
TLS for a user with a password (SCRAM). Two seconds until it answers, 200 MiB while it runs.
"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from authz.model.errors import NotStarted
from authz.proxy.process import Child, Plan, tail
from authz.proxy.stage import short_directory
from tests.support.certificates import Authority
from tests.support.redis import LOOPBACK, free_ports

VERSION = "4.0.0"
USER, PASSWORD = "authz", "canary-kafka-password"
ANSWER_S = 60.0  # two seconds, and fifteen where a machine does ten other things
_FETCH_S = 300.0
_POM = Path(__file__).with_name("kafka.pom.xml")
_JAVA = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_TRIES = 3  # of ports: another test may take one between our look and the broker's


class Taken(NamedTuple):
    """A message as a consumer gets it."""

    partition: int
    key: bytes
    value: bytes
    headers: dict[str, bytes]


class KafkaServer:
    """A broker that runs. Its process may be paused, killed and started again on the same ports and data.

    Args:
        directory: where its data, certificates and log are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority()
        self.ca = self.authority.written(directory)
        plain, mtls, scram, controller = free_ports(4)
        self.bootstrap = f"{LOOPBACK}:{plain}"
        self.bootstrap_mtls, self.bootstrap_scram = f"{LOOPBACK}:{mtls}", f"{LOOPBACK}:{scram}"
        self._id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._config = directory / "server.properties"
        self._config.write_text(self._properties(controller), encoding="utf-8")
        self.child: Child
        self._format()
        self.start()

    def _properties(self, controller: int) -> str:
        cert, key = self.authority.server().written(self.directory, "broker")
        store = self.directory / "broker.pem"
        store.write_bytes(key.read_bytes() + cert.read_bytes())
        listeners = {"PLAIN": self.bootstrap, "MTLS": self.bootstrap_mtls, "SCRAM": self.bootstrap_scram}
        named = ",".join(f"{name}://{where}" for name, where in listeners.items())
        found = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
            "listeners": f"{named},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": named,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,MTLS:SSL,SCRAM:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAIN",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": store,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.ca,
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": _SCRAM,
            "log.dirs": self.directory / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": 1000,  # one that was killed may come back at once
            "broker.heartbeat.interval.ms": 200,
            "num.network.threads": 1,
            "num.io.threads": 2,
            "log.cleaner.enable": "false",
        }
        return "".join(f"{name}={value}\n" for name, value in found.items())

    def _command(self, main: str, *words: str) -> list[str]:
        java = shutil.which("java") or "java"
        return [
            java,
            *_JAVA,
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            f"{jars()}/*",
            main,
            *words,
        ]

    def _format(self) -> None:
        secret = f"SCRAM-SHA-512=[name={USER},password={PASSWORD},iterations=4096]"
        words = ("format", "-t", self._id, "-c", str(self._config), "--add-scram", secret)
        subprocess.run(
            self._command("kafka.tools.StorageTool", *words), check=True, capture_output=True, timeout=60
        )

    def start(self) -> None:
        """Start it on what it had, and wait until it answers."""
        log = self.directory / "kafka.log"
        self.child = Child(Plan("kafka", self._command("kafka.Kafka", str(self._config)), log, log))
        try:
            self.child.wait_until(self.answers, ANSWER_S)
        except NotStarted:
            self.child.stop()
            raise

    def answers(self) -> bool:
        """Whether our own broker answers."""
        try:
            return self._admin().list_topics(timeout=1.0).cluster_id == self._id
        except KafkaException:
            return False

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    @property
    def pid(self) -> int:
        """Its process."""
        return self.child.pid

    def stop(self) -> None:
        """End it politely."""
        self.child.stop()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.child.send(signal.SIGKILL)
        self.child.wait(5.0)

    def pause(self) -> None:
        """Keep it from running; connections stay open, and nothing answers."""
        self.child.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self.child.send(signal.SIGCONT)

    def create_topic(self, name: str = "", partitions: int = 1, **config: str) -> str:
        """Make a topic and return its name; `config` has `_` for `.`.

        Args:
            name: "": one that nobody else uses.
        """
        name = name or f"records-{uuid.uuid4().hex[:12]}"
        named = {key.replace("_", "."): value for key, value in config.items()}
        admin = self._admin()  # gone, it would take its answers with it
        admin.create_topics([NewTopic(name, partitions, 1, config=named)])[name].result(ANSWER_S)
        return name

    def read_all(self, topic: str) -> list[Taken]:
        """Return every message that a topic holds now, partition by partition, in order."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "tests",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,  # what comes is there already
            }
        )
        try:
            count = len(consumer.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions)
            parts = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(count)]
            left = sum(consumer.get_watermark_offsets(part, timeout=ANSWER_S)[1] for part in parts)
            consumer.assign(parts)
            return sorted(_taken(consumer, left), key=lambda one: one.partition)
        finally:
            consumer.close()

    def lines(self, topic: str) -> list[bytes]:
        """Return every line that a topic holds now, as `read_all`."""
        return [line for message in self.read_all(topic) for line in message.value.split(b"\n")]

    def __enter__(self) -> KafkaServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.resume()
        self.kill()  # nobody needs its data


def _taken(consumer: Consumer, left: int) -> Iterator[Taken]:
    end = time.monotonic() + ANSWER_S
    while left:
        for message in consumer.consume(left, 0.2):
            assert message.error() is None, message.error()
            headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
            yield Taken(message.partition() or 0, message.key() or b"", message.value() or b"", headers)
            left -= 1
        assert time.monotonic() < end, f"{left} messages did not come"


@contextmanager
def kafka() -> Iterator[KafkaServer]:
    """Start a broker; `bootstrap` is its address. It ends with the context."""
    directory = short_directory()
    try:
        with _started(directory) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _started(directory: Path) -> KafkaServer:
    for left in reversed(range(_TRIES)):
        try:
            return KafkaServer(Path(tempfile.mkdtemp(dir=directory)))
        except NotStarted:
            if not left:
                raise
    raise AssertionError("the last try raised")


def kafka_is_missing() -> str:
    """Return why no broker can be started here; "" where one can."""
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if missing:
        return f"there is no {' and no '.join(missing)}; Debian: default-jre-headless, maven"
    try:
        jars()
    except NotStarted as error:
        return str(error)
    return ""


def jars() -> Path:
    """Return where the jars are, and fetch them first where they are not."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "authz-tests"
    there = home / f"kafka-{VERSION}"
    if there.is_dir():
        return there
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of tests may be at it
        if not there.is_dir():
            _fetch(there)
    return there


def _fetch(there: Path) -> None:
    """Have Maven bring them; the directory is there at once or not at all."""
    partly = Path(tempfile.mkdtemp(dir=there.parent))
    command = [
        "mvn",
        "-q",
        "-B",
        "-f",
        str(_POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={partly}",
    ]
    log = there.parent / "mvn.log"
    try:
        with log.open("wb") as output:
            subprocess.run(command, check=True, stdout=output, stderr=output, timeout=_FETCH_S)
        partly.rename(there)
    except (OSError, subprocess.SubprocessError):
        shutil.rmtree(partly, ignore_errors=True)
        raise NotStarted(f"Maven did not bring the jars of Kafka; its log is {log}", tail(log)) from None
