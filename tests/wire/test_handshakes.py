"""Tests for gostore.wire.handshakes: what TLS breaks off has a line in the log now and then."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gostore.wire.handshakes import PAUSE, Handshakes, openssl_reason

CLIENT = IPv4Address("TCP", "192.0.2.1", 4000)


class SSLError(Exception):
    """An error of OpenSSL, as pyOpenSSL has it."""

    __module__ = "OpenSSL.SSL"


class HandshakesTests(SynchronousTestCase):
    """Connections that end."""

    def setUp(self) -> None:
        """Have a clock."""
        self.clock = Clock()
        self.handshakes = Handshakes(self.clock.seconds)

    def said(self, *reasons: Exception) -> list[str | None]:
        """The lines in the log about connections that end for these reasons."""
        with capturedLogs() as logged:
            for reason in reasons:
                self.handshakes.ended(CLIENT, Failure(reason))
        return [formatEvent(event) for event in logged]

    def test_failed(self) -> None:
        """The first one has a line at once, the others are counted in the next, after a pause."""
        error = SSLError([("SSL routines", "", "no shared cipher")])
        line = "TLS with 192.0.2.1 has failed: no shared cipher"
        self.assertEqual(self.said(error, error, error), [line])
        self.clock.advance(PAUSE - 1)
        self.assertEqual(self.said(error), [])
        self.clock.advance(1)
        more = f"{line} (and 3 more since the last such line)"
        self.assertEqual(self.said(error, error), [more])
        self.assertEqual(self.handshakes.failed, 6)

    def test_others(self) -> None:
        """A client that goes away is no failure of TLS, nor is an exception of ours."""
        self.assertEqual(self.said(ConnectionDone(), ConnectionLost(), ValueError()), [])
        self.assertEqual(self.handshakes.failed, 0)

    def test_reason(self) -> None:
        """An error without a reason has at least a name."""
        self.assertEqual(openssl_reason(SSLError()), "SSLError")
        self.assertEqual(openssl_reason(SSLError("text")), "text")
        self.assertEqual(openssl_reason(SSLError([("a", "b", "")])), "[('a', 'b', '')]")
