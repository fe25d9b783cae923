"""The page: one document for each list, whose rows are there without any script.

static/page.js makes of it what a user touches. Nothing of a blob is ever shown as a part of it but
its name, as text; the policy lets nothing run but the files of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from string import Template

from attrs import define, evolve, frozen

from gostore.store.interface import Entry
from gostore.web.answers import Answer
from gostore.web.fields.conditions import NANOSECONDS, modified_of
from gostore.web.fields.locations import STORE, decode_location, reference
from gostore.web.list_forms import AS_HTML, FIELDS, blob_of, form_for
from gostore.web.listing import Query
from gostore.web.page.files import files, template
from gostore.web.page.names import shown, size_in_words, time_in_words
from gostore.wire import Headers, Request

PAGE_ENTRIES = 500
"""The most rows of a page that are there without a script."""

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    b" connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    b" require-trusted-types-for 'script'; trusted-types 'none'"
)
"""What the page may do: run its files, and ask its own server.

A blob has the same origin as they have. But it is in no place of the page where it could run: no
script makes an element of text (that is what trusted types see to), and none names a blob as a
script, a style or a picture.
"""

PAGE_FIELDS = {
    **FIELDS,
    b"content-security-policy": POLICY,
    b"cross-origin-opener-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
}

_BROWSERS = b"Mozilla/"
"""How the User-Agent of every browser begins that runs scripts."""

_ROWS = "<!-- rows -->\n"


def _undressed(*_: object) -> str:
    raise AssertionError("a page is of one list")


AS_PAGE = evolve(
    AS_HTML,
    name="page",
    limit=PAGE_ENTRIES,
    begin=_undressed,
    entry=_undressed,
    end=_undressed,
    fields=PAGE_FIELDS,
)
"""The form of a page, before it is known which list it is of. No query can ask for it."""


def wants_page(headers: Headers) -> bool:
    """Whether a client is a browser that prefers HTML.

    Other programs that read HTML, pip for one, get the plain list: to them it is an interface.
    """
    user_agent = headers.get(b"user-agent") or b""
    if not user_agent.startswith(_BROWSERS):
        return False
    return form_for(headers.get(b"accept"), user_agent) is AS_HTML


@frozen
class Page:
    """Makes the page of each list.

    ``takes_uploads`` says whether there is /uploads/, ``has_history`` whether versions are kept.
    """

    takes_uploads: bool = False
    has_history: bool = False

    def dress(self, query: Query) -> Query:
        """The same query, in the form of the page that its list has."""
        rows = _Rows(query, self._facts())
        form = evolve(query.form, begin=rows.begin, entry=rows.entry, end=rows.end)
        return evolve(query, form=form)

    def sign_in(self, request: Request) -> Answer | None:
        """The page without a list, for a browser that must say first who it is; else None.

        A browser that is asked for a password (Basic) would show a dialog of its own before
        anything else, and it knows no tokens. So the challenge does not mention passwords; the page
        takes both. The plain list leads a browser without scripts to that dialog.
        """
        path, query = request.path, request.query
        if not (path.startswith(STORE) and path.endswith("/") and wants_page(request.headers)):
            return None
        if any(part.partition("=")[0] in ("format", "deleted") for part in query.split("&")):
            return None
        raw = path[len(STORE) :]
        prefix = decode_location(raw[:-1]) + "/" if raw else ""
        asked = Query(AS_PAGE, prefix, "/", "", None, prefix, "../" * raw.count("/"))
        rows = _Rows(asked, f"{self._facts()} data-signed-out")
        fields = {
            **PAGE_FIELDS,
            b"content-type": AS_PAGE.content_type.encode("ascii"),
            b"cache-control": b"no-store",
            b"www-authenticate": b'Bearer realm="gostore"',
        }
        return Answer(401, fields, (rows.begin(prefix) + rows.end(None)).encode())

    def _facts(self) -> str:
        """What the scripts have to know of this daemon, as attributes."""
        facts = {"data-uploads": self.takes_uploads, "data-history": self.has_history}
        return " ".join(name for name, is_so in facts.items() if is_so)


@define(eq=False)
class _Rows:
    """The rows of one page, and what is around them."""

    _query: Query
    _facts: str
    _count: int = 0
    _after: str = ""

    def begin(self, prefix: str) -> str:
        """All before the first row."""
        top = self._query.top or "./"
        before, _, self._after = template("page.html").partition(_ROWS)
        return Template(before).substitute(
            title=f"{escape(prefix)} · gostore" if prefix else "gostore",
            heading=f"Blobs in {shown(prefix)}" if prefix else "Blobs",
            prefix=escape(prefix),
            files=f"{top}../{files().path}",
            top=top,
            root=top,
            crumbs="".join(_crumbs(prefix, top)),
            facts=self._facts,
        )

    def entry(self, entry: Entry, directory: str, now: int) -> str:
        """One row: what the name begins with is in the heading."""
        self._count += 1
        prefix = self._query.prefix
        if isinstance(entry, str):
            href = f"{self._query.top}?prefix={reference(entry, '').replace('/', '%2F')}"
            if entry.endswith("/") and entry.startswith(directory):
                href = reference(entry, directory)
            return _row(href, "folder", shown(entry[len(prefix) :]), "", "")
        blob, is_damaged = blob_of(entry)
        name = shown(blob.location[len(prefix) :] or blob.location)
        tags = '<span class="tag bad">damaged</span>' if is_damaged else ""
        if blob.expires is not None:
            tags += f'<span class="tag">until {time_in_words(blob.expires * NANOSECONDS)}</span>'
        modified = time_in_words(min(modified_of(blob), now) * NANOSECONDS)
        size = size_in_words(blob.size)
        return _row(reference(blob.location, directory), "file", name + tags, size, modified)

    def end(self, next_page: str | None) -> str:
        """All behind the last row."""
        links = []
        if self._query.after:
            here = f"?prefix={reference(self._query.prefix, '')}" if self._query.prefix else "?"
            links.append(f'<a href="{self._query.top}{here}">First page</a>')
        if next_page is not None:
            links.append(f'<a rel="next" href="{escape(next_page)}">Next page</a>')
        is_signed_out = "data-signed-out" in self._facts
        text = "Sign in to see what is here." if is_signed_out else "Nothing is here yet."
        if is_signed_out:
            links.append('<noscript><a href="?format=html">Sign in with a password</a></noscript>')
        return Template(self._after).substitute(
            is_empty="hidden" if self._count else "",
            empty_text=text,
            more=f'<p id="more" class="more">{" ".join(links)}</p>' if links else "",
        )


def _crumbs(prefix: str, top: str) -> Iterator[str]:
    """The way down from the top to a prefix, as items of a list."""
    *folders, rest = prefix.split("/")
    is_here = "" if prefix else ' aria-current="page"'
    yield f'<li><a href="{top}"{is_here}>store</a></li>'
    for depth, folder in enumerate(folders, 1):
        location = "/".join(folders[:depth]) + "/"
        is_here = ' aria-current="page"' if location == prefix else ""
        yield f'<li><a href="{top}{reference(location, "")}"{is_here}>{shown(folder)}</a></li>'
    if rest:
        yield f'<li aria-current="page">{shown(rest)}…</li>'


def _row(href: str, icon: str, name: str, size: str, modified: str) -> str:
    """A row as static/grid.js makes it, too."""
    return (
        f'<tr class="{icon}"><td class="name"><a href="{href}">'
        f'<svg class="icon" aria-hidden="true"><use href="#i-{icon}"/></svg>'
        f'<span class="label">{name}</span></a></td>'
        f'<td class="size">{size}</td><td class="time">{modified}</td><td class="acts"></td></tr>\n'
    )
