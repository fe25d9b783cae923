"""The metrics, for whoever scrapes them."""

from __future__ import annotations

from collections.abc import Callable

from klein import Klein

from gostore.access.grants import Verb
from gostore.web.answers import Answer
from gostore.web.routing import asks, prepare
from gostore.wire import Request

Scrape = Callable[[str], tuple[bytes, str]]
"""Gives the metrics in a form that an Accept field allows, and the content type of that form."""


class Metrics:
    """Answers a scrape."""

    app = Klein()
    prepare(app)

    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    @app.route("/metrics", methods=["GET"])
    @asks(Verb.METRICS)
    def metrics(self, request: Request) -> Answer:
        """All metrics, as Prometheus or OpenMetrics have it."""
        accept = (request.headers.get(b"accept") or b"").decode("latin-1")
        body, content_type = self._scrape(accept)
        fields = {
            b"content-type": content_type.encode("ascii"),
            b"x-content-type-options": b"nosniff",
            b"cache-control": b"no-store",
        }
        return Answer(200, fields, body)
