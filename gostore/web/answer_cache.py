"""Whole answers, head and bytes, to the plain GETs of small blobs, kept in memory.

An answer is good for what its bytes are: a minute after they were compared with their digest. It is
never given once the location has another blob, a damaged one, or none.

Only a plain GET is answered from here: its fields are all in `PLAIN`, and so change nothing about
the answer. An answer may come to depend on any other field without a thought about this cache.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from attrs import define

from gostore.blob import Committed
from gostore.text import wall_seconds
from gostore.web.answers import Answer
from gostore.web.fields.representation import Representation
from gostore.wire import Headers, PreparedFields, Request, response_head

PLAIN = frozenset(
    {
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"host",
        b"pragma",
        b"referer",
        b"user-agent",
    }
)
"""The fields of a plain GET. The wire reads Connection, and Browsers.check() Host."""

OVERHEAD = 768
"""Bytes that an answer takes in memory beside its texts: objects, and its place in the cache."""


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
        is_current: Callable[[Committed], bool],
        seconds: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_seconds,
    ) -> None:
        """``seconds`` is a clock that is never set, ``wall`` the one that Date has."""
        self._capacity = capacity
        self._is_current = is_current
        self._seconds = seconds
        self._wall = wall
        # By the request line, the oldest first.
        self._kept: OrderedDict[bytes, KeptAnswer] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, line: bytes) -> KeptAnswer | None:
        """The answer to a plain GET with this request line, if there is one that is good."""
        kept = self._kept.get(line)
        if kept is None:
            return None
        if (
            kept.until > self._seconds()
            and kept.modified <= self._wall()
            and self._is_current(kept.blob)
        ):
            return kept
        self._drop(line)
        return None

    def keep(
        self, request: Request, representation: Representation, answer: Answer, good_for: float
    ) -> None:
        """Keep the answer to a request for a whole blob, if that was a plain GET.

        Its bytes are good for so many seconds more.
        """
        fields, body = answer.fields, answer.body
        if (
            good_for <= 0
            or not _is_plain_get(request)
            or not isinstance(body, bytes)
            or not isinstance(fields, PreparedFields)
            or representation.sent != representation.modified
        ):
            return
        line = b"GET %b HTTP/1.1" % request.target
        head = response_head(200, fields, len(body), b"")
        blob = representation.blob
        texts = (line, head, body, request.path, *_texts(blob))
        # So many texts are always there, and part of the overhead. Metadata may be many more.
        size = sum(map(sys.getsizeof, texts)) + OVERHEAD + 64 * (len(texts) - 5)
        self._drop(line)
        if size > self._capacity:
            return
        self._size += size
        until = self._seconds() + good_for
        kept = KeptAnswer(head, body, request.path, blob, representation.sent, until, size)
        self._kept[line] = kept
        while self._size > self._capacity:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.size

    def _drop(self, line: bytes) -> None:
        kept = self._kept.pop(line, None)
        if kept is not None:
            self._size -= kept.size


def _is_plain_get(request: Request) -> bool:
    """Whether the request line of a GET, as HTTP/1.1 has it, tells all about the request."""
    return (
        request.method == "GET"
        and request.version == (1, 1)
        and not request.query
        # The host of another target counts more than the field Host.
        and request.target.startswith(b"/")
        and request.headers.parsed(is_plain)
    )


def _texts(blob: Committed) -> Iterable[str]:
    """What a blob that has been replaced may keep in memory for its answer alone."""
    return (blob.location, *(blob.metadata or ()), *(blob.metadata or {}).values())
