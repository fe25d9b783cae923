"""Requests that repeat the fields of the one before, and whose answers are at hand.

Most clients send the same field lines with each request. Where nothing but its line makes a
request differ from the last, the application may know the whole answer by that line. It then goes
out at once, and no request is made.
"""

from __future__ import annotations

from bisect import bisect_left

from twisted.logger import Logger

from gostore.wire.head import Fields
from gostore.wire.headbuffer import HeadBuffer
from gostore.wire.output import Output
from gostore.wire.request import Find, Listening, Request, Teller
from gostore.wire.response import end_of_head
from gostore.wire.tally import BYTES

log = Logger()


class Repeats:
    """Answers what one client repeats, as if each had been dispatched."""

    __slots__ = (
        "_counts",
        "_factory",
        "_fields",
        "_find",
        "_heads",
        "_output",
        "_request",
        "_teller",
    )

    def __init__(
        self, factory: Listening, heads: HeadBuffer, output: Output, teller: Teller
    ) -> None:
        self._factory = factory
        self._heads = heads
        self._output = output
        self._teller = teller
        self._counts = factory.tally.of("GET", 200)
        # The last request, if more with its fields may be answered, those fields, and by what.
        self._request: Request | None = None
        self._fields: Fields | None = None
        self._find: Find | None = None

    def learn(self, request: Request, fields: Fields) -> None:
        """See a request that is about to be dispatched. Ask once about each set of fields."""
        shortcut = self._factory.shortcut
        if shortcut is None or fields is self._fields:
            return
        self.forget()
        if (
            request.method == "GET"
            and request.version == (1, 1)
            and fields.length == 0
            and fields.keep_alive
        ):
            self._request = request
            self._fields = fields
            self._find = shortcut(request)

    def forget(self) -> None:
        """Answer no more: other fields have come, or the client is gone."""
        self._request = self._fields = self._find = None

    def answer(self) -> bool:
        """Answer the next request if it is here, a repetition, and its answer is at hand."""
        find = self._find
        if find is None or self._factory.stopping:
            return False
        line = self._heads.repeated_line()
        if line is None:
            return False
        try:
            ready = find(line)
        except Exception:
            # The request is dispatched, and gets its answer so.
            log.failure("Looking for an answer at hand raised an exception")
            return False
        if ready is None:
            return False
        assert self._request is not None
        self._heads.skip_repeated()
        name = self._factory.new_id()
        end = end_of_head(self._factory.tail, name, keep_alive=True, version=(1, 1))
        if self._teller.is_heard:
            request = self._request.repeated(line, ready.path, name)
            self._teller.begin(request)
            self._output.write(ready.head + end, ready.body)
            self._teller.tell(request, 200, len(ready.body))
        else:
            self._output.write(ready.head + end, ready.body)
            # Written out: a call costs such an answer one part in fifty.
            size, counts = len(ready.body), self._counts
            counts.sent += size
            counts.by_sent[bisect_left(BYTES, size)] += 1
        if not self._output.blocked:
            self._output.deadline.set(self._factory.limits.idle_timeout)
        return True
