"""Tests for gostore.daemon.scrubber, and for what the store verifies for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.scrubber import LEAST, Scrubber
from gostore.errors import Damaged, DiskFailed, NotFound
from gostore.store.blobstore import VERIFIED_AT_ONCE, BlobStore
from gostore.store.interface import Details
from gostore.volume.directory import DATA
from gostore.volume.volume import Volume
from tests.store.doubles import FakeBody, FaultyDisk, InlineWorkers, ManualWorkers

MIB = 1024 * 1024


class Blobs:
    """Blobs of known sizes; `results` are what verifying some of them comes to."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.results: dict[str, Deferred[None]] = {}
        self.verified: list[str] = []
        self.broken = 0

    def following(self, after: str) -> str | None:
        if self.broken:
            self.broken -= 1
            raise ZeroDivisionError
        return next((each for each in sorted(self.sizes) if each > after), None)

    @inlineCallbacks
    def verify(self, location: str, pace: Callable[[int], Deferred[None]]):  # type: ignore[no-untyped-def]
        self.verified.append(location)
        for _ in range(0, self.sizes[location], MIB):
            yield pace(MIB)
        yield self.results.pop(location, succeed(None))


class ScrubberTests(SynchronousTestCase):
    """The service."""

    def start(self, sizes: dict[str, int], rate: int = MIB, pause: float = 100) -> None:
        """Start a scrubber of blobs of these sizes."""
        self.clock = Clock()
        self.blobs = Blobs(sizes)
        self.scrubber = Scrubber(self.blobs.following, self.blobs.verify, rate, pause, self.clock)
        self.scrubber.startService()

    def test_pace(self) -> None:
        """Over any time no more bytes are read than the rate allows."""
        self.start({"a": 3 * MIB, "b": 2 * MIB, "c": MIB}, rate=MIB)
        self.assertEqual(self.blobs.verified, [], "not in the turn that starts it")
        self.clock.advance(0)
        self.assertEqual(self.blobs.verified, ["a"])
        self.clock.pump([1] * 2)
        self.assertEqual(self.blobs.verified, ["a"])
        self.clock.pump([1, 0])
        self.assertEqual(self.blobs.verified, ["a", "b"])
        self.clock.pump([1, 0, 1, 0])
        self.assertEqual(self.blobs.verified, ["a", "b", "c"])

    def test_small_blobs_cost(self) -> None:
        """A blob of no bytes is paid for like one of 64 KiB."""
        self.start({"a": 0, "b": 0}, rate=LEAST)
        self.clock.advance(0)
        self.clock.advance(0.9)
        self.assertEqual(self.blobs.verified, ["a"])
        self.clock.advance(0.1)
        self.assertEqual(self.blobs.verified, ["a", "b"])

    def test_rounds(self) -> None:
        """After a round there is a pause, in which one timer is all there is, and then the next."""
        self.start({"a": 0}, rate=LEAST, pause=100)
        self.clock.pump([0, 1, 0])
        [timer] = self.clock.getDelayedCalls()
        self.assertEqual(timer.getTime(), 101)
        self.clock.advance(99)
        self.assertEqual(self.blobs.verified, ["a"])
        self.clock.advance(1)
        self.assertEqual(self.blobs.verified, ["a", "a"])

    def test_empty(self) -> None:
        """With no blobs it waits, and looks again."""
        self.start({}, pause=100)
        self.clock.advance(0)
        self.blobs.sizes["a"] = 0
        self.clock.advance(100)
        self.assertEqual(self.blobs.verified, ["a"])

    def test_off(self) -> None:
        """A rate of 0 turns it off: there is not even a timer."""
        self.start({"a": 0}, rate=0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.scrubber.stopService())

    def test_goes_on(self) -> None:
        """Whatever comes of one blob, the next is verified; only what nobody has told is logged."""
        self.start({"a": 0, "b": 0, "c": 0, "d": 0, "e": 0}, rate=LEAST)
        self.blobs.results = {
            "a": fail(Damaged("a")),
            "b": fail(NotFound("b")),
            "c": fail(DiskFailed("EIO")),
            "d": fail(ZeroDivisionError()),
        }
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        self.clock.pump([0] + [1] * 4)
        self.assertEqual(self.blobs.verified, ["a", "b", "c", "d", "e"])
        self.assertEqual([event["location"] for event in events], ["c", "d"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_round_fails(self) -> None:
        """A round that fails is logged, and the next one comes all the same."""
        self.start({"a": 0}, pause=100)
        self.blobs.broken = 1
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(100)
        self.assertEqual(self.blobs.verified, ["a"])

    def test_stop(self) -> None:
        """Stopping in a pause, or between two reads, leaves nothing behind; it can start anew."""
        for seconds in (0, 1, 50):
            self.start({"a": 10 * MIB})
            self.clock.pump([0] + [1] * seconds)
            stopped = self.scrubber.stopService()
            assert stopped is not None
            self.successResultOf(stopped)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.scrubber.startService()
            self.clock.advance(0)
            self.assertEqual(self.blobs.verified[-1], "a")
            self.scrubber.stopService()

    def test_stop_waits(self) -> None:
        """Stopping while a read is in progress waits for it, and begins no other."""
        self.start({"a": 0, "b": 0})
        reading: Deferred[None] = Deferred()
        self.blobs.results["a"] = reading
        self.clock.advance(0)
        stopped = self.scrubber.stopService()
        assert stopped is not None
        self.assertNoResult(stopped)
        reading.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.blobs.verified, ["a"])


class VerifyTests(SynchronousTestCase):
    """What `BlobStore.verify` finds out."""

    def setUp(self) -> None:
        """A store of two blobs, a large one and a small one."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)
        self.disk = FaultyDisk()
        self.store = BlobStore(Volume(str(self.path), disk=self.disk), InlineWorkers(), reserve=0)
        self.store.open()
        self.store.start()
        self.addCleanup(self.store.close)
        self.large = os.urandom(3 * VERIFIED_AT_ONCE + 1)
        for location, data in (("large", self.large), ("small", b"Hello!")):
            self.successResultOf(self.store.create(location, FakeBody(data), Details()))
        self.reads: list[int] = []

    def pace(self, length: int) -> Deferred[None]:
        """Note a read."""
        self.reads.append(length)
        return succeed(None)

    def verify(self, location: str) -> Deferred[None]:
        """Verify a blob; whatever comes of it, no file stays open for it."""
        before = len(self.disk.descriptors)
        result = self.store.verify(location, self.pace)
        self.assertEqual(len(self.disk.descriptors), before)
        return result

    def data(self, location: str) -> Path:
        """The data.raw of a blob."""
        blob = self.successResultOf(self.store.get(location))
        return self.path / str(blob.id) / DATA

    def test_locations(self) -> None:
        """The locations come one after the other, and then there is none."""
        self.assertEqual(self.store.next_location(""), "large")
        self.assertEqual(self.store.next_location("large"), "small")
        self.assertEqual(self.store.next_location("m"), "small")
        self.assertIsNone(self.store.next_location("small"))

    def test_whole(self) -> None:
        """A blob that is as it was committed is read in pieces, each paid for, and stays."""
        self.successResultOf(self.verify("large"))
        self.assertEqual(self.reads, [VERIFIED_AT_ONCE] * 3 + [1])
        self.successResultOf(self.store.get("large"))

    def test_damaged(self) -> None:
        """A changed byte, a missing file or another in its place sets the blob aside."""
        for damage in ("changed", "missing", "link", "fifo", "short", "long"):
            self.successResultOf(self.store.put("x", FakeBody(self.large), Details()))
            file = self.data("x")
            if damage in ("missing", "link", "fifo"):
                file.unlink()
            if damage == "link":
                file.symlink_to("/etc/passwd")
            elif damage == "fifo":
                os.mkfifo(file)
            elif damage == "changed":
                file.write_bytes(self.large[:-1] + bytes([self.large[-1] ^ 1]))
            elif damage == "short":
                file.write_bytes(self.large[:-1])
            elif damage == "long":
                file.write_bytes(self.large + b"!")
            self.failureResultOf(self.verify("x"), Damaged)
            self.failureResultOf(self.store.get("x"), Damaged)
            self.assertFalse(file.parent.exists(), damage)

    def test_gone(self) -> None:
        """A location that has no blob is not found; one deleted meanwhile is not set aside."""
        self.failureResultOf(self.verify("nothing"), NotFound)
        file = self.data("large")
        file.write_bytes(bytes(len(self.large)))

        def delete(length: int) -> Deferred[None]:
            if not self.reads:
                self.successResultOf(self.store.delete("large"))
            return self.pace(length)

        self.failureResultOf(self.store.verify("large", delete), Damaged)
        self.failureResultOf(self.store.get("large"), NotFound)
        self.assertTrue(file.exists())

    def test_disk_fails(self) -> None:
        """A read that fails says nothing about the blob, which stays."""
        self.disk.fail("pread", nth=2)
        self.failureResultOf(self.verify("large"), DiskFailed)
        self.successResultOf(self.store.get("large"))

    def test_pace_fails(self) -> None:
        """When the pace says no, the file is closed."""
        refused = self.store.verify("large", lambda _: fail(ZeroDivisionError()))
        self.failureResultOf(refused, ZeroDivisionError)
        self.assertNotIn("data", "".join(self.disk.descriptors.values()))

    def test_first_servers(self) -> None:
        """A blob whose digest nobody knows is opened, and not read."""
        blob = self.store._by_location["small"]
        object.__setattr__(blob, "sha256", None)
        self.successResultOf(self.verify("small"))
        self.assertEqual(self.reads, [])

    def test_in_workers(self) -> None:
        """Everything that may wait for the disk happens in a worker."""
        workers = ManualWorkers()
        self.store._workers = workers
        verified = self.store.verify("small", self.pace)
        self.assertEqual(workers.names(), ["open_data"])
        workers.run()
        self.assertEqual(workers.names(), ["_hash"])
        workers.run()
        self.assertEqual(workers.names(), ["close_data"])
        workers.run()
        self.successResultOf(verified)
