"""The three forms of the list: JSON, plain lines, and a small HTML page.

Every form has the same entries, in the order of the bytes of the location. An entry is a blob (its
location, size in bytes, entity tag, time of the commit and type), or the prefix that stands for a
group of blobs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import partial
from html import escape
from urllib.parse import urlencode

from attrs import evolve, frozen
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, quote_etag

from gostore.blob import Committed
from gostore.store.interface import DamagedBlob, Entry
from gostore.web.fields.conditions import etag_of, modified_of
from gostore.web.fields.locations import STORE, reference
from gostore.web.fields.parsing import is_short_list, parsed
from gostore.web.fields.representation import DEFAULT_TYPE

DEFAULT_LIMIT = 1000

TAB = "\t"  # between the columns of the text form


@frozen
class Form:
    """One way to write the list.

    ``begin`` takes the prefix, ``entry`` an entry and the directory that the page is in, ``end``
    the reference to the next page.
    ``limit`` is the number of entries on a page when the query has no limit; None means all.
    """

    name: str
    content_type: str
    limit: int | None
    begin: Callable[[str], str]
    entry: Callable[[Entry, str], str]
    separator: str
    end: Callable[[str | None], str]


def form_for(accept: bytes | None, user_agent: bytes | None) -> Form:
    """The form that the client prefers (RFC 9110 section 12.5.1); JSON if it accepts none.

    An invalid Accept, and one with too many members, counts as one that accepts none of the forms.
    rclone reads directories from HTML, but sends no Accept and never asks for a second page.
    """
    if accept is None:
        return AS_TREE if (user_agent or b"").startswith(b"rclone/") else AS_JSON
    offers = {form.content_type.partition(";")[0]: form for form in FORMS.values()}
    best = parsed(partial(_best, offers), accept) if is_short_list(accept) else None
    return AS_JSON if best is None else offers[best]


def _best(offers: Iterable[str], accept: bytes) -> str | None:
    """The type that an Accept field prefers; None if it accepts none of the offers."""
    accepted = parse_accept_header(accept.decode("latin-1"), MIMEAccept)
    best: str | None = accepted.best_match(offers)
    return best


def _blob_of(entry: Committed | DamagedBlob) -> tuple[Committed, bool]:
    """The blob of an entry, or what a damaged one was, and whether it is damaged."""
    return (entry.blob, True) if isinstance(entry, DamagedBlob) else (entry, False)


def _modified(blob: Committed) -> str:
    when = datetime.fromtimestamp(modified_of(blob), timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _etag(blob: Committed) -> str | None:
    """The ETag; None if the Go server wrote the blob and its digest has not been computed yet."""
    etag = etag_of(blob)
    return None if etag is None else quote_etag(etag)


def _json_entry(entry: Entry, directory: str) -> str:
    if isinstance(entry, str):
        return json.dumps({"prefix": entry}, ensure_ascii=False)
    blob, is_damaged = _blob_of(entry)
    members = {
        "location": blob.location,
        "size": blob.size,
        "etag": _etag(blob),
        "modified": _modified(blob),
        "content_type": blob.content_type or DEFAULT_TYPE,
    }
    return json.dumps(members | {"damaged": True} if is_damaged else members, ensure_ascii=False)


def _text_entry(entry: Entry, directory: str) -> str:
    """Columns separated by tabs, the location first; no location contains a tab.

    Only a damaged blob has a sixth column, which says so.
    """
    if isinstance(entry, str):
        return f"{entry}\n"
    blob, is_damaged = _blob_of(entry)
    return (
        f"{blob.location}\t{blob.size}\t{_etag(blob) or '-'}\t{_modified(blob)}"
        f"\t{(blob.content_type or DEFAULT_TYPE).replace(TAB, ' ')}"
        f"{TAB + 'damaged' if is_damaged else ''}\n"
    )


def _html_begin(prefix: str) -> str:
    name = escape(STORE + prefix)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{name}</title>\n<h1><bdi>{name}</bdi></h1>\n<table>\n"
        "<tr><th>Location<th>Size<th>Modified<th>Type\n"
    )


def _html_entry(entry: Entry, directory: str) -> str:
    if isinstance(entry, str):
        # rclone follows only links to pages below the page that has the link.
        query = urlencode({"prefix": entry, "format": "html"})
        href = reference(entry, directory) if entry.endswith("/") else escape(f"?{query}")
        return f'<tr><td><a href="{href}"><bdi>{escape(entry)}</bdi></a>\n'
    blob, is_damaged = _blob_of(entry)
    href = reference(blob.location, directory)
    return (
        f'<tr><td><a href="{href}"><bdi>{escape(blob.location)}</bdi></a>'
        f"<td>{blob.size}<td>{_modified(blob)}"
        f"<td>{escape(blob.content_type or DEFAULT_TYPE)}{'<td>damaged' if is_damaged else ''}\n"
    )


def _html_end(next_page: str | None) -> str:
    more = f'<p><a rel="next" href="{escape(next_page)}">More</a>\n' if next_page else ""
    return f"</table>\n{more}</html>\n"


AS_JSON = Form(
    "json",
    "application/json",
    DEFAULT_LIMIT,
    lambda prefix: "[\n",
    _json_entry,
    ",\n",
    lambda next_page: "\n]\n",
)
AS_TEXT = Form(
    "text",
    "text/plain; charset=utf-8",
    DEFAULT_LIMIT,
    lambda prefix: "",
    _text_entry,
    "",
    lambda next_page: "",
)
AS_HTML = Form(
    "html",
    "text/html; charset=utf-8",
    DEFAULT_LIMIT,
    _html_begin,
    _html_entry,
    "",
    _html_end,
)
AS_TREE = evolve(AS_HTML, limit=None)
"""HTML for a program that takes a directory's only page to be the whole directory."""

FORMS = {form.name: form for form in (AS_JSON, AS_TEXT, AS_HTML)}
