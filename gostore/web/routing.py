"""Which endpoint of a Klein application a request goes to, by its method and its raw path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klein import Klein
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter

from gostore.web.answers import Refusal
from gostore.web.fields.locations import STORE, decode_location

METHODS = frozenset({"DELETE", "GET", "HEAD", "POST", "PUT"})
"""The methods that some route takes; OPTIONS is answered for all of them."""

REMEMBERED = 4096
"""How many matches are remembered,"""

LONGEST_REMEMBERED = 256
"""and how many characters a path has at most to be among them."""


class LocationConverter(BaseConverter):
    """The rest of the raw path as a location; Refusal if it is none.

    Werkzeug's own takes no slash at the beginning, which would make ``/store//a`` a 404.
    """

    regex = ".+"
    part_isolating = False
    weight = 200

    def to_python(self, value: str) -> str:
        """Decode it."""
        return decode_location(value)


class DirectoryConverter(BaseConverter):
    """The rest of the raw path, if it ends with a slash, as a prefix of locations."""

    regex = ".+/"
    part_isolating = False
    weight = 100

    def to_python(self, value: str) -> str:
        """Decode it."""
        return decode_location(value[:-1]) + "/"


def prepare(app: Klein) -> None:
    """Make an application without routes match raw paths, to be called before its first route."""
    app.url_map.merge_slashes = False
    app.url_map.converters.update(path=LocationConverter, directory=DirectoryConverter)


class Router:
    """Matches against the routes of an application; never a redirect."""

    def __init__(self, app: Klein) -> None:
        self._adapter = app.url_map.bind("gostore")
        # The endpoint of a location by its method, as the map has it.
        self._of_location: dict[str, str] = {}
        self._remembered: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}

    def match(self, method: str, path: str) -> tuple[str, Mapping[str, Any]]:
        """The endpoint and its arguments for one of METHODS.

        Raises Refusal: 404, 405 with Allow (RFC 9110 section 15.5.6), 400 and 414 for a path that
        has no location where one is due.
        """
        found = self._remembered.get((method, path))
        if found is None:
            found = self._match_location(method, path) or self._match(method, path)
            if len(path) <= LONGEST_REMEMBERED:
                if len(self._remembered) >= REMEMBERED:
                    self._remembered.clear()
                self._remembered[method, path] = found
        return found

    def allow(self, path: str) -> dict[bytes, bytes]:
        """The Allow field of a path; of the whole server for ``*`` and for a CONNECT's authority.

        Raises Refusal (404) if no route has the path.
        """
        if path.startswith("/"):
            methods = [] if path.startswith("//") else self._adapter.allowed_methods(path)
            if not methods:
                raise _not_found()
            return _allow(methods)
        return _allow(METHODS)

    def _match_location(self, method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
        """The match of what can only be a location, without asking the map again for each.

        It takes 30 us to find that out, a fifth of what a small PUT costs the reactor.
        """
        if not path.startswith(STORE) or path.endswith("/"):
            return None
        endpoint = self._of_location.get(method)
        if endpoint is None:
            endpoint, _ = self._match(method, STORE + "x")
            self._of_location[method] = endpoint
        return endpoint, {"location": decode_location(path[len(STORE) :])}

    def _match(self, method: str, path: str) -> tuple[str, Mapping[str, Any]]:
        # Werkzeug takes any number of slashes, even none, at the beginning for one.
        if not path.startswith("/") or path.startswith("//"):
            raise _not_found()
        try:
            return self._adapter.match(path, method)
        except MethodNotAllowed as error:
            raise not_allowed(_allow(error.valid_methods or ())) from None
        except HTTPException:
            raise _not_found() from None


def not_allowed(allow: Mapping[bytes, bytes]) -> Refusal:
    """The refusal of a method, with the Allow field it has to have."""
    return Refusal(405, "The method is not allowed here", allow)


def _not_found() -> Refusal:
    text = "There is nothing at this path: blobs are below /store/, the rest is in /openapi.json"
    return Refusal(404, text)


def _allow(methods: Any) -> dict[bytes, bytes]:
    return {b"allow": ", ".join(sorted({*methods, "OPTIONS"})).encode("ascii")}
