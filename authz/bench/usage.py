"""What a process has used, from the kernel's own accounting. Source: proc(5)."""

from __future__ import annotations

import os
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_AFTER_NAME = 2  # fields before utime are counted from behind the name, which may hold spaces


def cpu_s(pid: int) -> float:
    """Return the CPU seconds, user and system, of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13 - _AFTER_NAME]) + int(fields[14 - _AFTER_NAME])) * TICK_S


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
