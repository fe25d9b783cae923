"""The engine as obstore speaks to it: any S3, or objects in memory. Only this module knows obstore.

Its synchronous calls block and let other threads run. It makes a request again by itself for some
seconds, so even a condition that does not hold may be the effect of an earlier try.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import timedelta
from queue import Empty, Queue
from threading import Lock
from typing import Any, cast

import obstore
from obstore import exceptions
from obstore.store import MemoryStore, S3Store

from gostore.bucket.aside import ProfileCredentials, UploadsAside, profile_in
from gostore.bucket.engine import (
    Found,
    Full,
    Listed,
    Mismatch,
    Missing,
    Refused,
    Unfinished,
    Unsettled,
)

#: How long a request may take: to connect, and until its answer is here.
CONNECT_TIMEOUT = timedelta(seconds=4)
TIMEOUT = timedelta(seconds=10)

#: How long, and how often, obstore makes a request again.
RETRY_TIMEOUT = timedelta(seconds=6)
RETRIES = 2

PART = 8 * 1024 * 1024
"""The size of a part of an upload, unless it would have too many."""

SMALL_PART = 5 * 1024 * 1024
"""Its size when there are many uploads; S3 allows none that is smaller."""

PARTS = 9_000
"""The most parts of an upload; S3 allows 10,000."""

AT_A_TIME = 4
"""The most parts of one upload that are on their way at a time."""

UNDER_WAY = 32
"""The parts of all uploads that are: each upload beyond has one. Each has to be there in time."""

_PIECES = 3
"""The pieces that wait to be put into a part."""

_STATUS = re.compile(r"status:\s*(\d{3})")
#: What engines say when the bucket's quota is used up, or their disks are: Ceph, MinIO and others.
_FULL = re.compile(r"QuotaExceeded|StorageFull|InsufficientStorage|status[^:]*: 507")

#: The machine's own service, which obstore asks for credentials when there are none.
_NO_CREDENTIALS = re.compile(r"://[^/\s]+/latest/(?:api/token|meta-data/iam)")
_SET = "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"

#: Why a connection failed, as obstore has it far down.
_CAUSES = (
    re.compile(r'Os \{[^}]*message: "([^"]+)"'),
    re.compile(r'error: "(failed to lookup address[^"]*)"'),
    re.compile(r"(?:InvalidMessage|InvalidCertificate)\(\s*(\w+)"),
    re.compile(r"source: (TimedOut)"),
)
_IN_WORDS = {"InvalidContentType": "the port speaks no TLS", "TimedOut": "it takes too long"}

#: A request to AWS itself.
_AT_AWS = re.compile(r"Error performing \w+ https://[^/\s]*amazonaws\.com")

#: What is raised where obstore asks for the credentials of a profile.
_PROFILE = re.compile(r"External AWS credential provider: (Refused|Unsettled): (.*)")

#: What obstore says of a pair of credentials that lacks one, and what people know that by.
_MISSING = re.compile("Missing (SecretAccessKey|AccessKeyId)")
_NAMES = {"SecretAccessKey": "AWS_SECRET_ACCESS_KEY", "AccessKeyId": "AWS_ACCESS_KEY_ID"}

#: A redirect that obstore does not follow, or not any further.
_REDIRECT = re.compile("Received redirect without LOCATION|error following redirect")

#: What obstore says before the reason: it has the engine's address, and a time that always differs.
_ASKED = re.compile(r"^.*?Error performing \w+ \S+ in .*? +- ")

_CODE = re.compile(r"<Code>(\w+)</Code>")


def s3_engine(
    bucket: str, prefix: str, endpoint: str | None, region: str | None, profile: str | None = None
) -> ObjectStoreEngine:
    """Describe a bucket. Raises Refused or Unsettled if its credentials cannot be used."""
    profile = profile or profile_in(os.environ)
    folder = f"{prefix}/" if prefix else ""
    return ObjectStoreEngine(
        s3_store(bucket, prefix, endpoint, region, profile),
        unfinished=UploadsAside(bucket, folder, endpoint, region, profile),
    )


def s3_store(
    bucket: str, prefix: str, endpoint: str | None, region: str | None, profile: str | None = None
) -> Any:
    """Describe a bucket to obstore. Raises Refused or Unsettled if that cannot be.

    Without a profile it takes the credentials of the environment, of a web identity, or of the role
    of the container or the machine, and fetches them again before they expire.
    """
    options: dict[str, Any] = {}
    if profile is not None:
        credentials = ProfileCredentials(profile)
        credentials.fetch()
        options["credential_provider"] = credentials
        if "AWS_REGION" not in os.environ and "AWS_DEFAULT_REGION" not in os.environ:
            region = region or credentials.region
    if endpoint is not None:
        options["endpoint"] = endpoint
        # Engines of one's own seldom have a DNS name for each bucket.
        options["virtual_hosted_style_request"] = False
    if region is not None:
        options["region"] = region
    try:
        return S3Store(
            bucket,
            prefix=prefix or None,
            client_options={
                "allow_http": endpoint is not None and endpoint.startswith("http:"),
                "connect_timeout": CONNECT_TIMEOUT,
                "timeout": TIMEOUT,
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_TIMEOUT},
            **options,
        )
    except exceptions.BaseError as error:
        missing = _MISSING.search(str(error))
        reason = f"{_NAMES[missing[1]]} is not set" if missing else _first_line(str(error))
        raise Refused(reason) from error


class ObjectStoreEngine:
    """The requests of an engine, by a store of obstore."""

    def __init__(
        self, store: Any, *, quotes: bool = False, unfinished: UploadsAside | None = None
    ) -> None:
        """``quotes`` says that its ETags are sent with their quotes. Ceph refuses those always.

        ``unfinished`` knows the uploads in parts, which obstore does not tell.
        """
        self._store = store
        self._quotes = quotes
        #: How many uploads are on their way.
        self.uploads = 0
        self._counting = Lock()
        self._unfinished = unfinished

    def get(self, key: str, etag: str | None = None, span: tuple[int, int] | None = None) -> Found:
        """Read an object; see `Engine`."""
        options: Any = {}
        if etag is not None:
            options["if_match"] = etag
        if span is not None:
            options["range"] = span
        try:
            result = obstore.get(self._store, key, options=options)
            meta = result.meta
            found = result.bytes()
            # A reader of a span takes a view of it for bytes. Parsers do not.
            data = bytes(found) if span is None else cast("bytes", memoryview(found))
        except Exception as error:
            raise meaning_of(error) from error
        modified = meta["last_modified"].timestamp()
        return Found(data, self._etag(meta["e_tag"]), meta["size"], modified)

    def put(self, key: str, data: bytes) -> str:
        """Write an object; see `Engine`."""
        return self._put(key, data, "overwrite")

    def create(self, key: str, data: bytes) -> str:
        """Write a new object; see `Engine`."""
        return self._put(key, data, "create")

    def swap(self, key: str, data: bytes, etag: str) -> str:
        """Replace an object; see `Engine`."""
        return self._put(key, data, {"e_tag": etag})

    def _put(self, key: str, data: bytes, mode: Any) -> str:
        try:
            result = obstore.put(self._store, key, data, mode=mode, use_multipart=False)
        except Exception as error:
            raise meaning_of(error) from error
        return self._etag(result["e_tag"])

    def delete(self, key: str) -> None:
        """Delete an object; see `Engine`."""
        try:
            obstore.delete(self._store, key)
        except Exception as error:
            meaning = meaning_of(error)
            if not isinstance(meaning, Missing):
                raise meaning from error

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """List objects; see `Engine`."""
        try:
            pages = obstore.list(self._store, prefix or None, offset=after or None, chunk_size=1000)
            for page in pages:
                for meta in page:
                    modified = meta["last_modified"].timestamp()
                    yield Listed(meta["path"], meta["size"], modified)
        except GeneratorExit:
            raise
        except Exception as error:
            raise meaning_of(error) from error

    def upload(self, key: str, pieces: Iterable[bytes], length: int | None) -> str:
        """Write an object in parts; see `Engine`.

        obstore asks for a piece inside its own runtime, where nobody may use it. A piece may need
        it: so it is made here, and another thread writes.
        """
        with self._counting:
            self.uploads += 1
            size, at_a_time = parts_of(length, self.uploads)
        try:
            return self._upload(key, pieces, size, at_a_time)
        finally:
            with self._counting:
                self.uploads -= 1

    def _upload(self, key: str, pieces: Iterable[bytes], size: int, at_a_time: int) -> str:
        handed: Queue[bytes | BaseException | None] = Queue(_PIECES)

        def passed_on() -> Iterator[bytes]:
            while (piece := handed.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece

        with ThreadPoolExecutor(1, "bucket-parts") as writer:
            writing = writer.submit(
                obstore.put,
                self._store,
                key,
                passed_on(),
                use_multipart=True,
                chunk_size=size,
                max_concurrency=at_a_time,
            )
            # Nobody need wait to hand something over, once nobody takes it.
            writing.add_done_callback(lambda _: _empty(handed))
            try:
                for piece in pieces:
                    if writing.done():
                        break
                    handed.put(piece)
            except BaseException as error:
                handed.put(error)
                wait([writing])
                raise
            handed.put(None)
            try:
                answered = self._etag(writing.result()["e_tag"])
                # Ceph does not tell it. Nobody else writes this object, so it can be asked for.
                return answered or self._etag(obstore.head(self._store, key)["e_tag"])
            except Exception as error:
                raise meaning_of(error) from error

    def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """List uploads in parts; see `Engine`. Objects in memory have none."""
        return [] if self._unfinished is None else self._unfinished.list(prefix)

    def abort(self, uploads: Sequence[Unfinished]) -> None:
        """Abort uploads; see `Engine`."""
        if self._unfinished is not None:
            self._unfinished.abort(uploads)

    def _etag(self, text: str | None) -> str:
        return (text or "") if self._quotes else (text or "").strip('"')


def parts_of(length: int | None, uploads: int) -> tuple[int, int]:
    """How large the parts of an upload are, and how many are on their way, if it is one of many.

    An upload has in memory one part more than that.
    """
    at_a_time = max(1, min(AT_A_TIME, UNDER_WAY // uploads))
    size = PART if at_a_time == AT_A_TIME else SMALL_PART
    return max(size, -(-(length or 0) // PARTS)), at_a_time


def _empty(queue: Queue[Any]) -> None:
    with suppress(Empty):
        while True:
            queue.get_nowait()


def memory_engine() -> ObjectStoreEngine:
    """Objects in memory, for tests."""
    return ObjectStoreEngine(MemoryStore(), quotes=True)


def meaning_of(error: Exception) -> Exception:
    """Say what an exception of obstore means for a request."""
    text = str(error)
    is_missing = isinstance(error, (FileNotFoundError, exceptions.NotFoundError))
    if is_missing and "<Code>NoSuchKey</Code>" in text:
        return Missing()  # before all that takes longer: each POST comes here
    if (asked := _PROFILE.search(text)) is not None:
        return (Refused if asked[1] == "Refused" else Unsettled)(asked[2])
    if _NO_CREDENTIALS.search(text):
        return (Refused if is_missing or _is_final(text) else Unsettled)(_SET)
    code = _CODE.search(text)
    if _FULL.search(text):
        return Full(code[1] if code else "it has no room")
    if is_missing:
        # A missing bucket, a server that is no S3, or a gateway in trouble have the same status. No
        # blob may seem to be gone because of them.
        if "NoDataInMemory" in text:
            return Missing()
        return Refused(code[1] if code else "it answers 404 as no S3 does")
    if isinstance(error, (exceptions.AlreadyExistsError, exceptions.PreconditionError)):
        return Mismatch()
    if isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
        return Refused(code[1] if code else "it does not accept the credentials")
    if _is_final(text):
        return Refused(code[1] if code else _first_line(text))
    if _REDIRECT.search(text):
        return Refused("it redirects: the endpoint or the region is wrong")
    return Unsettled(code[1] if code else _first_line(text) + _cause(text))


def _is_final(text: str) -> bool:
    """Whether the status is that of a mistake, and asking again does not help."""
    status = _STATUS.search(text)
    return (
        status is not None
        and status[1][0] in "34"
        and status[1] not in ("408", "409", "425", "429")
    )


def _first_line(text: str) -> str:
    line = " ".join(text.partition("Debug source:")[0].split())
    return _ASKED.sub("", line)[:200]


def _cause(text: str) -> str:
    """Why no connection was made, as far as obstore tells; "" if it was."""
    if "error sending request" not in text:
        return ""
    found = next(filter(None, (each.search(text) for each in _CAUSES)), None)
    cause = "" if found is None else f": {_IN_WORDS.get(found[1], found[1])}"
    return cause + (" (without --s3-endpoint it is AWS)" if _AT_AWS.search(text) else "")
