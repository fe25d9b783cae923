"""For how long the daemons of a bucket keep history, as a note in it: ``gc/keep.json``.

The daemon that collects compares it with its settings. Where they keep less, it goes by the note
for an hour more, and warns: a daemon that was started without ``--keep`` by mistake would else
remove within minutes what all the others have kept. After that hour the settings are the note.
"""

from __future__ import annotations

from twisted.logger import Logger

from gostore.bucket.asking import Asker
from gostore.bucket.engine import Missing
from gostore.bucket.pointer import PROMISE
from gostore.errors import StoreError
from gostore.prefixes import ByPrefix, dump_times, parse_times

GRACE = 3600.0
"""Seconds for which history is kept as before, once it is to be kept for less time."""

_PATIENCE = 20.0

#: For how many seconds a daemon that only reads goes by what it has read.
_LOOKS_EVERY = 60.0

log = Logger()


class Promise:
    """The note, and since when a daemon has settings that keep less."""

    def __init__(self, ask: Asker) -> None:
        self._ask = ask
        self._wanted: ByPrefix[float] | None = None
        self._ends: float | None = None
        self._noted: ByPrefix[float] | None = None
        self._looked: float | None = None

    def settle(self, wanted: ByPrefix[float]) -> ByPrefix[float]:
        """Say for how long history is kept, by these settings and the note. Raises StoreError."""
        if wanted != self._wanted:
            self._wanted, self._ends = wanted, None
        noted = self._read()
        longest = wanted.merged(ByPrefix(0.0) if noted is None else noted, max)
        if all(longest.of(each) == wanted.of(each) for each in ("", *longest.prefixes)):
            self._ends = None
            if noted is not None or any(wanted.values):
                self._note(wanted, noted)
            return wanted
        now = self._ask.seconds()
        if self._ends is None:
            self._ends = now + GRACE
            log.warn(
                "History is to be kept for less time (--keep, [keep]) than the daemons of this"
                " bucket have kept it: what is older will be removed in an hour. To keep it, start"
                " again with their settings by then, or send SIGHUP"
            )
        if now < self._ends:
            return longest
        self._note(wanted, noted)
        return wanted

    def noted(self, until: float) -> ByPrefix[float] | None:
        """What the note says, or has said within a minute; None if there is none."""
        if self._looked is None or self._ask.seconds() >= self._looked + _LOOKS_EVERY:
            self._noted = self._read(until)
            self._looked = self._ask.seconds()
        return self._noted

    def _read(self, until: float | None = None) -> ByPrefix[float] | None:
        try:
            found = self._ask.settle(lambda: self._ask.engine.get(PROMISE), until or self._until())
        except Missing:
            return None
        return parse_times(found.data)

    def _note(self, keep: ByPrefix[float], noted: ByPrefix[float] | None) -> None:
        if keep == noted:
            return
        data = dump_times(keep).encode()
        try:
            self._ask.settle(lambda: self._ask.engine.put(PROMISE, data), self._until())
        except StoreError as error:
            log.warn("The bucket does not note how long history is kept: {why}", why=str(error))

    def _until(self) -> float:
        return self._ask.seconds() + _PATIENCE
