"""Tests for gostore.commands.show."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from gostore.commands.show import show
from gostore.errors import NoBlobs, NotFound
from gostore.store.blobstore import BlobStore
from gostore.store.interface import Details
from gostore.volume.changes import Sync
from gostore.volume.directory import DATA, STATE
from gostore.volume.volume import Volume
from tests.commands import test_fsck
from tests.store.doubles import FakeBody, InlineWorkers, PromptClock


class Patient(PromptClock):
    """A clock that keeps what is to be done later."""

    def callLater(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> None:
        if not seconds:
            function(*arguments)


class ShowTests(test_fsck.SpoiledTestCase):
    """What is shown of a blob."""

    def show(self, wanted: str, *, location: bool = False) -> str:
        """Show it."""
        return "\n".join(show(Volume(str(self.path)), wanted, location=location))

    def test_both_ways(self) -> None:
        """A blob is found by its id and by its location, also while a daemon runs."""
        store = self.store()
        shown = self.show(str(self.ids["a"]))
        self.assertEqual(self.show("a"), shown)
        store.close()
        for text in (f"Blob {self.ids['a']}\n", "100000 bytes", "text/plain", "Starting Data WR"):
            self.assertIn(text, shown)
        newest, oldest = shown.index("Blob Data WR Complete!"), shown.index("Blob Created & Saved!")
        self.assertLess(newest, oldest)

    def test_in_the_journal(self) -> None:
        """What is stored, replaced or deleted, and has no files yet, is shown from the journal."""
        volume = Volume(str(self.path), sync=Sync.JOURNAL)
        store = BlobStore(volume, InlineWorkers(), Patient(), reserve=0)
        store.open()
        store.start()
        new = self.successResultOf(store.create("new", FakeBody(b"new"), Details()))
        for wanted in ("new", str(new.id)):
            shown = self.show(wanted)
            self.assertIn("location    new\n", shown)
            self.assertIn("none yet: it is in the redo journal", shown)
        replaced, _ = self.successResultOf(store.put("a", FakeBody(b"newer"), Details()))
        self.assertIn(f"Blob {replaced.id}\n", self.show("a"))
        self.successResultOf(store.delete("b"))
        self.assertIn("Failure", self.show(str(self.ids["b"])))
        volume.backlog.retry()
        self.assertIn(f"directory   {new.id}\n", self.show("new"))
        store.close()

    def test_escaped(self) -> None:
        """What could move a terminal's cursor is shown as text."""
        self.assertIn("\\x1b[31mred", self.show("a"))
        self.assertNotIn("\x1b", self.show("a"))

    def test_nothing(self) -> None:
        """What is not there is not found: an id, a location, what is no id at all."""
        for wanted in ("nothing", "99999999999", "4294967295"):
            with self.assertRaises(NotFound):
                self.show(wanted)

    def test_no_blobs(self) -> None:
        """A directory that has none, and may be none of gostore's, is told from a lost blob."""
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (self.path / "mine").mkdir()
        for wanted in ("a", "7"):
            with self.assertRaises(NoBlobs):
                self.show(wanted)

    def test_location_like_an_id(self) -> None:
        """A number is an id if a blob bears it; said to be a location, it is that."""
        wanted = str(self.ids["a"])
        with self.assertRaises(NotFound):
            self.show(wanted, location=True)
        store = self.store()
        self.successResultOf(store.create(wanted, FakeBody(b"number"), Details()))
        store.close()
        self.assertEqual(self.show(wanted), self.show("a"))
        self.assertIn(f"location    {wanted}\n", self.show(wanted, location=True))

    def test_quarantined_by_name(self) -> None:
        """A quarantined blob is found by the name that fsck prints, but not as a location."""
        (self.directory("b") / DATA).unlink()
        self.store().close()
        [aside] = self.path.glob(".quarantine-*")
        self.assertEqual(self.show(aside.name), self.show("b"))
        (aside / STATE).unlink()
        self.assertIn("It has no state file", self.show(aside.name))
        for wanted, location in ((aside.name, True), (f"{aside.name}1", False)):
            with self.assertRaises(NotFound):
                self.show(wanted, location=location)

    def test_dead(self) -> None:
        """A deleted blob is shown for as long as it is there; a damaged one, where it lies."""
        store = self.store()
        self.successResultOf(store.delete("a"))
        store.close()
        self.assertIn("Deleted!", self.show("a"))
        (self.directory("b") / DATA).unlink()
        self.assertIn(f"directory         {self.ids['b']}", self.show("b"))

    def test_quarantined(self) -> None:
        """A quarantined blob is shown as such, whatever its record says of it."""
        (self.directory("b") / DATA).unlink()
        self.store().close()
        self.assertIn("OK, but quarantined as damaged: it answers 500", self.show("b"))
        self.assertIn(f"directory         .quarantine-{self.ids['b']}-", self.show("b"))
        self.assertNotIn("quarantined", self.show("a"))

    def test_quarantined_by_id(self) -> None:
        """A quarantined blob is found by its old id, unless another blob has the id now."""
        (self.directory("b") / DATA).unlink()
        self.store().close()
        wanted = str(self.ids["b"])
        self.assertEqual(self.show(wanted), self.show("b"))
        shutil.copytree(self.directory("a"), self.directory("b"))
        self.assertNotIn("quarantined", self.show(wanted))

    def test_all_quarantined(self) -> None:
        """All that had the id are shown, whether they stand for their location or not."""
        (self.directory("b") / DATA).unlink()
        self.store().close()
        wanted = self.ids["b"]
        [first] = self.path.glob(f".quarantine-{wanted}-*")
        for suffix in ("98-tie", "99"):
            shutil.copytree(first, self.path / f".quarantine-{wanted}-{suffix}")
        (self.path / f".quarantine-{wanted}-99" / STATE).write_bytes(b"torn")
        (self.path / f".quarantine-{wanted}-97").mkdir()
        (self.path / f".quarantine-{wanted}1-1").mkdir()
        shown = self.show(str(wanted))
        self.assertEqual(shown.count("it answers 500"), 1)
        self.assertEqual(shown.count("another blob had its location"), 1)
        self.assertIn(f"Quarantined as .quarantine-{wanted}-97: It has no state file", shown)
        self.assertIn(f"Quarantined as .quarantine-{wanted}-99: The state file cannot be", shown)
        self.assertEqual((shown.count(f"Blob {wanted}\n"), shown.count("Quarantined as")), (2, 2))

    def test_obsolete(self) -> None:
        """A blob that stays quarantined after a write to its location does not answer 500."""
        (self.directory("b") / DATA).unlink()
        self.store().close()
        [aside] = self.path.glob(".quarantine-*")
        kept = shutil.copytree(aside, self.path / "kept")
        store = self.store()
        self.successResultOf(store.replace("b", FakeBody(b"new"), Details()))
        store.close()
        shutil.move(kept, aside)
        self.assertIn("its location has been written since", self.show(str(self.ids["b"])))
