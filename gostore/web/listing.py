"""The pages of the list: what a query asks for, and a page written step by step.

list_forms.py says how a page is written in each form.

A long list takes seconds of CPU time. So all lists take turns: in each turn of the
reactor one list does one step, and everybody else waits for one step at most. A large page is
written while it is sent, in chunks, and never whole in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from urllib.parse import urlencode

from attrs import evolve, frozen
from twisted.internet.defer import Deferred

from gostore.store.interface import Entry, Page, Seek, Store
from gostore.web.answers import Refusal
from gostore.web.fields.locations import parse_query
from gostore.web.list_forms import FORMS, Form

MAX_LIMIT = 10_000
"""The most entries on a page; a larger limit counts as this one, and the list goes on behind it."""

STEP = 100
"""The most entries written in one turn of the reactor, in about half a millisecond."""

LISTED = 500
"""The most entries asked of the store in one turn, which costs as much."""

SMALL_PAGE = 1 << 20
"""A page of at most this many bytes is written whole before it is sent."""

PARAMETERS = ("prefix", "delimiter", "after", "limit", "format")


@frozen
class Query:
    """Which part of the list is wanted, and how; ``after`` is the last entry already seen.

    ``directory`` is the one that the page's path names, "" for /store/ itself, and ``top`` leads
    from there to /store/: a proxy may have put all of this below a path of its own. ``seek`` steps
    over what the client may not see.
    """

    form: Form
    prefix: str
    delimiter: str
    after: str
    limit: int | None
    directory: str = ""
    top: str = ""
    seek: Seek | None = None

    def reference(self, after: str) -> str:
        """The reference to the page after this entry, in the same form."""
        parameters: dict[str, object] = {
            "prefix": self.prefix,
            "delimiter": self.delimiter,
            "after": after,
            "limit": self.limit,
        }
        if self.form.name in FORMS:
            parameters["format"] = self.form.name
        return f"{self.top}?{urlencode(parameters)}"


def query_of(query: str, form: Form) -> Query:
    """Read the query of a URI; ``form`` gives the default of each parameter.

    Raises Refusal (400) for an unknown parameter and for an impossible value.
    """
    parameters = parse_query(query)
    if not parameters.keys() <= set(PARAMETERS):
        known = f"{', '.join(PARAMETERS[:-1])} and {PARAMETERS[-1]}"
        raise Refusal(400, f"The query has an unknown parameter; the list knows {known}")
    if (name := parameters.get("format")) is not None:
        if name not in FORMS:
            raise Refusal(400, f"The format is none of {', '.join(FORMS)}")
        if name != form.name:
            form = FORMS[name]
    return Query(
        form,
        prefix=parameters.get("prefix", ""),
        delimiter=parameters.get("delimiter", "/" if form.is_html else ""),
        after=parameters.get("after", ""),
        limit=_limit(parameters["limit"]) if "limit" in parameters else form.limit,
    )


class Document:
    """A page of the list, as an iterator of pieces, and a source of the bytes of a large page.

    ``now``, in seconds since the epoch, is the latest time that the page shows. ``turn`` fires when
    it may take its next step; ``closed`` is called once nobody reads it any more.
    """

    length = None

    def __init__(
        self,
        store: Store,
        query: Query,
        now: int,
        turn: Callable[[], Deferred[None]],
        closed: Callable[[], object],
    ) -> None:
        self.query = query
        self.next_page: str | None = None
        self.is_empty = True
        self._store = store
        self._now = now
        self._turn = turn
        self._closed = closed
        self._pieces = self._write()
        self._written: list[bytes] = []
        self._is_whole = False

    async def begin(self, is_wanted: Callable[[], bool]) -> None:
        """Write until the page is whole, or too large to be kept, or nobody wants it any more."""
        size = 0
        async for piece in self._pieces:
            self._written.append(piece)
            size += len(piece)
            if size > SMALL_PAGE or not is_wanted():
                return
        self._is_whole = True

    @property
    def small(self) -> bytes | None:
        """The whole page, if it is small."""
        return b"".join(self._written) if self._is_whole else None

    def read(self) -> bytes | Deferred[bytes]:
        """The next part of a large page; nothing at its end."""
        if self._written:
            piece, self._written = b"".join(self._written), []
            return piece
        return Deferred.fromCoroutine(self._read())

    def close(self) -> None:
        """Nobody reads any more."""
        closed, self._closed = self._closed, _nothing
        closed()

    async def _read(self) -> bytes:
        return await anext(self._pieces, b"")

    async def _write(self) -> AsyncIterator[bytes]:
        form, before = self.query.form, self.query.form.begin(self.query.prefix)
        async for entries in self._parts():
            self.is_empty = False
            for start in range(0, len(entries), STEP):
                if start:
                    await self._turn()
                step = entries[start : start + STEP]
                written = [form.entry(entry, self.query.directory, self._now) for entry in step]
                yield f"{before}{form.separator.join(written)}".encode()
                before = form.separator
        yield f"{before if self.is_empty else ''}{form.end(self.next_page)}".encode()

    async def _parts(self) -> AsyncIterator[list[Entry]]:
        """The entries, some at a time. With a limit, the next page is known before the first."""
        query, least = self.query, self._store.least_listed
        after: str | None = query.after
        if query.limit is None:
            while after is not None:
                part = await self._list(after, max(STEP, least))
                after = part.next_after
                # There may be none: clients delete blobs between two steps.
                if part.entries:
                    yield part.entries
            return
        entries: list[Entry] = []
        while after is not None and len(entries) < query.limit:
            part = await self._list(after, min(query.limit - len(entries), max(LISTED, least)))
            entries += part.entries
            after = part.next_after
        if after is not None:
            self.next_page = query.reference(after)
        if entries:
            yield entries

    async def _list(self, after: str, count: int) -> Page:
        await self._turn()
        query = self.query
        return await self._store.list(query.prefix, query.delimiter, after, count, query.seek)


def directory(query: Query, prefix: str, depth: int) -> Query:
    """The page of what is directly below a prefix that ends with a slash.

    ``depth`` is the number of segments between /store/ and the end of the page's path.
    """
    return evolve(query, prefix=prefix + query.prefix, directory=prefix, top="../" * depth)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not text.strip("0"):
        raise Refusal(400, "The limit is not a whole number of at least 1")
    return MAX_LIMIT if len(text) > 9 else min(int(text), MAX_LIMIT)


def _nothing() -> None:
    """There is nobody left to tell."""
