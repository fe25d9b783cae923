"""Tests for gostore.volume.journal.format: bytes; and that the rules name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from gostore.volume import backlog, commit
from gostore.volume.journal import format as journal_format
from gostore.volume.journal import journal
from gostore.volume.journal.format import (
    BLOCK,
    CUT,
    ENDED,
    Entry,
    Title,
    batches_in,
    is_marked,
    pack_batch,
    size_of_batch,
    title_of,
)
from tests.simulation.mutants import JOURNAL_MUTANTS

KEY = b"k" * 16
ENTRIES = [Entry(7, b"state", b"data"), Entry(8, b"gone", None), Entry(9, b"empty", b"")]


class FormatTests(SynchronousTestCase):
    """Titles, marks and batches."""

    def test_title(self) -> None:
        """A title is read again; with any byte changed it is none."""
        title = Title(KEY, 8192)
        content = title.as_bytes().ljust(BLOCK, b"\0")
        self.assertEqual(title_of(content), title)
        for at in range(len(title.as_bytes())):
            changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            self.assertIsNone(title_of(changed), at)
        self.assertIsNone(title_of(b""))

    def test_marks(self) -> None:
        """A mark counts only beside the title of its own file, and at its own place."""
        title = Title(KEY, 8192)
        content = title.as_bytes().ljust(1024, b"\0") + title.as_bytes(ENDED)
        self.assertTrue(is_marked(content, ENDED))
        self.assertFalse(is_marked(content, CUT))
        other = Title(b"o" * 16, 8192).as_bytes().ljust(1024, b"\0") + title.as_bytes(ENDED)
        self.assertFalse(is_marked(other, ENDED))

    def test_batches(self) -> None:
        """Batches are read again, each in blocks of its own, and only by their key."""
        first = pack_batch(KEY, 1, 0, ENTRIES)
        second = pack_batch(KEY, 2, 1, [Entry(1, b"s", b"x" * BLOCK)])
        self.assertEqual((len(first), len(second)), (BLOCK, 2 * BLOCK))
        self.assertEqual(size_of_batch(ENTRIES), BLOCK)
        content = bytes(BLOCK) + first + second
        found = list(batches_in(content, KEY))
        self.assertEqual([(batch.number, batch.synced) for batch in found], [(1, 0), (2, 1)])
        self.assertEqual(list(found[0].entries()), ENTRIES)
        self.assertEqual(
            [(batch.start, batch.end) for batch in found], [(4096, 8192), (8192, 16384)]
        )
        self.assertEqual(list(batches_in(content, b"o" * 16)), [])
        self.assertEqual(list(batches_in(content[:-BLOCK], KEY)), found[:1])


class RuleTests(SynchronousTestCase):
    """The rules J1 to J7, in the module and in docs/architecture.md."""

    def test_named(self) -> None:
        """Each rule names a function that exists, and a mutant that breaks it."""
        page = Path(__file__).parent.parent.parent / "docs" / "architecture.md"
        for text in (journal_format.__doc__ or "", page.read_text()):
            rules = re.findall(r"^J(\d)\. (.*?)(?=^J\d\. |^\S(?<!J)|\Z)", text, re.M | re.S)
            self.assertEqual([number for number, _ in rules], list("1234567"))
            for _, rule in rules:
                [mutant] = re.findall('"([^"]+)"', " ".join(rule.split()))
                self.assertIn(mutant, [each.name for each in JOURNAL_MUTANTS])
                names = re.findall(
                    r"`(?:(WriteProtocol|Backlog|Journal)\.)?([a-z_]+)`(?=[;)])", rule
                )
                self.assertTrue(names, rule)
                for owner, name in names:
                    owners = (commit.WriteProtocol, backlog.Backlog, journal.Journal)
                    found = {each.__name__: each for each in owners}.get(owner, journal_format)
                    self.assertTrue(hasattr(found, name), name)
