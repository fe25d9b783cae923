"""``python -m benchmarks.calls``: the system calls of gostore, a request, counted by strace."""

from __future__ import annotations

import argparse
import http.client
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import servers

CONNECTIONS = 32
BODY = b"x" * 1024


def request_all(port: int, method: str, count: int) -> None:
    """So many requests of 1 KiB over 32 connections. Raises RuntimeError for one that failed."""

    def some(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for number in range(first, count, CONNECTIONS):
            name = f"new-{number}" if method == "PUT" else f"kept-{number % 100}"
            connection.request(method, f"/store/{name}", BODY if method == "PUT" else None)
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


def table(calls: dict[str, int], count: int) -> str:
    """Calls a request as a Markdown table, most frequent first; the rare ones are added up."""
    lines = ["| call | a request |", "|---|--:|"]
    often = sorted(calls.items(), key=lambda item: -item[1])
    lines += [f"| {name} | {n / count:.3f} |" for name, n in often if n / count >= 0.01]
    rest = sum(n for _, n in often if n / count < 0.01)
    lines.append(f"| all others | {rest / count:.3f} |")
    lines.append(f"| total | {sum(calls.values()) / count:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.calls", description=__doc__)
    parser.add_argument("--gets", type=int, default=10_000)
    parser.add_argument("--puts", type=int, default=1_000)
    options = parser.parse_args()
    server = next(each for each in servers.SERVERS if each.name == "gostore")
    with tempfile.TemporaryDirectory(prefix="gostore-bench-") as name:
        base = Path(name)
        with servers.running(server, base / "run") as here:
            for number in range(100):
                here.put(f"kept-{number}", BODY)
            for method, count in (("GET", options.gets), ("PUT", options.puts)):
                began = time.monotonic()
                calls = counted(here, method, count, base / "summary")
                print(f"{count} {method}s of 1 KiB over {CONNECTIONS} connections, ", end="")
                print(f"{time.monotonic() - began:.1f} s under strace\n\n{table(calls, count)}\n")


if __name__ == "__main__":
    main()
