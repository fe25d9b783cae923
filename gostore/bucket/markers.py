"""Markers: what was replaced or deleted, and is not removed yet; and what is kept of it.

A version whose location keeps a history has two objects with the same text. Its marker is found by
its id: so the sweep can ask for it, and knows a version from an upload that was cut, however far
listings lag behind. The other is found by its location, and listed with those beside it.

Only what a swap has replaced is ever marked. Until it is, the pointer that replaced it has all that
there is to be known of it (``was``), and nobody swaps that pointer before. So all versions of a
location are known at any time: the current one, that which the pointer says was, and those marked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import isinf

from twisted.logger import Logger

from gostore.blob import check_location
from gostore.bucket.asking import Asker, Seen
from gostore.bucket.engine import Mismatch, Missing
from gostore.bucket.pointer import (
    Ended,
    Stored,
    dump_ended,
    garbage_key,
    history_key,
    parse_ended,
)
from gostore.errors import BadRecord
from gostore.prefixes import ByPrefix
from gostore.store.dates import SECOND

_DAY = 86_400.0

#: How many locations are remembered whose pointers say what is marked already.
_MOST_NOTED = 10_000

log = Logger()


class Markers:
    """The markers of a bucket; ``keep`` is for how many seconds a location has a history."""

    def __init__(self, ask: Asker, keep: ByPrefix[float] | None = None) -> None:
        self.keep = ByPrefix(0.0) if keep is None else keep
        self.ask = ask
        #: Says for how long other daemons keep history, if that is known; see promise.py.
        self.noted: Callable[[float], ByPrefix[float] | None] = lambda until: None
        #: For how long anybody keeps it, as of the last look.
        self._shown = self.keep
        #: The ETags of pointers by location: what they say was, is marked.
        self._noted: dict[str, str] = {}

    # -- for how long -------------------------------------------------------------------------

    def keeps(self, location: str) -> bool:
        """Say whether what a location had is kept."""
        return self.keep.of(location) > 0

    @property
    def is_kept(self) -> bool:
        """Whether some location has a history."""
        return any(self.keep.values)

    def shown(self, until: float) -> ByPrefix[float]:
        """Say for how long any daemon keeps history: so long every daemon shows it."""
        noted = self.noted(until)
        self._shown = self.keep if noted is None else self.keep.merged(noted, max)
        return self._shown

    def until(self, ended: Ended) -> int | None:
        """Say until when a version is kept, in nanoseconds; None is for ever."""
        keep = max(self.keep.of(ended.blob.location), self._shown.of(ended.blob.location))
        return None if isinf(keep) else ended.ending.when + int(keep * SECOND)

    def is_over(self, ended: Ended, at_least: float = 0.0) -> bool:
        """Say whether the time of a version is over, by our clock and by the engine's.

        It ended ``at_least`` so many seconds ago, too.
        """
        until = self.until(ended)
        now = min(self.ask.wall(), int(self.ask.engine_time() * SECOND))
        return until is not None and max(until, ended.ending.when + int(at_least * SECOND)) <= now

    # -- marking ------------------------------------------------------------------------------

    def hint(self, blob: Stored, until: float) -> None:
        """Mark a blob that is not kept."""
        key, text = garbage_key(blob.id, blob.nonce), blob.location.encode()
        self.ask.settle(lambda: self.ask.engine.put(key, text), until)

    def mark(self, ended: Ended, until: float) -> None:
        """Mark a version that is kept, if it is not marked yet. Raises Busy, DiskFailed, NoSpace.

        A second marker would be younger than the first, and so keep it for longer.
        """
        text = dump_ended(ended)
        keys = garbage_key(ended.blob.id, ended.blob.nonce), history_key(ended.blob)
        self.ask.together([partial(self._create, key, text, until) for key in keys])

    def _create(self, key: str, text: bytes, until: float) -> None:
        with suppress(Mismatch):
            self.ask.settle(lambda: self.ask.engine.create(key, text), until)

    def catch_up(self, seen: Seen, until: float) -> None:
        """Mark what a pointer says was, unless that is done: whoever swaps it does this first."""
        was = None if seen.pointer is None else seen.pointer.was
        # Another daemon may keep it for longer; what ended long ago was marked, and is gone.
        if was is not None and not self.is_over(was, at_least=_DAY):
            self.mark_once(was, seen.etag, until)

    def mark_once(self, ended: Ended, etag: str | None, until: float) -> None:
        """Mark a version, unless we have; ``etag`` is that of the pointer that says it was.

        It is None if nobody knows that.
        """
        location = ended.blob.location
        if etag is not None and self._noted.get(location) == etag:
            return
        self.mark(ended, until)
        if etag is not None:
            if len(self._noted) >= _MOST_NOTED:
                self._noted.clear()
            self._noted[location] = etag

    # -- looking ------------------------------------------------------------------------------

    def find(self, blob_id: int, nonce: str, until: float) -> Ended | str | None:
        """Read the marker of a blob: a version, or the location of what is not kept.

        None if there is no marker. Raises BadRecord if it says nothing.
        """
        key = garbage_key(blob_id, nonce)
        try:
            found = self.ask.settle(lambda: self.ask.engine.get(key), until)
        except Missing:
            return None
        return marked(found.data)

    def read(self, key: str, until: float) -> Ended | None:
        """Read a version by its key; None if it is not there any more, or says nothing."""
        try:
            ended = parse_ended(self.ask.settle(lambda: self.ask.engine.get(key), until).data)
        except Missing:
            return None
        except BadRecord as error:
            log.warn("{key} is passed over: {why}", key=key, why=error.reason)
            return None
        if history_key(ended.blob) == key:
            return ended
        log.warn("{key} is passed over: it is of another version", key=key)
        return None

    def unlist(self, ended: Ended, until: float) -> None:
        """Let a version be none any more: before its bytes go, so that nobody misses them."""
        self.ask.settle(lambda: self.ask.engine.delete(history_key(ended.blob)), until)


def marked(data: bytes) -> Ended | str:
    """What a marker says: a version, or a location. Raises BadRecord."""
    if data.endswith(b"\n"):
        return parse_ended(data)
    try:
        location = data.decode()
        check_location(location)
    except ValueError:
        raise BadRecord("the marker is no location") from None
    return location
