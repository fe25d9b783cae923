"""Many transfers at a time, and what stops all of them."""

from __future__ import annotations

import mimetypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

from attrs import frozen

from gostore.client.blocking import Client
from gostore.client.cli.files import FileFailed, Found, Writer, said
from gostore.client.cli.report import NOT_DONE, Bars, Report
from gostore.client.errors import Changed, ClientError, Damaged, NotFound, Refused, Unreachable
from gostore.client.sources import File
from gostore.client.values import Blob, format_mtime

#: How often a file is fetched anew that changes while it is read.
_ATTEMPTS = 3

#: Failures that all that follows would have, too.
_FATAL = (Unreachable, Refused)

#: Seconds that threads get to end by themselves when the user interrupts.
_GRACE = 1.0

#: The type of a file that is compressed: its name tells that of what is inside.
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}

Job = tuple[str, Callable[[], None]]
"""What is to be done, and the name under which a failure of it is reported."""


def blobs_below(client: Client, prefix: str, report: Report) -> Iterator[Blob]:
    """All blobs below a prefix. To have none is a failure: the prefix may be a typo."""
    has_any = False
    for blob in client.ls(prefix):
        has_any = True
        yield blob
    if not has_any:
        report.failed(prefix, NotFound(f"{prefix or 'The daemon'} has no blob"))


@frozen
class Upload:
    """A file to be sent, where to, and under which conditions.

    Nothing is sent if its digest is ``unless``. Without a type its name tells it.
    """

    found: Found
    location: str
    create_only: bool = False
    if_match: str | None = None
    content_type: str | None = None
    unless: str | None = None


class Transfers:
    """Does jobs in threads of its own, and reports what came of them.

    It goes on after a failure, unless the daemon is away or refuses the credentials.
    """

    def __init__(self, client: Client, report: Report, bars: Bars) -> None:
        self.client = client
        self.writer = Writer()
        self._report = report
        self._bars = bars

    def run(self, jobs: Iterable[Job], at_a_time: int) -> None:
        """Do all jobs. If the user interrupts, no file is half written when this raises."""
        pool = ThreadPoolExecutor(at_a_time, thread_name_prefix="gostore")
        pending: dict[Future[None], str] = {}
        try:
            for name, job in jobs:
                pending[pool.submit(job)] = name
                # As many wait as work: a list of a million needs no memory for all of them.
                if len(pending) >= 2 * at_a_time and not self._take(pending):
                    break
            while pending:
                if not self._take(pending):
                    for future in pending:
                        future.cancel()
            pool.shutdown()
        except BaseException:
            self.writer.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            wait(pending, timeout=_GRACE)
            if not all(future.done() for future in pending):
                # One waits for the network, and Python would wait for it.
                print("gostore: interrupted", file=sys.stderr, flush=True)
                os._exit(NOT_DONE)
            raise

    def _take(self, pending: dict[Future[None], str]) -> bool:
        """Wait for one job at least; return whether others are worth the attempt."""
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        goes_on = True
        for future in done:
            name = pending.pop(future)
            if future.cancelled():
                continue
            error = future.exception()
            if isinstance(error, ClientError):
                self._report.failed(name, error)
                goes_on = goes_on and not isinstance(error, _FATAL)
            elif error is not None:
                raise error
        return goes_on

    def send(self, upload: Upload) -> None:
        """Send a file, unless it has the digest that makes this unnecessary."""
        found = upload.found
        with self._bars.transfer(found.relative, found.size) as moved:
            try:
                known = partial(self.client.sha256_of, upload.location)
                source = File(found.path, self._until_stopped(moved), known)
            except OSError as error:
                raise FileFailed(said(error)) from error
            if upload.unless == source.sha256:
                return
            fields = {"X-Gostore-Meta-Mtime": format_mtime(source.mtime_ns)}
            if content_type := upload.content_type or type_of(found.path):
                fields["Content-Type"] = content_type
            blob = self.client.put(
                upload.location,
                source,
                fields,
                create_only=upload.create_only,
                if_match=upload.if_match,
            )
        self._report.done(
            "stored", upload.location, size=blob.size, etag=blob.etag, file=found.path
        )

    def _until_stopped(self, moved: Callable[[int], None]) -> Callable[[int], None]:
        def move(position: int) -> None:
            self.writer.check()
            moved(position)

        return move

    def fetch(self, location: str, path: str, version: int | None = None) -> None:
        """Fetch a blob into a file."""
        for left in reversed(range(_ATTEMPTS)):
            with self.client.get(location, version=version) as download:
                blob = download.blob
                size = blob.size if blob.size >= 0 else None
                with self._bars.transfer(location, size) as moved:
                    download.moved = self._until_stopped(moved)
                    try:
                        self.writer.save(download, path)
                        break
                    except (Changed, Damaged):
                        # What an earlier command has left may be what is wrong.
                        if not left or download.blob.sha256 is None:
                            raise
        self._report.done("fetched", location, size=blob.size, etag=blob.etag, file=path)


def type_of(path: str) -> str | None:
    """The type that the name of a file stands for."""
    content_type, encoding = mimetypes.guess_type(path, strict=False)
    return _COMPRESSED.get(encoding) if encoding else content_type
