"""Uploads that come in several requests, by the IETF's draft "Resumable Uploads for HTTP".

A POST or PUT with Upload-Complete begins one. The client learns by a 104 where it goes on, which
is HEAD, PATCH and DELETE of the upload's own path. With its last byte the upload becomes what the
POST or PUT would have made, and the answer is that to a POST or PUT. The draft's
upload creation, offset retrieval, append and cancellation are one method each.
A part that has a digest of its own (Content-Digest, Content-MD5) counts as a whole or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any

from attrs import evolve
from klein import Klein

from gostore.access.grants import Principal, Verb
from gostore.errors import BodyFailed, ChunkMismatch, NoUpload, StoreError, TakenOver, WrongOffset
from gostore.store.unfinished import Address, Chunk, Standing, Uploads, Wanted
from gostore.web.answers import Answer, Refusal, refusal_of
from gostore.web.dispatch import eager
from gostore.web.fields.conditions import Conditions
from gostore.web.fields.digests import announced_digests, late_digests
from gostore.web.fields.draft import (
    INTEROP,
    PARTIAL,
    VERSION,
    complete_field,
    completes,
    integer,
    limit_field,
    request_in,
    speaks,
    standing_fields,
    text_of,
)
from gostore.web.fields.locations import STORE, reference
from gostore.web.guard import refused
from gostore.web.labels import Labels, details_in
from gostore.web.routes.uploads import owner_of
from gostore.web.routing import Method, asks, prepare
from gostore.web.uploads import NoBody, body_of
from gostore.wire import Headers, Request

PATH = "/uploads/draft/"

_LENGTHS = frozenset((b"content-length", b"transfer-encoding"))
_OF_A_PART = frozenset((b"content-digest", b"content-md5"))


def draft(route: Callable[..., Coroutine[Any, Any, Answer]]) -> Method:
    """Let a refusal say how far the upload is, if that was the reason."""

    @wraps(route)
    async def speaking(self: DraftUploads, request: Request, **arguments: Any) -> Answer:
        try:
            return await route(self, request, **arguments)
        except WrongOffset as error:
            fields = {b"upload-offset": b"%d" % error.offset, b"cache-control": b"no-store"}
            raise Refusal(409, str(error), fields) from error
        except ChunkMismatch as error:
            raise Refusal(400, str(error)) from error

    return eager(speaking)


class DraftUploads:
    """Begins uploads, goes on with them, finishes them, forgets them."""

    app = Klein()
    prepare(app)

    def __init__(
        self,
        uploads: Uploads,
        labels: Labels,
        *,
        put_creates: bool = False,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._uploads = uploads
        self._labels = labels
        self._put_creates = put_creates
        self._now = now

    def discover(self, path: str) -> dict[bytes, bytes]:
        """What the answer to OPTIONS says: that uploads to this path can be resumed."""
        if not path.startswith((STORE, PATH)) or path.endswith("/"):
            return {}
        return {b"accept-patch": PARTIAL, **limit_field(self._uploads.max_size, None, 0)}

    def takes(self, request: Request) -> bool:
        """Whether a POST or PUT begins an upload. Raises Refusal for a part of something else."""
        headers = request.headers
        is_last = completes(headers)
        if is_last is False and not speaks(headers):
            text = f"Say Upload-Draft-Interop-Version: {INTEROP.decode()}, or send all at once"
            raise Refusal(400, text, {VERSION: INTEROP})
        if is_last is None or not speaks(headers):
            return False
        # A client that sends all at once, and cannot be told where to go on, needs no upload.
        return not is_last or (request.version >= (1, 1) and not request.body.complete)

    @draft
    async def begin(self, request: Request, location: str) -> Answer:
        """Begin an upload with its first bytes, or with all."""
        headers, owner = request.headers, owner_of(request.principal)
        text = text_of(request.method, headers)
        is_last = bool(completes(headers))
        length = _length(request, 0, is_last=is_last)
        wanted = self._wanted(request.principal, text, location)
        address = await self._uploads.begin(Address(0, location, owner), text, length, wanted)
        standing = await self._uploads.stand(address)
        place = f"{_up(request)}{PATH[1:]}{address.number}/{reference(location, '')}"
        announced = {b"location": place.encode("ascii"), **self._limits(standing)}
        request.inform(104, tuple({VERSION: INTEROP, **announced}.items()))
        try:
            standing = await self._take(request, address, _chunk(request, 0), is_last=is_last)
            if not is_last:
                return Answer(201, {**standing_fields(standing), **announced})
            return await self._finish(request, address, standing, wanted)
        except (Refusal, StoreError) as error:
            is_cut = isinstance(error, BodyFailed | TakenOver)
            if not is_cut and refusal_of(error).code < 500:
                # No other attempt would end better.
                with suppress(StoreError):
                    await self._uploads.terminate(address)
            raise

    @app.route("/uploads/draft/<int:number>/<path:location>", methods=["HEAD"])
    @asks(Verb.CREATE, Verb.REPLACE)
    @draft
    async def stand(self, request: Request, number: int, location: str) -> Answer:
        """How far an upload is: 204. Nothing becomes of it before a request says that it is all."""
        _, standing = await self._find(request, number, location)
        return Answer(204, {**standing_fields(standing), **self._limits(standing)})

    @app.route("/uploads/draft/<int:number>/<path:location>", methods=["PATCH"])
    @asks(Verb.CREATE, Verb.REPLACE)
    @draft
    async def append(self, request: Request, number: int, location: str) -> Answer:
        """Go on with an upload: 204. If this is all of the rest, answer as to a POST or PUT."""
        headers = request.headers
        if headers.get(b"content-type") != PARTIAL:
            text = f"The Content-Type of a part is {PARTIAL.decode()}"
            raise Refusal(415, text, {b"accept-patch": PARTIAL})
        is_last, offset = completes(headers), integer(headers, b"upload-offset")
        if is_last is None or offset is None:
            raise Refusal(400, "Send Upload-Offset, and Upload-Complete: ?1, or ?0 if more follows")
        address, standing = await self._find(request, number, location)
        if standing.sha256 is not None:
            raise Refusal(400, "This upload is complete; nothing can be appended", complete_field())
        wanted = self._wanted(request.principal, standing.text, location)
        length = _length(request, offset, is_last=is_last)
        chunk = evolve(_chunk(request, offset), length=length)
        standing = await self._take(request, address, chunk, is_last=is_last)
        if not is_last:
            return Answer(204, {**standing_fields(standing), **self._limits(standing)})
        return await self._finish(request, address, standing, wanted)

    @app.route("/uploads/draft/<int:number>/<path:location>", methods=["DELETE"])
    @asks(Verb.CREATE, Verb.REPLACE)
    @draft
    async def cancel(self, request: Request, number: int, location: str) -> Answer:
        """Forget an upload: 204."""
        await self._uploads.terminate(Address(number, location, owner_of(request.principal)))
        return Answer(204)

    async def _find(self, request: Request, number: int, location: str) -> tuple[Address, Standing]:
        address = Address(number, location, owner_of(request.principal))
        standing = await self._uploads.stand(address)
        # What is over keeps no text.
        if standing.sha256 is None and request_in(standing.text) is None:
            raise NoUpload()
        return address, standing

    async def _take(
        self, request: Request, address: Address, chunk: Chunk, *, is_last: bool
    ) -> Standing:
        """Take the body of a request; if it is the last one, the length is known then."""
        standing = await self._uploads.append(address, chunk, body_of(request))
        if is_last and standing.length is None:
            last = Chunk(standing.offset, standing.offset)
            standing = await self._uploads.append(address, last, NoBody(request.body.sender))
        if is_last and not standing.is_complete:
            text = f"This was to be all, and {standing.offset} of {standing.length} bytes are here"
            raise Refusal(400, text, standing_fields(standing))
        return standing

    async def _finish(
        self, request: Request, address: Address, standing: Standing, wanted: Wanted
    ) -> Answer:
        """Make a blob of all the bytes. The answer is about that, and says so, be it a refusal."""
        try:
            standing = await self._uploads.finish(address, wanted)
        except StoreError as error:
            refusal = refusal_of(error)
            if refusal.code >= 500:
                # The client may come again, and say once more that this was all.
                raise
            fields = {**refusal.fields, **complete_field()}
            raise Refusal(refusal.code, refusal.text, fields) from error
        assert standing.sha256 is not None
        etag = b'"%b"' % standing.sha256.hex().encode("ascii")
        fields = {**standing_fields(standing), b"etag": etag}
        if wanted.exists is False:
            place = f"{_up(request)}{STORE[1:]}{reference(address.location, '')}"
            fields[b"location"] = place.encode("ascii")
        return Answer(200 if wanted.exists else 204, fields)

    def _limits(self, standing: Standing) -> dict[bytes, bytes]:
        return limit_field(self._uploads.max_size, standing, self._now())

    def _wanted(self, principal: Principal | None, text: str, location: str) -> Wanted:
        """What an upload is to become, if the client may do that. Raises Refusal."""
        found = request_in(text)
        if found is None:
            raise NoUpload()
        method, headers = found
        conditions = Conditions.of(headers)
        details = self._labels.settle(details_in(headers), method, location)
        if details.digests and "sha256" not in details.digests:
            raise Refusal(400, "Of the whole only a sha-256 can be verified")
        creates = principal is None or principal.may(Verb.CREATE, location)
        replaces = principal is None or principal.may(Verb.REPLACE, location)
        if method == "POST":
            if not creates:
                assert principal is not None
                raise refused(principal, Verb.CREATE)
            return Wanted(details, conditions.precondition(present=False))
        creates = creates and (self._put_creates or conditions.creates)
        if not creates and not replaces:
            assert principal is not None
            raise refused(principal, Verb.REPLACE)
        if not replaces:
            return Wanted(details, conditions.precondition(present=conditions.creates))
        return Wanted(details, conditions.precondition(), exists=None if creates else True)


def _up(request: Request) -> str:
    """The relative reference to what all paths are below; a proxy may have put it anywhere."""
    return "../" * (request.path.count("/") - 1)


def _chunk(request: Request, offset: int) -> Chunk:
    """What a request says of its body, and who is told how far it is. Raises Refusal (400)."""
    headers = request.headers
    if late_digests(headers):
        raise Refusal(400, "A digest of a part comes in the head, and not in the trailer")
    found = [(name, value) for name, value in headers.items() if name in _OF_A_PART]
    checksum = next(iter(announced_digests(Headers.of(found)).items()), None)

    def tell(offset: int) -> None:
        if speaks(headers):
            request.inform(104, ((VERSION, INTEROP), (b"upload-offset", b"%d" % offset)))

    return Chunk(offset, checksum=checksum, on_flush=tell)


def _length(request: Request, offset: int, *, is_last: bool) -> int | None:
    """The length of the whole, as far as a request tells. Raises Refusal (400)."""
    if request.headers.has_none_of(_LENGTHS):
        raise Refusal(411, "Say how long the body is: send Content-Length, if only 0, or chunks")
    said, rest = integer(request.headers, b"upload-length"), request.body.length
    implied = offset + rest if is_last and rest is not None else None
    if said is not None and implied is not None and said != implied:
        raise Refusal(400, "Upload-Length is not what Upload-Offset and Content-Length add up to")
    return said if implied is None else implied
