"""The verbs of a store: all that the API sees of one.

Each answers with a Deferred that fails with an error of errors.py. A write that is refused for what
is known before its body came fails before the body is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from gostore.blob import Committed
from gostore.store.blobstore import Details, Page
from gostore.store.content import Content
from gostore.wire import Body

Condition = Callable[[Committed | None], None]
"""Is called with what a location has, at dispatch and at commit, and raises to refuse a write."""


class Store(Protocol):
    """What a provider of blobs offers; what the verbs mean under concurrency is its affair."""

    def get(self, location: str) -> Deferred[Committed]:
        """What there is, its digest included. Fails with NotFound or Damaged."""

    def content(self, blob: Committed) -> Deferred[Content]:
        """The bytes of a blob that get gave. Fails with NotFound if it was collected since."""

    def create(
        self, location: str, body: Body, details: Details, condition: Condition | None = None
    ) -> Deferred[Committed]:
        """Store a new blob. Fails with AlreadyExists."""

    def replace(
        self, location: str, body: Body, details: Details, condition: Condition | None = None
    ) -> Deferred[Committed]:
        """Store a blob in the place of another. Fails with NotFound."""

    def put(
        self, location: str, body: Body, details: Details, condition: Condition | None = None
    ) -> Deferred[tuple[Committed, bool]]:
        """Store a blob, and say whether there was none before."""

    def delete(self, location: str, condition: Condition | None = None) -> Deferred[None]:
        """Delete a blob. Fails with NotFound."""

    def list(
        self, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000
    ) -> Deferred[Page]:
        """Part of what there is, ordered by location."""

    def check_health(self) -> None:
        """Raises ReadOnly or Stopping if writes are refused."""
