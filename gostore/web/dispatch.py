"""From a request to its answer: find the route, run it, and turn what it raises into a refusal."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial, wraps
from typing import Any, cast

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from gostore.access.proxies import Proxies
from gostore.errors import Damaged, DiskFailed
from gostore.text import escape
from gostore.web.answer_cache import AnswerCache, is_plain
from gostore.web.answers import Answer, Refusal, refusal_of
from gostore.web.browsers import Browsers
from gostore.web.forwarded import read_forwarded
from gostore.web.guard import Guard, unprompted
from gostore.web.routing import METHODS, Method, Router, Routes, not_allowed
from gostore.wire import INTERNAL_ERROR, Find, Request

log = Logger()


def eager(route: Callable[..., Coroutine[Any, Any, Answer]]) -> Method:
    """Let a route answer at once when it has nothing to wait for.

    A Deferred.fromCoroutine for each request costs a read from memory a third of the reactor's CPU.
    """

    @wraps(route)
    def first_step(self: Routes, request: Request, **arguments: Any) -> Answer | Deferred[Answer]:
        return _step(None, route(self, request, **arguments))

    return first_step


def _step(result: object, coroutine: Coroutine[Any, Any, Answer]) -> Answer | Deferred[Answer]:
    """Run a coroutine to its end, or to a Deferred that has no result yet.

    ``result`` is the result of the Deferred that it has waited for. A coroutine takes a value from
    the Deferred itself; a failure must be thrown into it.
    """
    try:
        if isinstance(result, Failure):
            awaited = result.throwExceptionIntoGenerator(cast(Any, coroutine))
        else:
            awaited = coroutine.send(None)
    except StopIteration as done:
        return cast(Answer, done.value)
    return cast("Deferred[Answer]", awaited.addBoth(_step, coroutine))


class Dispatcher:
    """Answers every request by these routes, but for what ``browsers`` and ``guard`` refuse.

    ``answers`` has the answers that these routes would give; ``proxies`` are those whose word
    counts.
    """

    def __init__(
        self,
        routes: Iterable[Routes],
        browsers: Browsers | None = None,
        answers: AnswerCache | None = None,
        guard: Guard | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._router = Router(routes)
        self._guard = guard
        self._proxies = proxies
        self._browsers = Browsers() if browsers is None else browsers
        self._cross_origin = self._browsers.cross_origin
        self._answers = answers

    def shortcut(self, request: Request) -> Find | None:
        """What finds the answers to further GETs of this client with the fields of this one.

        Whatever the fields decide about an answer has to be decided here, once, or by what is
        returned, for each. None if every request has to be dispatched.
        """
        if self._answers is None or not request.headers.parsed(is_plain):
            return None
        try:
            self._browsers.check(request)
        except Refusal:
            return None
        if self._guard is None:
            return self._answers.find
        return partial(self._answers.find, may_read=self._guard.reader(request))

    def dispatch(self, request: Request) -> None:
        """Answer a request, sooner or later, exactly once, whatever happens."""
        try:
            answer = self._answer(request)
            if isinstance(answer, Answer):
                self._send(answer, request)
                return
        except Exception:
            answer = fail()
        # One pair of callbacks: each has its price.
        answer.addCallbacks(
            self._send_or_give_up, self._refuse, callbackArgs=(request,), errbackArgs=(request,)
        )

    def _refuse(self, failure: Failure, request: Request) -> None:
        try:
            self._send(_refused(failure, request), request)
        except Exception:
            _give_up(Failure(), request)

    def _send_or_give_up(self, answer: Answer, request: Request) -> None:
        try:
            self._send(answer, request)
        except Exception:
            _give_up(Failure(), request)

    def _send(self, answer: Answer, request: Request) -> None:
        if self._cross_origin is not None:
            answer = self._cross_origin.sent(request, answer)
        answer.send(request)

    def _answer(self, request: Request) -> Answer | Deferred[Answer]:
        if self._proxies is not None:
            read_forwarded(request, self._proxies)
        self._browsers.check(request)
        if request.method not in METHODS:
            allow = self._router.allow(request.path)
            if request.method != "OPTIONS":
                raise not_allowed(allow)
            allow |= self._router.discover(request.path)
            if self._cross_origin is not None:
                allow |= self._cross_origin.preflight(request.headers, allow[b"allow"])
            return Answer(200, allow)
        endpoint, arguments = self._router.match(request.method, request.path)
        if self._guard is not None and endpoint.asks:
            return self._guard.admit(request, endpoint, arguments)
        # Calling it through Klein costs a read a tenth more.
        return endpoint(request, **arguments)


def _refused(failure: Failure, request: Request) -> Answer:
    """The answer to a request that failed. What people should look into is logged."""
    refusal = refusal_of(failure.value)
    if isinstance(failure.value, (DiskFailed, Damaged)):
        # The store tells of damage once, and does not know who found it.
        if not failure.value.is_logged:
            log.error(
                "{method} {path!r} failed: {reason} ({id})",
                method=request.method,
                path=request.path,
                reason=escape(str(failure.value)),
                id=request.id.decode("ascii"),
            )
    elif refusal.code == 500:
        _log_failure(failure, request)
    request.reason = refusal.text
    return unprompted(refusal, request.headers).answer


def _give_up(failure: Failure, request: Request) -> None:
    _log_failure(failure, request)
    Refusal(500, INTERNAL_ERROR).answer.send(request)


def _log_failure(failure: Failure, request: Request) -> None:
    log.failure(
        "{method} {path!r} failed ({id})",
        failure,
        method=request.method,
        path=request.path,
        id=request.id.decode("ascii"),
    )
