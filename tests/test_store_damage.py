"""Tests for what gostore.store makes of blobs that are not as they were written."""

from __future__ import annotations

from gostore.errors import Damaged, NotFound
from gostore.store import Details
from tests.doubles import CHORE, COMMIT, FakeBody
from tests.store_support import StoreCase


class RaceTests(StoreCase):
    """Damage that is found while somebody changes the location."""

    def damage(self, location: str = "a") -> None:
        """Change a byte of a blob that is there already, behind the store's back."""
        blob = self.successResultOf(self.store.get(location))
        data = self.data(blob).read_bytes()
        self.data(blob).write_bytes(b"?" + data[1:])

    def find_damage(self, location: str = "a") -> None:
        """Let a reader find it, without a turn for the chores or the commits."""
        asked = self.store.content(self.successResultOf(self.store.get(location)))
        while self.workers.queued("file"):
            self.workers.run("file")
        self.failureResultOf(asked, Damaged)

    def test_delete_under_way(self) -> None:
        """Found while a DELETE of it is under way, it is deleted, for good."""
        for order in ((COMMIT, CHORE), (CHORE, COMMIT)):
            self.store_blob("a")
            self.damage()
            deleted = self.store.delete("a")
            self.find_damage()
            for room in order:
                self.workers.run_all(room)
            self.wait(deleted)
            self.fails(self.store.get("a"), NotFound)
            self.collect()
            self.assertEqual(self.names(), [])
            self.open()
            self.fails(self.store.get("a"), NotFound)

    def test_delete_at_once(self) -> None:
        """A DELETE that comes right after it was found deletes what is set aside."""
        for order in ((COMMIT, CHORE), (CHORE, COMMIT)):
            self.store_blob("a")
            self.damage()
            self.find_damage()
            deleted = self.store.delete("a")
            for room in order:
                self.workers.run_all(room)
            self.wait(deleted)
            self.collect()
            self.assertEqual(self.names(), [])
            self.open()
            self.fails(self.store.get("a"), NotFound)

    def test_replaced_under_way(self) -> None:
        """Found while a PUT over it is under way, it is replaced, and nothing is set aside."""
        for order in ((COMMIT, CHORE), (CHORE, COMMIT)):
            self.store_blob("a")
            self.damage()
            replaced = self.store.replace("a", FakeBody(b"new"), Details())
            self.find_damage()
            for room in order:
                self.workers.run_all(room)
            blob = self.wait(replaced)
            self.collect()
            self.assertEqual(self.names(), [str(blob.id)])
            self.assertEqual(self.read("a"), b"new")
            self.wait(self.store.delete("a"))
            self.collect()

    def test_found_twice(self) -> None:
        """Whoever finds it while it is being set aside finds nothing more to do."""
        self.store_blob("a")
        self.damage()
        blob = self.wait(self.store.get("a"))
        readers = [self.store.content(blob) for _ in range(3)]
        self.workers.run_all()
        for reader in readers:
            self.failureResultOf(reader, Damaged)
        self.assertEqual(self.names(), [f".quarantine-{blob.id}-1"])
        self.fails(self.store.content(blob), NotFound)
