"""What runs inside a virtual machine that is about to lose its power.

A daemon on the file system under trial, and clients that tell the host, line by line on the
console, what they are about to do and what they were answered. First each location is read: that
is what the power cut before has left. It runs until the machine is gone, or for so many seconds
and then to an orderly end. If the disk is to be full, another program takes the room.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import sys
import termios
import threading
import time
from pathlib import Path

from attrs import asdict, evolve

from gostore.volume.journal.format import NAMES as JOURNAL
from tests.e2e.daemon import Daemon, eventually
from tests.e2e.historians import Historians
from tests.e2e.storm import CLIENTS, Clients, Told, body_of
from tests.histories import Look
from tests.powercut.neighbour import MIB, Neighbour

#: What a line for the host begins with; the kernel has its say on the console, too.
MARK = "@gostore "


#: What a daemon says that cannot start because of what others have taken.
NO_ROOM = "there is no room to write blob"

#: How many versions a line for the host has.
_AT_ONCE = 20

#: Answers other than the verbs' own that are right on a full disk.
FULL = {("POST", 507), ("PUT", 507)}


def say(what: str, **more: object) -> None:
    """Tell the host something: one line, written by one call, which no power cut takes back."""
    line = MARK + json.dumps({"what": what, **more}) + "\n"
    os.write(1, line.encode("ascii"))
    # While the host is slow to read, this kernel keeps some lines to itself, and dies with them.
    termios.tcdrain(1)


def say_told(told: Told) -> None:
    """Tell the host of an operation that begins, or has ended."""
    say("told", key=id(told), **asdict(told))


def say_looked(look: Look) -> None:
    """Tell the host of a look at what a location has had, in lines that are not too long."""
    for at in range(0, max(1, len(look.versions)), _AT_ONCE):
        part = evolve(look, versions=look.versions[at : at + _AT_ONCE])
        say("looked", **asdict(part), more=at + _AT_ONCE < len(look.versions))


def start(daemon: Daemon, neighbour: Neighbour | None) -> None:
    """Start the daemon; while there was none, its neighbour has taken or given room, or neither."""
    taken = False
    # Where there is no room for the directory, either, nobody ever began.
    if neighbour is not None and daemon.directory.exists():
        taken, given = neighbour.chance.choices(((0, 0), (1, 0), (0, 1)), (2, 1, 1))[0]
        if taken or given:
            neighbour.leave(0 if taken else sys.maxsize)
    try:
        daemon.start()
    except AssertionError:
        if neighbour is None or not taken or NO_ROOM not in daemon.said:
            raise
        daemon.ended()
        say("refused")
        neighbour.leave(sys.maxsize)
        daemon.start()


def make_room(clients: Clients, neighbour: Neighbour) -> None:
    """Without a byte left, what is deleted gives its room to what is stored next."""
    connection = clients.daemon.connect()
    numbers = itertools.count()
    stored = []

    def post(size: int) -> int | None:
        location = f"room/{clients.life}.{next(numbers)}"
        body = body_of(location, size)
        status = clients.send(connection, "POST", location, location, body).status
        if status == 204:
            stored.append(location)
        return status

    def post_on_a_full_disk() -> int | None:
        neighbour.leave(0)
        return post(MIB)

    neighbour.leave(4 * MIB)
    eventually(lambda: post(MIB) == 204, "its neighbour has made room")
    eventually(lambda: post_on_a_full_disk() == 507, "there is no room")
    for location in stored:
        assert clients.send(connection, "DELETE", location).status == 200
    # Not as much again: XFS asks for some 100 blocks more than it takes.
    eventually(lambda: post(MIB // 4) == 204, "a delete has made room")
    connection.close()


def watch(clients: Clients, neighbour: Neighbour | None, seconds: float) -> None:
    """Let them be for so many seconds, as long as all is as it should be."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < end:
        pause.wait(0.1)
        for fault in (*clients.faults, *(neighbour.faults if neighbour else ())):
            raise fault
        odd = clients.odd.keys() - (FULL if neighbour else set())
        assert not odd, f"answered with {odd}"
        assert clients.busy == CLIENTS, "a client was disconnected"


def main() -> None:
    """Serve, and be served, until the power fails."""
    options = argparse.ArgumentParser()
    options.add_argument("directory", type=Path)
    options.add_argument("--seed", type=int, required=True)
    options.add_argument("--life", type=int, required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--full", action="store_true")
    options.add_argument("more", nargs="*")
    chosen = options.parse_args()
    daemon = Daemon(chosen.directory / "data", "--gc-interval", "0.2", *chosen.more)
    chance = random.Random(f"{chosen.seed} {chosen.life}")
    neighbour = Neighbour(chosen.directory / "neighbour", chance) if chosen.full else None
    try:
        serve(daemon, neighbour, chosen.seed, chosen.life, chosen.seconds)
    except BaseException as error:
        log = "\n".join(daemon.log[-40:])
        say("fault", text=f"{type(error).__name__}: {error}\n{log}")
        os._exit(1)  # whatever is still at work


def serve(
    daemon: Daemon, neighbour: Neighbour | None, seed: int, life: int, seconds: float
) -> None:
    """Serve, and be served, until the time is up."""
    start(daemon, neighbour)
    say("recovery", text=daemon.wait_for("Recovery: .*"))
    if "--keep" in daemon.options:
        clients: Clients = Historians(
            daemon,
            seed,
            say_told,
            life,
            is_lossy=neighbour is not None,
            looked=say_looked,
            share_brief=0.05,
        )
    else:
        clients = Clients(daemon, seed, say_told, life)
    clients.read_all()
    if isinstance(clients, Historians):
        clients.look_at_all()
    if neighbour is not None:
        # The first small write makes the journal, if there is room.
        with contextlib.closing(daemon.connect()) as connection:
            clients.send(
                connection, "POST", f"first/{life}", f"first.{life}", b"first.%d 0\n" % life
            )
        neighbour.leave_some()
        neighbour.work()
    say("ready", journal=(daemon.directory / JOURNAL[0]).exists())
    clients.work()
    watch(clients, neighbour, seconds)
    clients.rest()
    if neighbour is not None:
        neighbour.rest()
        make_room(clients, neighbour)
    if isinstance(clients, Historians):
        clients.look_at_all()
        clients.bring_back_all()
        if not clients.is_lossy:
            say("brief", found=clients.look_at_brief())
    else:
        daemon.clean()
    say("end", status=daemon.stop())


if __name__ == "__main__":
    main()
