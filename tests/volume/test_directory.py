"""Tests for gostore.volume.directory: names. What it does to files is tested with the volume."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.blob import MAX_ID
from gostore.volume.directory import Kind, id_in, kind_of


class KindTests(SynchronousTestCase):
    """kind_of and id_in."""

    def test_table(self) -> None:
        """A name is one of gostore's only if it is spelled as gostore spells it."""
        for name, kind, blob_id in [
            ("0", Kind.BLOB, 0),
            (str(MAX_ID), Kind.BLOB, MAX_ID),
            (".new-7", Kind.STAGE, 7),
            (".new-probe", Kind.PROBE, None),
            (".trash-7-2", Kind.TRASH, 7),
            (".quarantine-7-2", Kind.QUARANTINE, 7),
            (".quarantine-7-2-tie", Kind.TIE, 7),
            (".journal-1", Kind.JOURNAL, None),
        ]:
            self.assertIs(kind_of(name), kind)
            if blob_id is not None:
                self.assertEqual(id_in(name), blob_id)
        for name in (
            *("", "00", "01", "-1", "+1", "1 ", "1\n", "²", "1e3", str(MAX_ID + 1)),
            *("new-7", ".new-", ".new-07", ".new-x", ".new-probe2", ".trash-7", ".trash-x-1"),
            *(".quarantine-7", ".quarantine-7-2-", ".quarantine-7-2-tied", ".journal-2"),
        ):
            self.assertIs(kind_of(name), Kind.FOREIGN, name)
