"""Tests for gostore.access.throttle: how many failed attempts come from where."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.throttle import MOST, REMEMBERED, Throttle


class ThrottleTests(SynchronousTestCase):
    """One minute after another."""

    def setUp(self) -> None:
        """Have one."""
        self.clock = Clock()
        self.throttle = Throttle(self.clock.seconds)

    def fail(self, address: str | None, count: int = MOST) -> None:  # type: ignore[override]
        """Let attempts from there fail."""
        for _ in range(count):
            self.throttle.begin(address)

    def test_minute(self) -> None:
        """After ten failures nobody there is listened to until the minute is over."""
        self.fail("192.0.2.1", MOST - 1)
        self.clock.advance(10.5)
        self.assertEqual(self.throttle.wait("192.0.2.1"), 0)
        self.fail("192.0.2.1", 1)
        self.assertEqual(self.throttle.wait("192.0.2.1"), 50)
        self.assertEqual(self.throttle.wait("192.0.2.2"), 0)
        self.clock.advance(49.5)
        self.assertEqual(self.throttle.wait("192.0.2.1"), 0)
        self.fail("192.0.2.1", 1)
        self.assertEqual(self.throttle.wait("192.0.2.1"), 0)

    def test_networks(self) -> None:
        """An IPv6 client is its /64, a mapped address the IPv4 one; Unix sockets are one client."""
        self.fail("2001:db8::1")
        self.assertTrue(self.throttle.wait("2001:db8::2:3:4:5"))
        self.assertFalse(self.throttle.wait("2001:db8:0:1::1"))
        self.fail("::ffff:192.0.2.1")
        self.assertTrue(self.throttle.wait("192.0.2.1"))
        self.fail(None)
        self.assertTrue(self.throttle.wait(None))

    def test_forgiven(self) -> None:
        """An attempt that did not fail does not count."""
        for _ in range(3 * MOST):
            self.throttle.begin("a")
            self.throttle.forgive("a")
        self.assertFalse(self.throttle.wait("a"))
        self.throttle.forgive("a")
        self.fail("a")
        self.assertTrue(self.throttle.wait("a"))

    def test_bound(self) -> None:
        """However many networks there are, few are remembered: the newest."""
        for number in range(REMEMBERED + 10):
            self.fail(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        self.assertFalse(self.throttle.wait("10.0.0.5"))
        self.assertTrue(self.throttle.wait("10.0.0.15"))
