"""Requests as the dispatcher sees them, with a store in memory and no wire."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.trial.unittest import SynchronousTestCase

from gostore.errors import NoUpload
from gostore.web.dispatch import Dispatcher
from gostore.web.labels import Labels
from gostore.web.lifetimes import Lifetimes
from gostore.web.routes.blobs import Blobs
from gostore.web.routes.lists import Lists
from gostore.web.routes.metrics import Metrics
from gostore.web.routes.page import PageFiles
from gostore.web.routes.status import Status
from gostore.web.routes.uploads import ResumableUploads
from gostore.web.routes.usage import Usage
from gostore.web.routing import Routes
from tests.store.memory_store import MemoryStore
from tests.web.fake_request import FakeBody, FakeRequest


def routes(
    store: MemoryStore,
    *,
    put_creates: bool = False,
    stores_forms: bool = False,
    clock: IReactorTime | None = None,
    lifetimes: Lifetimes | None = None,
) -> list[Routes]:
    """All the routes that a daemon has."""
    labels = Labels(lifetimes, stores_forms=stores_forms)
    blobs = Blobs(store, labels, put_creates=put_creates)
    metrics = Metrics(lambda accept: (f"of {accept}\n".encode(), "text/plain; charset=utf-8"))
    uploads = ResumableUploads(NoUploads())
    lists = Lists(store, clock)
    return [blobs, lists, uploads, Status(store), metrics, Usage(store), PageFiles()]


class NoUploads:
    """Uploads of which there are none."""

    max_size: int | None = None

    def _none(self, *_: object) -> Deferred[Any]:
        return fail(NoUpload())

    begin = stand = append = finish = terminate = _none


class WebCase(SynchronousTestCase):
    """Has a `dispatcher` for a `store` with nothing in it."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.dispatcher = Dispatcher(routes(self.store))

    def ask(
        self, method: str, target: str, *headers: tuple[str, str], body: FakeBody | bytes = b""
    ) -> FakeRequest:
        """Dispatch a request."""
        request = FakeRequest(method, target, headers, body)
        self.dispatcher.dispatch(request)  # type: ignore[arg-type]
        return request

    def assert_refused(self, request: FakeRequest, code: int, *, delivered: bool = False) -> None:
        """The answer is an error, as all of them are, and cost no upload."""
        self.assertEqual(request.code, code, request.content)
        self.assertTrue(request.error)
        self.assertEqual(request.answer["x-content-type-options"], "nosniff")
        self.assertTrue(request.content.endswith(b"}\n"))
        self.assertEqual(request.body.delivered, delivered)
