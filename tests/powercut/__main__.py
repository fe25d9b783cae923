"""Real power cuts: a virtual machine whose kernel is killed while a daemon in it is written to.

A user-mode Linux boots with this machine's files, read-only, as its root, and an image as its
disk; in it run a daemon and its clients (guest.py). At a random moment the kernel is killed: what
it had not yet given to the disk is gone, whatever was acknowledged must not be. The next boot
recovers and goes on. In the end one order of the operations has to explain every answer, for each
location, across all the cuts. That is tried on a disk with room, and on one that is full from time
to time, because another program takes and gives (neighbour.py).

What the disk was given it keeps, in the order of the writes: a disk that loses what is in its own
cache is the simulated one's to play (tests/simulation).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define, field

import tests
from tests.e2e.historians import lost_brief, wrong_looks
from tests.e2e.storm import Told, verdicts
from tests.histories import Look, Version
from tests.linearizability import is_done
from tests.powercut.guest import MARK

MIB = 1024 * 1024

#: How each file system is made, and how large its image is: XFS wants 300 MiB at least. An ext4
#: keeps nothing for root, who is the daemon there.
MAKE = {
    "ext4": (256 * MIB, ["mke2fs", "-q", "-t", "ext4", "-m", "0"]),
    "xfs": (320 * MIB, ["mkfs.xfs", "-q"]),
}

#: Whether what is written meets a full disk.
DISKS = {"roomy": False, "full": True}

#: Seconds from the moment when the clients begin to the cut.
LIFE = (0.05, 3.0)

#: Why a kernel panics that has not come as far as its init.
HINT = (
    "Its memory is a file in $TMPDIR or /dev/shm: that wants room, and no noexec. It has to be"
    " allowed to ptrace. Init, and all that it runs, are this machine's own files."
)

#: Seconds after which a machine that has said nothing is stuck.
PATIENCE = 120.0

#: The clocks of two boots have nothing to do with each other: each boot gets so many seconds.
ERA = 1_000_000.0

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: What lets the machine run on a processor that is newer than it.
SHIM = Path(__file__).with_name("umlshim.c")

#: What the init below needs to find in this machine's files.
PROGRAMS = ("/bin/sh", "mount", "umount", "ip", "halt", sys.executable)

INIT = """#!/bin/sh
export PATH={path}
export PYTHONPATH={source} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /run
ip link set lo up
mount -t {kind} /dev/ubda {disk} && cd {disk} && {guest}
cd / && umount {disk}
halt -f
"""


@define(eq=False)
class Machine:
    """A machine with one file system under trial, booted as often as one likes."""

    kind: str
    full: bool
    work: Path
    seed: int
    options: list[str]
    told: list[Told] = field(init=False, factory=list)
    looks: list[Look] = field(init=False, factory=list)
    #: What has expired, as the last boot found it: the digest of each location.
    brief: dict[str, str] | None = field(init=False, default=None)
    _versions: list[Version] = field(init=False, factory=list)
    recovered: list[str] = field(init=False, factory=list)
    refused: int = field(init=False, default=0)
    journaled: int = field(init=False, default=0)
    faults: list[str] = field(init=False, factory=list)
    life: int = field(init=False, default=0)

    @property
    def image(self) -> Path:
        """Its disk."""
        return self.work / "image"

    @property
    def init(self) -> Path:
        """The first program that it runs, by the same name inside."""
        return self.work / "init"

    @property
    def shim(self) -> Path:
        """What stands between its kernel and libc."""
        return self.work / "umlshim.so"

    def make(self) -> None:
        """Give it an empty disk."""
        size, command = MAKE[self.kind]
        (self.work / "disk").mkdir()
        with self.image.open("wb") as file:
            file.truncate(size)
        subprocess.run([*command, self.image], check=True)
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", self.shim, SHIM], check=True)
        # Where the machine cannot run it, its kernel has nothing to say but a number.
        self._write_init([])
        for program in (str(self.init), *PROGRAMS):
            if shutil.which(program, path=PATH) is None:
                sys.exit(f"{program}: missing, or not to be executed (a mount with noexec?)")

    def boot(self, seconds: float, cut: bool) -> None:
        """Boot it; so many seconds after it is ready, cut its power, or let it come to an end."""
        self.life += 1
        errors = self.work / "errors"
        with errors.open("wb") as stderr:
            uml = subprocess.Popen(
                self._command(3600 if cut else seconds),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                cwd=self.work,
                env={**os.environ, "LD_PRELOAD": str(self.shim)},
            )
        # The kernel is a handful of processes, in a group of their own.
        guard = threading.Timer(PATIENCE, os.killpg, (uml.pid, signal.SIGKILL))
        guard.start()
        ready = ended = False
        self._versions = []
        console = []
        operations: dict[int, Told] = {}
        try:
            for line in self._lines(uml):
                if not line.startswith(MARK):
                    console.append(line)
                    continue
                try:
                    news = json.loads(line.removeprefix(MARK))
                except ValueError:
                    continue  # cut in the middle
                match news.pop("what"):
                    case "told":
                        self._note(operations, **news)
                    case "looked":
                        self._note_look(**news)
                    case "brief":
                        self.brief = news["found"]
                    case "recovery":
                        self.recovered.append(news["text"])
                    case "refused":
                        self.refused += 1
                    case "ready":
                        ready = True
                        self.journaled += news["journal"]
                        if cut:
                            guard.cancel()
                            guard = threading.Timer(seconds, os.killpg, (uml.pid, signal.SIGKILL))
                            guard.start()
                    case "end":
                        ended = True
                    case "fault":
                        self.faults.append(f"boot {self.life}: {news['text']}")
        finally:
            guard.cancel()
            uml.wait()
        if not ready or not (cut or ended):
            said = _tail(console) + errors.read_text("utf-8", "backslashreplace")
            self.faults.append(f"boot {self.life} came to nothing ({uml.returncode}):\n{said}")
        for one in operations.values():
            # What has not been answered by now has happened before the next boot, or never.
            one.ended = one.ended or (self.life + 1) * ERA
        self.told.extend(operations.values())

    def _command(self, seconds: float) -> list[str]:
        guest = [sys.executable, "-m", "tests.powercut.guest", "--seed", str(self.seed)]
        guest += ["--life", str(self.life), "--seconds", str(seconds)]
        guest += ["--full"] if self.full else []
        guest += ["--", str(self.work / "disk"), *self.options]
        guest += ["--free-space-reserve", "0"] if self.full else []
        self._write_init(guest)
        return [
            *("linux.uml", "mem=512M", "quiet", "root=none", "rootfstype=hostfs", "rootflags=/"),
            *("ro", f"init={self.init}", f"ubd0={self.image}", "con=null", "con0=fd:0,fd:1"),
            # Without a home that it may write to it has nowhere to put its pid, and panics.
            f"uml_dir={self.work}/",
        ]

    def _write_init(self, guest: list[str]) -> None:
        source = Path(tests.__file__).parent.parent
        self.init.write_text(
            INIT.format(
                path=PATH,
                source=shlex.quote(str(source)),
                kind=self.kind,
                disk=shlex.quote(str(self.work / "disk")),
                guest=shlex.join(guest),
            )
        )
        self.init.chmod(0o755)

    def _lines(self, uml: subprocess.Popen[bytes]) -> Iterator[str]:
        assert uml.stdout is not None and uml.stdin is not None
        with uml.stdin, uml.stdout:
            for line in uml.stdout:
                yield line.decode("utf-8", "backslashreplace").replace("\r\n", "\n")

    def _note_look(self, begun: float, ended: float, more: bool, **look: Any) -> None:
        era = self.life * ERA
        versions = [Version(**each) for each in look.pop("versions")]
        self._versions += versions
        if not more:
            self.looks.append(
                Look(begun=era + begun, ended=era + ended, versions=self._versions, **look)
            )
            self._versions = []

    def _note(
        self, operations: dict[int, Told], key: int, begun: float, ended: float | None, **more: str
    ) -> None:
        era = self.life * ERA
        ended = None if ended is None else era + ended
        operations[key] = Told(begun=era + begun, ended=ended, **more)  # type: ignore[arg-type]


def _tail(console: list[str]) -> str:
    """The end of what a machine has said; if its kernel panicked, that end, and no call trace."""
    panics = [number for number, line in enumerate(console) if "Kernel panic" in line]
    if not panics:
        return "".join(console[-40:])
    return "".join([*console[max(0, panics[0] - 10) : panics[0] + 1], HINT, "\n"])


def trial(kind: str, full: bool, cuts: int, seed: int, options: list[str]) -> bool:
    """Cut the power so many times, print what came of it, and say whether all was well."""
    begun = time.monotonic()
    chance = random.Random(f"{seed} {kind}")
    with tempfile.TemporaryDirectory(prefix="gostore-powercut-") as work:
        machine = Machine(kind, full, Path(work), seed, options)
        machine.make()
        for _ in range(cuts):
            machine.boot(chance.uniform(*LIFE), cut=True)
        machine.boot(1.0, cut=False)
    writes = [one for one in machine.told if one.method != "GET"]
    acknowledged = sum(is_done(one.method, one.status) for one in writes)
    no_room = sum(one.status == 507 for one in writes)
    unknown = sum(one.status is None for one in writes)
    wrong = verdicts(machine.told)
    past = wrong_looks(machine.looks, machine.told, is_lossy=full)
    if machine.brief is not None:
        if (lost := lost_brief(machine.told, machine.brief)) is not None:
            past["what expires"] = lost
        if not machine.brief:
            machine.faults.append("nothing has expired")
    damaged_starts = [text for text in machine.recovered if "quarantined 0" not in text]
    print(
        f"{kind}{', full' if full else ''}: {cuts} power cuts, {len(machine.told)} operations, "
        f"{acknowledged} writes acknowledged, {no_room} without room, {unknown} unknown, "
        f"{len(wrong)} locations with a violation, {len(damaged_starts)} starts with damage, "
        f"{len(machine.looks)} looks at a history, {len(past)} histories with a violation, "
        f"{machine.refused} refused, {machine.journaled} with a journal, "
        f"{time.monotonic() - begun:.0f} s (seed {seed})",
        flush=True,
    )
    said = [f"{location}: {what}" for found in (wrong, past) for location, what in found.items()]
    for line in [*machine.faults, *said, *damaged_starts]:
        print(f"  {line}", flush=True)
    # What is kept goes before a write is refused.
    enough = acknowledged > cuts and (bool(machine.looks) or (no_room > cuts) == full)
    return enough and not (machine.faults or said or damaged_starts)


def main() -> int:
    """Try each file system, with room and full."""
    options = argparse.ArgumentParser(prog="python -m tests.powercut", description=__doc__)
    options.add_argument("--cuts", type=int, default=20, help="power cuts for each file system")
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--kind", choices=MAKE, action="append", help="a file system; else all")
    options.add_argument("--disk", choices=DISKS, action="append", help="if not both")
    options.add_argument("more", nargs="*", help="options for the daemon, after --")
    chosen = options.parse_args()
    good = [
        trial(kind, DISKS[disk], chosen.cuts, chosen.seed, chosen.more)
        for disk in chosen.disk or DISKS
        for kind in chosen.kind or MAKE
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
