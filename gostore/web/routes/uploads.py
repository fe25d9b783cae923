"""Uploads that come in several requests, by tus 1.0.0: POST begins one, PATCH goes on with it.

The path of an upload has its location too, so the guard sees who may write there. Nobody but the
one who began it finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any

from attrs import evolve
from klein import Klein
from twisted.logger import Logger

from gostore.access.grants import Principal, Verb
from gostore.errors import StoreError, WrongOffset
from gostore.store.unfinished import Address, Chunk, Standing, Uploads, Wanted
from gostore.web.answers import Answer, Refusal, refusal_of
from gostore.web.dispatch import eager
from gostore.web.fields.locations import reference
from gostore.web.fields.tus import (
    VERSION,
    announced_length,
    check_type,
    check_version,
    checksum_of,
    chunk_of,
    discovery,
    length_fields,
    metadata_text,
    standing_fields,
    wanted_of,
)
from gostore.web.guard import refused
from gostore.web.lifetimes import Lifetimes
from gostore.web.routing import Method, asks, not_allowed, prepare
from gostore.web.uploads import body_of
from gostore.wire import Request

UPLOADS = "/uploads"

_OVERRIDE = b"x-http-method-override"

log = Logger()


def tus(route: Callable[..., Coroutine[Any, Any, Answer]]) -> Method:
    """Answer only who speaks the protocol, and say so in every answer but those that are faults."""

    @wraps(route)
    async def speaking(self: ResumableUploads, request: Request, **arguments: Any) -> Answer:
        try:
            check_version(request.headers)
            answer = await route(self, request, **arguments)
        except (Refusal, StoreError) as error:
            refusal = refusal_of(error)
            if refusal.code == 500:
                raise
            fields = {**refusal.fields, b"tus-resumable": VERSION, b"cache-control": b"no-store"}
            if isinstance(error, WrongOffset):
                fields[b"upload-offset"] = b"%d" % error.offset
            raise Refusal(refusal.code, refusal.text, fields) from error
        return Answer(answer.code, {**dict(answer.fields), b"tus-resumable": VERSION})

    return eager(speaking)


class ResumableUploads:
    """Begins uploads, goes on with them, finishes them, forgets them."""

    app = Klein()
    prepare(app)

    def __init__(self, uploads: Uploads, lifetimes: Lifetimes | None = None) -> None:
        """``lifetimes`` says how long new blobs stay."""
        self._uploads = uploads
        self._lifetimes = lifetimes or Lifetimes()

    def discover(self, path: str) -> Mapping[bytes, bytes]:
        """What the answer to OPTIONS says of tus."""
        is_ours = path == UPLOADS or path.startswith(UPLOADS + "/")
        return discovery(self._uploads.max_size) if is_ours else {}

    @app.route("/uploads", methods=["POST"])
    @app.route("/uploads/", methods=["POST"])
    @asks(Verb.CREATE, Verb.REPLACE)
    @tus
    async def begin(self, request: Request) -> Answer:
        """Begin an upload, perhaps with its first bytes: 201, and where it goes on."""
        headers = request.headers
        text = metadata_text(headers)
        location, wanted = wanted_of(text)
        length = announced_length(headers)
        _check_grant(request.principal, wanted, location)
        wanted = self._settled(location, wanted)
        checksum = checksum_of(headers)
        has_bytes = not (request.body.complete and not request.body.length)
        if has_bytes:
            check_type(headers)
        address = Address(0, location, owner_of(request.principal))
        address = await self._uploads.begin(address, text, length, wanted)
        try:
            if has_bytes:
                chunk = Chunk(0, checksum=checksum)
                standing = await self._uploads.append(address, chunk, body_of(request))
            else:
                standing = await self._uploads.stand(address)
            standing = await self._finished(address, standing, wanted)
        except Exception:
            # Its client does not know where it goes on.
            await self._forget(address)
            raise
        directory = UPLOADS[1:] + "/" if request.path == UPLOADS else ""
        reached = f"{directory}{address.number}/{reference(location, '')}"
        return Answer(201, {**standing_fields(standing), b"location": reached.encode("ascii")})

    @app.route("/uploads/<int:number>/<path:location>", methods=["HEAD"])
    @asks(Verb.CREATE, Verb.REPLACE)
    @tus
    async def stand(self, request: Request, number: int, location: str) -> Answer:
        """How far an upload is. If all of it is here, it is a blob then."""
        return await self._stand(request, number, location)

    @app.route("/uploads/<int:number>/<path:location>", methods=["PATCH"])
    @asks(Verb.CREATE, Verb.REPLACE)
    @tus
    async def append(self, request: Request, number: int, location: str) -> Answer:
        """Go on with an upload: 204, and how far it is. With its last byte it becomes a blob."""
        return await self._append(request, number, location)

    @app.route("/uploads/<int:number>/<path:location>", methods=["DELETE"])
    @asks(Verb.CREATE, Verb.REPLACE)
    @tus
    async def terminate(self, request: Request, number: int, location: str) -> Answer:
        """Forget an upload: 204."""
        return await self._terminate(request, number, location)

    @app.route("/uploads/<int:number>/<path:location>", methods=["POST"])
    @asks(Verb.CREATE, Verb.REPLACE)
    @tus
    async def override(self, request: Request, number: int, location: str) -> Answer:
        """As another method, for clients that cannot send it: X-HTTP-Method-Override."""
        methods = {b"PATCH": self._append, b"DELETE": self._terminate, b"HEAD": self._stand}
        method = methods.get(request.headers.get(_OVERRIDE) or b"")
        if method is None:
            raise not_allowed({b"allow": b"DELETE, HEAD, OPTIONS, PATCH, POST"})
        return await method(request, number, location)

    async def _stand(self, request: Request, number: int, location: str) -> Answer:
        address = Address(number, location, owner_of(request.principal))
        standing = await self._uploads.stand(address)
        fields = length_fields(standing)
        if standing.is_complete and standing.sha256 is None:
            wanted = _wanted(request.principal, standing, location)
            standing = await self._finished(address, standing, wanted)
        return Answer(200, {**standing_fields(standing), **fields})

    async def _append(self, request: Request, number: int, location: str) -> Answer:
        chunk = chunk_of(request.headers)
        address = Address(number, location, owner_of(request.principal))
        standing = await self._uploads.stand(address)
        if standing.sha256 is None:
            wanted = _wanted(request.principal, standing, location)
            standing = await self._uploads.append(address, chunk, body_of(request))
            standing = await self._finished(address, standing, wanted)
        elif chunk.offset != standing.offset:
            raise WrongOffset(standing.offset)
        return Answer(204, standing_fields(standing))

    async def _terminate(self, request: Request, number: int, location: str) -> Answer:
        await self._uploads.terminate(Address(number, location, owner_of(request.principal)))
        return Answer(204)

    async def _finished(self, address: Address, standing: Standing, wanted: Wanted) -> Standing:
        """Finish an upload whose last byte is here."""
        if standing.is_complete and standing.sha256 is None:
            wanted = self._settled(address.location, wanted)
            return await self._uploads.finish(address, wanted)
        return standing

    def _settled(self, location: str, wanted: Wanted) -> Wanted:
        """What an upload is to become, with the lifetime that it gets now. Raises Refusal (400)."""
        details = wanted.details
        lifetime = self._lifetimes.settle(location, details.lifetime)
        return evolve(wanted, details=evolve(details, lifetime=lifetime))

    async def _forget(self, address: Address) -> None:
        try:
            await self._uploads.terminate(address)
        except StoreError as error:
            log.debug(
                "Upload {number} is not forgotten: {error}", number=address.number, error=error
            )


def owner_of(principal: Principal | None) -> str:
    """Whose upload it is."""
    return "" if principal is None else f"{principal.kind} {principal.name}"


def _wanted(principal: Principal | None, standing: Standing, location: str) -> Wanted:
    """What an upload is to become, if the client may still do that. Raises Refusal."""
    _, wanted = wanted_of(standing.text)
    _check_grant(principal, wanted, location)
    return wanted


def _check_grant(principal: Principal | None, wanted: Wanted, location: str) -> None:
    """Raise Refusal unless the client may do what its upload is to do."""
    verb = Verb.REPLACE if wanted.exists else Verb.CREATE
    if principal is not None and not principal.may(verb, location):
        raise refused(principal, verb)
