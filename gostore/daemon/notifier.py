"""What systemd is told of a service with Type=notify: sd_notify(3), in a few lines.

Without systemd, or without Type=notify, nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

STATUS_EVERY = 10.0
"""Seconds between two lines for ``systemctl status``, at most."""


class Notifier(Service):
    """Tells when the daemon is ready, reloads and stops, how it is, and that its reactor turns.

    ``status`` gives a line for people. ``environment`` is the process's.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        clock: IReactorTime,
        status: Callable[[], str] = lambda: "",
    ) -> None:
        self.setName("notifier")
        # An abstract address begins with a zero byte, which an environment cannot have.
        self._address = environment.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self._watchdog = _watchdog_seconds(environment)
        self._clock = clock
        self._status = status
        self._beat = LoopingCall(self._beats)
        self._beat.clock = clock

    def startService(self) -> None:
        """Tell that the daemon is ready, as soon as the reactor turns."""
        super().startService()
        if self._address:
            self._clock.callLater(0, self._begin)

    def stopService(self) -> None:
        """Tell that the daemon stops. The watchdog is fed until the process ends."""
        super().stopService()
        self._send("STOPPING=1", "STATUS=Shutting down")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def ready(self) -> None:
        """The daemon serves."""
        self._send("READY=1")

    def _begin(self) -> None:
        if not self.running:  # A signal has come meanwhile.
            return
        self.ready()
        # Twice in the time that the watchdog allows, as sd_watchdog_enabled(3) has it.
        seconds = STATUS_EVERY if self._watchdog is None else min(STATUS_EVERY, self._watchdog / 2)
        self._beat.start(seconds)

    def _beats(self) -> None:
        lines = [f"STATUS={self._status()}"] if self.running else []
        if self._watchdog is not None:
            lines.append("WATCHDOG=1")
        self._send(*lines)

    def _send(self, *lines: str) -> None:
        if not (self._address and lines):
            return
        # There is nobody to tell when it fails. It must not wait, either.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.sendto("\n".join(lines).encode(), self._address)


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """How long the watchdog waits; None if it is off, or is another process's."""
    text, own = environment.get("WATCHDOG_USEC", ""), str(os.getpid())
    if not text.isdecimal() or environment.get("WATCHDOG_PID", own) != own:
        return None
    return int(text) / 1_000_000 or None
