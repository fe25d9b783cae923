"""The client for Twisted, on treq: the same verbs as Client, as coroutines."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlencode

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IConsumer, IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import CooperativeTask, TaskFinished, TaskStopped, cooperate, deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer

from gostore import __version__
from gostore.client import verbs
from gostore.client.address import Address
from gostore.client.blocking import MOST, Data, of_version
from gostore.client.errors import BadAnswer, Lost
from gostore.client.patience import Patience
from gostore.client.reception import Reception
from gostore.client.sources import Source, source_of
from gostore.client.steps import Answer, Ask, Pause, Verb
from gostore.client.values import Blob

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
    ) -> None:
        """``timeout`` is the longest silence in seconds; ``connections`` are kept for later."""
        self.address = Address(url)
        self._reactor = reactor
        self._patience = patience or Patience()
        self._timeout = timeout
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
            source = await deferToThreadPool(self._reactor, pool, source_of, data)
        else:
            source = data if isinstance(data, Source) else source_of(data)
        expected = verbs.Expected(create_only, if_match)
        putting = verbs.put(location, source, fields or {}, self._patience, expected)
        return await self._run(putting)

    async def delete(self, location: str, *, if_match: str | None = None) -> None:
        """Delete a blob; with ``if_match`` only the version with this ETag."""
        await self._run(verbs.delete(location, self._patience, if_match))

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

    async def _ask(self, ask: Ask) -> Answer:
        """Ask once, and read the answer to its end. Raises Lost."""
        response = await self.open(ask)
        pieces = await self.body_of(response)
        body = b""
        while piece := await pieces.next():
            body += piece
            if len(body) > MOST:
                pieces.stop()
                raise BadAnswer(f"The answer has more than {MOST} bytes")
        return answer_of(response, body)

    async def open(self, ask: Ask) -> IResponse:
        """Ask once; the body of the answer is still to be read. Raises Lost."""
        url = self.address.of(ask.location)
        if ask.query:
            url = f"{url}?{urlencode(ask.query)}"
        fields = {"User-Agent": f"gostore/{__version__}", "Accept-Encoding": "identity"}
        fields.update(ask.fields)
        if self._token is not None:
            fields["Authorization"] = f"Bearer {self._token}"
        silence = _Silence(self._reactor, self._timeout)
        data = None
        if ask.source is not None:
            data = b"" if ask.source.size == 0 else _Producer(ask.source, silence.broken)
        headers = Headers({name: [text] for name, text in fields.items()})
        asked: Deferred[Any] = self._http.request(
            ask.method, url, headers=headers, data=data, allow_redirects=False, unbuffered=True
        )
        silence.begin(asked.cancel)
        try:
            response: IResponse = await asked
            return response
        except Exception as error:
            if isinstance(data, _Producer) and data.failed is not None:
                # It was the source, and not the network.
                raise data.failed from None
            refused = isinstance(error, (ConnectError, DNSLookupError))
            text = f"{self.address.url} does not answer: {_words(error)}"
            raise Lost(text, reached=not refused) from error
        finally:
            silence.end()

    async def body_of(self, response: IResponse) -> _Pieces:
        """The body of an answer, to be read piece by piece."""
        pieces = _Pieces(_Silence(self._reactor, self._timeout))
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
        self._pieces: _Pieces | None = None

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


class _Silence:
    """Ends what has been silent for too long."""

    def __init__(self, reactor: Any, seconds: float) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._call: IDelayedCall | None = None

    def begin(self, end: Callable[[], object]) -> None:
        """Call ``end`` when it has been silent for so long."""
        self._call = self._reactor.callLater(self._seconds, end)

    def broken(self) -> None:
        """Something was heard, or said."""
        if self._call is not None and self._call.active():
            self._call.reset(self._seconds)

    def end(self) -> None:
        """It may be silent now."""
        if self._call is not None and self._call.active():
            self._call.cancel()


@implementer(IBodyProducer)
class _Producer:
    """The pieces of a source, as fast as the connection takes them."""

    def __init__(self, source: Source, moved: Callable[[], None]) -> None:
        self.length: Any = UNKNOWN_LENGTH if source.size is None else source.size
        #: Why the source could not be read.
        self.failed: Exception | None = None
        self._source = source
        self._moved = moved
        self._task: CooperativeTask[Iterator[None]] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write all of it."""
        self._task = task = cooperate(self._write(consumer))
        finished: Deferred[None] = Deferred()
        done = task.whenDone()
        done.addCallbacks(
            lambda _: finished.callback(None), self._not_done, errbackArgs=(finished,)
        )
        return finished

    def _not_done(self, failure: Failure, finished: Deferred[None]) -> None:
        # A producer that was told to stop says no more.
        if isinstance(failure.value, Exception) and not failure.check(TaskStopped):
            self.failed = failure.value
            finished.errback(failure)

    def _write(self, consumer: IConsumer) -> Iterator[None]:
        for piece in self._source.pieces():
            consumer.write(piece)
            self._moved()
            yield None

    def pauseProducing(self) -> None:
        """Write no more for now."""
        if self._task is not None:
            self._task.pause()

    def resumeProducing(self) -> None:
        """Write on."""
        if self._task is not None:
            self._task.resume()

    def stopProducing(self) -> None:
        """The connection is gone."""
        if self._task is not None:
            with suppress(TaskFinished):
                self._task.stop()


class _Pieces(Protocol):
    """The body of an answer, a few pieces of it in memory at a time."""

    def __init__(self, silence: _Silence) -> None:
        self._silence = silence
        self._pieces: deque[bytes] = deque()
        self._waiting: Deferred[None] | None = None
        self._end: Failure | None = None

    @property
    def _body(self) -> Any:
        """What can be paused: Twisted gives a body's Protocol a transport that is a producer."""
        return self.transport

    def connectionMade(self) -> None:
        """Nothing is read before it is asked for."""
        self._pause()

    def dataReceived(self, data: bytes) -> None:
        """A piece has come."""
        self._silence.broken()
        self._pieces.append(data)
        self._pause()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """That was all, or all that there will be."""
        self._end = reason
        self._wake()

    async def next(self) -> bytes:
        """The next piece; nothing at the end. Raises Lost."""
        while not self._pieces:
            if self._end is not None:
                if self._end.check(ResponseDone):
                    return b""
                raise Lost(f"The answer was cut off: {self._end.getErrorMessage()}")
            self._waiting = Deferred()
            self._body.resumeProducing()
            self._silence.begin(self.stop)
            try:
                await self._waiting
            finally:
                self._silence.end()
        return self._pieces.popleft()

    def stop(self) -> None:
        """Want no more: close the connection, unless all has come."""
        if self._end is None:
            self._body.stopProducing()

    def _pause(self) -> None:
        if self._end is None:
            self._body.pauseProducing()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


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


def _words(error: BaseException) -> str:
    """An error for people: what the innermost one says."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _words(reasons[0].value)
    return " ".join(str(error).split())[:200] or type(error).__name__
