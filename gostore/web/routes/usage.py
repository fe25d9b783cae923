"""How much is stored, and how much more may be: what a user of the store wants to see of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from klein import Klein

from gostore.access.grants import Principal, Scope, Verb
from gostore.access.quotas import Quotas
from gostore.prefixes import ByPrefix
from gostore.store.interface import Store
from gostore.web.answers import JSON, Answer
from gostore.web.routing import asks, prepare
from gostore.wire import Request

Member = dict[str, object]


class Usage:
    """Tells of a store what the sender of a request may list of it.

    ``quotas`` are what the access file sets, ``keep`` for how many seconds a location has a
    history. With ``counts`` the store knows how many blobs it has, and how much room.
    """

    app = Klein()
    prepare(app)

    def __init__(
        self,
        store: Store,
        quotas: Quotas | None = None,
        keep: ByPrefix[float] | None = None,
        *,
        counts: bool = True,
    ) -> None:
        self._store = store
        self._quotas = quotas
        self._keep = ByPrefix(0.0) if keep is None else keep
        self._counts = counts

    @app.route("/usage", methods=["GET"])
    @asks(Verb.LIST)
    def usage(self, request: Request) -> Answer:
        """Tell who asks, what is stored, the quotas, and how long history is kept, as JSON.

        The figures of the whole store are for those who may list all of it.
        """
        principal: Principal | None = request.principal
        scope = None if principal is None else principal.scope
        shown: Member = {"principal": None if principal is None else principal.name}
        if scope is None and self._counts:
            figures = self._store.figures()
            shown["blobs"] = figures.blobs
            shown["bytes"] = figures.size
            shown["free"] = max(figures.free + figures.kept - figures.reserve, 0)
        shown["quotas"] = list(self._quotas_within(scope))
        shown["keep"] = list(self._keep_within(scope))
        body = json.dumps(shown).encode("ascii") + b"\n"
        return Answer(200, {**JSON, b"cache-control": b"no-store"}, body)

    def _quotas_within(self, scope: Scope | None) -> Iterator[Member]:
        """The quotas of what may be listed. A quota that still counts its blobs is left out."""
        for usage in () if self._quotas is None else self._quotas.usages():
            quota = usage.quota
            if usage.counted_to is None and _has(scope, quota.prefix):
                yield {
                    "prefix": quota.prefix,
                    "bytes": usage.size,
                    "max_bytes": quota.size,
                    "blobs": usage.count,
                    "max_blobs": quota.count,
                }

    def _keep_within(self, scope: Scope | None) -> Iterator[Member]:
        """The rules for what may be listed; the longest prefix of a location counts."""
        for prefix, seconds in {"": self._keep.default, **self._keep.prefixes}.items():
            if not prefix or _has(scope, prefix) or _leads_to(scope, prefix):
                yield {"prefix": prefix, "seconds": None if math.isinf(seconds) else seconds}


def _has(scope: Scope | None, prefix: str) -> bool:
    """Whether all below a prefix may be listed."""
    return scope is None or prefix.startswith(scope.prefixes)


def _leads_to(scope: Scope | None, prefix: str) -> bool:
    """Whether something below a prefix may be listed."""
    return scope is None or any(each.startswith(prefix) for each in scope.prefixes)
