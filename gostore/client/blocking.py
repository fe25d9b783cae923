"""The client for scripts, on requests: the user's proxies, CA bundles and .netrc apply."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import BinaryIO, TypeVar

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError, NewConnectionError

from gostore import __version__
from gostore.client import verbs
from gostore.client.address import Address, encode_query
from gostore.client.errors import BadAnswer, ClientError, Lost, Unreachable
from gostore.client.patience import Patience
from gostore.client.reception import Reception
from gostore.client.sources import PIECE, Source, source_of
from gostore.client.steps import Answer, Ask, Pause, Verb
from gostore.client.values import Blob, Version

#: The most bytes of an answer that is no blob: a page of a list, or an error.
MOST = 64 * 1024 * 1024

#: What an upload may be made of. A path is a Path and no text, which would be mistaken for bytes.
Data = bytes | os.PathLike[str] | BinaryIO | Iterable[bytes]

T = TypeVar("T")


class Client:
    """Reads and writes the blobs of one daemon.

    ``url`` is that of the daemon, with the path that a proxy may have put it below. Without a
    ``token`` the user's .netrc has the credentials, if it has any for this host. ``timeout`` is the
    longest silence of the network, in seconds. Several threads may use one client.

    >>> client = Client(url)
    >>> client.put("notes/today", b"Buy milk.").size
    9
    >>> client.get("notes/today").read()
    b'Buy milk.'
    >>> [blob.location for blob in client.ls("notes/")]
    ['notes/today']
    >>> client.delete("notes/today")

    Errors are ClientErrors: Unreachable, Refused, NotFound, ConditionFailed, NoRoom, Damaged.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        patience: Patience | None = None,
        timeout: float = 60.0,
        connections: int = 10,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """``connections`` are kept for further requests; ``sleep`` waits between two attempts."""
        self.address = Address(url)
        self._patience = patience or Patience()
        self._timeout = timeout
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers.update(
            # What a blob was stored as is what is wanted, and what its digest is of.
            {"User-Agent": f"gostore/{__version__}", "Accept-Encoding": "identity"}
        )
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_maxsize=connections)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        if token is not None:
            self._session.auth = _Bearer(token)

    def __repr__(self) -> str:
        return f"Client({self.address.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._session.close()

    # -- reading ------------------------------------------------------------------------------

    def get(
        self, location: str, *, version: int | None = None, if_match: str | None = None
    ) -> Download:
        """Open a blob, or one version of it. What is read is compared with its digest at the end.

        >>> _ = client.put("song", b"la la la")
        >>> with client.get("song") as download:
        ...     download.blob.size, b"".join(download)
        (8, b'la la la')
        """
        reception = Reception(location, self._patience, of_version(version), if_match)
        return Download(self, reception)

    def read(self, blob: Blob, start: int, end: int) -> bytes:
        """Some bytes of a blob that `stat` has found. Raises Changed if it is another by now.

        A part has no digest: the bytes are those of this version, but nothing verifies them.
        """
        return self._run(verbs.read_part(blob, start, end, self._patience))

    def stat(self, location: str, *, version: int | None = None) -> Blob:
        """What is known of a blob.

        >>> _ = client.put("a.txt", b"A", {"X-Gostore-Meta-Author": "Ada"})
        >>> client.stat("a.txt").metadata["author"]
        'Ada'
        """
        return self._run(verbs.stat(location, self._patience, of_version(version)))

    def ls(self, prefix: str = "", *, limit: int = 1000) -> Iterator[Blob]:
        """All blobs whose locations begin with this, in the order of the bytes of the locations.

        They are asked for page by page, of at most ``limit`` blobs.
        """
        for entry in self._list(prefix, "", limit):
            if isinstance(entry, Blob):
                yield entry

    def ls_directory(self, prefix: str = "") -> Iterator[Blob | str]:
        """The blobs right below a prefix, and the prefixes, ending with ``/``, of the others."""
        return self._list(prefix, "/", 1000)

    def _list(self, prefix: str, delimiter: str, limit: int) -> Iterator[Blob | str]:
        after: str | None = ""
        while after is not None:
            entries, after = self._run(
                verbs.list_page(prefix, delimiter, after, limit, self._patience)
            )
            yield from entries

    # -- writing ------------------------------------------------------------------------------

    def put(
        self,
        location: str,
        data: Data | Source,
        fields: Mapping[str, str] | None = None,
        *,
        create_only: bool = False,
        if_match: str | None = None,
    ) -> Blob:
        """Store a blob, in place of the one that is there, if any.

        With ``create_only`` there must be none (AlreadyExists), with ``if_match`` the one with this
        ETag (ConditionFailed). ``fields`` are the header fields to keep with it: Content-Type and
        X-Gostore-Meta-*, for example. A Path, bytes and a BytesIO can be sent again when a
        connection breaks; a pipe and other iterables cannot.

        >>> first = client.put("counter", b"1", create_only=True)
        >>> second = client.put("counter", b"2", if_match=first.etag)
        >>> client.put("counter", b"3", if_match=first.etag)
        Traceback (most recent call last):
        gostore.client.errors.ConditionFailed: The condition does not hold for counter
        """
        source = data if isinstance(data, Source) else source_of(data)
        expected = verbs.Expected(create_only, if_match)
        return self._run(verbs.put(location, source, fields or {}, self._patience, expected))

    def delete(self, location: str, *, if_match: str | None = None) -> None:
        """Delete a blob; with ``if_match`` only the version with this ETag."""
        self._run(verbs.delete(location, self._patience, if_match))

    # -- at the daemon ------------------------------------------------------------------------

    def copy(
        self, source: str, location: str, *, create_only: bool = False, if_match: str | None = None
    ) -> Blob:
        """Have the daemon copy a blob, with its type and metadata; the conditions are `put`'s.

        >>> _ = client.put("draft", b"Dear Ada,")
        >>> client.copy("draft", "letter").size
        9
        >>> client.move("letter", "sent/letter").location
        'sent/letter'
        """
        expected = verbs.Expected(create_only, if_match)
        return self._run(verbs.copy(source, location, self._patience, expected))

    def move(
        self, source: str, location: str, *, create_only: bool = False, if_match: str | None = None
    ) -> Blob:
        """Copy a blob, then delete its source, unless that has changed meanwhile (Changed).

        Readers see it at its source, then at both, then at the new location: never at neither.
        """
        expected = verbs.Expected(create_only, if_match)
        return self._run(verbs.move(source, location, self._patience, expected))

    def history(self, location: str) -> Iterator[Version]:
        """The versions of a location that are still there, newest first."""
        before: str | None = None
        while True:
            page = verbs.history_page(location, before, self._patience)
            versions, before = self._run(page)
            yield from versions
            if before is None:
                return

    def deleted(self, prefix: str = "") -> Iterator[Version]:
        """What was deleted below a prefix and can be restored: the newest version of each."""
        after: str | None = ""
        while after is not None:
            versions, after = self._run(verbs.deleted_page(prefix, after, self._patience))
            yield from versions

    def restore(self, location: str, version: int, *, if_match: str | None = None) -> None:
        """Make a version current again; with ``if_match`` only in place of that one."""
        expected = verbs.Expected(etag=if_match)
        self._run(verbs.restore(location, version, self._patience, expected))

    # -- how ----------------------------------------------------------------------------------

    def _run(self, verb: Verb[T]) -> T:
        """Carry out the steps of a verb."""
        try:
            step = next(verb)
            while True:
                if isinstance(step, Pause):
                    self._sleep(step.seconds)
                    step = next(verb)
                    continue
                try:
                    answer = self.ask(step)
                except Lost as lost:
                    step = verb.throw(lost)
                else:
                    step = verb.send(answer)
        except StopIteration as stop:
            found: T = stop.value
            return found

    def ask(self, ask: Ask) -> Answer:
        """Ask once, and read the answer to its end. Raises Lost."""
        response = self.open(ask)
        try:
            body = b""
            for piece in pieces_of(response):
                body += piece
                if len(body) > MOST:
                    raise BadAnswer(f"The answer has more than {MOST} bytes")
            return answer_of(response, body)
        finally:
            response.close()

    def open(self, ask: Ask) -> requests.Response:
        """Ask once; the body of the answer is still to be read. Raises Lost."""
        url = self.address.of(ask.location)
        if ask.query:
            url = f"{url}?{encode_query(ask.query)}"
        fields = {name: text.encode("utf-8") for name, text in ask.fields.items()}
        source = ask.source
        try:
            return self._session.request(
                ask.method,
                url,
                headers=fields,
                data=None if source is None or source.size == 0 else _Body(source),
                timeout=(min(self._timeout, 10.0), self._timeout),
                allow_redirects=False,
                stream=True,
            )
        except requests.exceptions.SSLError as error:
            raise Unreachable(f"{self.address.url}: {error}") from error
        except (requests.exceptions.RequestException, HTTPError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> Exception:
        if isinstance(error, ValueError):
            # A URL or a field that cannot be sent.
            return ClientError(f"The request cannot be sent: {error}")
        reason = getattr(error.args[0] if error.args else None, "reason", None)
        refused = isinstance(reason, NewConnectionError)
        refused = refused or isinstance(error, requests.exceptions.ConnectTimeout)
        why = _words(reason or error)
        return Lost(f"{self.address.url} does not answer: {why}", reached=not refused)

    def wait(self, seconds: float) -> None:
        """Pause between two attempts."""
        self._sleep(seconds)


class Download:
    """The bytes of one blob, on their way. Iterate over it, or `read` it, once.

    ``blob`` says what it is. A broken connection is made anew, and the rest of the same version
    asked for; Changed is raised if there is another version by then, and Damaged at the end if the
    bytes do not have their digest. Until then what came before is not verified.
    """

    def __init__(self, client: Client, reception: Reception) -> None:
        #: Is told how many bytes have come.
        self.moved: Callable[[int], object] | None = None
        self._client = client
        self._reception = reception
        self._response: requests.Response | None = None
        while self._response is None:
            self._open()
        assert reception.blob is not None
        self.blob: Blob = reception.blob

    def __enter__(self) -> Download:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        reception = self._reception
        while True:
            if self._response is None and reception.is_whole:
                reception.finish()
                return
            if self._response is None:
                self._open()
                continue
            try:
                for piece in pieces_of(self._response):
                    if new := reception.take(piece):
                        yield new
                        if self.moved is not None:
                            self.moved(reception.offset)
                reception.finish()
                return
            except Lost as lost:
                self.close()
                if not reception.is_whole:
                    self._client.wait(reception.lost(lost, None))
            finally:
                self.close()

    def read(self) -> bytes:
        """All bytes, once they are verified."""
        return b"".join(self)

    @property
    def offset(self) -> int:
        """How many bytes have come."""
        return self._reception.offset

    def resume(self, file: BinaryIO) -> None:
        """Take the first bytes from a file, which an interrupted download has left."""
        self.close()
        self._reception.resume(iter(lambda: file.read(PIECE), b""))

    def close(self) -> None:
        """Want no more of it."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _open(self) -> None:
        """Make one attempt to get an answer whose body is what is wanted next."""
        answer = None
        try:
            response = self._client.open(self._reception.ask())
            try:
                code = response.status_code
                body = b"" if code in (200, 206) else next(pieces_of(response), b"")
                answer = answer_of(response, body)
                self._reception.begin(answer)
            except BaseException:
                response.close()
                raise
            self._response = response
        except Lost as lost:
            self._client.wait(self._reception.lost(lost, answer))


class _Bearer(AuthBase):
    """A token. As an Authorization field in the headers .netrc would replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Body:
    """The pieces of a source as requests sends them: with Content-Length if its size is known."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.len = source.size or 0

    def __iter__(self) -> Iterator[bytes]:
        return self._source.pieces()


def pieces_of(response: requests.Response) -> Iterator[bytes]:
    """The body of an answer as it was sent, whatever its Content-Encoding. Raises Lost."""
    try:
        yield from response.raw.stream(PIECE, decode_content=False)
    except (HTTPError, OSError) as error:
        raise Lost(f"The answer was cut off: {_words(error)}") from error


def answer_of(response: requests.Response, body: bytes) -> Answer:
    """The answer as a verb takes it."""
    fields = {name.lower(): text for name, text in response.headers.items()}
    return Answer(response.status_code, fields, body)


def of_version(version: int | None) -> dict[str, str]:
    """The query that names a version."""
    return {} if version is None else {"version": str(version)}


def _words(error: BaseException) -> str:
    """An error of the libraries for people: what the system said, in place of the whole chain."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            break
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        inner = [each for each in seen.args if isinstance(each, BaseException)]
        seen = inner[0] if inner else seen.__cause__ or seen.__context__
    return " ".join(str(error).split())[:200]
