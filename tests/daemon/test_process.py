"""Tests for gostore.daemon.process: signals, the pid file, the log, limits."""

from __future__ import annotations

import gc
import io
import os
import resource
import signal
import socket
import subprocess
import sys
from typing import Any, cast

from twisted.application.service import Application, IServiceCollection, Service
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.python.usage import Options as UsageOptions
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon import process, signals
from gostore.daemon.notifier import Notifier
from gostore.daemon.process import Process, forget_stale_pid, leave, refuse
from gostore.daemon.signals import ENDING
from gostore.tap import Options
from tests.test_tap import temporary


class ProcessReactor(Clock):
    """A reactor that calls at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0

    def callFromThread(self, call: Any, *arguments: object) -> None:
        """Call at once."""
        call(*arguments)

    def stop(self) -> None:
        """Stop the first time; object to the next, as a reactor does."""
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning("Can't stop reactor that isn't running.")


class LateReactor(ProcessReactor):
    """A reactor that calls when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Any] = []

    def callFromThread(self, call: Any, *arguments: object) -> None:
        """Keep the call."""
        self.waiting.append(call)


class Part:
    """A part of the daemon that counts how often it is reloaded."""

    def __init__(self) -> None:
        self.times = 0

    def reload(self) -> str:
        """Count."""
        self.times += 1
        return ""


class StalePidTests(SynchronousTestCase):
    """The pid file of a daemon that is no more."""

    def is_kept(self, text: str) -> bool:
        """Whether a pid file with this in it is left for twistd to judge."""
        file = temporary(self) / "twistd.pid"
        file.write_text(text)
        parent = UsageOptions()
        parent["pidfile"] = str(file)
        options = Options()
        options.parent = parent
        options.parseOptions([])
        return file.exists()

    def test_no_number(self) -> None:
        """One that holds no number of a process is removed."""
        for text in ("", "\0\0", "12 34", "-5", "0", "9" * 100, "4194305", "none"):
            self.assertFalse(self.is_kept(text), text)

    def test_own(self) -> None:
        """So is one with our own number, as in a container that was started again."""
        self.assertFalse(self.is_kept(f"{os.getpid()}\n"))

    def test_other(self) -> None:
        """One that names another process is removed if that is no twistd."""
        with subprocess.Popen(["sleep", "600"]) as foreign:
            try:
                self.assertFalse(self.is_kept(str(foreign.pid)))
            finally:
                foreign.kill()
        self.assertTrue(self.is_kept(str(foreign.pid)), "gone: twistd sees to it")

    def test_twistd(self) -> None:
        """One that names a twistd is kept."""
        pipe = subprocess.PIPE
        # Its command line can be read when it has said something.
        command = ["sh", "-c", "echo up; read twistd"]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as running:
            assert running.stdin is not None and running.stdout is not None
            running.stdout.readline()
            self.assertTrue(self.is_kept(str(running.pid)))

    def test_none(self) -> None:
        """Without one there is nothing to do, nor where it cannot be read."""
        directory = str(temporary(self))
        forget_stale_pid(f"{directory}/missing")
        forget_stale_pid(directory)
        self.assertEqual(os.listdir(directory), [])


class ProcessTests(SynchronousTestCase):
    """What concerns the process as a whole."""

    def setUp(self) -> None:
        """Leave Python's gc and the signals as they were."""
        for number in (*ENDING, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.callbacks.__setitem__, slice(None), gc.callbacks[:])

    def test_signals(self) -> None:
        """Each ending signal stops the reactor, so that the status is 0 and not the signal."""
        reactor = ProcessReactor()
        Process(reactor, None).startService()
        for stops, number in enumerate(ENDING, 1):
            os.kill(os.getpid(), number)
            self.assertEqual(reactor.stops, stops)

    def test_signals_of_the_reactor(self) -> None:
        """The handlers that a reactor installs when it begins to run are these, too."""
        reactor = ProcessReactor()
        Process(reactor, None).startService()
        for number, handler in ((signal.SIGINT, reactor.sigInt), (signal.SIGTERM, reactor.sigTerm)):
            handler(number, None)
        self.assertEqual(reactor.stops, 2)

    def test_signal_at_the_start(self) -> None:
        """A signal that comes while the services start stops the reactor once it runs."""
        reactor = ProcessReactor()
        whole = Process(reactor, None)
        whole.addService(service := Service())
        started = service.startService

        def start() -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            started()

        self.patch(service, "startService", start)
        whole.startService()
        self.assertEqual((service.running, reactor.stops), (1, 1))

    def test_hangup(self) -> None:
        """SIGHUP reloads, also below nohup; many that come before the reactor's turn are one."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        reactor = LateReactor()
        parts = [Part(), Part()]
        Process(reactor, None, parts).startService()
        for times in (1, 2):
            for _ in range(100):
                os.kill(os.getpid(), signal.SIGHUP)
            self.assertEqual(len(reactor.waiting), 1)
            reactor.waiting.pop()()
            self.assertEqual([each.times for each in parts], [times, times])
        self.assertEqual(reactor.stops, 0)

    def test_notifier(self) -> None:
        """The notifier learns of the start, of each reload, and of the stop."""
        path = temporary(self) / "notify"
        reactor = ProcessReactor()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
            bound.bind(str(path))
            whole = Process(reactor, None, [], Notifier({"NOTIFY_SOCKET": str(path)}, reactor))
            whole.startService()
            reactor.advance(0)
            os.kill(os.getpid(), signal.SIGHUP)
            whole.stopService()
            first = [bound.recv(4096).decode().partition("\n")[0] for _ in range(5)]
        self.assertEqual(first, ["READY=1", "STATUS=", "RELOADING=1", "READY=1", "STOPPING=1"])

    def test_hangup_at_the_start(self) -> None:
        """A SIGHUP that came when nothing could be reloaded is heard later, once."""
        part = Part()
        signals._note_hangup(signal.SIGHUP, None)
        Process(ProcessReactor(), None, [part]).startService()
        Process(ProcessReactor(), None, [part]).startService()
        self.assertEqual(part.times, 1)

    def test_leave(self) -> None:
        """Before the services start a signal is an end with status 0, and no pid file is left."""
        path = temporary(self) / "twistd.pid"
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        for text, twistd, kept in (
            (str(os.getpid()), {"pidfile": str(path), "statusPipe": writer}, False),
            ("1", {"pidfile": str(path)}, True),
            ("", {"pidfile": f"{path}/none"}, True),
            ("", {"pidfile": ""}, True),
        ):
            path.write_text(text)
            ends: list[int] = []
            leave(twistd, "SIGTERM", ends.append)
            self.assertEqual((ends, path.exists()), ([0], kept))
        self.assertEqual(os.read(reader, 100), b"1 gostore: Received SIGTERM")

    def test_observer(self) -> None:
        """The observer becomes the application's, which twistd takes in place of its own."""
        events: list[Any] = []
        for observer in [cast(ILogObserver, events.append), None]:
            application: Any = Application("gostore")
            service = Process(ProcessReactor(), observer)
            service.setServiceParent(application)
            self.assertEqual(application.getComponent(ILogObserver, None), observer)
            self.assertEqual(list(IServiceCollection(application)), [service])


class RefuseTests(SynchronousTestCase):
    """Refusing to start."""

    def setUp(self) -> None:
        """Catch what goes to the terminal and to the log."""
        self.terminal = io.StringIO()
        self.patch(sys, "__stderr__", self.terminal)
        self.events: list[Any] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def refuse(self, twistd: dict[str, Any], line: str = "the port\nis in use") -> None:
        """Refuse, and see the status."""
        with self.assertRaises(SystemExit) as caught:
            refuse(twistd, line)
        self.assertEqual(caught.exception.code, 1)

    def test_foreground(self) -> None:
        """In the foreground the one line goes to the terminal, and not into the log above it."""
        self.refuse({"nodaemon": True, "logfile": None})
        self.assertEqual(self.terminal.getvalue(), "gostore: the port is in use\n")
        self.assertEqual(self.events, [])

    def test_log_file(self) -> None:
        """With a log file the line is there, too."""
        self.refuse({"nodaemon": True, "logfile": "x.log"})
        self.assertEqual(self.terminal.getvalue(), "gostore: the port is in use\n")
        self.assertEqual([event["line"] for event in self.events], ["gostore: the port is in use"])

    def test_no_terminal(self) -> None:
        """Without a terminal there is still the status."""
        self.patch(sys, "__stderr__", None)
        self.refuse({})

    def test_daemon(self) -> None:
        """A daemon tells the twistd that waits for it: at most 100 bytes of ASCII, status first."""
        for line, wanted in [
            ("the port is in use", b"1 gostore: the port is in use"),
            ("/\udcff " + "x" * 200, b"1 gostore: /\\xff " + b"x" * 83),
        ]:
            reader, writer = os.pipe()
            self.addCleanup(os.close, reader)
            self.addCleanup(os.close, writer)
            self.refuse({"statusPipe": writer}, line)
            self.assertEqual(os.read(reader, 1000), wanted)
        self.assertEqual(self.terminal.getvalue(), "")
        self.assertEqual(len(self.events), 2)

    def test_pid_file(self) -> None:
        """twistd's file with the process id is removed; that there is none is no matter."""
        path = temporary(self) / "twistd.pid"
        path.write_text("1")
        self.refuse({"pidfile": str(path)})
        self.assertFalse(path.exists())
        self.refuse({"pidfile": str(path)})

    def test_pid_file_first(self) -> None:
        """It is gone when somebody is told, who may try again at once."""
        path = temporary(self) / "twistd.pid"
        path.write_text("1")
        there = []
        self.patch(self.terminal, "write", lambda line: there.append(path.exists()))
        self.refuse({"pidfile": str(path)})
        self.assertEqual(there, [False])


class LimitTests(SynchronousTestCase):
    """Open files."""

    def test_file_limit(self) -> None:
        """As many files may be open as the hard limit allows."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1000, before[1]), before[1]))
        process.raise_file_limit()
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (before[1], before[1]))

    def test_connection_limit_of_many_files(self) -> None:
        """However many files may be open, 4,096 connections are the most."""
        self.assertEqual(process.share_of_files(80, 1_000_000), 4096)
        self.assertEqual(process.share_of_files(80, resource.RLIM_INFINITY), 4096)
        self.assertEqual(process.share_of_files(80, 1), 1)
