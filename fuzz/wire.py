"""One answer to each request, and no request made up, whatever a client sends in any pieces.

The first byte says how the rest is split. All of it goes to an application that only the tests
have, and to the real one with a store in memory. Nothing gets a 500, and nothing is logged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher

from gostore.wire import HTTPFactory, Limits
from tests.web.hostile import Served
from tests.wire.support import (
    Client,
    Patient,
    Store,
    Turning,
    random_sizes,
    read_responses,
    strict_count,
)

EXPECTED = frozenset((501, 503, 505, 507))
"""The only answers from 500 up that say nothing of a fault."""

#: Nobody waits for five minutes here.
LIMITS = Limits(chunked_window=30)


def check(data: bytes) -> None:
    """Send bytes to a connection on a transport in memory, for each application."""
    how, sent = data[:1] or b"\0", data[1:]
    sizes = random_sizes(how[0], len(sent)) if how[0] else []
    for app in (Patient() if how[0] & 1 else Store(), Served()):
        with nothing_logged():
            play(app, sent, sizes)


def play(app: Store | Served, sent: bytes, sizes: list[int]) -> None:
    """Send bytes in pieces of these sizes, and see that all is well until the client is gone."""
    clock = app.clock if isinstance(app, Served) else Turning()
    client = Client(app, factory=HTTPFactory(app, LIMITS, clock, wall=lambda: 784111777))
    client.send_split(sent, sizes)
    if not client.wire.ending and not client.wire.paused:
        client.end()
    requests = client.requests
    methods = [each.method for each in requests]
    try:
        read = read_responses(client.wire.value(), methods)
    except AssertionError:
        # A HEAD, too, may be refused before it is dispatched, and its answer has no body.
        if b"HEAD " not in sent:
            raise
        read = read_responses(client.wire.value(), [*methods, "HEAD"])
    # What was not dispatched and still answered is refused, and nothing comes after a refusal.
    answers = [each for each in read if each.code != 100]
    assert len(answers) <= len(requests) + 1, "more answers than requests"
    if len(answers) > len(requests):
        assert answers[-1].code >= 400, answers[-1]
        assert client.wire.ending, "a refused connection goes on"
    for answer in answers:
        assert answer.code < 500 or answer.code in EXPECTED, f"a fault: {answer}"
    count = strict_count(sent)
    assert len(requests) <= count, f"{len(requests)} requests, where a strict reader sees {count}"
    for request in requests:
        assert request.method and request.path, request
    client.wait(200)
    assert client.wire.ending, "a client that says nothing more is never let go"
    client.lose()
    client.wait(2)
    assert not client.clock.getDelayedCalls(), "a timer outlives its connection"


@contextmanager
def nothing_logged() -> Iterator[None]:
    """Let nothing into the log that is more than information: no traceback, above all."""
    events: list[LogEvent] = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)
    for event in events:
        assert event.get("log_level", LogLevel.info) <= LogLevel.info, event
