"""The client for scripts, on requests: the user's proxies, CA bundles and .netrc apply."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import BinaryIO

from gostore.client import verbs
from gostore.client.address import Address
from gostore.client.errors import Lost
from gostore.client.exchanges import Exchanges, Response, answer_of, pieces_of
from gostore.client.memory import Memory
from gostore.client.patience import Patience
from gostore.client.reception import Reception
from gostore.client.resuming import THRESHOLD, Resuming
from gostore.client.sources import PIECE, Identity, Source, source_of
from gostore.client.steps import Ask
from gostore.client.values import Blob, Version

#: What an upload may be made of. A path is a Path and no text, which would be mistaken for bytes.
Data = bytes | os.PathLike[str] | BinaryIO | Iterable[bytes]


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
        resume_from: int | None = THRESHOLD,
        memory: Memory | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """``connections`` are kept for further requests; ``sleep`` waits between two attempts.

        An upload of ``resume_from`` bytes or more goes on where it is cut off, unless that is None;
        with a ``memory`` another program, too, goes on with it, if it puts the same file there.
        """
        self.address = Address(url)
        self._patience = patience or Patience()
        self._resuming = Resuming(self.address.url, resume_from, memory)
        self._exchanges = Exchanges(self.address, token, timeout, connections, sleep)

    def __repr__(self) -> str:
        return f"Client({self.address.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept."""
        self._exchanges.close()

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
        return Download(self._exchanges, reception)

    def read(self, blob: Blob, start: int, end: int) -> bytes:
        """Some bytes of a blob that `stat` has found. Raises Changed if it is another by now.

        A part has no digest: the bytes are those of this version, but nothing verifies them.
        """
        return self._exchanges.run(verbs.read_part(blob, start, end, self._patience))

    def stat(self, location: str, *, version: int | None = None) -> Blob:
        """What is known of a blob.

        >>> _ = client.put("a.txt", b"A", {"X-Gostore-Meta-Author": "Ada"})
        >>> client.stat("a.txt").metadata["author"]
        'Ada'
        """
        return self._exchanges.run(verbs.stat(location, self._patience, of_version(version)))

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
            entries, after = self._exchanges.run(
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
        connection breaks, from where it broke if they are large; a pipe and other iterables cannot.

        >>> first = client.put("counter", b"1", create_only=True)
        >>> second = client.put("counter", b"2", if_match=first.etag)
        >>> client.put("counter", b"3", if_match=first.etag)
        Traceback (most recent call last):
        gostore.client.errors.ConditionFailed: The condition does not hold for counter
        """
        source = source_of(data, partial(self.sha256_of, location))
        ask = Ask("PUT", location, {}, fields or {}, source)
        expected = verbs.Expected(create_only, if_match)
        return self._exchanges.run(verbs.put(ask, self._patience, expected, self._resuming.write))

    def sha256_of(self, location: str, path: str, identity: Identity) -> str | None:
        """The digest of a file, if its upload to this location is unfinished, and remembered."""
        return self._resuming.sha256_of(location, path, identity)

    def delete(self, location: str, *, if_match: str | None = None) -> None:
        """Delete a blob; with ``if_match`` only the version with this ETag."""
        self._exchanges.run(verbs.delete(location, self._patience, if_match))

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
        return self._exchanges.run(verbs.copy(source, location, self._patience, expected))

    def move(
        self, source: str, location: str, *, create_only: bool = False, if_match: str | None = None
    ) -> Blob:
        """Copy a blob, then delete its source, unless that has changed meanwhile (Changed).

        Readers see it at its source, then at both, then at the new location: never at neither.
        """
        expected = verbs.Expected(create_only, if_match)
        return self._exchanges.run(verbs.move(source, location, self._patience, expected))

    def history(self, location: str) -> Iterator[Version]:
        """The versions of a location that are still there, newest first."""
        before: str | None = None
        while True:
            page = verbs.history_page(location, before, self._patience)
            versions, before = self._exchanges.run(page)
            yield from versions
            if before is None:
                return

    def deleted(self, prefix: str = "") -> Iterator[Version]:
        """What was deleted below a prefix and can be restored: the newest version of each."""
        after: str | None = ""
        while after is not None:
            versions, after = self._exchanges.run(verbs.deleted_page(prefix, after, self._patience))
            yield from versions

    def restore(self, location: str, version: int, *, if_match: str | None = None) -> None:
        """Make a version current again; with ``if_match`` only in place of that one."""
        expected = verbs.Expected(etag=if_match)
        self._exchanges.run(verbs.restore(location, version, self._patience, expected))


class Download:
    """The bytes of one blob, on their way. Iterate over it, or `read` it, once.

    ``blob`` says what it is. A broken connection is made anew, and the rest of the same version
    asked for; Changed is raised if there is another version by then, and Damaged at the end if the
    bytes do not have their digest. Until then what came before is not verified.
    """

    def __init__(self, exchanges: Exchanges, reception: Reception) -> None:
        #: Is told how many bytes have come.
        self.moved: Callable[[int], object] | None = None
        self._exchanges = exchanges
        self._reception = reception
        self._response: Response | None = None
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
                    self._exchanges.wait(reception.lost(lost, None))
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
            response = self._exchanges.open(self._reception.ask())
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
            self._exchanges.wait(self._reception.lost(lost, answer))


def of_version(version: int | None) -> dict[str, str]:
    """The query that names a version."""
    return {} if version is None else {"version": str(version)}
