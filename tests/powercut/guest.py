"""What runs inside a virtual machine that is about to lose its power.

A daemon on the file system under trial, and clients that tell the host, line by line on the
console, what they are about to do and what they were answered. First each location is read: that
is what the power cut before has left. It runs until the machine is gone, or for so many seconds
and then to an orderly end.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from pathlib import Path

from attrs import asdict

from tests.e2e.daemon import Daemon
from tests.e2e.storm import Clients, Told

#: What a line for the host begins with; the kernel has its say on the console, too.
MARK = "@gostore "


def say(what: str, **more: object) -> None:
    """Tell the host something: one line, written by one call."""
    line = MARK + json.dumps({"what": what, **more}) + "\n"
    os.write(1, line.encode("ascii"))


def say_told(told: Told) -> None:
    """Tell the host of an operation that begins, or has ended."""
    say("told", key=id(told), **asdict(told))


def main() -> None:
    """Serve, and be served, until the power fails."""
    options = argparse.ArgumentParser()
    options.add_argument("directory", type=Path)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--life", type=int, required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("more", nargs="*")
    chosen = options.parse_args()
    daemon = Daemon(chosen.directory / "data", "--gc-interval", "0.2", *chosen.more).start()
    say("recovery", text=daemon.wait_for("Recovery: .*"))
    clients = Clients(daemon, chosen.seed, say_told, chosen.life)
    clients.read_all()
    say("ready")
    clients.work()
    end = time.monotonic() + chosen.seconds
    pause = threading.Event()
    while time.monotonic() < end and not clients.faults:
        pause.wait(0.1)
    clients.rest()
    daemon.clean()
    say("end", status=daemon.stop(), odd=sum(clients.odd.values()))


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:
        say("fault", text=f"{type(error).__name__}: {error}")
