"""Cross-origin resource sharing (CORS, in the Fetch standard): pages that may use this server.

A browser keeps a page from reading what another origin sends, unless that says that the page may.
It asks before a request that no form could make (a preflight). Here nothing is allowed but the
origins of the setting allow-origin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gostore.web.answers import Answer
from gostore.web.fields.representation import META
from gostore.wire import Headers, PreparedFields, Request

ANY = "*"
"""Stands for every origin."""

MAX_AGE = 600
"""Seconds for which a browser need not ask again."""

_EXPOSED = (
    b"Accept-Ranges, Content-Disposition, Content-Encoding, Content-Range, ETag, Expires-At, Link,"
    b" Location, Repr-Digest, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size,"
    b" Tus-Resumable, Tus-Version, Upload-Defer-Length, Upload-Expires, Upload-Length,"
    b" Upload-Metadata, Upload-Offset, WWW-Authenticate, X-Request-Id"
)
_EXPOSE = b"access-control-expose-headers"
_NAMES = re.compile(rb"[A-Za-z0-9_, -]{1,1000}")
_POLICY = b"cross-origin-resource-policy"


class CrossOrigin:
    """Lets pages of these origins use this server: texts as "https://a.example", or `ANY` alone."""

    def __init__(self, origins: frozenset[str]) -> None:
        self._any = ANY in origins
        self._origins = {origin.encode("ascii") for origin in origins}

    def allows(self, origin: bytes | None) -> bool:
        """Whether this is the Origin of a page that may. Only an any-origin rule allows "null"."""
        return origin is not None and (self._any or origin.lower() in self._origins)

    def sent(self, request: Request, answer: Answer) -> Answer:
        """The answer with the fields that say which page may read it."""
        fields = answer.fields
        pairs = tuple(fields.items()) if isinstance(fields, Mapping) else tuple(fields)
        if self._any:
            # Everybody may read, so everybody may embed, too.
            pairs = tuple((n, b"cross-origin") if n == _POLICY else (n, v) for n, v in pairs)
        more = self._fields(request.headers.get(b"origin"))
        if (exposed := more.get(_EXPOSE)) is not None:
            # "*" would not do for an answer with credentials.
            names = [name.title() for name, _ in pairs if name.startswith(META)]
            more[_EXPOSE] = b", ".join([exposed, *names])
        return Answer(answer.code, PreparedFields((*pairs, *more.items())), answer.body)

    def preflight(self, headers: Headers, allow: bytes) -> dict[bytes, bytes]:
        """The further fields of the answer to OPTIONS; ``allow`` has the methods of the path.

        A browser compares what it wants with them. So what is not there is not allowed.
        """
        wanted = headers.get(b"access-control-request-method")
        if wanted is None or not self.allows(headers.get(b"origin")):
            return {}
        fields = {
            b"access-control-allow-methods": allow,
            b"access-control-max-age": b"%d" % MAX_AGE,
        }
        names = headers.get(b"access-control-request-headers")
        if names is not None and _NAMES.fullmatch(names):
            # Any field may be sent: the metadata of a blob have names of the client's choice.
            fields[b"access-control-allow-headers"] = names
        return fields

    def _fields(self, origin: bytes | None) -> dict[bytes, bytes]:
        if self._any:
            # Nobody's cookies or passwords: a browser sends them for no such answer.
            return {
                b"access-control-allow-origin": b"*",
                _EXPOSE: _EXPOSED,
            }
        if origin is None or not self.allows(origin):
            return {b"vary": b"Origin"}
        return {
            b"access-control-allow-origin": origin,
            b"access-control-allow-credentials": b"true",
            _EXPOSE: _EXPOSED,
            b"vary": b"Origin",
        }
