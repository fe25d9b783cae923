"""Tests for gostore.daemon.notifier: what is sent to the socket that systemd would read."""

from __future__ import annotations

import os
import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.notifier import Notifier
from tests.test_tap import temporary


class NotifierTests(SynchronousTestCase):
    """A socket of the test's own."""

    def setUp(self) -> None:
        """Bind it."""
        self.path = str(temporary(self) / "notify")
        self.clock = Clock()
        self.socket = self.bind(self.path)

    def bind(self, address: str) -> socket.socket:
        """Bind a socket, like that of systemd."""
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(bound.close)
        bound.setblocking(False)
        bound.bind(address)
        return bound

    def heard(self, at: socket.socket | None = None) -> list[list[str]]:
        """The lines of each message that has come."""
        found = []
        while True:
            try:
                found.append((at or self.socket).recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def make(self, **environment: str) -> Notifier:
        """A notifier in an environment."""
        return Notifier({"NOTIFY_SOCKET": self.path, **environment}, self.clock, lambda: "3 blobs")

    def test_life(self) -> None:
        """READY comes when the reactor turns; then STATUS now and then; STOPPING at once."""
        notifier = self.make()
        notifier.startService()
        self.assertEqual(self.heard(), [])
        self.clock.advance(0)
        self.assertEqual(self.heard(), [["READY=1"], ["STATUS=3 blobs"]])
        self.clock.pump([1] * 10)
        self.assertEqual(self.heard(), [["STATUS=3 blobs"]])
        notifier.stopService()
        self.assertEqual(self.heard(), [["STOPPING=1", "STATUS=Shutting down"]])

    def test_watchdog(self) -> None:
        """The watchdog is fed twice in its time, also while the daemon stops."""
        notifier = self.make(WATCHDOG_USEC="6000000", WATCHDOG_PID=str(os.getpid()))
        notifier.startService()
        self.clock.advance(0)
        self.heard()
        self.clock.pump([1] * 6)
        self.assertEqual(self.heard(), [["STATUS=3 blobs", "WATCHDOG=1"]] * 2)
        notifier.stopService()
        self.heard()
        self.clock.pump([1] * 6)
        self.assertEqual(self.heard(), [["WATCHDOG=1"]] * 2)

    def test_no_watchdog(self) -> None:
        """It is not fed for another process, nor where it is off or not a number."""
        for more in (
            {"WATCHDOG_USEC": "6000000", "WATCHDOG_PID": "1"},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "often"},
        ):
            self.make(**more).startService()
            self.clock.pump([0, 10])
            self.assertFalse([each for each in self.heard() if "WATCHDOG=1" in each])

    def test_reload(self) -> None:
        """A reload is told with its time, and its end."""
        notifier = self.make()
        notifier.reloading()
        notifier.ready()
        [[reloading, when], ready] = self.heard()
        self.assertEqual((reloading, ready), ("RELOADING=1", ["READY=1"]))
        self.assertRegex(when, "^MONOTONIC_USEC=[0-9]+$")

    def test_abstract(self) -> None:
        """An abstract address is one."""
        name = f"gostore-test-{os.getpid()}"
        bound = self.bind(f"\0{name}")
        self.make(NOTIFY_SOCKET=f"@{name}").ready()
        self.assertEqual(self.heard(bound), [["READY=1"]])

    def test_nobody(self) -> None:
        """Without a socket nothing is sent, and nothing is due; one that is gone is nothing."""
        silent = Notifier({}, self.clock)
        silent.startService()
        silent.reloading()
        silent.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.make(NOTIFY_SOCKET=f"{self.path}.gone").ready()

    def test_stopped_before(self) -> None:
        """A daemon that is told to stop while it starts is never ready."""
        notifier = self.make()
        notifier.startService()
        notifier.stopService()
        self.clock.advance(0)
        self.assertEqual(self.heard(), [["STOPPING=1", "STATUS=Shutting down"]])
