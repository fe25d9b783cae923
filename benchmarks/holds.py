"""How long the reactor was held under each load: between two polls everybody else waits."""

from __future__ import annotations

import os
import signal
import time
from array import array

from attrs import frozen

from benchmarks.servers import Running

LIMIT = 0.025
"""Seconds that nobody should have to wait for the others."""

PATIENCE = 30.0
"""Seconds in which the server has to write down what it saw."""


@frozen
class Hold:
    """The turns of the reactor under one load.

    The processor time of the reactor's thread tells work from waiting: for the disk, for another
    thread that has the interpreter's lock, or for a processor that another process has.
    """

    load: str
    server: str
    turns: int
    longest_ms: float
    longest_cpu_ms: float
    """Of processor time; it may be another turn."""
    p999_ms: float
    over: int
    """Turns longer than ``LIMIT``."""
    over_cpu: int
    """Turns with more processor time than ``LIMIT``."""


def of(load: str, server: str, turns: list[tuple[float, float]]) -> Hold:
    """Sum up at least one turn: the seconds that passed, the seconds of processor time."""
    walls = sorted(wall for wall, _ in turns)
    return Hold(
        load=load,
        server=server,
        turns=len(walls),
        longest_ms=1e3 * walls[-1],
        longest_cpu_ms=1e3 * max(cpu for _, cpu in turns),
        p999_ms=1e3 * walls[min(len(walls) - 1, len(walls) * 999 // 1000)],
        over=sum(wall > LIMIT for wall in walls),
        over_cpu=sum(cpu > LIMIT for _, cpu in turns),
    )


def taken(here: Running) -> list[tuple[float, float]]:
    """The turns that a watched server has made since it was asked the last time."""
    file = here.holds
    os.kill(here.pid, signal.SIGUSR2)
    end = time.monotonic() + PATIENCE
    while not file.exists():
        if time.monotonic() > end:
            raise RuntimeError(f"{here.server.name} does not write down how its reactor was held")
        time.sleep(0.01)
    turns = parsed(file.read_bytes())
    file.unlink()
    return turns


def parsed(data: bytes) -> list[tuple[float, float]]:
    """The pairs of doubles that the watch wrote."""
    numbers = array("d", data)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def table(found: list[Hold]) -> str:
    """As Markdown."""
    limit = f"{1e3 * LIMIT:.0f} ms"
    lines = [
        "| load | server | turns | longest ms | longest CPU ms | p99.9 ms "
        f"| turns > {limit} | turns > {limit} of CPU |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for each in found:
        lines.append(
            f"| {each.load} | {each.server} | {each.turns:,} "
            f"| {each.longest_ms:.1f} | {each.longest_cpu_ms:.1f} "
            f"| {each.p999_ms:.2f} | {each.over} | {each.over_cpu} |"
        )
    return "\n".join(lines)
