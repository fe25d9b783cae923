"""The route of a request: the method that answers it, by its HTTP method and its raw path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, cast, runtime_checkable

from klein import Klein
from twisted.internet.defer import Deferred
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter, Map, Rule

from gostore.access.grants import Verb
from gostore.web.answers import Answer, Refusal
from gostore.web.fields.locations import STORE, decode_location
from gostore.wire import Request

METHODS = frozenset({"DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"})
"""The methods that some route takes. The dispatcher answers OPTIONS for every path."""

LONGEST_PATH = 4096
"""The longest path, percent-encoded, that any route has: a location has three quarters of it."""

Method = Callable[..., Answer | Deferred[Answer]]
"""A route's method: takes the request, and the parts of the path as keywords."""


class Endpoint(Protocol):
    """A route's method, bound, and what it asks for."""

    asks: tuple[Verb, ...]

    def __call__(self, request: Request, **arguments: Any) -> Answer | Deferred[Answer]:
        """Answer a request."""


def asks(*verbs: Verb) -> Callable[[Method], Callable[..., Any]]:
    """Say which verbs a route asks for; of several, the route decides which one applies.

    ``@asks()`` is for a route that is open to everyone. It stands right below ``@app.route``, and a
    Router takes no route without it.
    """

    def mark(endpoint: Method) -> Method:
        cast(Any, endpoint).asks = verbs
        return endpoint

    return mark


class Routes(Protocol):
    """A class whose methods are routes of its Klein app."""

    app: Klein


@runtime_checkable
class Discoverable(Protocol):
    """Routes that have more to tell than their methods."""

    def discover(self, path: str) -> Mapping[bytes, bytes]:
        """The further fields of the answer to OPTIONS for a path; none for one of others."""


class LocationConverter(BaseConverter):
    """The rest of the raw path as a location; Refusal if it is none.

    Werkzeug's own takes no leading slash, which would make ``/store//a`` a 404.
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


CONVERTERS = {"path": LocationConverter, "directory": DirectoryConverter}


def prepare(app: Klein) -> None:
    """Make an application without routes match raw paths; call it before its first route."""
    app.url_map.converters.update(CONVERTERS)


class Router:
    """Matches requests against all of these routes; never redirects.

    Raises TypeError for a route that does not say what it asks for.
    """

    def __init__(self, routes: Iterable[Routes]) -> None:
        routes = list(routes)
        self._discoverable = [each for each in routes if isinstance(each, Discoverable)]
        rules = [_bound(rule, each) for each in routes for rule in each.app.url_map.iter_rules()]
        table = Map(rules, merge_slashes=False, converters=CONVERTERS)
        self._adapter = table.bind("gostore")
        # The endpoint of a location for each method, as the table has it.
        self._of_location: dict[str, Endpoint] = {}

    def match(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, Any]]:
        """The endpoint for one of METHODS and a path, and its arguments.

        Raises Refusal: 404; 405 with Allow (RFC 9110 section 15.5.6); 400 and 414 for a path whose
        location is bad.
        """
        return self._match_location(method, path) or self._match(method, path)

    def allow(self, path: str) -> dict[bytes, bytes]:
        """The Allow field of a path; of the whole server for ``*`` and for a CONNECT's authority.

        Raises Refusal (404) if no route has the path.
        """
        _check_length(path)
        if path.startswith("/"):
            methods = [] if path.startswith("//") else self._adapter.allowed_methods(path)
            if not methods:
                raise nothing_here()
            return _allow(methods)
        return _allow(METHODS)

    def discover(self, path: str) -> dict[bytes, bytes]:
        """What the routes of a path have to tell besides."""
        found: dict[bytes, bytes] = {}
        for each in self._discoverable:
            found.update(each.discover(path))
        return found

    def _match_location(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, Any]] | None:
        """The match of a path that can only be a location.

        Werkzeug takes 30 us for one, a fifth of what a small PUT costs the reactor.
        """
        if not path.startswith(STORE) or path.endswith("/"):
            return None
        endpoint = self._of_location.get(method)
        if endpoint is None:
            endpoint, _ = self._match(method, STORE + "x")
            self._of_location[method] = endpoint
        return endpoint, {"location": decode_location(path[len(STORE) :])}

    def _match(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, Any]]:
        _check_length(path)
        # Werkzeug takes any number of leading slashes, even none, for one.
        if not path.startswith("/") or path.startswith("//"):
            raise nothing_here()
        try:
            return self._adapter.match(path, method)
        except MethodNotAllowed as error:
            raise not_allowed(_allow(error.valid_methods or ())) from None
        except HTTPException:
            raise nothing_here() from None


def not_allowed(allow: Mapping[bytes, bytes]) -> Refusal:
    """The refusal of a method, with the Allow field that it must have."""
    return Refusal(405, "The method is not allowed here", allow)


def _bound(rule: Rule, routes: Routes) -> Rule:
    """A copy of a Klein app's rule that leads to the method itself, not to its name."""
    bound = rule.empty()
    bound.endpoint = getattr(routes, rule.endpoint)
    if not hasattr(bound.endpoint, "asks"):
        raise TypeError(f"the route {rule.rule} does not say what it asks for")
    return bound


def _check_length(path: str) -> None:
    """Refuse a path that werkzeug would take a millisecond for, and that no route has."""
    if len(path) > LONGEST_PATH:
        raise Refusal(414, f"The path is longer than {LONGEST_PATH} bytes")


def nothing_here() -> Refusal:
    """The refusal of a path that no route has."""
    text = "There is nothing at this path: blobs are below /store/, the rest is in /openapi.json"
    return Refusal(404, text)


def _allow(methods: Iterable[str]) -> dict[bytes, bytes]:
    return {b"allow": ", ".join(sorted({*methods, "OPTIONS"})).encode("ascii")}
