"""Tests for gostore.tap: the command line, and what twistd gets."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from attrs import evolve
from twisted.application.service import Application, IServiceCollection
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from gostore import __version__
from gostore.daemon.settings import TABLE, Settings
from gostore.tap import Options, Process, forget_stale_pid, makeService, quiet_observer, refuse


def temporary(test: SynchronousTestCase) -> Path:
    """Make a directory that goes when the test is over; mktemp() of pytest would leave it."""
    directory = tempfile.mkdtemp()
    test.addCleanup(shutil.rmtree, directory)
    return Path(directory)


def parse(*arguments: str) -> Settings:
    """Parse a command line."""
    options = Options()
    options.parseOptions(list(arguments))
    return options.settings


class OptionsTests(SynchronousTestCase):
    """The command line becomes settings."""

    def refused(self, *arguments: str) -> str:
        """Parse a command line that is refused; return the reason."""
        with self.assertRaises(UsageError) as caught:
            parse(*arguments)
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def config(self, text: str) -> str:
        """Write a configuration file; return its path."""
        path = temporary(self) / "gostore.conf"
        path.write_text(text)
        return str(path)

    def test_defaults(self) -> None:
        """Without options everything has its default, and ./data is an absolute path."""
        self.assertEqual(parse(), Settings(dir=os.path.abspath("data")))

    def test_options(self) -> None:
        """Long and short options are the settings of the same name."""
        settings = parse("-d", "/srv/blobs", "-s", ":80", "-D", "--put-creates", "--id-bits=16")
        wanted = Settings(
            dir="/srv/blobs", listen="tcp:80", debug=True, put_creates=True, id_bits=16
        )
        self.assertEqual(settings, wanted)
        self.assertEqual(parse("--dir", "/srv/blobs", "--listen", ":80").listen, "tcp:80")

    def test_every_setting_is_an_option(self) -> None:
        """Each row of the table is an option, and takes its own default."""
        for name, row in TABLE.items():
            settings = parse(f"--{name}" if row.flag else f"--{name}={row.default}")
            self.assertEqual(evolve(settings, debug=False, put_creates=False), parse())

    def test_directory_is_resolved(self) -> None:
        """A relative directory is resolved at once: daemonizing changes the working directory."""
        self.assertEqual(parse("-d", "a/../b").dir, os.path.join(os.getcwd(), "b"))

    def test_home(self) -> None:
        """~ is the home directory where no shell sees it: after --dir= and in the file."""
        home = temporary(self)
        self.patch(os, "environ", {**os.environ, "HOME": str(home)})
        (home / "its.conf").write_text("[gostore]\ndir = ~/blobs\n")
        self.assertEqual(parse("--config=~/its.conf").dir, str(home / "blobs"))
        self.assertEqual(parse("--dir=~/x").dir, str(home / "x"))
        self.assertIn("dir: nobody knows the home ~no-one", self.refused("--dir=~no-one"))

    def test_arguments(self) -> None:
        """What is no option is refused by its name."""
        self.assertEqual(
            self.refused("-D", "extra", "more"),
            "'extra' is not an option; see twistd gostore --help",
        )

    def test_directory_not_utf8(self) -> None:
        """A directory's name may be any bytes."""
        name = os.fsdecode(b"/srv/\xff")
        self.assertEqual(os.fsencode(parse("-d", name).dir), b"/srv/\xff")

    def test_config(self) -> None:
        """--config reads settings from a file, a directory's name that is not UTF-8 included."""
        path = temporary(self) / "gostore.conf"
        path.write_bytes(b"[gostore]\ngc-interval = 1\nput-creates = yes\ndir = /srv/\xff\n")
        settings = parse("--config", str(path))
        self.assertEqual((settings.gc_interval, settings.put_creates), (1, True))
        self.assertEqual(os.fsencode(settings.dir), b"/srv/\xff")

    def test_command_line_wins(self) -> None:
        """What the command line says holds over the file, a default said aloud included."""
        path = self.config("[gostore]\ngc-interval = 1\nid-bits = 16\nmax-uploads = 2\n")
        settings = parse("--id-bits", "auto", "--gc-interval=5", "--config", path)
        self.assertEqual(settings, evolve(parse(), max_uploads=2))

    def test_bad_option(self) -> None:
        """A bad value is refused with its option and the reason."""
        self.assertEqual(
            self.refused("--gc-interval", "soon"),
            "--gc-interval: 'soon' is not a number of seconds from 0 to 86400",
        )
        self.assertIn("--listen: 'x'", self.refused("-s", "x"))

    def test_bad_config(self) -> None:
        """A bad file is refused with its name, the line and the reason."""
        path = self.config("[gostore]\ncolour = red\n")
        self.assertEqual(
            self.refused("--config", path), f"{path}, line 2: unknown setting 'colour'"
        )
        self.assertEqual(
            self.refused("--config", "/nowhere"), "/nowhere: No such file or directory"
        )

    def test_mistake_under_twistd(self) -> None:
        """Under twistd, which would print all of --help, a mistake is one line and status 1."""
        options = Options()
        options.parent = UsageOptions()
        with self.assertRaises(SystemExit) as caught:
            options.parseOptions(["--colour=red"])
        self.assertEqual(caught.exception.code, "gostore: option --colour not recognized")

    def test_help(self) -> None:
        """--help shows every setting with its default, and examples as they were written."""
        text = Options().getUsage(width=500)
        for row in TABLE.values():
            self.assertIn(f"--{row.name}", text)
            self.assertIn(row.doc if row.flag else f"{row.doc} [default: {row.default}]", text)
        self.assertIn("\n  twistd -n gostore ", text)
        self.assertIn("\n  curl http://localhost:7777/store/foo\n", text)
        self.assertTrue(Options().getSynopsis().startswith("Usage: twistd "))

    def test_short_help(self) -> None:
        """-h is --help."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        with self.assertRaises(SystemExit) as caught:
            parse("-h")
        self.assertEqual(caught.exception.code, 0)
        self.assertIn("-h, --help", output.getvalue())

    def test_version(self) -> None:
        """--version prints the version and exits with status 0."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        with self.assertRaises(SystemExit) as caught:
            parse("--version")
        self.assertEqual(caught.exception.code, 0)
        self.assertIn(f"gostore {__version__} (Twisted ", output.getvalue())


class ProcessReactor:
    """A reactor that runs what it is given when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.stops = 0

    def callWhenRunning(self, call: Any) -> None:
        """Keep a call."""
        self.calls.append(call)

    def callFromThread(self, call: Any, *arguments: object) -> None:
        """Call at once."""
        call(*arguments)

    def stop(self) -> None:
        """Stop the first time; object to the next, as a reactor does."""
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning("Can't stop reactor that isn't running.")


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

    def test_make_service(self) -> None:
        """makeService makes the daemon, and neither starts it nor touches the disk.

        The reactor's time is then one that nobody can set.
        """
        from twisted.internet import reactor

        self.addCleanup(setattr, reactor, "seconds", cast(Any, reactor).seconds)
        options = Options()
        directory = temporary(self) / "data"
        options.parseOptions(["-d", str(directory), "-s", "tcp:0"])
        service = makeService(options)
        assert isinstance(service, Process)
        self.assertEqual([each.name for each in service], ["gostore"])
        self.assertFalse(directory.exists())
        self.assertIs(cast(Any, reactor).seconds, time.monotonic)

    def test_signals(self) -> None:
        """SIGINT and SIGTERM stop the reactor, once, so that the status is 0 and not the signal."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        reactor = ProcessReactor()
        Process(reactor, None).startService()
        before = signal.getsignal(signal.SIGTERM)
        [call] = reactor.calls
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
        call()
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual(reactor.stops, 1)
        os.kill(os.getpid(), signal.SIGINT)
        self.assertEqual(reactor.stops, 2)

    def test_observer(self) -> None:
        """The observer becomes the application's, which twistd takes in place of its own."""
        events: list[Any] = []
        for observer in [cast(ILogObserver, events.append), None]:
            application: Any = Application("gostore")
            service = Process(ProcessReactor(), observer)
            service.setServiceParent(application)
            self.assertEqual(application.getComponent(ILogObserver, None), observer)
            self.assertEqual(list(IServiceCollection(application)), [service])

    def test_quiet_observer(self) -> None:
        """The observer writes to the log file that twistd was given, and no debug messages."""
        path = temporary(self) / "gostore.log"
        observer = quiet_observer({"nodaemon": True, "logger": None, "logfile": str(path)})
        assert observer is not None
        log = Logger(observer=observer)
        log.debug("not this")
        log.info("but this")
        text = path.read_text()
        self.assertIn("but this", text)
        self.assertNotIn("not this", text)

    def test_no_quiet_observer(self) -> None:
        """Where twistd has an observer of the user's, or is not there, its choice stands."""
        self.assertIsNone(quiet_observer({"nodaemon": True, "logger": print, "logfile": None}))
        self.assertIsNone(quiet_observer({}))


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
