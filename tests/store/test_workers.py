"""Tests for gostore.store.workers: real threads, and where their results arrive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from gostore.store.workers import FILE_THREADS, DaemonThread, Workers

PATIENCE = 60.0


class Turns:
    """A reactor that takes turns only when the test says so: what threads hand over waits."""

    def __init__(self) -> None:
        self._calls: Queue[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = Queue()

    def callFromThread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Hand a call over."""
        self._calls.put((function, args, kwargs))

    def until(self, result: Deferred[Any]) -> None:
        """Make the calls that come until a Deferred has fired."""
        while not result.called:
            function, args, kwargs = self._calls.get(timeout=PATIENCE)
            function(*args, **kwargs)


class WorkersTests(SynchronousTestCase):
    """The three queues."""

    def setUp(self) -> None:
        """Start the threads."""
        self.turns = Turns()
        self.workers = self.start(Workers(self.turns))

    def start(self, workers: Workers) -> Workers:
        """Start threads, to be stopped after the test."""
        workers.start()
        self.addCleanup(workers.stop)
        return workers

    def result_of(self, result: Deferred[Any]) -> Any:
        """Wait for a result."""
        self.turns.until(result)
        return self.successResultOf(result)

    def test_threads(self) -> None:
        """Functions run in other threads, and results come back in the reactor's."""
        here = threading.get_ident()
        reported: list[int] = []
        workers = self.workers
        for queue in (workers.commits, workers.applying, workers.chores, workers.files):
            asked = queue.run(threading.get_ident)
            asked.addCallback(lambda ran: reported.append(threading.get_ident()) or ran)
            self.assertNotEqual(self.result_of(asked), here)
        self.assertEqual(reported, [here] * 4)

    def test_errors(self) -> None:
        """What a function raises fails its Deferred."""
        asked = self.workers.files.run(int, "no")
        self.turns.until(asked)
        self.failureResultOf(asked, ValueError)

    def test_one_commit_at_a_time(self) -> None:
        """Commits run one after another, in the order in which they were asked for."""
        done: list[int] = []
        asked = [self.workers.commits.run(done.append, number) for number in range(50)]
        self.result_of(gatherResults(asked))
        self.assertEqual(done, list(range(50)))

    def test_start_late(self) -> None:
        """No thread exists before the start, for twistd forks; what was asked for is done then."""
        before = threading.active_count()
        workers = Workers(self.turns)
        asked = workers.chores.run(lambda: 7)
        self.assertEqual(threading.active_count(), before)
        self.start(workers)
        self.assertEqual(self.result_of(asked), 7)

    def test_all_at_once(self) -> None:
        """All threads are there from the start: later there may be no memory for one."""
        before = threading.active_count()
        workers = self.start(Workers(self.turns))
        started = threading.active_count() - before
        self.assertEqual(started, FILE_THREADS + 3)
        self.result_of(gatherResults([workers.files.run(threading.get_ident) for _ in range(100)]))
        self.assertEqual(threading.active_count() - before, started)

    def test_no_room(self) -> None:
        """Where not all threads can be started that is said, and a stop waits for none of them."""
        left = 0

        class Scarce(DaemonThread):
            def start(self) -> None:
                nonlocal left
                left -= 1
                if left < 0:
                    raise RuntimeError("can't start new thread")
                super().start()

        for least in range(FILE_THREADS + 3):
            left = least
            workers = Workers(self.turns, Scarce)
            self.assertRaises(RuntimeError, workers.start)
            workers.stop()

    def test_errand(self) -> None:
        """An errand's failure is logged, and a stop waits for it."""
        asked = self.workers.errand(int, "no")
        idle = self.workers.ongoing.wait()
        self.assertNoResult(idle)
        self.turns.until(idle)
        self.assertIsNone(self.successResultOf(asked))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.successResultOf(self.workers.ongoing.wait())

    def test_no_thread_keeps_the_process(self) -> None:
        """A process whose reactor has failed ends, though nobody has stopped its threads."""
        before = set(threading.enumerate())
        self.start(Workers(self.turns))
        started = set(threading.enumerate()) - before
        self.assertGreaterEqual(len(started), FILE_THREADS)
        self.assertEqual([each.name for each in started if not each.daemon], [])
