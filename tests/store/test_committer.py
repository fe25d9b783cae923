"""Tests for gostore.store.committer: who may change a location next, and what shares a flush."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from gostore import statefile
from gostore.blob import LOCATION_BYTES, MAX_ID, MESSAGE_LENGTH, Blob
from gostore.errors import NoSpace, ReadOnly
from gostore.store.committer import BATCH, TURNS, Committer
from gostore.store.interface import MAX_METADATA, SMALL_BLOB, Details
from gostore.text import LAST_TIME
from gostore.volume.changes import Change, Discard
from gostore.volume.journal.format import Entry
from tests.store.doubles import COMMIT, FakeBody
from tests.store.support import StoreCase


class CommitterTests(StoreCase):
    """Turns, on a volume in which the changes find nothing to do."""

    def setUp(self) -> None:
        """Note down what is decided, and what the maps are told to show."""
        super().setUp()
        self.committer = Committer(self.volume, self.workers, self.timer)
        self.done: list[str] = []

    def change(self, location: str, name: str = "") -> Deferred[None]:
        """Ask for a change."""
        return self.committer.change(
            location, self.decide(f"decide {location}{name}"), self.note(f"switch {location}{name}")
        )

    def note(self, what: str) -> Callable[[], None]:
        return lambda: self.done.append(what)

    def decide(self, what: str) -> Callable[[], Change]:
        def decide() -> Change:
            self.done.append(what)
            return Discard(["none", "none"], 0)

        return decide

    def sizes(self) -> list[int]:
        """How many changes each flush that waits is for."""
        return [len(job.arguments[0]) for job in self.workers.queued(COMMIT)]

    def test_in_turn(self) -> None:
        """The next change of a location is decided when the one before is durable and shown."""
        asked = [self.change("a", "1"), self.change("a", "2")]
        self.assertEqual(self.done, ["decide a1"])
        self.workers.run_all()
        self.assertEqual(self.done, ["decide a1", "switch a1", "decide a2", "switch a2"])
        for one in asked:
            self.successResultOf(one)
        self.assertEqual(self.committer.busy, set(), "nobody's turn is left")

    def test_together(self) -> None:
        """Changes of other locations that come during a flush share the next, BATCH at most."""
        self.change("first")
        for number in range(BATCH + 3):
            self.change(f"{number}")
        self.assertEqual(self.sizes(), [1])
        self.workers.run(COMMIT)
        self.assertEqual(self.sizes(), [BATCH])
        self.workers.run(COMMIT)
        self.assertEqual(self.sizes(), [3])
        self.workers.run(COMMIT)
        self.assertEqual(self.committer.busy, set(), "nobody's turn is left")

    def test_largest_batch(self) -> None:
        """The largest batch there can be fits in a file of the journal, beside what it reserves."""
        # What takes the most room in a record: JSON doubles a quote, and escapes a control.
        blob = Blob(MAX_ID, '"' * LOCATION_BYTES, content_type='"')
        name = "x-gostore-meta-a"
        blob.metadata[name] = '"' * (MAX_METADATA - len(name) - 1)
        blob.create(LAST_TIME, "\1" * MESSAGE_LENGTH)
        blob.start_writing(LAST_TIME)
        blob.finish_writing(LAST_TIME, SMALL_BLOB, bytes(32), 2**63 - 1)
        entry = Entry(blob.id, statefile.dump(blob), bytes(SMALL_BLOB))
        journal = self.volume.backlog.journal
        self.addCleanup(journal.close)
        journal.append([entry])
        journal.turn()
        self.assertFalse(journal.may_turn, "it keeps a block for a checkpoint")
        self.assertTrue(journal.fits([entry] * BATCH))

    def test_turns_together(self) -> None:
        """Turns that several locations get by one flush share the next, too."""
        for location in ("first", "a", "b", "a", "b"):
            self.change(location)
        self.workers.run(COMMIT)
        self.assertEqual(self.sizes(), [2])
        self.workers.run(COMMIT)
        self.assertEqual(self.sizes(), [2])

    def test_gathered(self) -> None:
        """A flush waits for as many changes as the last had, while each turn brings some."""
        self.timer.keeps = lambda seconds: not seconds

        def turn(*locations: str) -> list[int]:
            """A turn of the reactor; return the sizes of the flushes that wait after it."""
            for location in locations:
                self.change(location)
            due, self.timer.kept = self.timer.kept, []
            for function, _ in due:
                function()
            return self.sizes()

        for location in ("a", "b", "c"):
            self.change(location)
        self.assertEqual(turn(), [3], "nobody was answered before, so nobody is waited for")
        self.workers.run(COMMIT)
        self.assertEqual(turn("a"), [], "of the three who were answered one has come again")
        self.assertEqual(turn("b"), [], "and another")
        self.assertEqual(turn("c"), [3])
        self.workers.run(COMMIT)
        self.assertEqual(turn("a"), [])
        self.assertEqual(turn(), [1], "the others do not come")
        self.workers.run(COMMIT)
        self.assertEqual(turn("a"), [1])
        waiting = [f"{number}" for number in range(BATCH)]
        for location in waiting:
            self.change(location)
        self.workers.run(COMMIT)
        self.assertEqual(turn(), [BATCH])
        self.workers.run(COMMIT)
        for location in waiting[:TURNS]:
            self.assertEqual(turn(location), [])
        self.assertEqual(turn("last"), [TURNS + 1], "however many may still come")

    def test_refused(self) -> None:
        """Who is refused in its turn costs no flush, and the next has its turn at once."""

        def refuse() -> Change:
            raise ZeroDivisionError

        self.change("a")
        refused = self.committer.change("a", refuse, self.note("never"))
        self.change("a", "3")
        self.workers.run(COMMIT)
        self.failureResultOf(refused, ZeroDivisionError)
        self.workers.run_all()
        self.assertEqual(self.done[-2:], ["decide a3", "switch a3"])
        self.failureResultOf(self.committer.change("b", refuse, self.note("never")))
        self.assertEqual(self.committer.busy, set(), "nobody's turn is left")

    def test_fails(self) -> None:
        """A flush that fails in no foreseen way fails its changes, and is the last."""
        asked = [self.change("a"), self.change("b"), self.change("a", "2")]
        self.workers.take(COMMIT).result.errback(ZeroDivisionError())
        self.failureResultOf(asked[0], ZeroDivisionError)
        self.workers.run_all()
        for one in asked[1:]:
            self.failureResultOf(one, ReadOnly)
        self.assertNotIn("switch a", self.done)

    def test_not_shown(self) -> None:
        """When the maps cannot show what is durable nothing is written any more."""

        def switch() -> None:
            raise MemoryError

        asked = self.committer.change("a", self.decide("decide a"), switch)
        others = [self.change("a", "2"), self.change("b")]
        self.workers.run_all()
        self.failureResultOf(asked, MemoryError)
        for one in others:
            self.failureResultOf(one, ReadOnly)
        self.assertEqual(self.committer.busy, set(), "nobody's turn is left")

    def test_hold(self) -> None:
        """Other work on a location has its turn like a change, without a flush, and ends it."""
        work: Deferred[None] = Deferred()
        self.change("a", "1")
        excluded = self.committer.exclude("a", lambda: work)
        after = self.change("a", "2")
        self.workers.run_all()
        self.assertEqual(self.done, ["decide a1", "switch a1"])
        self.assertNoResult(excluded)
        self.change("b")
        self.workers.run_all()
        self.assertEqual(self.done[-1], "switch b", "only this location is excluded")
        work.callback(None)
        self.successResultOf(excluded)
        self.workers.run_all()
        self.successResultOf(after)
        self.assertEqual(self.committer.busy, set(), "nobody's turn is left")

    def test_hold_at_once(self) -> None:
        """Where nobody else is at it, it is done at once; one that fails holds nobody."""
        work: list[Any] = []
        self.successResultOf(self.committer.exclude("a", lambda: succeed(work.append(1))))
        self.assertEqual(work, [1])
        failing: Deferred[None] = Deferred()
        excluded = self.committer.exclude("a", lambda: failing)
        failing.errback(ZeroDivisionError())
        self.failureResultOf(excluded, ZeroDivisionError)
        self.assertEqual(self.committer.busy, set(), "nobody's turn is left")

    def test_one_of_a_batch(self) -> None:
        """A change that the disk refuses fails alone; the others of its batch are stored."""
        self.disk.fail("writev", errno.ENOSPC, nth=2)
        first = self.store.put("x", FakeBody(b"1"), Details())
        asked = [self.store.put(f"a{i}", FakeBody(b"1"), Details()) for i in range(3)]
        self.workers.run_all()
        self.failureResultOf(first, NoSpace)
        for one in asked:
            self.successResultOf(one)
        self.disk.fail("mkdir", errno.ENOSPC, nth=2)
        asked = [self.store.put(f"b{i}", FakeBody(b"1"), Details()) for i in range(4)]
        self.workers.run_all()
        self.failureResultOf(asked[1], NoSpace)
        for one in (asked[0], *asked[2:]):
            self.successResultOf(one)
