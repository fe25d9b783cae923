"""The verbs of a location: POST creates a blob, PUT replaces, GET reads and DELETE deletes it."""

from __future__ import annotations

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gostore import errors
from gostore.access.grants import Principal, Verb
from gostore.blob import Committed
from gostore.store.interface import Content, Details, Store
from gostore.store.versions import Restore
from gostore.web.answers import Answer, Refusal
from gostore.web.bodies import PIECE, ContentSource, Unsent
from gostore.web.dispatch import eager
from gostore.web.fields.conditions import Conditions, Outcome, holds_if_range
from gostore.web.fields.draft import completes
from gostore.web.fields.lifetime import lifetime_of
from gostore.web.fields.locations import reference_to_itself
from gostore.web.fields.ranges import Span, multipart, spans_of
from gostore.web.fields.representation import (
    Representation,
    RepresentationCache,
    etag_header,
    lifetime_header,
)
from gostore.web.guard import refused
from gostore.web.labels import Labels, details_in
from gostore.web.routes.draft_uploads import DraftUploads
from gostore.web.routes.past import PastRoutes, asked_of, check_words, restored_of, source_of
from gostore.web.routing import asks, prepare
from gostore.web.uploads import body_of, origin_of
from gostore.wire import Headers, PreparedFields, Request

_LENGTHS = frozenset((b"content-length", b"transfer-encoding"))

ATTEMPTS = 5
"""How often a read starts over because its blob was replaced and collected before it was open."""


class Blobs:
    """Creates, replaces, deletes and reads the blobs of a store.

    ``labels`` settles what an upload leaves open. With ``put_creates`` a plain PUT creates a blob
    where there is none. ``past`` knows what the locations had. ``draft`` takes the uploads that
    clients may resume.
    """

    app = Klein()
    prepare(app)

    def __init__(
        self,
        store: Store,
        labels: Labels | None = None,
        *,
        put_creates: bool = False,
        past: PastRoutes | None = None,
        draft: DraftUploads | None = None,
    ) -> None:
        self._store = store
        self._draft = draft
        self._past = past
        self._put_creates = put_creates
        self._labels = labels or Labels()
        self._representations = RepresentationCache()

    @app.route("/store/<path:location>", methods=["POST"])
    @asks(Verb.CREATE, Verb.REPLACE)
    def create(self, request: Request, location: str) -> Answer | Deferred[Answer]:
        """Store a new blob: 204, or 409 if the location has one.

        With ``?restore=`` a version becomes current again, with ``?from=`` another blob is copied.
        """
        principal: Principal | None = request.principal
        if request.query:
            check_words(request.query, "POST", "from", "restore")
            if (source := source_of(request.query)) is not None:
                return self._copy(request, location=location, source=source)
            if (version := restored_of(request.query)) is not None:
                return self._restore(request, location=location, version=version)
        if self._draft is not None and self._draft.takes(request):
            return self._draft.begin(request, location=location)
        if principal is not None and not principal.may(Verb.CREATE, location):
            raise refused(principal, Verb.CREATE)
        details = self._details(request, location)
        precondition = request.headers.parsed(Conditions.of).precondition(present=False)
        created = self._store.create(location, body_of(request), details, precondition)
        return created.addCallback(_created, request)

    @eager
    async def _restore(self, request: Request, location: str, version: int) -> Answer:
        """Make a version current again: 200, or 204 if the location has none; 404 for no version.

        It needs the grant that a PUT would need.
        """
        if self._past is None:
            raise errors.NoVersion(location, version)
        if request.body.length != 0:
            raise Refusal(400, "A restore has no body: its bytes are those of a version")
        principal: Principal | None = request.principal
        creates = principal is None or principal.may(Verb.CREATE, location)
        replaces = principal is None or principal.may(Verb.REPLACE, location)
        exists = None if creates and replaces else replaces
        lifetime = self._labels.lifetimes.settle(location, lifetime_of(request.headers))
        restore = Restore(version, origin_of(request), exists, lifetime)
        precondition = request.headers.parsed(Conditions.of).precondition()
        try:
            result = await self._past.restore(location, restore, precondition)
        except errors.AlreadyExists:
            assert principal is not None
            raise refused(principal, Verb.REPLACE) from None
        except errors.NotFound as error:
            if isinstance(error, errors.NoVersion) or principal is None or creates:
                raise
            raise refused(principal, Verb.CREATE) from None
        return _put(result, request)

    @eager
    async def _copy(self, request: Request, location: str, source: str) -> Answer:
        """Give a location what another has, by the rules of POST or PUT; 404 if that has nothing.

        It needs the grant that an upload would need, and one to read the source.
        """
        principal: Principal | None = request.principal
        if principal is not None and not principal.may(Verb.READ, source):
            raise refused(request.principal, Verb.READ)
        if request.body.length != 0:
            raise Refusal(400, "A copy has no body: its bytes are those of another blob")
        creates = principal is None or principal.may(Verb.CREATE, location)
        replaces = principal is None or principal.may(Verb.REPLACE, location)
        conditions = request.headers.parsed(Conditions.of)
        if request.method == "POST":
            if not creates:
                raise refused(request.principal, Verb.CREATE)
            exists: bool | None = False
            precondition = conditions.precondition(present=False)
        else:
            wanted = self._put_creates or conditions.creates
            if not replaces and not wanted:
                raise refused(request.principal, Verb.REPLACE)
            exists = None if creates and replaces and wanted else replaces
            precondition = conditions.precondition(missing=creates)
        lifetime = self._labels.lifetimes.settle(location, lifetime_of(request.headers))
        restore = Restore(None, origin_of(request), exists, lifetime, source)
        if self._past is None:
            raise Refusal(501, "This store does not copy")
        try:
            result = await self._past.restore(location, restore, precondition)
        except errors.AlreadyExists:
            if request.method == "POST":
                raise
            raise refused(request.principal, Verb.REPLACE) from None
        except errors.NotFound as error:
            if exists is False or error.location != location:
                raise
            raise (
                _creates_nothing(error) if creates else refused(request.principal, Verb.CREATE)
            ) from None
        return _put(result, request)

    @app.route("/store/<path:location>", methods=["PUT"])
    @asks(Verb.REPLACE, Verb.CREATE)
    def replace(self, request: Request, location: str) -> Answer | Deferred[Answer]:
        """Replace a blob: 200, or 404 if there is none; with ``?from=`` by a copy of another."""
        if request.query:
            check_words(request.query, "PUT", "from")
            if (source := source_of(request.query)) is not None:
                return self._copy(request, location=location, source=source)
        if self._draft is not None and self._draft.takes(request):
            return self._draft.begin(request, location=location)
        details = self._details(request, location)
        conditions = request.headers.parsed(Conditions.of)
        creates = self._put_creates or conditions.creates
        principal: Principal | None = request.principal
        if principal is not None and not principal.may(Verb.REPLACE, location):
            return self._put_new(request, location=location, details=details, creates=creates)
        body = body_of(request)
        may_create = principal is None or principal.may(Verb.CREATE, location)
        precondition = conditions.precondition(missing=may_create)
        if creates and may_create:
            put = self._store.put(location, body, details, precondition)
            return put.addCallback(_put, request)
        replaced = self._store.replace(location, body, details, precondition)
        may_not_create = None if may_create else principal
        return replaced.addCallbacks(_replaced, _not_replaced, errbackArgs=(may_not_create,))

    @eager
    async def _put_new(
        self, request: Request, location: str, details: Details, creates: bool
    ) -> Answer:
        """A PUT of a principal that may create and not replace; ``creates`` if this PUT would.

        It never replaces a blob, whenever that comes to be there.
        """
        refusal = refused(request.principal, Verb.REPLACE)
        conditions = request.headers.parsed(Conditions.of)
        try:
            if not creates:
                await self._store.get(location)
                raise refusal
            # Only what is said of a blob that must not be there counts.
            precondition = conditions.precondition(present=conditions.creates)
            blob = await self._store.create(location, body_of(request), details, precondition)
        except (errors.AlreadyExists, errors.Damaged):
            raise refusal from None
        except errors.NotFound as error:
            if (expected := conditions.precondition()) is not None:
                expected.check(location, None)
            raise _creates_nothing(error) from None
        return _created(blob, request)

    @app.route("/store/<path:location>", methods=["DELETE"])
    @asks(Verb.DELETE)
    @eager
    async def delete(self, request: Request, location: str) -> Answer:
        """Delete a blob: 200, or 404 if there is none."""
        if request.query:
            check_words(request.query, "DELETE")
        precondition = request.headers.parsed(Conditions.of).precondition(missing=False)
        await self._store.delete(location, precondition, origin_of(request))
        return Answer(200)

    @app.route("/store/<path:location>", methods=["GET"])
    @asks(Verb.READ)
    @eager
    async def read(self, request: Request, location: str) -> Answer:
        """Send a blob or parts of it, or 304 if the client has this version."""
        conditions = request.headers.parsed(Conditions.of)
        if request.query:
            known = () if self._past is None else ("history", "version")
            check_words(request.query, request.method, *known)
        if request.query and self._past is not None:
            asked = asked_of(request.query)
            if asked is not None and asked.history:
                return await self._past.history(request, location, asked)
            if asked is not None and asked.version is not None:
                return await self._read_version(request, location, asked.version)
        fetch = self._store.fetch
        if fetch is not None and (request.method == "HEAD" or conditions):
            fetch = None  # the bytes may not be wanted
        content: Content | None = None
        for _ in range(ATTEMPTS):
            try:
                if fetch is None:
                    blob = await self._store.get(location)
                else:
                    blob, content = await fetch(location)
            except errors.NotFound as error:
                if self._past is None:
                    raise
                raise await self._past.last_words(error) from None
            representation = self._representations.of(blob)
            match conditions.judge(blob):
                case Outcome.FAILED:
                    raise errors.ConditionFailed(location)
                case Outcome.NOT_MODIFIED:
                    return Answer(304, representation.not_modified)
            fields = representation.headers_for(request.headers)
            if request.method == "HEAD":
                return Answer(200, fields, Unsent(blob.size))
            spans = _spans(request, blob)
            try:
                if content is None:
                    content = await self._store.content(blob)
            except errors.NotFound:
                continue  # It has been collected. Now there is another blob here, or none.
            return await _sent(representation, fields, content, spans)
        raise errors.Busy(f"{location} changes too often to be read", retry_after=1)

    async def _read_version(self, request: Request, location: str, generation: int) -> Answer:
        assert self._past is not None
        blob, content = await self._past.version(location, generation)
        representation = self._representations.of(blob)
        outcome = request.headers.parsed(Conditions.of).judge(blob)
        if outcome is Outcome.FAILED or outcome is Outcome.NOT_MODIFIED or request.method == "HEAD":
            content.close()
        if outcome is Outcome.FAILED:
            raise errors.ConditionFailed(location)
        if outcome is Outcome.NOT_MODIFIED:
            return Answer(304, representation.not_modified)
        fields = representation.headers_for(request.headers)
        if request.method == "HEAD":
            return Answer(200, fields, Unsent(blob.size))
        return await _sent(representation, fields, content, _spans(request, blob))

    def _details(self, request: Request, location: str) -> Details:
        """What an upload says about its body."""
        details = request.headers.parsed(_details)
        return self._labels.settle(details, request.method, location)


def _details(headers: Headers) -> Details:
    """What an upload says about its body.

    Raises Refusal if it does not say where the body ends: a gateway that drops the framing, or a
    forgotten --data, must not store an empty blob (RFC 9112 section 6.3). Raises it as well for
    Content-Range: part of a blob must not be stored as the whole (RFC 9110 section 14.5).
    """
    if headers.has_none_of(_LENGTHS):
        text = "Say how long the body is: send Content-Length, if only 0, or send it in chunks"
        raise Refusal(411, text)
    if headers.get(b"content-range") is not None:
        text = "A part of a blob cannot be stored; send it whole, without Content-Range"
        raise Refusal(400, text)
    if completes(headers) is False:
        # A client that takes this server for another one: see draft_uploads.py.
        raise Refusal(400, "A part of a blob cannot be stored; send it whole, or by tus: /uploads/")
    return details_in(headers)


def _spans(request: Request, blob: Committed) -> list[Span] | None:
    """The parts of the blob that the client wants; None for the whole."""
    wanted = request.headers.get(b"range")
    if wanted is None or not holds_if_range(request.headers.get(b"if-range"), blob):
        return None
    return spans_of(wanted, blob.size)


def _creates_nothing(error: errors.NotFound) -> Refusal:
    return Refusal(404, f"{error}: POST creates, or --put-creates")


def _created(blob: Committed, request: Request) -> Answer:
    location = reference_to_itself(request.path, blob.location)
    return Answer(204, {**_told(blob), b"location": location.encode("ascii")})


def _replaced(blob: Committed) -> Answer:
    return Answer(200, _told(blob))


def _told(blob: Committed) -> dict[bytes, bytes]:
    """What the answer to a write says of the blob that it made."""
    etag = etag_header(blob)
    return etag if blob.expires is None else {**etag, **lifetime_header(blob)}


def _put(result: tuple[Committed, bool], request: Request) -> Answer:
    blob, is_new = result
    return _created(blob, request) if is_new else _replaced(blob)


def _not_replaced(failure: Failure, principal: Principal | None) -> Failure:
    """Say why a PUT fails that finds nothing: because of what ``principal`` may not, if given."""
    error = failure.value
    if not isinstance(error, errors.NotFound):
        return failure
    if principal is not None:
        raise refused(principal, Verb.CREATE) from None
    raise _creates_nothing(error) from None


async def _sent(
    representation: Representation,
    headers: PreparedFields,
    content: Content,
    spans: list[Span] | None,
) -> Answer:
    """The whole blob, one part (206) or several (206, multipart/byteranges); closes the content."""
    size = representation.blob.size
    if spans is None:
        return Answer(200, headers, await _body(content, Span(0, size)))
    fields = dict(headers)
    if len(spans) == 1:
        fields[b"content-range"] = spans[0].content_range(size)
        return Answer(206, fields, await _body(content, spans[0]))
    # Content could only be mistaken for this boundary if it contained its own digest.
    boundary = fields[b"etag"].strip(b'"')[:32]
    fields[b"content-type"] = b"multipart/byteranges; boundary=" + boundary
    parts = multipart(spans, size, representation.content_type, boundary)
    return Answer(206, fields, ContentSource(content, parts))


async def _body(content: Content, span: Span) -> bytes | ContentSource:
    """One part of a blob. A small one is read first, so that a failure can still be a status."""
    if span.length > PIECE:
        return ContentSource(content, [span])
    try:
        data = content.read(span.start, span.length)
        return data if isinstance(data, bytes) else await data
    finally:
        content.close()
