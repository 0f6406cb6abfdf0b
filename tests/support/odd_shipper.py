"""A process in place of the one that ships records, for tests of its parent. PYTHON_ODD says what it does.

tell FILE   report, write down what is told, end on `drain`
die         report once and end
cannot      say why it cannot work, and end
mute        say nothing
"""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path

from authz.record.ledger import Change
from authz.shipping.report import DRAIN, Report, SinkState, encode, receive_errand


def main() -> None:
    """Be odd."""
    link = socket.socket(fileno=int(sys.argv[1]))
    errand = receive_errand(link)
    way, _, file = os.environ["PYTHON_ODD"].partition(" ")
    if way == "mute":
        time.sleep(60)
        return
    down = SinkState("http", up=False, why="it answers 503")
    said = Report(cannot="there is no such sink") if way == "cannot" else Report(beat=True, sinks=[down])
    counted: list[Change] = [("authz_spool_streams", (), float(errand.spool_bytes))]
    link.sendall(encode(Report(said.beat, counted, said.sinks, cannot=said.cannot)) + b"\n")
    heard = b""
    while way == "tell" and not heard.endswith(DRAIN):
        heard += link.recv(100)
    if file:
        secrets = {name: value for name, value in os.environ.items() if "CANARY" in value}
        Path(file).write_text(f"{heard.decode()}{secrets}{sys.argv}")


if __name__ == "__main__":
    main()
