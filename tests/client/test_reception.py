"""Tests for reception.py: a blob that comes in pieces, from servers that say what they like."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.client.errors import BadAnswer, Changed, Damaged, Lost, NotFound, Unavailable
from gostore.client.patience import Patience
from gostore.client.reception import Reception
from tests.client.script import answer, head

DATA = b"0123456789"
HEAD = head(DATA)
OTHER = head(b"012345678X")


class ReceptionTests(SynchronousTestCase):
    """The bytes that are given on are those of one version, or there is an error."""

    def setUp(self) -> None:
        """Nothing has come yet."""
        self.reception = Reception("a", Patience(10, 1), {})

    def cut(self, count: int) -> None:
        """Get so many bytes, and no more."""
        self.reception.begin(answer(200, **HEAD))
        self.reception.take(DATA[:count])

    def part(self, start: int, **more: str):
        """The rest."""
        fields = {"etag": HEAD["etag"], "content_range": f"bytes {start}-9/10", **more}
        return answer(206, **{"content_length": str(10 - start), **fields})

    def test_whole(self) -> None:
        """All of it, and its digest."""
        self.assertEqual(self.reception.ask().fields, {})
        self.cut(10)
        self.assertTrue(self.reception.is_whole)
        self.reception.finish()

    def test_resumed(self) -> None:
        """The rest is asked for by Range, of the same version."""
        self.cut(4)
        self.assertRaises(Lost, self.reception.finish)
        expected = {"Range": "bytes=4-", "If-Match": HEAD["etag"]}
        self.assertEqual(self.reception.ask().fields, expected)
        self.reception.begin(self.part(4))
        self.assertEqual(self.reception.take(DATA[4:]), DATA[4:])
        self.reception.finish()

    def test_range_ignored(self) -> None:
        """A server that sends the whole again is let skip what is there already."""
        self.cut(4)
        self.reception.begin(answer(200, **HEAD))
        got = [self.reception.take(piece) for piece in (b"012", b"3456", b"789")]
        self.assertEqual(b"".join(got), DATA[4:])
        self.reception.finish()

    def test_changed(self) -> None:
        """The rest of another version is never added."""
        for other in (answer(412), answer(404), answer(200, **OTHER)):
            self.setUp()
            self.cut(4)
            self.assertRaises(Changed, self.reception.begin, other)
        self.setUp()
        self.cut(4)
        self.assertRaises(Changed, self.reception.begin, self.part(4, etag='"x"'))

    def test_wrong_part(self) -> None:
        """Bytes from elsewhere, or of a blob of another size, are refused."""
        for said in ("bytes 3-9/10", "bytes 5-9/10", "bytes 4-9/*", "4-9/10", "bytes 4-9/11", ""):
            self.setUp()
            self.cut(4)
            self.assertRaises(BadAnswer, self.reception.begin, self.part(4, content_range=said))

    def test_part_unasked(self) -> None:
        """A part is no blob."""
        self.assertRaises(BadAnswer, self.reception.begin, self.part(4))

    def test_wrong_bytes(self) -> None:
        """Bytes that do not have the digest are damaged."""
        self.reception.begin(answer(200, **HEAD))
        self.reception.take(b"012345678X")
        self.assertRaises(Damaged, self.reception.finish)

    def test_no_digest(self) -> None:
        """Bytes that nothing verifies are not given on."""
        self.assertRaises(BadAnswer, self.reception.begin, answer(200, content_length="10"))

    def test_too_long(self) -> None:
        """More bytes than were announced are refused, before they fill a disk."""
        self.reception.begin(answer(200, **HEAD))
        self.reception.take(DATA)
        self.assertRaises(BadAnswer, self.reception.take, b"!")

    def test_too_short(self) -> None:
        """A length that is a lie shows in the digest."""
        self.reception.begin(answer(200, **{**HEAD, "content_length": "9"}))
        self.reception.take(DATA[:9])
        self.assertRaises(Damaged, self.reception.finish)

    def test_no_length(self) -> None:
        """A blob whose length a proxy has dropped is known by its digest."""
        self.reception.begin(answer(200, etag=HEAD["etag"]))
        self.reception.take(DATA)
        self.reception.finish()

    def test_progress(self) -> None:
        """Each byte gives the patience back, and without one it ends."""
        self.cut(4)
        for byte in DATA[4:]:
            for _ in range(4):
                self.reception.lost(Lost("cut"), None)
            self.reception.take(bytes([byte]))
        self.setUp()
        busy = answer(503, '{"text": "busy"}', retry_after="99")
        self.assertRaises(Lost, self.reception.begin, busy)
        error = self.assertRaises(Unavailable, self.reception.lost, Lost("busy"), busy)
        self.assertEqual(str(error), "busy")

    def test_missing(self) -> None:
        """What is not there from the beginning is not found."""
        self.assertRaises(NotFound, self.reception.begin, answer(404))
