"""gostore.store.past: what a location had, and how it becomes current again."""

from __future__ import annotations

import errno
import math
from typing import Any

from gostore.blob import EndedBy, State
from gostore.errors import (
    AlreadyExists,
    Busy,
    ConditionFailed,
    DiskFailed,
    NoSpace,
    NotFound,
    NoVersion,
    VersionDamaged,
)
from gostore.prefixes import ByPrefix
from gostore.store.interface import Details, Lifetime, Precondition, Summary, Versions
from gostore.store.keeping import GRACE
from gostore.store.versions import Restore, Version
from gostore.volume.directory import STATE
from tests.store.doubles import SECOND, FakeBody
from tests.store.support import LARGE, StoreCase
from tests.store.test_behind import BehindCase

FOREVER = ByPrefix(math.inf)


class PastCase(StoreCase):
    """A store that keeps everything."""

    def open(self, **settings: Any) -> Summary:
        """Open it."""
        return super().open(**{"keep": FOREVER, **settings})

    def history(self, location: str = "a") -> list[Version]:
        """What is known of a location."""
        return self.wait(self.store.past.history(location))

    def bytes_of(self, location: str, generation: int) -> bytes:
        """The bytes of one version."""
        blob, content = self.wait(self.store.past.version(location, generation))
        data = content.read(0, blob.size)
        found = data if isinstance(data, bytes) else self.wait(data)
        content.close()
        self.workers.run_all()
        return found

    def delete(self, location: str = "a") -> None:
        """Delete a blob."""
        self.wait(self.store.delete(location, None, "bob, 2"))

    def restore(self, generation: int, **more: Any) -> tuple[Any, bool]:
        """Make a version current again."""
        return self.wait(self.store.past.restore("a", Restore(generation, "eve, 3", **more)))


class HistoryTests(PastCase):
    """What is kept."""

    def test_replaced(self) -> None:
        """A replaced blob is kept, with who replaced it, when, and by what."""
        old, new = self.store_blob("a", b"old"), self.store_blob("a", b"newer")
        current, past = self.history()
        self.assertEqual((current.blob, current.ending), (new, None))
        self.assertEqual((past.blob.generation, past.blob.modified), (1, old.modified))
        ending = past.ending
        assert ending is not None
        self.assertIs(ending.by, EndedBy.REPLACED)
        self.assertEqual((ending.successor, ending.when), (new.id, new.modified))
        self.assertIsNone(past.until)
        self.assertEqual(self.bytes_of("a", 1), b"old")
        self.assertEqual(self.bytes_of("a", 2), b"newer")

    def test_unread(self) -> None:
        """A version whose record cannot be read just now is not hidden: the whole is refused."""
        self.store_blob("a", b"old")
        self.store_blob("a", b"newer")
        self.collect()
        for number, error in ((errno.EMFILE, Busy), (errno.EINTR, DiskFailed)):
            for nth in (1, 2):
                self.disk.fail("open", number, nth=nth, name=STATE)
                self.fails(self.store.past.history("a"), error)
                self.disk.heal()
        self.assertEqual(len(self.history()), 2)

    def test_bad_sector(self) -> None:
        """A version whose record the disk has lost hides no other."""
        old, new = self.store_blob("a", b"old"), self.store_blob("a", b"newer")
        self.collect()
        self.disk.fail("open", errno.EIO, name=f"{old.id}/{STATE}")
        self.assertEqual([each.blob for each in self.history()], [new])

    def test_deleted(self) -> None:
        """A deleted blob is kept, and is not there all the same, also after a start."""
        self.store_blob("a", b"old")
        self.delete()
        for _ in range(2):
            self.collect()
            self.fails(self.store.get("a"), NotFound)
            (past,) = self.history()
            ending = past.ending
            assert ending is not None
            self.assertEqual((ending.by, ending.origin), (EndedBy.DELETED, "bob, 2"))
            self.assertEqual(self.bytes_of("a", 1), b"old")
            self.assertIs(self.record(past.blob.id).state, State.FAILURE)
            self.open()

    def test_restart(self) -> None:
        """A start finds the same history, in order, with a record cache and without it."""
        for number in range(5):
            self.store_blob("a", b"%d" % number)
        self.delete()
        self.store_blob("b", b"1")
        self.store_blob("b", LARGE)
        self.collect()
        before = self.history(), self.history("b")
        self.open()
        self.assertEqual((self.history(), self.history("b")), before)
        stopped = self.store.stop()
        self.wait(stopped)
        self.open()
        self.assertEqual((self.history(), self.history("b")), before)

    def test_unmarked(self) -> None:
        """A crash before a replaced blob is marked loses nothing of what its log will say."""
        self.timer.keeps = lambda seconds: seconds > 0
        self.store_blob("a", b"old")
        body = FakeBody(b"new")
        body.origin = "carol, 7"
        self.wait(self.store.put("a", body, Details()))
        before = self.history()
        self.assertIs(self.record(before[1].blob.id).state, State.OK)
        self.open()
        self.assertEqual(self.history(), before)
        ending = before[1].ending
        assert ending is not None
        self.assertEqual(ending.origin, "carol, 7")
        self.assertIs(self.record(before[1].blob.id).state, State.FAILURE)

    def test_pages(self) -> None:
        """A long history comes in pages, the newest first."""
        for number in range(5):
            self.store_blob("a", b"%d" % number)
        pages = [
            [each.blob.generation for each in self.wait(self.store.past.history("a", before, 2))]
            for before in (None, 4, 2)
        ]
        self.assertEqual(pages, [[5, 4], [3, 2], [1]])

    def test_nothing(self) -> None:
        """What is not known is not found: a location, a version, and that of another location."""
        self.fails(self.store.past.history("a"), NotFound)
        self.store_blob("a")
        self.store_blob("b")
        self.fails(self.store.past.version("a", 2), NoVersion)
        self.fails(self.store.past.restore("a", Restore(2, "")), NoVersion)

    def test_not_kept(self) -> None:
        """Without a history there is what is current; what was kept goes an hour after a start."""
        self.store_blob("a", b"old")
        self.store_blob("a", b"new")
        self.collect()
        self.assertEqual(len(self.history()), 2)
        self.open(keep=ByPrefix(0))
        self.collect()
        self.assertEqual(len(self.history()), 2)
        self.timer.time += GRACE
        self.collect()
        self.assertEqual([each.blob.generation for each in self.history()], [2])
        self.assertEqual(len([name for name in self.names() if name.isdecimal()]), 1)

    def test_due(self) -> None:
        """What is due is collected, and its id is free again."""
        self.open(keep=ByPrefix(5))
        old = self.store_blob("a", b"old")
        self.store_blob("a", b"new")
        self.collect()
        self.assertEqual(len(self.history()), 2)
        self.clock.time += 6 * 1_000_000_000
        self.collect()
        self.assertEqual(len(self.history()), 1)
        self.assertNotIn(old.id, self.store.index.ids)

    def test_damaged(self) -> None:
        """A damaged version is quarantined when it is read; its location has what it has."""
        old = self.store_blob("a", b"old")
        self.store_blob("a", b"new")
        self.data(old).write_bytes(b"odd")
        self.fails(self.store.past.version("a", 1), VersionDamaged)
        self.workers.run_all()
        self.assertEqual(self.read("a"), b"new")
        self.assertEqual([each.blob.generation for each in self.history()], [2])
        self.delete()
        self.collect()
        for _ in range(2):
            self.open()
            self.fails(self.store.get("a"), NotFound)
        self.assertIn(f".quarantine-{old.id}-1", self.names())

    def test_deleted_list(self) -> None:
        """The deleted locations are listed, with what can be restored."""
        for location in ("a", "b/x", "b/y"):
            self.store_blob(location)
            self.delete(location)
        self.store_blob("b/x")
        page = self.wait(self.store.past.deleted("b/"))
        self.assertEqual([each.blob.location for each in page.versions], ["b/y"])
        page = self.wait(self.store.past.deleted("", "", 1))
        self.assertEqual([each.blob.location for each in page.versions], ["a"])
        self.assertEqual(page.next_after, "a")


class RestoreTests(PastCase):
    """A version becomes current again."""

    def test_replaced(self) -> None:
        """A version takes the place of the current one, which is kept; its labels come with it."""
        self.wait(self.store.put("a", FakeBody(b"old"), Details("text/plain", {"x-a": "1"})))
        self.store_blob("a", b"new")
        blob, is_new = self.restore(1)
        self.assertFalse(is_new)
        self.assertEqual((blob.content_type, blob.metadata), ("text/plain", {"x-a": "1"}))
        self.assertEqual(self.read("a"), b"old")
        self.assertEqual([each.blob.generation for each in self.history()], [3, 2, 1])
        self.assertEqual(self.history()[0].origin, "eve, 3")

    def test_deleted(self) -> None:
        """A deleted blob comes back, large or small."""
        for data in (b"old", LARGE):
            blob = self.store_blob("a", data)
            self.delete()
            _, is_new = self.restore(blob.generation)
            self.assertTrue(is_new)
            self.assertEqual(self.read("a"), data)
            self.assertEqual(self.wait(self.store.past.deleted()).versions, [])
            self.delete()
        self.assertEqual(self.disk.open_files, [""])

    def test_no_link(self) -> None:
        """The bytes are copied: no file has two names, whatever the disk can do."""
        for kind in ((), ("clone",), ("clone", "copy_range")):
            blob = self.store_blob("a", LARGE)
            self.delete()
            for each in kind:
                setattr(self.disk, each, _unsupported)
            restored, _ = self.restore(blob.generation)
            self.assertEqual(self.data(restored).stat().st_nlink, 1)
            self.assertEqual(self.read("a"), LARGE)
            self.delete()

    def test_conditions(self) -> None:
        """A restore is refused by its conditions, and by what the location must have."""
        self.store_blob("a", b"old")
        self.store_blob("a", b"new")
        nothing = Precondition(unwanted=Versions(any=True))
        self.fails(self.store.past.restore("a", Restore(1, ""), nothing), ConditionFailed)
        self.fails(self.store.past.restore("a", Restore(1, "", exists=False)), AlreadyExists)
        self.delete()
        self.fails(self.store.past.restore("a", Restore(1, "", exists=True)), NotFound)
        self.assertEqual(self.restore(1, exists=False)[1], True)

    def test_damaged(self) -> None:
        """A damaged version never becomes current."""
        for data in (b"old", LARGE):
            old = self.store_blob("a", data)
            self.store_blob("a", b"new")
            self.data(old).write_bytes(data[:-1] + b"x")
            restore = Restore(old.generation, "")
            self.fails(self.store.past.restore("a", restore), VersionDamaged)
            self.assertEqual(self.read("a"), b"new")
            self.assertNotIn(f"{old.id}/data.raw", self.disk.open_files)


class CopyTests(PastCase):
    """What one location has is copied to another."""

    def test_copied(self) -> None:
        """The current version is copied, small or large, and its source stays as it is."""
        for data in (b"small", LARGE):
            self.store_blob("b", b"older")
            self.store_blob("b", data)
            copied, is_new = self.restore(None, source="b")
            self.assertEqual((self.read("a"), self.read("b"), is_new), (data, data, True))
            self.assertNotEqual(copied.id, self.wait(self.store.get("b")).id)
            self.delete("a")

    def test_missing(self) -> None:
        """What is not there, or was deleted, is not copied, though its history is kept."""
        for _ in range(2):
            self.fails(self.store.past.restore("a", Restore(None, "", source="b")), NotFound)
            self.store_blob("b", b"x")
            self.delete("b")

    def test_old_version(self) -> None:
        """A version of one location can be brought to another."""
        old = self.store_blob("b", b"old")
        self.store_blob("b", b"new")
        self.restore(old.generation, source="b")
        self.assertEqual((self.read("a"), self.read("b")), (b"old", b"new"))

    def test_damaged(self) -> None:
        """A damaged blob is not copied."""
        blob = self.store_blob("b", LARGE)
        self.data(blob).write_bytes(LARGE[:-1] + b"x")
        self.fails(self.store.past.restore("a", Restore(None, "", source="b")), VersionDamaged)
        self.fails(self.store.get("a"), NotFound)


class RoomTests(PastCase):
    """Room comes before history."""

    def test_reserve(self) -> None:
        """The oldest go before a write is refused, and no more of them than it needs."""
        for location in ("a", "b", "c"):
            self.store_blob(location, LARGE)
            self.clock.time += 1_000_000_000
            self.delete(location)
        self.collect()
        self.disk.room = (2 * len(LARGE), 1 << 41)
        self.open(reserve=2 * len(LARGE) - 1000)
        removed = []

        def room(_: object) -> tuple[int, int]:
            gone = 3 - len([name for name in self.names() if name.isdecimal()])
            removed.append(gone)
            return 2 * len(LARGE) + max(gone, 0) * len(LARGE), 1 << 41

        self.disk.free = room  # type: ignore[method-assign]
        self.store_blob("d", LARGE[:2000])
        self.assertEqual([bool(self.store.history.at(each)) for each in "abc"], [False, True, True])
        self.assertEqual(self.store.history.given_up, 1)

    def test_room_again(self) -> None:
        """Nothing is given up where another program has made room since somebody looked."""
        self.store_blob("a", LARGE)
        self.delete()
        self.collect()
        self.disk.room = (0, 1 << 41)
        self.collect()
        self.disk.room = None
        self.store_blob("b", LARGE)
        self.assertEqual(self.store.history.given_up, 0)
        self.assertEqual(len(self.history()), 1)

    def test_nothing_left(self) -> None:
        """A write is refused when all that was kept is gone and there is no room all the same."""
        self.store_blob("a")
        self.delete()
        self.disk.room = (0, 1 << 41)
        self.open()
        self.fails(self.store.create("b", FakeBody(b"x" * 10), Details()), NoSpace)
        self.assertEqual(self.store.history.at("a"), [])

    def test_ids(self) -> None:
        """An id comes before history, too."""
        self.open(id_bits=9)
        for number in range(256):
            self.store_blob(f"{number}")
        for number in range(4):
            self.store_blob(f"{number}", b"1")
            self.clock.time += 1_000_000_000
        self.delete("9")
        self.collect()
        # New blobs leave 256 ids to replacements: 256 may be taken, and 260 are.
        self.store_blob("x")
        self.assertEqual(self.store.history.given_up, 5)
        self.assertEqual(len(self.store.history), 0)


class BehindPastTests(BehindCase):
    """What is kept, and has no files yet."""

    def open(self, **settings: Any) -> Summary:
        """Open a store that keeps everything."""
        return super().open(**{"keep": FOREVER, **settings})

    def test_without_files(self) -> None:
        """A version that is replaced before it has files is read, gets them, and is found again."""
        self.store_blob("a", b"one")
        self.store_blob("a", b"two")
        self.wait(self.store.delete("a"))
        self.assertEqual(self.ids(), [])

        def found() -> list[tuple[int, bytes]]:
            versions = self.wait(self.store.past.history("a"))
            return [
                (
                    each.blob.generation,
                    self.wait(self.store.past.version("a", each.blob.generation))[1].read(0, 3),
                )
                for each in versions
            ]

        expected = [(2, b"two"), (1, b"one")]
        self.assertEqual(found(), expected)
        self.open()
        self.assertEqual(found(), expected)
        self.assertEqual(len(self.ids()), 2)
        self.open()
        self.assertEqual(found(), expected)


def _unsupported(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "no such thing here")


class OverTests(PastCase):
    """A blob that is over, and that no collector has seen."""

    def setUp(self) -> None:
        """Store it, and let its time pass."""
        super().setUp()
        self.clock.step = 0
        details = Details(lifetime=Lifetime(60))
        self.wait(self.store.put("a", FakeBody(b"data"), details))
        self.assertEqual([each.ending for each in self.history()], [None])
        self.clock.time += 60 * SECOND

    def test_history(self) -> None:
        """Its history has it at once, as expired, and so it is on the disk."""
        [version] = self.history()
        assert version.ending is not None
        self.assertIs(version.ending.by, EndedBy.EXPIRED)
        self.assertIs(self.record(version.blob.id).state, State.FAILURE)
        self.assertEqual(self.store.index.expiry.expired, 1)
        self.collect()
        self.assertEqual(self.history(), [version])
        self.assertEqual(self.store.index.expiry.expired, 1)

    def test_deleted(self) -> None:
        """So has the list of what can be restored."""
        page = self.wait(self.store.past.deleted())
        self.assertEqual([each.blob.location for each in page.versions], ["a"])

    def test_version(self) -> None:
        """It can be read, and restored for good."""
        self.assertEqual(self.bytes_of("a", 1), b"data")
        self.clock.time += SECOND

    def test_restored(self) -> None:
        """It can be restored, and then does not expire any more."""
        blob, is_new = self.restore(1)
        self.assertEqual((blob.expires, is_new, self.read("a")), (None, True, b"data"))

    def test_read_only(self) -> None:
        """A store that takes no writes marks nothing, and says that it knows of nothing."""
        self.volume.directory.give_up("a test")
        self.fails(self.store.past.history("a"), NotFound)
        self.assertEqual(self.wait(self.store.past.deleted()).versions, [])

    def test_not_kept(self) -> None:
        """Where no history is kept, nobody but the collector marks anything."""
        self.open(keep=ByPrefix(0.0, {"b": 9.0}))
        self.wait(self.store.put("c", FakeBody(b"data"), Details(lifetime=Lifetime(60))))
        self.clock.time += 60 * SECOND
        self.fails(self.store.past.history("c"), NotFound)
        self.assertEqual(self.store.index.expiry.expired, 0)
