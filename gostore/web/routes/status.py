"""What the server says about itself: its health, and its interface."""

from __future__ import annotations

import json

from attrs import asdict
from klein import Klein

from gostore.store.interface import Store
from gostore.web.answers import JSON, Answer
from gostore.web.openapi import document
from gostore.web.routing import asks, prepare
from gostore.wire import Request


class Status:
    """Answers for the health of a store, and describes the interface."""

    app = Klein()
    prepare(app)

    def __init__(self, store: Store) -> None:
        self._store = store

    @app.route("/healthz", methods=["GET"])
    @asks()
    def healthz(self, request: Request) -> Answer:
        """Whether the store takes writes: 200, or 503 with the reason.

        With ``?verbose`` it also counts what there is. Damaged blobs are counted apart: they keep
        nobody from writing.
        """
        self._store.check_health()
        body = b'"Ok!"'
        if any(part.partition("=")[0] == "verbose" for part in request.query.split("&")):
            counts = asdict(self._store.figures())
            body = json.dumps({"text": "Ok!", **counts}).encode("ascii") + b"\n"
        return Answer(200, {**JSON, b"cache-control": b"no-store"}, body)

    @app.route("/openapi.json", methods=["GET"])
    @asks()
    def describe(self, request: Request) -> Answer:
        """This interface, described in OpenAPI."""
        return Answer(200, {**JSON, b"cache-control": b"no-cache"}, document())
