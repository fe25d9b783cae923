"""The list of blobs as JSON, as plain lines, and as a small HTML page.

Every form has the same entries, ordered by the bytes of the location: location, size in bytes,
entity tag, time of the commit, type; or, where a delimiter groups them, a common prefix alone.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone
from html import escape
from urllib.parse import urlencode

from attrs import define, evolve, field, frozen
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, quote_etag

from gostore.blob import Committed
from gostore.store.interface import Store
from gostore.web.answers import Refusal
from gostore.web.fields.conditions import etag_of, modified_of
from gostore.web.fields.locations import STORE, parse_query, path_of
from gostore.web.fields.representation import DEFAULT_TYPE

DEFAULT_LIMIT = 1000
MAX_LIMIT = 10_000
"""A larger limit is taken for this one: there is a next page then."""

STEP = 500
"""The most entries written in one turn of the reactor, a few milliseconds."""

SMALL = 1 << 20
"""A page of no more bytes than this is kept as it was written, until it is sent."""

TAB = "\t"  # between the columns of the text form

Entry = Committed | str
"""A blob, or a common prefix."""


@frozen
class Form:
    """One way to write the list: ``begin`` is given the prefix, ``end`` the next page's URI.

    ``limit`` is how many entries a page has if the query does not say, None for all of them.
    """

    name: str
    content_type: str
    limit: int | None
    begin: Callable[[str], str]
    entry: Callable[[Entry], str]
    separator: str
    end: Callable[[str | None], str]


@frozen
class Query:
    """Which part of the list is wanted, and how; ``after`` is the last entry already seen."""

    form: Form
    prefix: str
    delimiter: str
    after: str
    limit: int | None

    def uri(self, after: str) -> str:
        """The reference to the page after this entry, in the same form."""
        parameters = {
            "prefix": self.prefix,
            "delimiter": self.delimiter,
            "after": after,
            "limit": self.limit,
            "format": self.form.name,
        }
        return f"{STORE}?{urlencode(parameters)}"


def form_for(accept: bytes | None, user_agent: bytes | None) -> Form:
    """The form that the client likes best (RFC 9110 section 12.5.1), JSON if it likes none.

    rclone reads directories from HTML, but does not say so, and never asks for a second page.
    """
    if accept is None:
        return TREE if (user_agent or b"").startswith(b"rclone/") else JSON
    offers = {form.content_type.partition(";")[0]: form for form in FORMS.values()}
    accepted = parse_accept_header(accept.decode("latin-1"), MIMEAccept)
    best = accepted.best_match(offers)
    return JSON if best is None else offers[best]


def query_of(query: str, form: Form) -> Query:
    """Read the query of a URI; what it does not say is as ``form`` has it.

    A parameter that is not known is ignored. Raises Refusal (400) for a value that cannot be.
    """
    parameters = parse_query(query)
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

    A short page is kept as it was written. Of a long one only the entries are kept, which the
    store has anyway, and it is written a second time while it is sent.
    """

    query: Query
    entries: list[Entry] = field(factory=list)
    next_uri: str | None = None
    length: int = 0
    _written: list[bytes] = field(factory=list)
    _sent: int = 0

    def add(self, entries: Sequence[Entry]) -> None:
        """Write some more entries, or none: the rest may have been deleted between two steps."""
        if not entries:
            return
        piece = self._piece(len(self.entries), entries)
        self.entries.extend(entries)
        self._keep(piece)

    def end(self, next_uri: str | None) -> None:
        """There are no more entries; ``next_uri`` is where the next page is, if there is one."""
        self.next_uri = next_uri
        if not self.entries:
            self._keep(self._piece(0, ()))
        self._keep(self._end())

    @property
    def small(self) -> bytes | None:
        """The whole page, if it is short."""
        return b"".join(self._written) if self.length <= SMALL else None

    def read(self) -> bytes:
        """Write the next part of a long page once more."""
        start = self._sent
        self._sent += STEP
        entries = self.entries[start : self._sent]
        return self._piece(start, entries) if entries else self._end()

    def close(self) -> None:
        """Nothing is open."""

    def _keep(self, piece: bytes) -> None:
        self.length += len(piece)
        if self.length <= SMALL:
            self._written.append(piece)
        else:
            self._written.clear()

    def _piece(self, start: int, entries: Sequence[Entry]) -> bytes:
        form = self.query.form
        before = form.separator if start else form.begin(self.query.prefix)
        return f"{before}{form.separator.join(map(form.entry, entries))}".encode()

    def _end(self) -> bytes:
        return self.query.form.end(self.next_uri).encode()


async def document(store: Store, query: Query, pause: Callable[[], Awaitable[object]]) -> Document:
    """Write one page of what a store has. ``pause`` lets the reactor turn between two steps."""
    page = Document(query)
    after: str | None = query.after
    while after is not None and (query.limit is None or len(page.entries) < query.limit):
        if page.entries:
            await pause()
        step = STEP if query.limit is None else min(query.limit - len(page.entries), STEP)
        part = await store.list(query.prefix, query.delimiter, after, step)
        after = part.next_after
        page.add(part.entries)
    page.end(None if after is None else query.uri(after))
    return page


def directory(prefix: str, form: Form) -> Query:
    """The page of what is directly below a prefix that ends with a slash."""
    return evolve(query_of("", form), prefix=prefix)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not text.strip("0"):
        raise Refusal(400, "The limit is not a whole number of at least 1")
    return MAX_LIMIT if len(text) > 9 else min(int(text), MAX_LIMIT)


def _modified(blob: Committed) -> str:
    when = datetime.fromtimestamp(modified_of(blob), timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _etag(blob: Committed) -> str | None:
    """The ETag, unless nobody has computed the digest of a blob of the first server yet."""
    etag = etag_of(blob)
    return None if etag is None else quote_etag(etag)


def _json_entry(entry: Entry) -> str:
    if isinstance(entry, str):
        return json.dumps({"prefix": entry}, ensure_ascii=False)
    return json.dumps(
        {
            "location": entry.location,
            "size": entry.size,
            "etag": _etag(entry),
            "modified": _modified(entry),
            "content_type": entry.content_type or DEFAULT_TYPE,
        },
        ensure_ascii=False,
    )


def _text_entry(entry: Entry) -> str:
    """Columns between tabs, which no location has; the location comes first."""
    if isinstance(entry, str):
        return f"{entry}\n"
    return (
        f"{entry.location}\t{entry.size}\t{_etag(entry) or '-'}\t{_modified(entry)}"
        f"\t{(entry.content_type or DEFAULT_TYPE).replace(TAB, ' ')}\n"
    )


def _html_begin(prefix: str) -> str:
    name = escape(STORE + prefix)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{name}</title>\n<h1><bdi>{name}</bdi></h1>\n<table>\n"
        "<tr><th>Location<th>Size<th>Modified<th>Type\n"
    )


def _html_entry(entry: Entry) -> str:
    if isinstance(entry, str):
        # A directory's page is below the page that links to it: rclone follows no other links.
        query = urlencode({"prefix": entry, "format": "html"})
        href = path_of(entry) if entry.endswith("/") else escape(f"{STORE}?{query}")
        return f'<tr><td><a href="{href}"><bdi>{escape(entry)}</bdi></a>\n'
    return (
        f'<tr><td><a href="{path_of(entry.location)}"><bdi>{escape(entry.location)}</bdi></a>'
        f"<td>{entry.size}<td>{_modified(entry)}"
        f"<td>{escape(entry.content_type or DEFAULT_TYPE)}\n"
    )


def _html_end(next_uri: str | None) -> str:
    more = f'<p><a rel="next" href="{escape(next_uri)}">More</a>\n' if next_uri else ""
    return f"</table>\n{more}</html>\n"


JSON = Form(
    "json",
    "application/json",
    DEFAULT_LIMIT,
    lambda prefix: "[\n",
    _json_entry,
    ",\n",
    lambda next_uri: "\n]\n",
)
TEXT = Form(
    "text",
    "text/plain; charset=utf-8",
    DEFAULT_LIMIT,
    lambda prefix: "",
    _text_entry,
    "",
    lambda next_uri: "",
)
HTML = Form(
    "html",
    "text/html; charset=utf-8",
    DEFAULT_LIMIT,
    _html_begin,
    _html_entry,
    "",
    _html_end,
)
TREE = evolve(HTML, limit=None)
"""HTML for a program that takes the one page of a directory for all of it."""

FORMS = {form.name: form for form in (JSON, TEXT, HTML)}
