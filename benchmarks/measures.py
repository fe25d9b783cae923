"""What /proc knows of a server: the processor time and the memory of all its processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")

LOOK = 0.1
"""Seconds between two looks at a server that comes to rest."""

BUSY = 0.1
"""Share of a processor; whatever uses less is at rest."""

PATIENCE = 5.0
"""Seconds that a server gets for it. One that is never idle is measured all the same."""


def _stat(pid: int) -> list[str]:
    # The name, in parentheses, may hold anything; what follows the last one is numbers.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu_seconds(pid: int) -> float:
    """The user and system time of a process and its descendants."""
    ticks = 0
    for each in family(pid):
        fields = _stat(each)
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def cpu_seconds_at_rest(pid: int) -> float:
    """The same once the server is at rest: what it does behind its answers counts, too."""
    end = time.monotonic() + PATIENCE
    before = cpu_seconds(pid)
    while time.monotonic() < end:
        time.sleep(LOOK)
        now = cpu_seconds(pid)
        if now - before < BUSY * LOOK:
            return now
        before = now
    return before


def peak_kib(pid: int) -> int:
    """The most memory that a process and its descendants had, added up."""
    return _kib(pid, "VmHWM:")


def rss_kib(pid: int) -> int:
    """The memory that a process and its descendants have now, added up."""
    return _kib(pid, "VmRSS:")


def _kib(pid: int, field: str) -> int:
    total = 0
    for each in family(pid):
        for line in Path(f"/proc/{each}/status").read_text().splitlines():
            if line.startswith(field):
                total += int(line.split()[1])
    return total
