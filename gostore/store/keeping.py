"""For how long history is kept: what was promised once holds for an hour after it is taken back.

A daemon that is started without its ``--keep`` by mistake would collect all there is, seconds
later. So the data directory notes for how long its history is kept. Where the settings keep it for
less time, now or after a change, a warning says how much is to go, and for an hour more it is kept
as before. Nothing is to go: they hold at once. More time holds at once, too.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gostore.errors import as_store_error
from gostore.ini import format_duration
from gostore.prefixes import ByPrefix
from gostore.store.history import History
from gostore.store.workers import Workers
from gostore.text import format_time
from gostore.volume.directory import OutcomeUnknown
from gostore.volume.promise import note_promise, read_promise
from gostore.volume.volume import Volume

GRACE = 3600.0
"""Seconds for which history is kept as before, once it is to be kept for less time."""

_SECOND = 1_000_000_000

log = Logger()


class Keeping:
    """Says by which times a history goes: those of the settings, or longer ones for a while."""

    def __init__(
        self, volume: Volume, workers: Workers, clock: IReactorTime, history: History
    ) -> None:
        """What the history goes by now is what the settings say."""
        self.history = history
        #: Whether the directory notes it; a command that only passes by promises nothing.
        self.is_noted = True
        self._volume = volume
        self._workers = workers
        self._clock = clock
        self._wanted = history.keep
        self._noted: ByPrefix[float] | None = None
        #: When the settings hold that keep less, by a clock that nobody sets.
        self._ends: float | None = None

    def open(self) -> None:
        """Read what was promised, before anything is judged by it. Blocks."""
        try:
            self._noted = read_promise(self._volume.directory)
        except OSError as error:
            reason = str(as_store_error(error))
            log.warn("The note for how long history is kept cannot be read: {why}", why=reason)
        if self._noted is not None:
            self.history.change(_longest(self._noted, self._wanted))

    def start(self) -> None:
        """Go by the settings, now that the history is known. Blocks."""
        self._settle()
        if self._is_to_be_noted:
            self._note(self.history.keep)

    def change(self, keep: ByPrefix[float]) -> None:
        """Go by other settings."""
        self._wanted = keep
        self._settle()
        self._note_later()

    def tick(self) -> None:
        """Go by the settings alone, when it is time."""
        if self._ends is not None and self._clock.seconds() >= self._ends:
            self._ends = None
            self.history.change(self._wanted)
            self._note_later()

    def _settle(self) -> None:
        history, wanted = self.history, self._wanted
        before = history.keep
        longest = _longest(before, wanted)
        ends = self._volume.now() + int(GRACE * _SECOND)
        self._ends = None
        count, size = history.doomed(wanted, ends)
        if not count:
            history.change(wanted)
            return
        history.change(longest, (wanted, ends))
        self._ends = self._clock.seconds() + GRACE
        log.warn(
            "History is to be kept for less time (--keep, [keep]): {count} versions of {bytes}"
            " bytes will be removed in an hour, at {when}. To keep them, set it back by then, to"
            " {before}, and start again or send SIGHUP",
            count=count,
            bytes=size,
            when=format_time(ends // _SECOND * _SECOND),
            before=shown(before),
        )

    @property
    def _is_to_be_noted(self) -> bool:
        keeps = self.history.keep
        return self.is_noted and (self._noted or ByPrefix(0.0)) != keeps

    def _note_later(self) -> None:
        if self._is_to_be_noted:
            self._workers.errand(self._note, self.history.keep)

    def _note(self, keep: ByPrefix[float]) -> None:
        """In a worker, but at a start."""
        try:
            note_promise(self._volume.directory, keep)
        except (OSError, OutcomeUnknown) as error:
            reason = str(as_store_error(error) if isinstance(error, OSError) else error)
            log.warn("The directory does not note how long history is kept: {why}", why=reason)
        else:
            self._noted = keep


def _longest(one: ByPrefix[float], other: ByPrefix[float]) -> ByPrefix[float]:
    """The longer of two times, for each location."""
    return one.merged(other, max)


def shown(keep: ByPrefix[float]) -> str:
    """The settings as people write them."""
    prefixes = [f"{prefix} = {format_duration(each)}" for prefix, each in keep.prefixes.items()]
    text = f"--keep {format_duration(keep.default)}"
    return f"{text} and [keep] {', '.join(prefixes)}" if prefixes else text
