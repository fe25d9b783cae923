"""Tests for gostore.workers: real threads, and where their results arrive."""

from __future__ import annotations

import threading

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from gostore.workers import Workers


class WorkersTests(TestCase):
    """The three rooms, on the reactor that runs the test."""

    def setUp(self) -> None:
        """Start the threads."""
        self.workers = Workers(reactor)
        self.workers.start()
        self.addCleanup(self.workers.stop)

    def test_threads(self) -> Deferred[object]:
        """Functions run in other threads, and results come back in the reactor's."""
        here = threading.get_ident()

        def check(ran: int) -> None:
            self.assertNotEqual(ran, here)
            self.assertEqual(threading.get_ident(), here)

        rooms = (self.workers.commit, self.workers.chore, self.workers.file)
        return gatherResults([room(threading.get_ident).addCallback(check) for room in rooms])

    def test_errors(self) -> Deferred[object]:
        """What a function raises fails its Deferred."""
        return self.assertFailure(self.workers.file(int, "no"), ValueError)

    def test_one_commit_at_a_time(self) -> Deferred[object]:
        """Commits run one after another, in the order in which they were asked for."""
        done: list[int] = []
        asked = [self.workers.commit(done.append, number) for number in range(50)]
        return gatherResults(asked).addCallback(lambda _: self.assertEqual(done, list(range(50))))

    def test_start_late(self) -> Deferred[object]:
        """No thread exists before the start, for twistd forks; what was asked for is done then."""
        before = threading.active_count()
        workers = Workers(reactor)
        self.assertEqual(threading.active_count(), before)
        asked = workers.chore(lambda: 7)
        workers.start()
        self.addCleanup(workers.stop)
        return asked.addCallback(self.assertEqual, 7)
