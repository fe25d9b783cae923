"""What the server says about itself: its health, and its interface.

A supervisor asks /livez and /readyz every few seconds, most of all when something is wrong. So they
are also answered beyond max-connections, and touch no disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from klein import Klein

from gostore.errors import ReadOnly, Stopping
from gostore.store.interface import Store
from gostore.web.answers import JSON, RETRY_AFTER, Answer
from gostore.web.openapi import document
from gostore.web.routing import asks, prepare
from gostore.wire import Request

PROBES = frozenset({"/healthz", "/livez", "/readyz"})
"""The paths that a supervisor asks."""

Check = Callable[[], str]
"""Gives the reason why the daemon is not ready, in one line; "" if it is."""

_PLAIN: Mapping[bytes, bytes] = {
    b"content-type": b"text/plain; charset=utf-8",
    b"x-content-type-options": b"nosniff",
    b"cache-control": b"no-store",
}


class Status:
    """Answers for the health of a store and of the daemon, and describes the interface.

    ``checks`` are what else has to be well before /readyz says so, by name.
    """

    app = Klein()
    prepare(app)

    def __init__(
        self,
        store: Store,
        checks: Mapping[str, Check] | None = None,
        notes: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        """``notes`` are what else /readyz?verbose tells, by name; they keep nobody away."""
        self._store = store
        self._checks = {} if checks is None else checks
        self._notes = {} if notes is None else notes

    @app.route("/healthz", methods=["GET"])
    @asks()
    def healthz(self, request: Request) -> Answer:
        """Whether the store takes writes: 200, or 503 with the reason.

        With ``?verbose`` it also counts what there is. Damaged blobs are counted apart: they keep
        nobody from writing.
        """
        self._store.check_health()
        body = b'"Ok!"'
        if _is_verbose(request):
            figures = self._store.figures()
            counts = {name: getattr(figures, name) for name in ("blobs", "damaged", "uploads")}
            body = json.dumps({"text": "Ok!", **counts}).encode("ascii") + b"\n"
        return Answer(200, {**JSON, b"cache-control": b"no-store"}, body)

    @app.route("/livez", methods=["GET"])
    @asks()
    def livez(self, request: Request) -> Answer:
        """Whether the process responds: 200. If not, restart it."""
        return Answer(200, _PLAIN, b"ok\n")

    @app.route("/readyz", methods=["GET"])
    @asks()
    def readyz(self, request: Request) -> Answer:
        """Whether to send requests here: 200, or 503 with a line for each reason.

        With ``?verbose`` it has a line for each check.
        """
        found = {
            "writes": self._writes(),
            "space": self._space(),
            **{name: check() for name, check in self._checks.items()},
        }
        is_ready = not any(found.values())
        if _is_verbose(request):
            text = "".join(f"{name}: {reason or 'ok'}\n" for name, reason in found.items())
            notes = ((name, note()) for name, note in self._notes.items())
            text += "".join(f"{name}: {note}\n" for name, note in notes if note)
        elif is_ready:
            text = "ok\n"
        else:
            text = "".join(f"{name}: {reason}\n" for name, reason in found.items() if reason)
        if is_ready:
            return Answer(200, _PLAIN, text.encode())
        return Answer(503, {**_PLAIN, b"retry-after": b"%d" % RETRY_AFTER}, text.encode())

    def _writes(self) -> str:
        try:
            self._store.check_health()
        except (ReadOnly, Stopping) as error:
            return str(error)
        return ""

    def _space(self) -> str:
        figures = self._store.figures()
        if figures.free + figures.kept >= figures.reserve:
            return ""
        free, reserve = figures.free >> 20, figures.reserve >> 20
        return f"{free} MiB are free, and {reserve} MiB are reserved"

    @app.route("/openapi.json", methods=["GET"])
    @asks()
    def describe(self, request: Request) -> Answer:
        """This interface, described in OpenAPI."""
        return Answer(200, {**JSON, b"cache-control": b"no-cache"}, document())


def _is_verbose(request: Request) -> bool:
    return any(part.partition("=")[0] == "verbose" for part in request.query.split("&"))
