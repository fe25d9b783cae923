"""Tests for gostore.volume.promise: the note for how long history is kept."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gostore.prefixes import ByPrefix
from gostore.volume.directory import Directory, Kind, kind_of
from gostore.volume.promise import NAME, note_promise, read_promise
from tests.store.doubles import FaultyDisk

KEEP = ByPrefix(7.5, {"a/": math.inf, "b\n/": 0.0})


class PromiseTests(SynchronousTestCase):
    """The note in a directory."""

    def setUp(self) -> None:
        """Open a directory."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / NAME
        self.disk = FaultyDisk()
        self.directory = Directory(self.disk)
        self.directory.open(directory.name)
        self.addCleanup(self.directory.close)

    def test_again(self) -> None:
        """What is noted is read again, and a later note takes its place."""
        self.assertIsNone(read_promise(self.directory))
        for keep in (KEEP, ByPrefix(0.0), ByPrefix(math.inf)):
            note_promise(self.directory, keep)
            self.assertEqual(read_promise(self.directory), keep)
        self.assertEqual(os.listdir(self.path.parent), [NAME])

    def test_order(self) -> None:
        """The note is flushed before it has its name, and its name before anybody relies on it."""
        note_promise(self.directory, KEEP)
        trace = self.disk.trace("fsync", "fdatasync", "rename")
        self.assertEqual(trace, [f"fsync {NAME}.tmp", f"rename {NAME}.tmp -> {NAME}", "fsync /"])

    def test_failure(self) -> None:
        """A note that cannot be written leaves the old one, and the next try is not disturbed."""
        note_promise(self.directory, KEEP)
        for kind in ("open", "writev", "rename"):
            with self.subTest(kind=kind):
                fault = self.disk.fail(kind, errno.ENOSPC)
                self.assertRaises(OSError, note_promise, self.directory, ByPrefix(1.0))
                self.disk.heal()
                self.assertGreater(fault.seen, 0)
                self.assertEqual(read_promise(self.directory), KEEP)
        note_promise(self.directory, ByPrefix(1.0))
        self.assertEqual(read_promise(self.directory), ByPrefix(1.0))

    def test_nonsense(self) -> None:
        """What makes no sense promises nothing."""
        texts = ("", "[]", "7", '{"keep": -1, "prefixes": {}}', '{"keep": 5}', "\0" * 9, "[" * 9999)
        more = ('{"keep": "x", "prefixes": {}}', '{"keep": NaN, "prefixes": {}}')
        for text in (*texts, *more):
            self.path.write_text(text)
            self.assertIsNone(read_promise(self.directory), text[:20])
        self.path.write_bytes(b"\xff{}")
        self.assertIsNone(read_promise(self.directory))

    def test_name(self) -> None:
        """The names of the note are gostore's."""
        for name in (NAME, f"{NAME}.tmp"):
            self.assertIs(kind_of(name), Kind.PROMISE)
        self.assertIs(kind_of("xkeep"), Kind.FOREIGN)
