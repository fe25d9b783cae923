"""The routes: HTTP requests to the store's verbs, and its errors to status codes (RFC 9110)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, cast

from klein import Klein, Response
from twisted.internet.defer import fail
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore import errors
from gostore.blob import Committed
from gostore.store.interface import Content, Details, Store
from gostore.web import listing
from gostore.web.answers import Refusal
from gostore.web.bodies import PIECE, ContentSource, Unsent
from gostore.web.fields.conditions import Conditions, Outcome, holds_if_range
from gostore.web.fields.digests import announced_digests
from gostore.web.fields.locations import path_of
from gostore.web.fields.ranges import Span, multipart, spans_of
from gostore.web.fields.representation import (
    Representation,
    RepresentationCache,
    etag_header,
    kept_fields,
    kept_type,
)
from gostore.web.list_forms import Form, form_for
from gostore.web.openapi import document
from gostore.web.routing import METHODS, Router, not_allowed, prepare
from gostore.wire import (
    ERROR_HEADERS,
    INTERNAL_ERROR,
    Headers,
    PreparedFields,
    Request,
    Source,
    error_body,
)

ATTEMPTS = 5
"""How often a read starts again when its blob is replaced and collected under its hands."""

STATUS: Mapping[type[Exception], int] = {
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.ConditionFailed: 412,
    errors.DigestMismatch: 400,
    errors.TooLarge: 413,
    errors.BodyFailed: 400,
    errors.NoSpace: 507,
    errors.NoIds: 507,
    errors.Busy: 503,
    errors.ReadOnly: 503,
    errors.Stopping: 503,
    errors.Damaged: 500,
    errors.DiskFailed: 500,
}
"""The one table of what the store's errors are in HTTP; whatever is not in it is a 500."""

RETRY_AFTER = 10
"""Seconds after which to try again, where the error does not say."""

Answer = Any
"""A klein.Response, which Klein's own annotations leave out of what a route may return."""

JSON = dict(ERROR_HEADERS)

PAGE = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'",
    b"cache-control": b"no-cache",
    b"vary": b"Accept, User-Agent",
}


def eager(handler: Callable[..., Coroutine[Any, Any, Answer]]) -> Callable[..., Answer]:
    """Let a handler answer at once if it has to wait for nothing, and else without a detour.

    A Deferred.fromCoroutine for each request costs a small write a fifth of the reactor's CPU, and
    a read from memory a third.
    """

    @wraps(handler)
    def first_step(api: Api, request: Request, **arguments: Any) -> Answer:
        return _step(None, handler(api, request, **arguments))

    return first_step


def _step(result: object, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a coroutine to its end, or to a Deferred that has no result yet.

    ``result`` is that of the Deferred it has waited for. A coroutine takes a value from the
    Deferred itself, but a failure it has to be given.
    """
    try:
        if isinstance(result, Failure):
            awaited = result.throwExceptionIntoGenerator(cast(Any, coroutine))
        else:
            awaited = coroutine.send(None)
    except StopIteration as done:
        return done.value
    return awaited.addBoth(_step, coroutine)


class Api:
    """Answers requests from a store.

    ``put_creates`` makes a plain PUT create what does not exist. With a ``clock``, a long list is
    made in steps with a turn of the reactor between them.
    """

    log = Logger()

    app = Klein()
    prepare(app)

    def __init__(
        self, store: Store, *, put_creates: bool = False, clock: IReactorTime | None = None
    ) -> None:
        self._store = store
        self._put_creates = put_creates
        self._clock = clock
        self._representations = RepresentationCache()
        self._router = Router(self.app)

    # Blobs.

    @app.route("/store/<path:location>", methods=["POST"])
    @eager
    async def create(self, request: Request, location: str) -> Answer:
        """Store a new blob: 204, or 409 if there is one."""
        details = request.headers.meaning(_details)
        precondition = request.headers.meaning(Conditions.of).precondition(present=False)
        return _created(await self._store.create(location, request.body, details, precondition))

    @app.route("/store/<path:location>", methods=["PUT"])
    @eager
    async def replace(self, request: Request, location: str) -> Answer:
        """Store a blob in the place of another: 200, or 404 if there is no other."""
        details = request.headers.meaning(_details)
        conditions = request.headers.meaning(Conditions.of)
        precondition = conditions.precondition()
        if self._put_creates or conditions.creates:
            blob, new = await self._store.put(location, request.body, details, precondition)
            return _created(blob) if new else _replaced(blob)
        return _replaced(await self._store.replace(location, request.body, details, precondition))

    @app.route("/store/<path:location>", methods=["DELETE"])
    @eager
    async def delete(self, request: Request, location: str) -> Answer:
        """Delete a blob: 200, or 404 if there is none."""
        precondition = request.headers.meaning(Conditions.of).precondition(missing=False)
        await self._store.delete(location, precondition)
        return _response(200, {}, b"")

    @app.route("/store/<path:location>", methods=["GET"])
    @eager
    async def read(self, request: Request, location: str) -> Answer:
        """Give back a blob, or parts of it, or say that it is the one the client has."""
        conditions = request.headers.meaning(Conditions.of)
        for _ in range(ATTEMPTS):
            blob = await self._store.get(location)
            representation = self._representations.of(blob)
            match conditions.judge(blob):
                case Outcome.FAILED:
                    raise errors.ConditionFailed(location)
                case Outcome.NOT_MODIFIED:
                    return _response(304, representation.not_modified, b"")
            if request.method == "HEAD":
                return _response(200, representation.headers, Unsent(blob.size))
            spans = _spans(request, blob)
            try:
                content = await self._store.content(blob)
            except errors.NotFound:
                continue  # Collected since; by now there is another one, or none.
            return await _answer(representation, content, spans)
        raise errors.Busy(f"{location} changes too often to be read", retry_after=1)

    # The list, and the rest.

    @app.route("/store/", methods=["GET"])
    @eager
    async def list_blobs(self, request: Request) -> Answer:
        """One page of the blobs there are, in the form the client likes best."""
        query = listing.query_of(request.query, _form(request))
        return _page(await listing.document(self._store, query, self._pause))

    @app.route("/store/<directory:prefix>", methods=["GET"])
    @eager
    async def browse(self, request: Request, prefix: str) -> Answer:
        """The HTML page of what is below a prefix, for whoever walks the pages as a tree.

        For all others, and if nothing is below, this is a location with an empty segment.
        """
        form = _form(request)
        if form.name == "html":
            query = listing.directory(prefix, form)
            document = await listing.document(self._store, query, self._pause)
            if document.entries:
                return _page(document)
        raise Refusal(400, "This is no location: the location has an empty segment")

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: Request) -> Answer:
        """Whether blobs can be written and read."""
        self._store.check_health()
        return _response(200, {**JSON, b"cache-control": b"no-store"}, b'"Ok!"')

    @app.route("/openapi.json", methods=["GET"])
    def describe(self, request: Request) -> Answer:
        """This interface, described in OpenAPI."""
        return _response(200, {**JSON, b"cache-control": b"no-cache"}, document())

    # Dispatch.

    def dispatch(self, request: Request) -> None:
        """Answer a request, sooner or later, once, whatever happens."""
        try:
            answer = self._handle(request)
            if isinstance(answer, Response):
                _send(answer, request)
                return
        except Exception:
            answer = fail()
        answer.addCallback(_send, request)
        answer.addErrback(self._refuse, request)
        answer.addErrback(self._give_up, request)

    def _handle(self, request: Request) -> Answer:
        if request.method not in METHODS:
            allow = self._router.allow(request.path)
            if request.method != "OPTIONS":
                raise not_allowed(allow)
            return _response(200, allow, b"")
        endpoint, arguments = self._router.match(request.method, request.path)
        # The endpoint is the handler's name. To have Klein call it costs a read a tenth more.
        return getattr(self, endpoint)(request, **arguments)

    def _refuse(self, failure: Failure, request: Request) -> None:
        refusal = _refusal(failure.value)
        if refusal.code == 500 and not isinstance(failure.value, errors.Damaged):
            # Of a damaged blob the store has told, once, when it set it aside.
            self._log_failure(failure, request)
        body = error_body(refusal.code, refusal.text)
        _send(_response(refusal.code, {**JSON, **refusal.headers}, body), request)

    def _give_up(self, failure: Failure, request: Request) -> None:
        self._log_failure(failure, request)
        request.respond(500, list(JSON.items()), error_body(500, INTERNAL_ERROR))

    def _log_failure(self, failure: Failure, request: Request) -> None:
        self.log.failure(
            "{method} {path!r} failed", failure, method=request.method, path=request.path
        )

    async def _pause(self) -> None:
        if self._clock is not None:
            await deferLater(self._clock, 0)


def _response(
    code: int, headers: Mapping[bytes, bytes] | PreparedFields, body: bytes | Source
) -> Response:
    fields = headers if isinstance(headers, PreparedFields) else tuple(headers.items())
    return Response(code, cast(Any, fields), body)


def _send(response: Response, request: Request) -> None:
    request.respond(response.code, cast(Any, response.headers), response.body)


def _refusal(error: BaseException | None) -> Refusal:
    """What an exception is in HTTP. The text of one that nobody foresaw is not told."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MemoryError):
        error = errors.as_store_error(error)
    code = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if code is None:
        return Refusal(500, INTERNAL_ERROR)
    if code != 503:
        return Refusal(code, str(error))
    seconds = error.retry_after if isinstance(error, errors.Busy) else RETRY_AFTER
    return Refusal(code, str(error), {b"retry-after": b"%d" % seconds})


# What a request says.


def _details(headers: Headers) -> Details:
    """What an upload says of its body. Raises Refusal if it says what cannot be done.

    A part of a blob must not be taken for a whole one (RFC 9110 section 14.5).
    """
    if headers.get(b"content-range") is not None:
        text = "A part of a blob cannot be stored; send it whole, without Content-Range"
        raise Refusal(400, text)
    return Details(kept_type(headers), kept_fields(headers), announced_digests(headers))


def _spans(request: Request, blob: Committed) -> list[Span] | None:
    """The parts of the blob that are wanted; None for the whole."""
    wanted = request.headers.get(b"range")
    if wanted is None or not holds_if_range(request.headers.get(b"if-range"), blob):
        return None
    return spans_of(wanted, blob.size)


def _form(request: Request) -> Form:
    return form_for(request.headers.get(b"accept"), request.headers.get(b"user-agent"))


# Answers.


def _created(blob: Committed) -> Response:
    location = path_of(blob.location).encode("ascii")
    return _response(204, {**etag_header(blob), b"location": location}, b"")


def _replaced(blob: Committed) -> Response:
    return _response(200, etag_header(blob), b"")


async def _answer(
    representation: Representation, content: Content, spans: list[Span] | None
) -> Response:
    """The whole blob, one part (206) or several (206, multipart/byteranges); owns the content."""
    size = representation.blob.size
    if spans is None:
        return _response(200, representation.headers, await _body(content, Span(0, size)))
    headers = dict(representation.headers)
    if len(spans) == 1:
        headers[b"content-range"] = spans[0].content_range(size)
        return _response(206, headers, await _body(content, spans[0]))
    # The entity tag would have to be in the content to be mistaken for a boundary.
    boundary = headers[b"etag"].strip(b'"')[:32]
    headers[b"content-type"] = b"multipart/byteranges; boundary=" + boundary
    parts = multipart(spans, size, representation.content_type, boundary)
    return _response(206, headers, ContentSource(content, parts))


async def _body(content: Content, span: Span) -> bytes | ContentSource:
    """One part of a blob: read already if it is small, so that a failure is still an answer."""
    if span.length > PIECE:
        return ContentSource(content, [span])
    try:
        data = content.read(span.start, span.length)
        return data if isinstance(data, bytes) else await data
    finally:
        content.close()


def _page(document: listing.Document) -> Response:
    headers = {**PAGE, b"content-type": document.query.form.content_type.encode("ascii")}
    if document.next_uri is not None:
        headers[b"link"] = f'<{document.next_uri}>; rel="next"'.encode("ascii")
    small = document.small
    return _response(200, headers, document if small is None else small)
