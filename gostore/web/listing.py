"""The pages of the list: what a query asks for, and a page written step by step.

list_forms.py says how a page is written in each form.

To write a long list takes seconds of the processor. So all lists take turns: in each turn of the
reactor one list does one step, and everybody else waits for one step at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred

from gostore.store.interface import Entry, Store
from gostore.web.answers import Refusal
from gostore.web.fields.locations import parse_query
from gostore.web.list_forms import FORMS, Form

MAX_LIMIT = 10_000
"""The most entries on a page; a larger limit counts as this one, and the list goes on behind it."""

STEP = 100
"""The most entries written in one turn of the reactor, in about half a millisecond."""

SMALL_PAGE = 1 << 20
"""A page of at most this many bytes stays in memory as written until it is sent."""

PARAMETERS = ("prefix", "delimiter", "after", "limit", "format")


@frozen
class Query:
    """Which part of the list is wanted, and how; ``after`` is the last entry already seen.

    ``directory`` is the one that the page's path names, "" for /store/ itself, and ``top`` leads
    from there to /store/: a proxy may have put all of this below a path of its own.
    """

    form: Form
    prefix: str
    delimiter: str
    after: str
    limit: int | None
    directory: str = ""
    top: str = ""

    def reference(self, after: str) -> str:
        """The reference to the page after this entry, in the same form."""
        parameters = {
            "prefix": self.prefix,
            "delimiter": self.delimiter,
            "after": after,
            "limit": self.limit,
            "format": self.form.name,
        }
        return f"{self.top}?{urlencode(parameters)}"


def query_of(query: str, form: Form) -> Query:
    """Read the query of a URI; ``form`` gives the default of each parameter.

    Raises Refusal (400) for an unknown parameter and for an impossible value.
    """
    parameters = parse_query(query)
    if not parameters.keys() <= set(PARAMETERS):
        known = f"{', '.join(PARAMETERS[:-1])} and {PARAMETERS[-1]}"
        raise Refusal(400, f"The query has an unknown parameter; the list knows {known}")
    if (name := parameters.get("format", form.name)) != form.name:
        if name not in FORMS:
            raise Refusal(400, f"The format is none of {', '.join(FORMS)}")
        form = FORMS[name]
    return Query(
        form,
        prefix=parameters.get("prefix", ""),
        delimiter=parameters.get("delimiter", "/" if form.name == "html" else ""),
        after=parameters.get("after", ""),
        limit=_limit(parameters["limit"]) if "limit" in parameters else form.limit,
    )


@define(eq=False)
class Document:
    """A page of the list, a source of bytes: ``length`` of them.

    A small page is kept as written. A larger one keeps only its entries, which the store has in
    memory anyway, and is written a second time while it is sent. ``now``, in seconds since the
    epoch, is the latest time that it shows. ``turn`` fires when the page may take its next step;
    ``closed`` is called once nobody reads the page any more.
    """

    query: Query
    now: int
    _turn: Callable[[], Deferred[None]]
    _closed: Callable[[], object]
    entries: list[Entry] = field(factory=list)
    next_page: str | None = None
    length: int = 0
    _written: list[bytes] = field(factory=list)
    _sent: int = 0

    async def write(self, store: Store, is_wanted: Callable[[], bool]) -> None:
        """Write the page, a step at a time, until it is complete or nobody wants it any more."""
        query, after = self.query, self.query.after
        while query.limit is None or len(self.entries) < query.limit:
            await self._turn()
            if not is_wanted():
                return
            step = STEP if query.limit is None else min(query.limit - len(self.entries), STEP)
            part = await store.list(query.prefix, query.delimiter, after, step)
            self._add(part.entries)
            if part.next_after is None:
                break
            after = part.next_after
        else:
            self.next_page = query.reference(after)
        if not self.entries:
            self._keep(self._piece(0, ()))
        self._keep(self._end())

    @property
    def small(self) -> bytes | None:
        """The whole page, if it is small."""
        return b"".join(self._written) if self.length <= SMALL_PAGE else None

    def read(self) -> Deferred[bytes]:
        """Write the next part of a large page for the second time."""
        return self._turn().addCallback(self._read)

    def close(self) -> None:
        """Nobody reads any more."""
        closed, self._closed = self._closed, _nothing
        closed()

    def _read(self, turn: None) -> bytes:
        start = self._sent
        self._sent += STEP
        entries = self.entries[start : self._sent]
        return self._piece(start, entries) if entries else self._end()

    def _add(self, entries: Sequence[Entry]) -> None:
        # There may be none: clients delete blobs between two steps.
        if entries:
            piece = self._piece(len(self.entries), entries)
            self.entries.extend(entries)
            self._keep(piece)

    def _keep(self, piece: bytes) -> None:
        self.length += len(piece)
        if self.length <= SMALL_PAGE:
            self._written.append(piece)
        else:
            self._written.clear()

    def _piece(self, start: int, entries: Sequence[Entry]) -> bytes:
        form = self.query.form
        before = form.separator if start else form.begin(self.query.prefix)
        written = [form.entry(entry, self.query.directory, self.now) for entry in entries]
        return f"{before}{form.separator.join(written)}".encode()

    def _end(self) -> bytes:
        return self.query.form.end(self.next_page).encode()


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
