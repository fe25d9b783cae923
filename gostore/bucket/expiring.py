"""Removing uploads in several requests that nobody goes on with, and what is left of those over.

Any daemon may do it at any time; see collect.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from attrs import frozen
from twisted.logger import Logger

from gostore.bucket.asking import passed_over
from gostore.bucket.engine import EngineError
from gostore.bucket.finishing import Finishing
from gostore.bucket.pieces import Pieces
from gostore.bucket.unfinished import UPLOADS, number_in, upload_folder, upload_key
from gostore.errors import NoUpload, StoreError, UploadOver

log = Logger()

#: Seconds that one step may take.
_PATIENCE = 20.0


@frozen
class Objects:
    """What a list shows of an upload."""

    number: int
    newest: float
    size: int


class Expiring:
    """Removes uploads. What is over is remembered for ``grace`` seconds, for late requests."""

    def __init__(self, finishing: Finishing, pieces: Pieces, grace: float) -> None:
        self._finishing = finishing
        self._pieces = pieces
        self._ask = pieces.ask
        self._grace = grace

    def run(self, expires: float, goes_on: Callable[[], bool]) -> tuple[int, int]:
        """Go through all uploads; return how many are not finished, and their bytes.

        ``expires`` are the seconds after which one is forgotten that nobody goes on with.
        """
        count = size = 0
        try:
            for each in self._uploads():
                if not goes_on():
                    break
                try:
                    if passed_over(partial(self._tidy, each, expires, goes_on), each.number):
                        count, size = count + 1, size + each.size
                except StoreError as error:
                    log.info("Upload {number} is left: {error}", number=each.number, error=error)
        except EngineError as error:
            log.info("The uploads were left: {error}", error=error)
        return count, size

    def _uploads(self) -> Iterator[Objects]:
        """All uploads, as a list shows them, whose objects stand together in it."""
        found: Objects | None = None
        for listed in self._ask.engine.list(UPLOADS):
            number = number_in(listed.key)
            if number is None:
                continue
            bytes_in = 0 if listed.key == upload_key(number) else listed.size
            if found is not None and found.number == number:
                newest = max(found.newest, listed.modified)
                found = Objects(number, newest, found.size + bytes_in)
                continue
            if found is not None:
                yield found
            found = Objects(number, listed.modified, bytes_in)
        if found is not None:
            yield found

    def _tidy(self, objects: Objects, expires: float, goes_on: Callable[[], bool]) -> bool:
        """Remove an upload, or what is left of it, if it is time; say whether it goes on."""
        number, until = objects.number, self._ask.seconds() + _PATIENCE
        try:
            kept = self._pieces.find(number, until)
        except (NoUpload, UploadOver):
            # Nobody can go on with these bytes. They came late, after the end of their upload.
            if self._is_older(objects.newest, max(self._grace, expires)):
                self._remove(number, goes_on)
            return False
        if kept.begun.is_over:
            if self._is_older(kept.modified, self._grace):
                self._remove(number, goes_on)
            return False
        # What the list does not show yet counts, too.
        came = self._pieces.come(number, until)
        if not self._is_older(max(kept.modified, came.when), expires):
            return True
        log.info(
            "Upload {number} of {location!r} has expired: {offset} bytes",
            number=number,
            location=kept.begun.location,
            offset=came.offset,
        )
        self._finishing.terminate(number, "it has expired")
        self._pieces.clear(number, goes_on, _PATIENCE)
        return False

    def _remove(self, number: int, goes_on: Callable[[], bool]) -> None:
        """Remove all of an upload, what is known of it last."""
        self._pieces.clear(number, goes_on, _PATIENCE)
        until = self._ask.seconds() + _PATIENCE
        left = self._ask.settle(
            lambda: [each.key for each in self._ask.engine.list(upload_folder(number))], until
        )
        if left == [upload_key(number)]:
            self._pieces.remove(upload_key(number), until)

    def _is_older(self, when: float, seconds: float) -> bool:
        return when < self._ask.engine_time() - seconds
