"""A mount that can never change is told once."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from authz.snapshot.scan import Watched
from authz.wiring.mounts import Mounts
from tests.support.sets import events

LINE = "36 35 98:0 /pods/1/volume-subpaths/p/authz/0 /policies rw - ext4 /dev/root rw\n"


def watched(*directories: str) -> Watched:
    return Watched({}, frozenset(), frozenset(directories))


def test_each_mount_is_told_once_and_counted_while_it_is_there(tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(LINE)
    made = Mounts(mountinfo)
    with capture_logs() as logs:
        made.look(watched("/elsewhere"))
        assert not made.frozen
        for _ in range(3):
            made.look(watched("/policies"))
        assert [one.point for one in made.frozen] == ["/policies"]
        mountinfo.write_text("")
        made.look(watched("/policies"))
        assert not made.frozen
        mountinfo.write_text(LINE)
        made.look(watched("/policies"))
    (line,) = events(logs, "policies are mounted so that they can never change")
    assert line["mount"] == "/policies"
    assert "subPath" in line["why"]


def test_a_system_that_does_not_tell_of_mounts_has_none(tmp_path: Path) -> None:
    made = Mounts(tmp_path / "nowhere")
    made.look(watched("/policies"))
    assert not made.frozen
