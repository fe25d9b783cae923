"""The guard: it lets a request through to its route, if its sender may do what the route does.

It decides at the end of the head, before anything of a body is taken, and before anybody looks
whether there is a blob. So a refusal costs no upload, and tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gostore.access.door import Door, Throttled, WrongCredentials
from gostore.access.grants import Principal, Verb
from gostore.access.rules import ANONYMOUS
from gostore.web.answers import Answer, Refusal
from gostore.web.routing import Endpoint
from gostore.wire import Headers, Request

_CHALLENGE: Mapping[bytes, bytes] = {
    # Basic comes first: not every client reads on (RFC 9110 section 11.6.1).
    b"www-authenticate": b'Basic realm="gostore", charset="UTF-8", Bearer realm="gostore"'
}


_FOR_SCRIPTS = {b"www-authenticate": b'Bearer realm="gostore"'}

_SOMEWHERE = frozenset({Verb.LIST, Verb.CREATE, Verb.REPLACE})


class Guard:
    """Asks the door who sends a request, and that principal whether it may."""

    def __init__(
        self,
        door: Door,
        remote_user: str | None = None,
        sign_in: Callable[[Request], Answer | None] | None = None,
    ) -> None:
        """``remote_user`` is the field in which a trusted proxy names the user it has verified.

        ``sign_in`` makes the answer to who has to say who it is, if it is one who reads a page.
        """
        self._door = door
        self._sign_in = sign_in
        self._remote_user = None if remote_user is None else remote_user.lower().encode("ascii")
        # Bound once: the fields of a connection remember its result.
        self._key: Callable[[Headers], bytes | None] = self._key_of

    def admit(
        self, request: Request, endpoint: Endpoint, arguments: Mapping[str, Any]
    ) -> Answer | Deferred[Answer]:
        """Call the route of a request with its arguments. Raises Refusal, or fails with it."""
        if self._remote_user is not None and request.forwarded is not None:
            name = request.headers.get(self._remote_user)
            if name is not None:
                return self._go_on(self._verified(name), request, endpoint, arguments)
        key = request.headers.parsed(self._key)
        principal = self._door.anonymous if key is None else self._door.find(key)
        if principal is not None:
            return self._go_on(principal, request, endpoint, arguments)
        value = request.headers.get(b"authorization") or b""
        asked = self._door.ask(key or b"", value, getattr(request.client, "host", None))
        return asked.addErrback(_refuse).addCallback(self._go_on, request, endpoint, arguments)

    def reader(self, request: Request) -> Callable[[str], bool]:
        """What says of a location whether the sender of a request may read it now.

        It looks anew each time, since rules change and credentials expire. Credentials that have
        not been let in yet may read nothing.
        """
        key = request.headers.parsed(self._key)

        def may_read(location: str) -> bool:
            principal = self._door.anonymous if key is None else self._door.find(key)
            return principal is not None and principal.may(Verb.READ, location)

        return may_read

    def _go_on(
        self,
        principal: Principal,
        request: Request,
        endpoint: Endpoint,
        arguments: Mapping[str, Any],
    ) -> Answer | Deferred[Answer]:
        request.principal = principal
        location = arguments.get("location")
        for verb in endpoint.asks:
            if _may(principal, verb, location):
                return endpoint(request, **arguments)
        refusal = refused(principal, endpoint.asks[0])
        page = None
        if refusal.code == 401 and self._sign_in is not None:
            page = self._sign_in(request)
        if page is None:
            raise refusal
        request.reason = refusal.text
        return page

    def _verified(self, name: bytes) -> Principal:
        """The user that a proxy names. Raises Refusal (403) if the access file has none so called.

        It says no more: a request is never repeated to its sender.
        """
        user = self._door.rules.users.get(name.decode("utf-8", "replace"))
        if user is None:
            raise Refusal(403, "The access file does not know the user that the proxy names")
        return user.principal

    def _key_of(self, headers: Headers) -> bytes | None:
        value = headers.get(b"authorization")
        return None if value is None else self._door.key_of(value)


def _may(principal: Principal, verb: Verb, location: str | None) -> bool:
    if location is not None:
        return principal.may(verb, location)
    # A list shows what may be listed, and an upload says later where it goes. Anything else without
    # a location is of the whole store.
    return principal.may_somewhere(verb) if verb in _SOMEWHERE else principal.may(verb, "")


def _doing(verb: Verb) -> str:
    return "read the metrics" if verb is Verb.METRICS else f"{verb.value} this"


def refused(principal: Principal, verb: Verb) -> Refusal:
    """The refusal of what a principal may not do: 401 if the client could say who it is, or 403."""
    if principal.kind == ANONYMOUS:
        return Refusal(401, f"Without credentials nobody may {_doing(verb)}", _CHALLENGE)
    return Refusal(403, f"{principal.name} may not {_doing(verb)}")


def unprompted(refusal: Refusal, headers: Headers) -> Refusal:
    """The same refusal, without a challenge at which a browser would ask its user for a password.

    That is for the scripts of the page, which ask themselves; they send X-Requested-With.
    """
    if refusal.code != 401 or headers.get(b"x-requested-with") is None:
        return refusal
    return Refusal(refusal.code, refusal.text, {**refusal.fields, **_FOR_SCRIPTS})


def _refuse(failure: Failure) -> Failure:
    error = failure.value
    if isinstance(error, WrongCredentials):
        raise Refusal(401, str(error), _CHALLENGE)
    if isinstance(error, Throttled):
        raise Refusal(429, str(error), {b"retry-after": b"%d" % error.seconds})
    return failure
