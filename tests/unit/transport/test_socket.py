from __future__ import annotations

import fcntl
import socket
from pathlib import Path

import pytest

from authz.model.errors import ConfigError
from authz.transport import socket as socket_module
from authz.transport.socket import claim


def test_a_claimed_path_cannot_be_claimed_again_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "authz.sock"
    first = claim(path)
    with pytest.raises(ConfigError, match="another process serves there"):
        claim(path)
    first.release()
    claim(path).release()


def test_release_removes_socket_and_lock_and_may_be_called_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "authz.sock"
    held = claim(path)
    path.touch()
    held.release()
    held.release()
    assert list(path.parent.iterdir()) == []


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    held = claim(path)
    assert not path.exists()
    held.release()


def test_a_live_socket_without_a_lock_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen(1)
        with pytest.raises(ConfigError, match="another process serves there"):
            claim(path)
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "authz.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="no socket"):
        claim(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["authz.sock"]
    assert path.read_text() == "precious"


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (tmp_path / "authz.sock.lock").symlink_to(victim)
    with pytest.raises(ConfigError, match="choose a path"):
        claim(tmp_path / "authz.sock")
    assert not victim.exists()


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose a path") as raised:
        claim(tmp_path / "file" / "authz.sock")
    assert "\n" not in str(raised.value)


def test_a_lock_that_its_owner_removed_between_our_two_steps_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "authz.sock", fcntl.flock
    tries: list[int] = []

    def flock(fd: int, operation: int) -> None:
        if not tries:
            path.with_name("authz.sock.lock").unlink()
        tries.append(fd)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    held = claim(path)
    assert len(tries) == 2
    assert path.with_name("authz.sock.lock").exists()
    held.release()


def test_a_lock_that_keeps_being_replaced_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authz.sock"
    monkeypatch.setattr(fcntl, "flock", lambda *_: path.with_name("authz.sock.lock").unlink())
    with pytest.raises(ConfigError, match="another process serves there"):
        claim(path)


def test_a_live_socket_that_cannot_be_asked_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen(0)
        monkeypatch.setattr(socket_module, "_PROBE_TIMEOUT_S", 0.01)
        fillers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(str(path))  # until the backlog is full
        with pytest.raises(ConfigError, match="another process serves there"):
            claim(path)
        for filler in fillers:
            filler.close()
    assert path.exists()
