"""A Kafka of the bench's own: one broker, from jars that are on this machine already. It fetches none."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import uuid
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from authz.bench.redis_server import free_port
from authz.model.errors import NotStarted
from authz.proxy.process import Child, Plan

TOPIC = "records"

_JAVA = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_LOOPBACK = "127.0.0.1"
_START_S = 30.0
_FORMAT_S = 60.0
_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{loopback}:{controller}
listeners=PLAIN://{loopback}:{port},CONTROLLER://{loopback}:{controller}
advertised.listeners=PLAIN://{loopback}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
log.dirs={data}
num.partitions=1
offsets.topic.replication.factor=1
log.cleaner.enable=false
num.network.threads=1
num.io.threads=2
"""


def missing() -> str:
    """Return what a broker or its client lacks here; "" where nothing does."""
    if shutil.which("java") is None:
        return "java is not here: install Debian's default-jre-headless"
    if _jars() is None:
        return "the jars of Kafka are not here: the tests fetch them (tests/support/kafka.py)"
    if find_spec("confluent_kafka") is None:
        return "the extra `kafka` is not installed"
    return ""


def _jars() -> Path | None:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "authz-tests"
    found = sorted(one for one in home.glob("kafka-*") if one.is_dir())
    return found[-1] if found else None


class KafkaServer:
    """A broker that runs until the stack ends, with an empty topic.

    Raises:
        NotStarted: it does not come up.
    """

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self.data = directory / "kafka-data"
        config, log = directory / "kafka.properties", directory / "kafka.log"
        config.write_text(
            _PROPERTIES.format(loopback=_LOOPBACK, port=self.port, controller=free_port(), data=self.data),
            encoding="utf-8",
        )
        self._format(config)
        plan = Plan("Kafka", _command("kafka.Kafka", str(config)), log, log)
        self.child = stack.enter_context(Child(plan))
        self.child.wait_until(lambda: accepts(self.port), _START_S)

    @property
    def url(self) -> str:
        """As `record_sink` names it."""
        return f"kafka://{_LOOPBACK}:{self.port}/{TOPIC}"

    def disk_bytes(self) -> int:
        """Return what its segments hold."""
        return sum(file.stat().st_size for file in self.data.glob(f"{TOPIC}-*/*.log"))

    def _format(self, config: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        words = ("format", "-t", cluster, "-c", str(config))
        done = subprocess.run(  # noqa: S603 - our own words
            _command("kafka.tools.StorageTool", *words),
            capture_output=True,
            text=True,
            timeout=_FORMAT_S,
            check=False,
        )
        if done.returncode:
            raise NotStarted("Kafka's storage cannot be made", done.stderr[-500:])


def _command(main: str, *words: str) -> list[str]:
    java, jars = shutil.which("java"), _jars()
    if java is None or jars is None:
        raise NotStarted("there is no Kafka here", missing())
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [java, *_JAVA, quiet, "-cp", f"{jars}/*", main, *words]


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of the loopback."""
    with socket.socket() as line:
        line.settimeout(1.0)
        return line.connect_ex((_LOOPBACK, port)) == 0
