"""How a daemon asks the bucket: until it is answered, or for as long as there is time.

Everything that it needs besides the engine, time and chance and threads, is passed in here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attrs import define, frozen
from twisted.logger import Logger

from gostore.bucket.engine import Engine, Found, Full, Missing, Refused, Unsettled
from gostore.bucket.members import MOST_NONCES, NONCE_LENGTH
from gostore.bucket.pointer import (
    MAX_POINTER,
    Pointer,
    Stored,
    parse,
    pointer_key,
    record_key,
)
from gostore.errors import BadRecord, BucketRefused, Busy, DiskFailed, NoSpace, StoreError
from gostore.text import wall_clock

T = TypeVar("T")

log = Logger()

RETRY_AFTER = 1
"""Seconds after which a caller may try again what the engine would not do now."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0

_NONCES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@frozen
class Seen:
    """A pointer as it was read: with its ETag, both None if there is none.

    ``damage`` says why it cannot be believed, if it cannot. With ``is_over`` the time of its blob
    was over, which is as if there were none.
    """

    location: str
    pointer: Pointer | None = None
    etag: str | None = None
    damage: str = ""
    is_over: bool = False

    @property
    def blob(self) -> Stored | None:
        """The blob that the location has."""
        return None if self.is_over else self.named

    @property
    def named(self) -> Stored | None:
        """The blob that the pointer names, be its time over."""
        return None if self.pointer is None else self.pointer.blob

    @property
    def was_touched(self) -> bool:
        """Whether a sweep may have touched the pointer, at any time."""
        return bool(self.damage) or (self.pointer is not None and bool(self.pointer.touched))

    @property
    def hist(self) -> tuple[str, ...]:
        """The nonces of the last operations."""
        return () if self.pointer is None else self.pointer.hist

    def has_forgotten(self, earlier: Seen) -> bool:
        """Whether an operation since ``earlier`` may have happened and be forgotten again."""
        if earlier.hist:
            return earlier.hist[-1] not in self.hist
        return len(self.hist) >= MOST_NONCES or bool(self.damage)


@define(eq=False)
class Tally:
    """What a daemon counts of its bucket."""

    #: Swaps that lost against another, and were tried again.
    conflicts: int = 0
    #: Requests that were repeated because the engine gave no answer.
    retries: int = 0
    #: Swaps whose answer was lost, and which turned out to have happened.
    settled: int = 0
    #: Operations whose outcome nobody knows.
    unknown: int = 0
    #: Blobs that were removed.
    collected: int = 0
    #: Uploads in parts that were given up, and whose parts were removed.
    aborted: int = 0
    #: Markers that the last pass has seen: what is dead and not removed yet.
    marked: int = 0
    #: When the last full sweep ended, in seconds since the epoch.
    swept: float = 0.0


def one_after_another(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make some calls. A daemon makes them at the same time."""
    return [call() for call in calls]


def passed_over(look: Callable[[], T], what: object) -> T | None:
    """Look at one thing of many; None if it cannot be looked at, for a reason that nobody foresaw.

    The others are looked at all the same. Raises what says that the engine does not answer.
    """
    try:
        return look()
    except (Refused, Unsettled, Busy, DiskFailed, NoSpace):
        raise
    except Exception:
        log.failure("{what} in the bucket is passed over", what=what)
        return None


class Asker:
    """Asks the bucket. What may be asked twice is asked until ``until``, by ``seconds``."""

    def __init__(
        self,
        engine: Engine,
        *,
        seconds: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        wall: Callable[[], int] = wall_clock,
        rng: random.Random | None = None,
        together: Callable[[Sequence[Callable[[], Any]]], list[Any]] = one_after_another,
    ) -> None:
        """``wall`` tells the time of a new blob; ``rng`` draws ids and nonces."""
        self.engine = engine
        self.seconds = seconds
        self.wall = wall
        self.rng = rng or random.SystemRandom()
        self.together = together
        #: What errors call the bucket. Clients of a daemon are not told.
        self.name = ""
        self.tally = Tally()
        #: How many seconds the engine's clock is ahead of ours.
        self.ahead = 0.0
        self._began = wall() / 1e9 - seconds()
        self._pause = pause

    def read(self, location: str, until: float) -> Seen:
        """Read the pointer of a location. Raises Busy or DiskFailed."""
        try:
            found = self.settle(lambda: self.engine.get(pointer_key(location)), until)
        except Missing:
            return Seen(location)
        return seen_in(location, found, self.wall() // 1_000_000_000)

    def record(self, blob_id: int, until: float) -> Found | None:
        """Read the record of a blob, if there is one."""
        try:
            return self.settle(lambda: self.engine.get(record_key(blob_id)), until)
        except Missing:
            return None

    def nonce(self) -> str:
        """Draw a nonce."""
        return "".join(self.rng.choices(_NONCES, k=NONCE_LENGTH))

    def steady_time(self) -> float:
        """The time by our clock as it was at the start, whoever has set it since."""
        return self._began + self.seconds()

    def engine_time(self) -> float:
        """The time by the engine's clock, in seconds since the epoch."""
        return self.steady_time() + self.ahead

    def settle(self, request: Callable[[], T], until: float) -> T:
        """Make a request that may be made twice until it is answered.

        Raises Busy, DiskFailed or NoSpace.
        """
        pauses = 0
        while True:
            try:
                return request()
            except Unsettled as error:
                self.rest_or_give_up(error, until, pauses)
                pauses += 1
            except Refused as error:
                raise refusal(error, self.name) from error

    def rest_or_give_up(self, error: Unsettled, until: float, pauses: int = 0) -> None:
        """Wait after an error, if there is time. Raises Busy."""
        if self.seconds() >= until:
            raise gave_up(error.reason, self.name) from error
        self.rest(pauses)

    def rest(self, pauses: int) -> None:
        """Wait before something is tried again that was tried so often."""
        self.tally.retries += 1
        self._pause(min(_FIRST_PAUSE * 2**pauses, _LONGEST_PAUSE) * self.rng.uniform(0.5, 1))


def seen_in(location: str, found: Found, now: int) -> Seen:
    """What a pointer says that was read, at a second since the epoch."""
    if len(found.data) > MAX_POINTER:
        return Seen(location, None, found.etag, "the pointer is too large")
    try:
        pointer = parse(found.data, location)
    except BadRecord as error:
        return Seen(location, None, found.etag, error.reason)
    expires = None if pointer.blob is None else pointer.blob.expires
    return Seen(location, pointer, found.etag, is_over=expires is not None and expires <= now)


def refusal(error: Refused, name: str = "") -> StoreError:
    """Say to a caller that the engine will not do it. ``name`` is the bucket's, as in `Asker`."""
    return NoSpace() if isinstance(error, Full) else BucketRefused(str(error), name)


def gave_up(reason: str, name: str = "") -> Busy:
    """Say that the engine did not answer in time; see `refusal`."""
    return Busy(f"{f'The bucket {name}'.strip()} does not answer: {reason}", RETRY_AFTER)
