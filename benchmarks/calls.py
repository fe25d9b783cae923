"""The system calls of gostore, a request, counted by strace."""

from __future__ import annotations

import http.client
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import frozen

from benchmarks import servers
from benchmarks.loads import HOT

CONNECTIONS = 32
BODY = b"x" * 1024

RARE = 0.01
"""Calls a request; what is rarer has no row of its own."""


@frozen
class Calls:
    """The system calls of all threads while so many requests were answered."""

    method: str
    requests: int
    calls: dict[str, int]


def request_all(port: int, method: str, count: int) -> None:
    """So many requests of 1 KiB over 32 connections. Raises RuntimeError for one that failed."""

    def some(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for number in range(first, count, CONNECTIONS):
            name = f"new-{number}" if method == "POST" else f"kept-{number % HOT}"
            connection.request(method, f"/store/{name}", BODY if method == "POST" else None)
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (200, 201, 204):
                raise RuntimeError(f"{method} {name}: {answer.status}")
        connection.close()

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(some, range(CONNECTIONS)))


def counted(here: servers.Running, method: str, count: int, summary: Path) -> dict[str, int]:
    """System calls of the server while it answers, by name."""
    command = ["strace", "-c", "-f", "-o", str(summary), "-p", str(here.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        try:
            # It says so when it has attached.
            line = strace.stderr.readline() if strace.stderr else ""
            if "attached" not in line:
                raise RuntimeError(f"strace: {line}")
            request_all(here.port, method, count)
        finally:
            strace.send_signal(signal.SIGINT)
    return parse(summary.read_text())


def parse(summary: str) -> dict[str, int]:
    """Names and calls of strace -c; a line is percent, seconds, us, calls, errors or none, name."""
    found = {}
    for line in summary.splitlines():
        words = line.split()
        if len(words) in (5, 6) and words[3].isdigit() and words[-1] != "total":
            found[words[-1]] = int(words[3])
    return found


def table(found: list[Calls]) -> str:
    """Calls a request as a Markdown table, most frequent first; the rare ones are added up."""
    counts = [{name: n / each.requests for name, n in each.calls.items()} for each in found]
    often = {name for each in counts for name, n in each.items() if n >= RARE}

    def row(name: str, values: list[float]) -> str:
        return f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |"

    heads = [f"{each.requests:,} {each.method}s" for each in found]
    lines = [f"| call | {' | '.join(heads)} |", f"|---|{'--:|' * len(found)}"]
    for name in sorted(often, key=lambda name: (-max(e.get(name, 0) for e in counts), name)):
        lines.append(row(name, [each.get(name, 0) for each in counts]))
    rest = [sum(n for name, n in each.items() if name not in often) for each in counts]
    lines.append(row("all others", rest))
    lines.append(row("total", [sum(each.values()) for each in counts]))
    return "\n".join(lines)


def measure(server: servers.Server, base: Path, gets: int, posts: int) -> list[Calls]:
    """Count the calls of GETs, then of POSTs, of a daemon with its data under ``base``."""
    with servers.running(server, base) as here:
        here.fill((f"kept-{number}", BODY) for number in range(HOT))
        return [
            Calls(method, count, counted(here, method, count, base / "summary"))
            for method, count in (("GET", gets), ("POST", posts))
        ]
