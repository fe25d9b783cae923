"""One body on its way in: to memory if it is small, else straight on to a multipart upload.

The reactor's thread takes the pieces from the socket, an upload's thread takes them from here. When
too many wait the socket is paused, so a slow engine slows the client down and nothing grows.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from threading import Condition
from typing import Any

from twisted.internet.defer import Deferred

from gostore.errors import BodyFailed, DigestMismatch, StoreError, TooLarge
from gostore.store.interface import NO_DIGESTS, SMALL_BLOB, Body, Details

WAITING = 1024 * 1024
"""How many bytes of one body wait here before its socket is paused."""


class Kind(Enum):
    """What a body turns out to be."""

    SMALL = "small"
    LARGE = "large"


class Receiver:
    """Takes the body of one new blob.

    ``arrived`` fires in the reactor's thread: with SMALL once a small body is here, with LARGE as
    soon as it turns out to be one, or with the reason why it will never be here.
    """

    def __init__(self, reactor: Any, body: Body, details: Details, most: int | None) -> None:
        """``most`` is the most bytes that it may have."""
        self._reactor = reactor
        self._body = body
        self._most = most
        self._digests = list(details.digests.items())
        self._hashes = {"sha256": hashlib.sha256()}
        for name in (details.digests.keys() | details.late_digests) - {"sha256"}:
            self._hashes[name] = hashlib.new(name)
        self.arrived: Deferred[Kind] = Deferred()
        self._changed = Condition()
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._paused = False
        self._is_large = False
        self._complete = False
        self._failure: StoreError | None = None
        self.size = 0

    def begin(self) -> None:
        """Ask for the body."""
        if self._body.length is not None and self._body.length > SMALL_BLOB:
            self._grow()
        self._body.deliver(self)

    # -- in the reactor's thread ---------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take the next piece."""
        if self._failure is not None:
            return
        self.size += len(data)
        if self._most is not None and self.size > self._most:
            self._fail(TooLarge(self._most))
            return
        with self._changed:
            self._pieces.append(data)
            self._waiting += len(data)
            self._changed.notify()
            pause = self._is_large and self._waiting >= WAITING and not self._paused
            self._paused = self._paused or pause
        if pause:
            self._body.pauseProducing()
        if not self._is_large and self.size > SMALL_BLOB:
            self._grow()

    def finished(self, digests: Mapping[str, bytes] = NO_DIGESTS) -> None:
        """The body is complete."""
        if self._failure is not None:
            return
        with self._changed:
            self._digests.extend(digests.items())
            self._complete = True
            self._changed.notify()
        if not self._is_large:
            self.arrived.callback(Kind.SMALL)

    def failed(self, reason: str) -> None:
        """The rest will not come."""
        self._fail(BodyFailed(reason))

    def give_up(self, error: StoreError) -> None:
        """Want no more of it."""
        self._fail(error)

    def _fail(self, error: StoreError) -> None:
        if self._failure is not None:
            return
        with self._changed:
            self._failure = error
            self._pieces.clear()
            self._changed.notify()
        if not self.arrived.called:
            self.arrived.errback(error)

    def _grow(self) -> None:
        self._is_large = True
        self.arrived.callback(Kind.LARGE)

    def _resume(self) -> None:
        with self._changed:
            resume = self._paused and self._failure is None and self._waiting < WAITING
            self._paused = self._paused and not resume
        if resume:
            self._body.resumeProducing()

    # -- in any thread -------------------------------------------------------------------------

    def whole(self) -> bytes:
        """The bytes of a small body. Raises DigestMismatch."""
        data = b"".join(self._pieces)
        self._hash(data)
        self._check()
        return data

    @property
    def sha256(self) -> bytes:
        """The digest of a body that is complete."""
        return self._hashes["sha256"].digest()

    def pieces(self, meanwhile: Callable[[], None]) -> Iterator[bytes]:
        """Give the pieces of a large body, and wait for them; ``meanwhile`` is called now and then.

        Raises BodyFailed, TooLarge or DigestMismatch in place of its end.
        """
        while True:
            with self._changed:
                while not (self._pieces or self._complete or self._failure):
                    self._changed.wait()
                if self._failure is not None:
                    raise self._failure
                taken = b"".join(self._pieces)
                self._pieces.clear()
                self._waiting = 0
                resume, complete = self._paused, self._complete
            if resume:
                self._reactor.callFromThread(self._resume)
            self._hash(taken)
            meanwhile()
            if complete:
                self._check()
            if taken:
                yield taken
            if complete:
                return

    def _hash(self, data: bytes) -> None:
        for each in self._hashes.values():
            each.update(data)

    def _check(self) -> None:
        for name, expected in self._digests:
            if self._hashes[name].digest() != expected:
                raise DigestMismatch(name)
