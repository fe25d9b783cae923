"""The three forms of the list: JSON, plain lines, and a small HTML page.

Every form has the same entries, in the order of the bytes of the location. An entry is a blob (its
location, size in bytes, entity tag, time of the commit and type), or the prefix that stands for a
group of blobs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from html import escape
from urllib.parse import quote, urlencode

from attrs import evolve, frozen
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, quote_etag

from gostore.blob import DEFAULT_TYPE, Committed
from gostore.store.interface import DamagedBlob, Entry
from gostore.text import format_time
from gostore.web.fields.conditions import NANOSECONDS, etag_of, modified_of
from gostore.web.fields.locations import STORE, reference
from gostore.web.fields.parsing import is_short_list, parsed
from gostore.wire import json_line

DEFAULT_LIMIT = 1000

TAB = "\t"  # between the columns of the text form

_WALKERS = (b"rclone/", b"Wget/")
"""How programs begin their User-Agent that read HTML pages as a tree of directories."""

# Controls (C1) and line ends beyond ASCII: terminals obey them, and some readers end a line there.
# A percent sign that begins an escape would be mistaken for one of ours.
_ESCAPED = re.compile("[\x80-\x9f\u2028\u2029]|%(?=[0-9A-Fa-f]{2})")


FIELDS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-cache",
    b"vary": b"Accept, User-Agent",
}
"""The fields of every page; Content-Type and Link join them."""


@frozen
class Form:
    """One way to write the list.

    ``begin`` takes the prefix, ``end`` the reference to the next page. ``entry`` takes an entry,
    the directory that the page is in, and the latest time to show, in seconds since the epoch.
    ``limit`` is the number of entries on a page when the query has no limit; None means all.
    ``fields`` are those of the answer.
    """

    name: str
    content_type: str
    limit: int | None
    begin: Callable[[str], str]
    entry: Callable[[Entry, str, int], str]
    separator: str
    end: Callable[[str | None], str]
    fields: Mapping[bytes, bytes] = FIELDS

    @property
    def is_html(self) -> bool:
        """Whether it is read by browsers, and by programs that walk pages as a tree."""
        return self.content_type.startswith("text/html")


def page_fields(form: Form, next_page: str | None) -> dict[bytes, bytes]:
    """The fields of a page in this form; ``next_page`` is the reference to the next one."""
    fields = {**form.fields, b"content-type": form.content_type.encode("ascii")}
    if next_page is not None:
        fields[b"link"] = f'<{next_page}>; rel="next"'.encode("ascii")
    return fields


def form_for(accept: bytes | None, user_agent: bytes | None) -> Form:
    """The form that the client prefers (RFC 9110 section 12.5.1); JSON if it accepts none.

    An invalid Accept, and one with too many members, counts as one that accepts none of the forms.
    rclone and wget read directories from HTML, but do not say so in Accept, and rclone never asks
    for a second page.
    """
    if accept in (None, b"*/*") and (user_agent or b"").startswith(_WALKERS):
        return AS_TREE
    if accept is None:
        return AS_JSON
    offers = {form.content_type.partition(";")[0]: form for form in FORMS.values()}
    best = parsed(partial(_best, offers), accept) if is_short_list(accept) else None
    return AS_JSON if best is None else offers[best]


def _best(offers: Iterable[str], accept: bytes) -> str | None:
    """The type that an Accept field prefers; None if it accepts none of the offers."""
    accepted = parse_accept_header(accept.decode("latin-1"), MIMEAccept)
    best: str | None = accepted.best_match(offers)
    return best


def blob_of(entry: Committed | DamagedBlob) -> tuple[Committed, bool]:
    """The blob of an entry, or what a damaged one was, and whether it is damaged."""
    return (entry.blob, True) if isinstance(entry, DamagedBlob) else (entry, False)


def _modified(blob: Committed, now: int) -> str:
    return format_time(min(modified_of(blob), now) * NANOSECONDS)


def _second(seconds: int) -> str:
    return format_time(seconds * NANOSECONDS)


def _etag(blob: Committed) -> str | None:
    """The ETag; None if the Go server wrote the blob and its digest has not been computed yet."""
    etag = etag_of(blob)
    return None if etag is None else quote_etag(etag)


def _json_entry(entry: Entry, directory: str, now: int) -> str:
    if isinstance(entry, str):
        members: dict[str, object] = {"prefix": entry}
    else:
        blob, is_damaged = blob_of(entry)
        members = {
            "location": blob.location,
            "size": blob.size,
            "etag": _etag(blob),
            "modified": _modified(blob, now),
            "content_type": blob.content_type or DEFAULT_TYPE,
        }
        if blob.expires is not None:
            members["expires"] = _second(blob.expires)
        if is_damaged:
            members["damaged"] = True
    return json_line(members)


def _text_entry(entry: Entry, directory: str, now: int) -> str:
    """Columns separated by tabs, the location first; no location contains a tab.

    Behind the fifth column a damaged blob has one that says so, and one that expires the time.
    """
    if isinstance(entry, str):
        return f"{on_one_line(entry)}\n"
    blob, is_damaged = blob_of(entry)
    content_type = (blob.content_type or DEFAULT_TYPE).replace(TAB, " ")
    return (
        f"{on_one_line(blob.location)}\t{blob.size}\t{_etag(blob) or '-'}"
        f"\t{_modified(blob, now)}\t{on_one_line(content_type)}"
        f"{TAB + 'damaged' if is_damaged else ''}"
        f"{'' if blob.expires is None else f'{TAB}expires {_second(blob.expires)}'}\n"
    )


def on_one_line(text: str) -> str:
    """Percent-encode what does not belong in a line; percent-decoding gives the text again."""
    return _ESCAPED.sub(lambda found: quote(found[0], safe=""), text)


def _html_begin(prefix: str) -> str:
    name = escape(STORE + prefix)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f"<title>{name}</title>\n<h1><bdi>{name}</bdi></h1>\n<table>\n"
        "<tr><th>Location<th>Size<th>Modified<th>Type\n"
    )


def _html_entry(entry: Entry, directory: str, now: int) -> str:
    if isinstance(entry, str):
        # rclone follows only links to pages below the page that has the link.
        query = urlencode({"prefix": entry, "format": "html"})
        href = reference(entry, directory) if entry.endswith("/") else escape(f"?{query}")
        return f'<tr><td><a href="{href}"><bdi>{escape(entry)}</bdi></a>\n'
    blob, is_damaged = blob_of(entry)
    href = reference(blob.location, directory)
    return (
        f'<tr><td><a href="{href}"><bdi>{escape(blob.location)}</bdi></a>'
        f"<td>{blob.size}<td>{_modified(blob, now)}"
        f"<td>{escape(blob.content_type or DEFAULT_TYPE)}{'<td>damaged' if is_damaged else ''}"
        f"{'' if blob.expires is None else f'<td>expires {_second(blob.expires)}'}\n"
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
