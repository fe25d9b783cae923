"""The list of the blobs, and the page of a directory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import evolve
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gostore.access.grants import Verb
from gostore.places import Places
from gostore.store.interface import Seek, Store
from gostore.text import wall_seconds
from gostore.web import listing
from gostore.web.answers import Answer, Refusal
from gostore.web.dispatch import eager
from gostore.web.fields.locations import STORE
from gostore.web.list_forms import FIELDS, Form, form_for, page_fields
from gostore.web.page.document import AS_PAGE, Page, wants_page
from gostore.web.routes.past import PastRoutes
from gostore.web.routing import asks, nothing_here, prepare
from gostore.wire import Request, Turns

RETRY_AFTER = 1
"""Seconds after which a client may ask again for a list that it did not get."""


class Lists:
    """Lists the blobs of a store, at most ``max_lists`` pages at a time.

    With a ``clock``, all pages are made in steps, one step in each turn of the reactor. ``wall``
    gives the time in seconds since the epoch.
    """

    app = Klein()
    prepare(app)

    def __init__(
        self,
        store: Store,
        clock: IReactorTime | None = None,
        *,
        max_lists: int = 32,
        wall: Callable[[], float] = wall_seconds,
        past: PastRoutes | None = None,
    ) -> None:
        self._store = store
        self._past = past
        self._turns = None if clock is None else Turns(clock)
        self.places = Places(max_lists)
        self._wall = wall
        #: What browsers get in place of the plain list, if it is set.
        self.page: Page | None = None

    @app.route("/", methods=["GET"])
    @app.route("/store", methods=["GET"])
    @asks()
    def lead_to_list(self, request: Request) -> Answer:
        """Lead a browser, or a program that walks pages, to the list; 404 for any other client."""
        if not _form(request).is_html:
            raise nothing_here()
        fields = {b"location": b"store/", b"cache-control": b"no-cache", b"vary": FIELDS[b"vary"]}
        return Answer(303, fields)

    @app.route("/store/", methods=["GET"])
    @asks(Verb.LIST)
    @eager
    async def list_blobs(self, request: Request) -> Answer:
        """One page of the list, in the form that the client likes best.

        With ``?deleted`` of what can be restored.
        """
        if self._past is not None and "deleted" in request.query.split("&"):
            return await self._past.deleted(request, _seek_of(request))
        query = listing.query_of(request.query, self._form(request))
        return _answer(await self._page(request, query))

    @app.route("/store/<directory:prefix>", methods=["GET"])
    @asks(Verb.LIST)
    @eager
    async def browse(self, request: Request, prefix: str) -> Answer:
        """The HTML page of a directory, for browsers and programs that walk such pages as a tree.

        To any other client, and where the directory is empty, the path is a location with an empty
        segment. A browser gets the page of an empty directory, too, to fill it.
        """
        form = self._form(request)
        if form.is_html:
            depth = request.path.count("/", len(STORE))
            query = listing.directory(listing.query_of(request.query, form), prefix, depth)
            page = await self._page(request, query)
            if not page.is_empty:
                return _answer(page)
            if page.query.form.name == AS_PAGE.name:
                return _answer(page, 404)
            page.close()
        raise Refusal(400, "This is no location: the location has an empty segment")

    async def _page(self, request: Request, query: listing.Query) -> listing.Document:
        if (seek := _seek_of(request)) is not None:
            query = evolve(query, seek=seek)
        if self.page is not None and query.form is AS_PAGE:
            query = self.page.dress(query)
        address = getattr(request.client, "host", None)
        if not self.places.take(address):
            text = "Too many lists are being made; try again later"
            raise Refusal(503, text, {b"retry-after": b"%d" % RETRY_AFTER})
        leave = partial(self.places.leave, address)
        page = listing.Document(self._store, query, int(self._wall()), self._turn, leave)
        try:
            await page.begin(lambda: request.is_awaited)
        except BaseException:
            page.close()
            raise
        if page.small is not None:
            page.close()
        return page

    def _form(self, request: Request) -> Form:
        is_page = self.page is not None and wants_page(request.headers)
        return AS_PAGE if is_page else _form(request)

    def _turn(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred()
        if self._turns is None:
            turn.callback(None)
        else:
            self._turns.wait(lambda: turn.callback(None))
        return turn


def _seek_of(request: Request) -> Seek | None:
    """What steps over the locations that the sender of a request may not list."""
    if request.principal is None or request.principal.scope is None:
        return None
    seek: Seek = request.principal.scope.seek
    return seek


def _form(request: Request) -> Form:
    return form_for(request.headers.get(b"accept"), request.headers.get(b"user-agent"))


def _answer(page: listing.Document, code: int = 200) -> Answer:
    fields = page_fields(page.query.form, page.next_page)
    small = page.small
    return Answer(code, fields, page if small is None else small)
