"""What goes over the socket between a process and a child of it."""

from __future__ import annotations

import socket
import threading

import pytest

from authz.config.handover import receive_whole, send_whole, whole_lines


def test_what_is_sent_whole_is_received_whole() -> None:
    ours, theirs = socket.socketpair()
    data = bytes(range(256)) * 4096
    sender = threading.Thread(target=send_whole, args=(ours, data))
    sender.start()
    assert receive_whole(theirs) == data
    sender.join()
    ours.close()
    theirs.close()


@pytest.mark.parametrize("sent", [b"", b"\0\0\0", (9).to_bytes(8, "big") + b"half"])
def test_who_is_gone_before_all_was_sent_is_told_apart(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(sent)
        ours.close()
        with pytest.raises(EOFError):
            receive_whole(theirs)


def test_half_a_line_is_no_line() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(b"one\ntwo\nthr")
        ours.close()
        assert list(whole_lines(theirs)) == [b"one\n", b"two\n"]


def test_silence_that_lasts_too_long_is_an_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0.01)
        ours.sendall(b"one\n")
        assert list(whole_lines(theirs)) == [b"one\n"]
