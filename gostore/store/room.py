"""Room comes before history: what is kept is given up before a write is refused for lack of room.

The garbage goes first, then those blobs that died first, and no more of them than the write needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.errors import NoIds, NoSpace, QuotaExceeded
from gostore.store.admission import BESIDE, Admission
from gostore.store.garbage import Garbage
from gostore.text import Repeats

T = TypeVar("T")

TRIES = 16
"""So often room is made for the same bytes: others may take it as soon as it is there."""

log = Logger()


class Room:
    """Makes room for writes that would be refused."""

    def __init__(self, garbage: Garbage, admission: Admission) -> None:
        self._garbage = garbage
        self._admission = admission
        self._repeats = Repeats()

    def check(self, size: int) -> None:
        """Raise NoSpace unless so many bytes may come in time, be it in place of history."""
        try:
            self._admission.check_space(size)
        except NoSpace:
            admission = self._admission
            if admission.free + self._garbage.history.bytes < admission.reserve + size:
                raise

    def make(self, error: NoSpace, size: int, again: Callable[[], Deferred[T]]) -> Deferred[T]:
        """Make room for a write of so many bytes that was refused, and try ``again``.

        It fails with the error if there is nothing to give up.
        """
        return self._unless_useless(error, lambda: self._admission.lacking(size), again)

    def make_more(self, error: NoSpace, size: int, again: Callable[[], Deferred[T]]) -> Deferred[T]:
        """As `make`, for so many more bytes of a body that is on its way to the disk."""
        return self._unless_useless(error, lambda: self._admission.lacking_for_more(size), again)

    def make_after(
        self, failure: Failure, size: int, again: Callable[[], Deferred[T]]
    ) -> Deferred[T]:
        """As `make`, if a failure is one for lack of room."""
        failure.trap(NoSpace)
        assert isinstance(failure.value, NoSpace)
        return self.make(failure.value, size, again)

    @property
    def beside(self) -> int:
        """How many bytes more a body on its way asks for, so that its commit finds room, too."""
        return BESIDE if len(self._garbage.history) else 0

    def _unless_useless(
        self, error: NoSpace, lacking: Callable[[], int], again: Callable[[], Deferred[T]]
    ) -> Deferred[T]:
        # History has given way to the quota before: what lives is too much for it.
        if isinstance(error, QuotaExceeded) or not len(self._garbage.history):
            return fail(error)
        return Deferred.fromCoroutine(self._make(error, lacking, again))

    async def _make(
        self, error: NoSpace, lacking: Callable[[], int], again: Callable[[], Deferred[T]]
    ) -> T:
        before, lacked = len(self._garbage.dead), lacking()
        await self._collect()
        needed = 0 if isinstance(error, NoIds) else lacking()
        # What was known of the free room may have been too little, and some seconds old.
        has_room = needed <= 0 < lacked and not isinstance(error, NoIds)
        if isinstance(error, NoIds) or (len(self._garbage.dead) == before and not has_room):
            # The garbage alone does not help.
            taken = self._garbage.history.take_oldest(needed)
            if not taken:
                raise error
            if (due := self._repeats.due("", "history is given up")) is not None:
                log.warn("There is no room: {due}, the oldest first", due=due)
            await self._garbage.give_up(taken)
            await self._collect()
        return await again()

    async def _collect(self) -> None:
        free = await self._garbage.collect()
        if free is not None:
            self._admission.free = free
