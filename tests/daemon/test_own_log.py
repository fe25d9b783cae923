"""Tests for gostore.daemon.own_log: the level, the form and the file of the daemon's own log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.own_log import LogFormat, OwnLog
from gostore.daemon.reloading import CannotReload
from tests.test_tap import temporary


class OwnLogTests(SynchronousTestCase):
    """A log in a file, as twistd --logfile has it."""

    def setUp(self) -> None:
        """Choose the file."""
        directory = temporary(self) / "log"
        directory.mkdir()
        self.path = directory / "gostore.log"

    def make(self, *, debug: bool = False, form: LogFormat = LogFormat.TEXT) -> OwnLog:
        """The log for twistd's options."""
        twistd: dict[str, Any] = {"nodaemon": True, "logger": None, "logfile": str(self.path)}
        return OwnLog.of(twistd, debug=debug, form=form)

    def logger(self, log: OwnLog) -> Logger:
        """What logs to it."""
        assert log.observer is not None
        return Logger("a.module", observer=log.observer)

    def test_quiet(self) -> None:
        """It has no debug messages, unless they are asked for."""
        for debug in (False, True):
            log = self.logger(self.make(debug=debug))
            log.debug("perhaps this")
            log.info("but this")
            text = self.path.read_text()
            self.assertIn("but this", text)
            self.assertEqual("perhaps this" in text, debug)

    def test_none(self) -> None:
        """Where twistd has an observer of the user's, or is not there, its choice stands."""
        twistd: dict[str, Any] = {"nodaemon": True, "logger": print, "logfile": None}
        for options in (twistd, {}):
            log = OwnLog.of(options, debug=False, form=LogFormat.JSON)
            self.assertIsNone(log.observer)
            self.assertEqual(log.reload(), "")

    def test_json(self) -> None:
        """Each event is an object on a line of its own, with its traceback."""
        log = self.logger(self.make(form=LogFormat.JSON))
        log.warn("{what!r} is\nodd", what="a\nb")
        try:
            raise ValueError("of no use")
        except ValueError:
            log.failure("it failed")
        first, second = map(json.loads, self.path.read_text().splitlines())
        self.assertRegex(first.pop("time"), r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        said = {"level": "warn", "logger": "a.module", "message": "'a\\nb' is\nodd"}
        self.assertEqual(first, said)
        self.assertEqual((second["level"], second["message"]), ("critical", "it failed"))
        self.assertIn("ValueError: of no use", second["traceback"])

    def test_reload(self) -> None:
        """After it was renamed the file is made anew, with the lines from then on."""
        own = self.make()
        log = self.logger(own)
        log.info("before")
        old = self.path.rename(f"{self.path}.1")
        log.info("between")
        self.assertEqual(own.reload(), f"{self.path} is open anew")
        log.info("after")
        self.assertRegex(old.read_text(), r"(?s)before.*between")
        self.assertRegex(self.path.read_text(), r"^[^\n]*after\n$")

    def test_reload_fails(self) -> None:
        """Where it cannot be opened anew the old file stays in use."""
        own = self.make()
        log = self.logger(own)
        moved = Path(os.path.dirname(self.path)).rename(f"{self.path.parent}.moved")
        self.assertRaises(CannotReload, own.reload)
        log.info("after")
        self.assertIn("after", (moved / "gostore.log").read_text())
