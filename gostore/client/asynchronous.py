"""The client for Twisted, on treq: the same verbs as Client, as coroutines."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, TypeVar

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

from gostore import __version__
from gostore.client import verbs
from gostore.client.address import Address
from gostore.client.blocking import Data, of_version
from gostore.client.errors import BadAnswer, Lost
from gostore.client.exchanges import MOST
from gostore.client.memory import Memory
from gostore.client.patience import Patience
from gostore.client.reception import Reception
from gostore.client.resuming import THRESHOLD, Resuming
from gostore.client.sources import Source, source_of
from gostore.client.steps import Answer, Ask, Pause, Verb
from gostore.client.streams import Pieces, Producer, Silence, in_words, innermost
from gostore.client.values import Blob, Version

T = TypeVar("T")


class AsyncClient:
    """Reads and writes the blobs of one daemon, without waiting in the reactor's thread.

    The verbs, their arguments and their errors are those of Client; all are coroutines, to be
    awaited, or given to ``Deferred.fromCoroutine``. Proxies and .netrc are not asked.

    >>> async def try_it(reactor):
    ...     client = AsyncClient(reactor, url)
    ...     stored = await client.put("notes/today", b"Buy milk.")
    ...     async with await client.get("notes/today") as download:
    ...         print(stored.size, await download.read())
    ...     print([blob.location async for blob in client.ls("notes/")])
    ...     await client.delete("notes/today")
    ...     await client.close()
    >>> run(try_it)
    9 b'Buy milk.'
    ['notes/today']
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        token: str | None = None,
        *,
        patience: Patience | None = None,
        timeout: float = 60.0,
        connections: int = 10,
        resume_from: int | None = THRESHOLD,
        memory: Memory | None = None,
    ) -> None:
        """``timeout`` is the longest silence in seconds; ``connections`` are kept for later.

        The rest is as for Client.
        """
        self.address = Address(url)
        self._reactor = reactor
        self._patience = patience or Patience()
        self._timeout = timeout
        self._resuming = Resuming(self.address.url, resume_from, memory)
        self._token = token
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = connections
        # What is tried again is decided in verbs.py.
        self._pool.retryAutomatically = False
        self._http = HTTPClient(Agent(reactor, connectTimeout=10, pool=self._pool))

    def __repr__(self) -> str:
        return f"AsyncClient({self.address.url!r})"

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._pool.closeCachedConnections()

    # -- reading ------------------------------------------------------------------------------

    async def get(
        self, location: str, *, version: int | None = None, if_match: str | None = None
    ) -> AsyncDownload:
        """Open a blob, or one version of it; see `Client.get`."""
        reception = Reception(location, self._patience, of_version(version), if_match)
        download = AsyncDownload(self, reception)
        await download.open()
        return download

    async def read(self, blob: Blob, start: int, end: int) -> bytes:
        """Some bytes of a blob that `stat` has found; see `Client.read`."""
        return await self._run(verbs.read_part(blob, start, end, self._patience))

    async def stat(self, location: str, *, version: int | None = None) -> Blob:
        """What is known of a blob."""
        return await self._run(verbs.stat(location, self._patience, of_version(version)))

    async def ls(self, prefix: str = "", *, limit: int = 1000) -> AsyncIterator[Blob]:
        """All blobs whose locations begin with this, asked for page by page."""
        after: str | None = ""
        while after is not None:
            page = verbs.list_page(prefix, "", after, limit, self._patience)
            entries, after = await self._run(page)
            for entry in entries:
                if isinstance(entry, Blob):
                    yield entry

    # -- writing ------------------------------------------------------------------------------

    async def put(
        self,
        location: str,
        data: Data | Source,
        fields: Mapping[str, str] | None = None,
        *,
        create_only: bool = False,
        if_match: str | None = None,
    ) -> Blob:
        """Store a blob, in place of the one that is there, if any; see `Client.put`."""
        if isinstance(data, os.PathLike):
            # To compute the digest of a large file takes a while.
            pool = self._reactor.getThreadPool()
            known = partial(self._resuming.sha256_of, location)
            source = await deferToThreadPool(self._reactor, pool, source_of, data, known)
        else:
            source = source_of(data)
        ask = Ask("PUT", location, {}, fields or {}, source)
        expected = verbs.Expected(create_only, if_match)
        return await self._run(verbs.put(ask, self._patience, expected, self._resuming.write))

    async def delete(self, location: str, *, if_match: str | None = None) -> None:
        """Delete a blob; with ``if_match`` only the version with this ETag."""
        await self._run(verbs.delete(location, self._patience, if_match))

    # -- at the daemon ------------------------------------------------------------------------

    async def copy(
        self, source: str, location: str, *, create_only: bool = False, if_match: str | None = None
    ) -> Blob:
        """Have the daemon copy a blob, with its type and metadata; the conditions are `put`'s."""
        expected = verbs.Expected(create_only, if_match)
        return await self._run(verbs.copy(source, location, self._patience, expected))

    async def move(
        self, source: str, location: str, *, create_only: bool = False, if_match: str | None = None
    ) -> Blob:
        """Copy a blob, then delete its source, unless that has changed meanwhile (Changed).

        Readers see it at its source, then at both, then at the new location: never at neither.
        """
        expected = verbs.Expected(create_only, if_match)
        return await self._run(verbs.move(source, location, self._patience, expected))

    async def history(self, location: str) -> AsyncIterator[Version]:
        """The versions of a location that are still there, newest first."""
        before: str | None = None
        while True:
            page = verbs.history_page(location, before, self._patience)
            versions, before = await self._run(page)
            for version in versions:
                yield version
            if before is None:
                return

    async def deleted(self, prefix: str = "") -> AsyncIterator[Version]:
        """What was deleted below a prefix and can be restored: the newest version of each."""
        after: str | None = ""
        while after is not None:
            versions, after = await self._run(verbs.deleted_page(prefix, after, self._patience))
            for version in versions:
                yield version

    async def restore(self, location: str, version: int, *, if_match: str | None = None) -> None:
        """Make a version current again; with ``if_match`` only in place of that one."""
        expected = verbs.Expected(etag=if_match)
        await self._run(verbs.restore(location, version, self._patience, expected))

    # -- how ----------------------------------------------------------------------------------

    async def _run(self, verb: Verb[T]) -> T:
        """Carry out the steps of a verb."""
        try:
            step = next(verb)
            while True:
                if isinstance(step, Pause):
                    await self.wait(step.seconds)
                    step = next(verb)
                    continue
                try:
                    answer = await self._ask(step)
                except Lost as lost:
                    step = verb.throw(lost)
                else:
                    step = verb.send(answer)
        except StopIteration as stop:
            found: T = stop.value
            return found
        finally:
            # What it has locked is free then, whoever still has its traceback.
            verb.close()

    async def _ask(self, ask: Ask) -> Answer:
        """Ask once, and read the answer to its end. Raises Lost."""
        response = await self.open(ask)
        pieces = await self.body_of(response)
        body = bytearray()
        while piece := await pieces.next():
            body += piece
            if len(body) > MOST:
                pieces.stop()
                raise BadAnswer(f"The answer has more than {MOST} bytes")
        return answer_of(response, bytes(body))

    async def open(self, ask: Ask) -> IResponse:
        """Ask once; the body of the answer is still to be read. Raises Lost."""
        url = ask.url(self.address)
        fields = {"User-Agent": f"gostore/{__version__}", "Accept-Encoding": "identity"}
        fields.update(ask.fields)
        if self._token is not None:
            fields["Authorization"] = f"Bearer {self._token}"
        silence = Silence(self._reactor, self._timeout)
        data = None
        if ask.source is not None:
            data = b"" if ask.source.size == 0 else Producer(ask.source, silence.broken)
        headers = Headers({name: [text] for name, text in fields.items()})
        asked: Deferred[Any] = self._http.request(
            ask.method, url, headers=headers, data=data, allow_redirects=False, unbuffered=True
        )
        silence.begin(asked.cancel)
        try:
            response: IResponse = await asked
            return response
        except Exception as error:
            if isinstance(innermost(error), CancelledError) and not silence.is_over:
                # It was the caller, who wants no more.
                raise innermost(error) from None
            if isinstance(data, Producer) and data.failed is not None:
                # It was the source, and not the network.
                raise data.failed from None
            refused = isinstance(error, (ConnectError, DNSLookupError))
            text = f"{self.address.url} does not answer: {in_words(error)}"
            raise Lost(text, reached=not refused) from error
        finally:
            silence.end()

    async def body_of(self, response: IResponse) -> Pieces:
        """The body of an answer, to be read piece by piece."""
        pieces = Pieces(Silence(self._reactor, self._timeout))
        response.deliverBody(pieces)
        return pieces

    async def wait(self, seconds: float) -> None:
        """Pause between two attempts."""
        await deferLater(self._reactor, seconds)


class AsyncDownload:
    """The bytes of one blob, on their way: ``async for``, or `read`, once; see `Download`."""

    def __init__(self, client: AsyncClient, reception: Reception) -> None:
        self._client = client
        self._reception = reception
        self._pieces: Pieces | None = None

    async def open(self) -> None:
        """Wait for the head of the answer, which says what the blob is."""
        while self._pieces is None:
            await self._open()
        assert self._reception.blob is not None
        self.blob: Blob = self._reception.blob

    async def __aenter__(self) -> AsyncDownload:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reception = self._reception
        while True:
            if self._pieces is None and reception.is_whole:
                reception.finish()
                return
            if self._pieces is None:
                await self._open()
                continue
            try:
                while piece := await self._pieces.next():
                    if new := reception.take(piece):
                        yield new
                reception.finish()
                return
            except Lost as lost:
                if not reception.is_whole:
                    await self._client.wait(reception.lost(lost, None))
            finally:
                self.close()

    async def read(self) -> bytes:
        """All bytes, once they are verified."""
        return b"".join([piece async for piece in self])

    def close(self) -> None:
        """Want no more of it."""
        if self._pieces is not None:
            self._pieces.stop()
            self._pieces = None

    async def _open(self) -> None:
        """Make one attempt to get an answer whose body is what is wanted next."""
        answer = None
        try:
            response = await self._client.open(self._reception.ask())
            pieces = await self._client.body_of(response)
            try:
                body = b"" if response.code in (200, 206) else await pieces.next()
                answer = answer_of(response, body)
                self._reception.begin(answer)
            except BaseException:
                pieces.stop()
                raise
            self._pieces = pieces
        except Lost as lost:
            await self._client.wait(self._reception.lost(lost, answer))


def answer_of(response: IResponse, body: bytes) -> Answer:
    """The answer as a verb takes it."""
    fields = {
        name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
        for name, values in response.headers.getAllRawHeaders()
    }
    if response.length is not UNKNOWN_LENGTH:
        # Twisted takes it out of the head.
        fields.setdefault("content-length", str(response.length))
    return Answer(response.code, fields, body)
