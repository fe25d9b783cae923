"""The list of the blobs, and the page of a directory."""

from __future__ import annotations

from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from gostore.store.interface import Store
from gostore.web import listing
from gostore.web.answers import Answer, Refusal
from gostore.web.dispatch import eager
from gostore.web.fields.locations import STORE
from gostore.web.list_forms import Form, form_for
from gostore.web.routing import Verb, asks, prepare
from gostore.wire import Request

FIELDS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'",
    b"cache-control": b"no-cache",
    b"vary": b"Accept, User-Agent",
}
"""The fields of every page; Content-Type and Link join them."""


class Lists:
    """Lists the blobs of a store.

    With a ``clock``, a long page is made in steps, and the reactor turns between two of them.
    """

    app = Klein()
    prepare(app)

    def __init__(self, store: Store, clock: IReactorTime | None = None) -> None:
        self._store = store
        self._clock = clock

    @app.route("/store/", methods=["GET"])
    @asks(Verb.LIST)
    @eager
    async def list_blobs(self, request: Request) -> Answer:
        """One page of the list, in the form that the client likes best."""
        return _answer(await self._page(listing.query_of(request.query, _form(request))))

    @app.route("/store/<directory:prefix>", methods=["GET"])
    @asks(Verb.LIST)
    @eager
    async def browse(self, request: Request, prefix: str) -> Answer:
        """The HTML page of a directory, for programs that walk such pages as a tree.

        To any other client, and where the directory is empty, the path is a location with an empty
        segment.
        """
        form = _form(request)
        if form.name == "html":
            depth = request.path.count("/", len(STORE))
            page = await self._page(listing.directory(prefix, form, depth))
            if page.entries:
                return _answer(page)
        raise Refusal(400, "This is no location: the location has an empty segment")

    async def _page(self, query: listing.Query) -> listing.Document:
        return await listing.document(self._store, query, self._pause)

    async def _pause(self) -> None:
        if self._clock is not None:
            await deferLater(self._clock, 0)


def _form(request: Request) -> Form:
    return form_for(request.headers.get(b"accept"), request.headers.get(b"user-agent"))


def _answer(page: listing.Document) -> Answer:
    fields = {**FIELDS, b"content-type": page.query.form.content_type.encode("ascii")}
    if page.next_page is not None:
        fields[b"link"] = f'<{page.next_page}>; rel="next"'.encode("ascii")
    small = page.small
    return Answer(200, fields, page if small is None else small)
