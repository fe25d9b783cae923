"""An engine whose requests are counted and timed, by kind."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from gostore.bucket.engine import (
    Engine,
    EngineError,
    Found,
    Listed,
    Mismatch,
    Missing,
    Refused,
    Unfinished,
    Unsettled,
)
from gostore.store.measures import Histogram

T = TypeVar("T")

KINDS = ("get", "put", "create", "swap", "delete", "list", "upload", "unfinished", "abort")

OUTCOMES = ("ok", "missing", "mismatch", "unsettled", "refused", "failed")

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class MeasuredEngine:
    """Passes requests on. Threads may lose a count to each other; none is lost to a reader."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: How many requests had which outcome, by kind and outcome.
        self.counts: Counter[tuple[str, str]] = Counter()
        #: How long they took, by kind.
        self.seconds = {kind: Histogram(_BOUNDS) for kind in KINDS}

    def get(self, key: str, etag: str | None = None, span: tuple[int, int] | None = None) -> Found:
        """Pass it on."""
        return self._measure("get", lambda: self._engine.get(key, etag, span))

    def put(self, key: str, data: bytes) -> str:
        """Pass it on."""
        return self._measure("put", lambda: self._engine.put(key, data))

    def create(self, key: str, data: bytes) -> str:
        """Pass it on."""
        return self._measure("create", lambda: self._engine.create(key, data))

    def swap(self, key: str, data: bytes, etag: str) -> str:
        """Pass it on."""
        return self._measure("swap", lambda: self._engine.swap(key, data, etag))

    def delete(self, key: str) -> None:
        """Pass it on."""
        self._measure("delete", lambda: self._engine.delete(key))

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """Pass it on, page by page: each is counted with its first entry."""
        listed = self._engine.list(prefix, after)
        first = self._measure("list", lambda: next(listed, None))
        if first is not None:
            yield first
            yield from listed

    def upload(self, key: str, pieces: Iterable[bytes], length: int | None) -> str:
        """Pass it on; the time includes the client's."""
        return self._measure("upload", lambda: self._engine.upload(key, pieces, length))

    def unfinished(self, prefix: str) -> Sequence[Unfinished]:
        """Pass it on."""
        return self._measure("unfinished", lambda: self._engine.unfinished(prefix))

    def abort(self, uploads: Sequence[Unfinished]) -> None:
        """Pass it on; some together are one request."""
        self._measure("abort", lambda: self._engine.abort(uploads))

    def _measure(self, kind: str, request: Callable[[], T]) -> T:
        begun, outcome = time.monotonic(), "failed"
        try:
            result = request()
            outcome = "ok"
            return result
        except EngineError as error:
            outcome = _outcome_of(error)
            raise
        finally:
            self.seconds[kind].add(time.monotonic() - begun)
            self.counts[kind, outcome] += 1


def _outcome_of(error: EngineError) -> str:
    for kind in (Missing, Mismatch, Unsettled, Refused):
        if isinstance(error, kind):
            return kind.__name__.lower()
    return "failed"
