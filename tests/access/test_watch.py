"""Tests for gostore.access.watch: the rules follow the file."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from threading import get_native_id
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.grants import Verb
from gostore.access.passwords import NoBcrypt
from gostore.access.rules import Rules
from gostore.access.watch import NICENESS, POLL, NiceThread, Watch
from gostore.ini import BadFile
from tests.access.test_passwords import without_bcrypt

READ = "[anonymous]\ngrant = read\n"


class WatchTests(SynchronousTestCase):
    """A file and a clock."""

    def setUp(self) -> None:
        """Have a good file."""
        self.clock = Clock()
        self.path = Path(self.mktemp()).absolute()
        self.write(READ)

    def write(self, text: str) -> None:
        """Replace the file as a whole."""
        new = Path(f"{self.path}.new")
        new.write_text(text)
        new.chmod(0o600)
        new.rename(self.path)

    def watch(self) -> Watch:
        """Watch the file."""
        watch = Watch(str(self.path), self.clock, maybeDeferred)
        watch.startService()
        self.addCleanup(watch.stopService)
        return watch

    def allowed(self, watch: Watch) -> list[str]:
        """What the rules allow to everybody."""
        return [verb.value for verb in Verb if watch.door.anonymous.may(verb, "a")]

    def test_follows(self) -> None:
        """A change counts after five seconds at most."""
        watch = self.watch()
        self.assertEqual(self.allowed(watch), ["read"])
        self.write(READ.replace("read", "list"))
        self.assertEqual(self.allowed(watch), ["read"])
        self.clock.advance(POLL)
        self.assertEqual(self.allowed(watch), ["list"])

    def test_read_only_when_changed(self) -> None:
        """A file that is as it was is not read."""
        watch = self.watch()
        with capturedLogs() as logged:
            self.clock.pump([POLL] * 5)
        self.assertEqual(logged, [])
        self.assertEqual(self.allowed(watch), ["read"])

    def test_bad(self) -> None:
        """A file that is bad or gone changes nothing but the error, until it is good again."""
        watch = self.watch()
        for spoil in (
            lambda: self.write("[anonymous]\noops\n"),
            lambda: self.write(""),
            lambda: self.path.unlink(),
            lambda: os.mkfifo(self.path),
        ):
            spoil()
            with capturedLogs() as logged:
                self.clock.pump([POLL] * 3)
            self.assertEqual(len(logged), 1, "it is said once")
            self.assertIn(str(self.path), watch.error)
            self.assertEqual(self.allowed(watch), ["read"])
        self.path.unlink()
        self.write(READ.replace("read", "list"))
        self.clock.advance(POLL)
        self.assertEqual((watch.error, self.allowed(watch)), ("", ["list"]))

    def test_reload(self) -> None:
        """A reload that somebody asks for says in a phrase what came of it; "" if nothing did."""
        watch = self.watch()
        self.assertEqual(watch.reload(), "")
        self.write("oops\n")
        self.assertIn("line 1: no [anonymous] line above it", watch.reload())
        self.assertEqual(self.allowed(watch), ["read"])
        self.assertIn("line 1: no [anonymous] line above it", watch.reload())
        self.write(READ.replace("read", "list"))
        self.assertEqual(watch.reload(), "access file: 0 users, 0 tokens, 0 quotas")
        self.assertEqual(self.allowed(watch), ["list"])

    def test_changed(self) -> None:
        """Others learn of new rules, and of nothing else."""
        watch = self.watch()
        heard: list[Rules] = []
        watch.changed = heard.append
        self.write("oops\n")
        self.clock.advance(POLL)
        self.assertEqual(heard, [])
        self.write(READ + "[quota]\na/ = 5\n")
        self.clock.advance(POLL)
        self.assertEqual([quota.size for quota in heard[0].quotas], [5])

    def test_objection(self) -> None:
        """Rules that cannot be used here are as a bad file: the others stay, and it is logged."""
        watch = Watch(
            str(self.path),
            self.clock,
            maybeDeferred,
            lambda rules: "no quotas here" if rules.quotas else "",
        )
        watch.startService()
        self.addCleanup(watch.stopService)
        self.write(READ.replace("read", "list") + "[quota]\na/ = 5\n")
        with capturedLogs() as logged:
            self.clock.advance(POLL)
        self.assertEqual(watch.error, f"{self.path}: no quotas here")
        self.assertIn("the old rules stay", str(logged[0]["log_format"]))
        self.assertEqual(self.allowed(watch), ["read"])
        self.write(READ.replace("read", "list"))
        self.clock.advance(POLL)
        self.assertEqual((watch.error, self.allowed(watch)), ("", ["list"]))

    def test_start(self) -> None:
        """A file that is bad when the daemon starts is refused."""
        self.write("oops\n")
        self.assertRaises(BadFile, Watch, str(self.path), self.clock)
        self.write(f"[user a]\npassword = $2y$05${53 * 'a'}\n")
        without_bcrypt(self)
        self.assertRaises(NoBcrypt, Watch, str(self.path), self.clock)

    def test_few_at_a_time(self) -> None:
        """Two passwords are compared at a time, and the next when one of them is."""
        self.write(f"[user a]\npassword = $2y$05${53 * 'a'}\n")
        running: list[Deferred[Any]] = []

        def run(*_: object) -> Deferred[Any]:
            running.append(Deferred())
            return running[-1]

        watch = Watch(str(self.path), self.clock, run)
        for number in range(5):
            value = b"Basic " + b64encode(b"a:%d" % number)
            watch.door.ask(watch.door.key_of(value), value, None).addErrback(lambda _: None)
        self.assertEqual(len(running), 2)
        running[0].callback(False)
        self.assertEqual(len(running), 3)
        watch.give_up()
        running[1].callback(False)
        self.assertEqual(len(running), 3, "nobody waits any longer")

    def test_nice(self) -> None:
        """A thread that compares passwords stands back behind all others."""
        found: list[int] = []

        def look() -> None:
            found.append(os.getpriority(os.PRIO_PROCESS, get_native_id()))

        thread = NiceThread(target=look)
        thread.start()
        thread.join()
        self.assertEqual(found, [NICENESS])

    def test_mode(self) -> None:
        """The log warns if everybody may read the file."""
        self.path.chmod(0o644)
        with capturedLogs() as logged:
            self.watch()
        self.assertEqual([event["path"] for event in logged], [str(self.path)])
