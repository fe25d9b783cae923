"""The engine as a daemon uses it: after any trouble it first sees that the bucket is still its own.

A bucket that is deleted may come back empty: SeaweedFS makes it again for the next PUT. Every old
blob would be answered with 404 then, and new ones be acknowledged into a bucket that is no store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from attrs import evolve

from gostore.bucket.engine import (
    Engine,
    Found,
    Full,
    Listed,
    Missing,
    Refused,
    Unfinished,
    Unsettled,
)
from gostore.bucket.pointer import STORE
from gostore.bucket.probe import Description, Unfit, description_in

T = TypeVar("T")


class GuardedEngine:
    """Passes requests on, unless there was trouble since `STORE` was read and was as it should be.

    Threads use it at the same time.
    """

    def __init__(self, engine: Engine, expected: Description) -> None:
        """``expected`` is what was in `STORE` at the start."""
        self._engine = engine
        self._expected = expected
        #: The last trouble, and the last one before the last good look. One write sets each.
        self._trouble = self._seen = object()

    @property
    def in_doubt(self) -> bool:
        """Whether nothing is passed on before `STORE` has been read."""
        return self._trouble is not self._seen

    def look(self) -> None:
        """See that `STORE` is as it should be. Raises Refused or Unsettled."""
        before = self._trouble
        try:
            self._compare(self._engine.get(STORE))
        except Missing:
            self._trouble = object()
            raise Refused(f"{STORE} is gone, so this is no store any more") from None
        except (Refused, Unsettled):
            self._trouble = object()
            raise
        self._seen = before

    def _compare(self, found: Found) -> None:
        try:
            description = description_in(found)
        except Unfit as error:
            raise Refused(str(error)) from error
        # A migration may begin, or end.
        if evolve(description, migrating=self._expected.migrating) != self._expected:
            raise Refused(f"{STORE} is that of another store, made at {description.created}")

    def get(self, key: str, etag: str | None = None, span: tuple[int, int] | None = None) -> Found:
        """Pass it on."""
        return self._guard(lambda: self._engine.get(key, etag, span))

    def put(self, key: str, data: bytes) -> str:
        """Pass it on."""
        return self._guard(lambda: self._engine.put(key, data))

    def create(self, key: str, data: bytes) -> str:
        """Pass it on."""
        return self._guard(lambda: self._engine.create(key, data))

    def swap(self, key: str, data: bytes, etag: str) -> str:
        """Pass it on."""
        return self._guard(lambda: self._engine.swap(key, data, etag))

    def delete(self, key: str) -> None:
        """Pass it on."""
        self._guard(lambda: self._engine.delete(key))

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """Pass it on."""
        listed = self._engine.list(prefix, after)
        while (entry := self._guard(lambda: next(listed, None))) is not None:
            yield entry

    def upload(self, key: str, pieces: Iterable[bytes], length: int | None) -> str:
        """Pass it on."""
        return self._guard(lambda: self._engine.upload(key, pieces, length))

    def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """Pass it on. Engines that refuse this may be sound."""
        return self._engine.unfinished(prefix)

    def abort(self, uploads: Sequence[Unfinished]) -> None:
        """Pass it on."""
        self._engine.abort(uploads)

    def _guard(self, request: Callable[[], T]) -> T:
        if self._trouble is not self._seen:
            self.look()
        try:
            result = request()
        except Full:
            raise
        except Missing:
            # Another request may have met trouble meanwhile: then this may be a lie.
            if self._trouble is not self._seen:
                self.look()
            raise
        except (Refused, Unsettled):
            self._trouble = object()
            raise
        return result
