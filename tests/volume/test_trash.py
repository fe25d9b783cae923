"""Tests for gostore.volume.trash: what is renamed away, and what is removed."""

from __future__ import annotations

import errno
import os

from gostore.volume.collect import Dead, collect
from gostore.volume.directory import DATA, STATE
from tests.store.doubles import FOR_EVER
from tests.volume.support import VolumeCase


class TrashTests(VolumeCase):
    """Trash, quarantine and removal."""

    def test_names(self) -> None:
        """A name that is taken is not taken again."""
        os.mkdir(self.file(".trash-1-1"))
        self.put(".trash-1-1", b"x", "full")
        self.put(".trash-1-2", b"x", "full")
        with open(self.file(".trash-1-3"), "wb"):
            pass
        self.commit(1, "a")
        self.assertTrue(self.volume.trash.put("1", 1))
        self.assertEqual(self.volume.trash.trashed, {".trash-1-4": 1})
        self.assertFalse(self.volume.trash.put("1", 1))

    def test_quarantine(self) -> None:
        """A blob is quarantined whole; one that lost a tie says so in its name."""
        self.commit(1, "a")
        self.commit(2, "b")
        self.assertEqual(self.volume.trash.quarantine("1"), ".quarantine-1-1")
        self.assertEqual(self.volume.trash.quarantine("2", tie=True), ".quarantine-2-2-tie")
        self.assertIsNone(self.volume.trash.quarantine("3"))
        self.disk.fail("rename", errno.EIO)
        self.assertRaises(OSError, self.volume.trash.quarantine, ".quarantine-1-1")

    def test_younger(self) -> None:
        """Where an elder was, another blob stays; nothing goes if nobody can tell which it is."""
        old = self.commit(1, "a")
        self.commit(2, "b")
        self.disk.fail("open", errno.EMFILE, name=f"2/{STATE}")
        self.assertRaises(OSError, self.volume.trash.put_away, ["2", "1"], old.generation)
        self.assertEqual(self.names(), ["1", "2"])
        self.disk.heal()
        self.volume.trash.put_away(["2", "1"], old.generation)
        self.assertIn("2", self.names())
        self.assertNotIn("1", self.names())

    def test_remove(self) -> None:
        """Only what gostore makes is removed, and the state file first."""
        self.commit(1, "a")
        self.disk.clear()
        self.assertTrue(self.volume.trash.remove("1"))
        self.assertEqual(self.disk.trace()[0], f"unlink 1/{STATE}")
        self.assertTrue(self.volume.trash.remove("1"))

    def test_lower_layer(self) -> None:
        """A directory that cannot be renamed is emptied in place, its state file durably first."""
        blob = self.commit(1, "a")
        self.delete(blob)
        self.disk.fail("rename", errno.EXDEV, name="1 -> .", times=FOR_EVER)
        self.disk.clear()
        dead = Dead(1, "a", blob.generation)
        done = collect(self.volume, [dead])
        self.assertEqual((done.blobs, done.ids, done.left), ([dead], [1], {}))
        self.assertEqual(self.disk.trace("unlink", "fsync")[:2], [f"unlink 1/{STATE}", "fsync 1"])
        self.assertEqual(self.names(), [])

    def test_lower_layer_damaged(self) -> None:
        """One that is damaged is quarantined file by file, its state file last."""
        blob = self.commit(1, "a", b"data")
        self.disk.fail("rename", errno.EXDEV, name="1 -> .", times=FOR_EVER)
        self.disk.clear()
        name = self.volume.trash.quarantine("1")
        assert name is not None
        self.assertEqual(self.names(), [name])
        self.assertEqual(self.volume.directory.read_record(name, 1).location, "a")
        with open(self.file(name, DATA), "rb") as file:
            self.assertEqual(file.read(), b"data")
        self.assertEqual(
            self.disk.trace("rename", "fsync")[1:],
            [
                f"rename 1/{DATA} -> {name}/{DATA}",
                f"fsync {name}",
                f"rename 1/{STATE}.tmp -> {name}/{STATE}.tmp",  # there is none
                f"rename 1/{STATE} -> {name}/{STATE}",
                f"fsync {name}",
            ],
        )
        self.assertEqual(list(self.restart().damaged), [blob.location])

    def test_lower_layer_foreign(self) -> None:
        """Nothing is moved out of it if it holds anything that is not gostore's."""
        self.commit(1, "a")
        self.put("1", b"mine", "notes.txt")
        self.disk.fail("rename", errno.EXDEV, name="1 -> .", times=FOR_EVER)
        error = self.assertRaises(OSError, self.volume.trash.quarantine, "1")
        self.assertEqual(error.errno, errno.EXDEV)
        self.assertEqual(sorted(os.listdir(self.file("1"))), [STATE, DATA, "notes.txt"])
