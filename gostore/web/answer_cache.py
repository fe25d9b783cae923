"""Whole answers, head and bytes, to the plain GETs of small blobs, kept in memory.

An answer is good for what its bytes are: a minute after they were compared with their digest. It is
never given once the location has another blob, a damaged one, or none.

Only a plain GET is answered from here: its fields are all in `PLAIN`, and so change nothing about
the answer. An answer may come to depend on any other field without a thought about this cache.
What is not kept, but at hand in the page cache, is answered as directly.
"""

from __future__ import annotations

import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from attrs import define

from gostore.blob import Committed
from gostore.store.interface import Store
from gostore.text import wall_seconds
from gostore.web.answers import Refusal
from gostore.web.fields.locations import STORE, decode_location
from gostore.web.fields.representation import Representation
from gostore.wire import Headers, response_head

PLAIN = frozenset(
    {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"authorization",
        b"cache-control",
        b"connection",
        b"host",
        b"pragma",
        b"referer",
        b"user-agent",
    }
)
"""The fields of a plain GET. The wire reads Connection, Browsers.check() Host, and the Guard
Authorization."""

OVERHEAD = 768
"""Bytes that an answer takes in memory beside its texts: objects, and its place in the cache."""


# The GET of a location, without a query; any other is no business of the cache.
_LINE = re.compile(rb"GET /store/([!->@-~]*[!-.0->@-~]) HTTP/1\.1")


def is_plain(headers: Headers) -> bool:
    """Whether all fields are those of a plain GET."""
    return headers.has_only(PLAIN)


@define(eq=False)
class KeptAnswer:
    """An answer, see `ReadyAnswer`. It is good ``until`` then, by a clock that is never set.

    Should Date's clock be set back to before ``modified``, its Last-Modified is wrong.
    """

    head: bytes
    body: bytes
    path: str
    blob: Committed
    modified: int
    until: float
    size: int


class AnswerCache:
    """Keeps answers that together take at most ``capacity`` bytes of memory."""

    def __init__(
        self,
        capacity: int,
        store: Store,
        seconds: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_seconds,
    ) -> None:
        """``seconds`` is a clock that is never set, ``wall`` the one that Date has."""
        self._capacity = capacity
        self._store = store
        self._seconds = seconds
        self._wall = wall
        # By the request line, the oldest first.
        self._kept: OrderedDict[bytes, KeptAnswer] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, line: bytes, may_read: Callable[[str], bool] | None = None) -> KeptAnswer | None:
        """The answer to a plain GET with this request line, if it is kept or can be made at once.

        ``may_read`` says of a location whether the client may read it now. Any other GET has to be
        dispatched.
        """
        kept = self._kept.get(line)
        if kept is not None:
            if (
                kept.until > self._seconds()
                and kept.modified <= self._wall()
                and self._store.is_current(kept.blob)
            ):
                return kept if may_read is None or may_read(kept.blob.location) else None
            del self._kept[line]
            self._size -= kept.size
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        raw = match[1].decode("ascii")
        try:
            location = decode_location(raw)
        except Refusal:
            return None
        if may_read is not None and not may_read(location):
            return None
        made = self._make(location, STORE + raw, sys.getsizeof(line))
        if made is not None:
            self._keep(line, made)
        return made

    def _make(self, location: str, path: str, length: int) -> KeptAnswer | None:
        """Make the answer to a GET of a location by this path, whose line takes so many bytes."""
        found = self._store.read_now(location)
        if found is None:
            return None
        blob, body, good_for = found
        now = self._wall()
        representation = Representation.of(blob, now)
        if representation.modified > now:
            return None  # Its Last-Modified moves on with the clock.
        head = response_head(200, representation.headers, len(body), b"")
        texts = (head, body, path, *_texts(blob))
        # So many texts are always there, and part of the overhead. Metadata may be many more.
        size = OVERHEAD + length + sum(map(sys.getsizeof, texts)) + 64 * (len(texts) - 4)
        until = self._seconds() + good_for
        return KeptAnswer(head, body, path, blob, representation.sent, until, size)

    def _keep(self, line: bytes, made: KeptAnswer) -> None:
        if made.size <= self._capacity:
            self._kept[line] = made
            self._size += made.size
            while self._size > self._capacity:
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.size


def _texts(blob: Committed) -> Iterable[str]:
    """What a blob that has been replaced may keep in memory for its answer alone."""
    if blob.metadata is None:
        return (blob.location,)
    return (blob.location, *blob.metadata, *blob.metadata.values())
