"""TLS connections that come to nothing: the log has a line for them, and not one for each."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure

PAUSE = 10.0
"""Seconds between two lines: anybody can send nonsense to a port."""

log = Logger()


class Handshakes:
    """Counts connections that TLS has ended, and says why now and then."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self.failed = 0
        #: How many there were at the last line, and when that was.
        self._said = 0
        self._said_at = float("-inf")

    def ended(self, client: IAddress, reason: Failure) -> None:
        """A connection has ended; this says why Twisted thinks so."""
        # pyOpenSSL need not be installed.
        if not type(reason.value).__module__.startswith("OpenSSL."):
            return
        self.failed += 1
        now = self._seconds()
        if now - self._said_at < PAUSE:
            return
        others = self.failed - self._said - 1
        self._said, self._said_at = self.failed, now
        log.info(
            "TLS with {client} has failed: {reason}{more}",
            client=getattr(client, "host", client),
            reason=openssl_reason(reason.value),
            more=f" (and {others} more since the last such line)" if others else "",
        )


def openssl_reason(error: BaseException | None) -> str:
    """What OpenSSL says: its errors are lists of triples, the last of which has the reason."""
    lists = [each for each in getattr(error, "args", ()) if isinstance(each, list)]
    triples = [triple for each in lists for triple in each]
    said = str(triples[-1][-1]) if triples else ""
    return said or str(error) or type(error).__name__
