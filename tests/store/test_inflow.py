"""Tests for gostore.store.inflow: how much of a body waits for a worker."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.store.inflow import Inflow
from tests.store.doubles import FakeBody


class InflowTests(SynchronousTestCase):
    """A body that may have ten bytes waiting."""

    def setUp(self) -> None:
        """Have a body of which nothing has come."""
        self.body = FakeBody(complete=False, length=None)
        self.inflow = Inflow(self.body, 10)

    def test_pauses(self) -> None:
        """The body is paused when so many bytes wait, once, and resumed when fewer do."""
        self.inflow.add(b"123456789")
        self.assertFalse(self.body.paused)
        self.inflow.add(b"0")
        self.assertTrue(self.body.paused)
        self.inflow.add(b"late")
        self.assertEqual(self.body.pauses, 1)
        self.assertEqual(self.inflow.take(), [b"123456789", b"0", b"late"])
        self.assertTrue(self.body.paused)
        self.inflow.go_on()
        self.assertFalse(self.body.paused)

    def test_written_waits(self) -> None:
        """What a worker is writing still waits: the body goes on when that is written."""
        self.inflow.add(b"12345678")
        self.inflow.take()
        self.inflow.add(b"90")
        self.assertTrue(self.body.paused)
        self.inflow.go_on()
        self.assertFalse(self.body.paused)

    def test_stays_paused(self) -> None:
        """A body of which too much has come meanwhile stays paused."""
        self.inflow.add(bytes(10))
        self.inflow.take()
        self.inflow.add(bytes(10))
        self.inflow.go_on()
        self.assertTrue(self.body.paused)

    def test_join(self) -> None:
        """Pieces that are joined are the same bytes."""
        for piece in (b"1", b"2", b"3"):
            self.inflow.add(piece)
        self.inflow.join()
        self.assertEqual(self.inflow.take(), [b"123"])
        self.assertEqual(self.inflow.pieces, [])
