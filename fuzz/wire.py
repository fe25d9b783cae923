"""One answer to each request, and no request made up, whatever a client sends in any pieces.

The first byte says how the rest is split.
"""

from __future__ import annotations

from tests.wire.support import Client, Patient, Store, random_sizes, read_responses, strict_count


def check(data: bytes) -> None:
    """Send bytes to a connection on a transport in memory."""
    how, sent = data[:1] or b"\0", data[1:]
    sizes = random_sizes(how[0], len(sent)) if how[0] else []
    client = Client(Patient() if how[0] & 1 else Store())
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
    count = strict_count(sent)
    assert len(requests) <= count, f"{len(requests)} requests, where a strict reader sees {count}"
    for request in requests:
        assert request.method and request.path, request
    client.wait(200)
    assert client.wire.ending, "a client that says nothing more is never let go"
    client.lose()
    client.wait(2)
    assert not client.clock.getDelayedCalls(), "a timer outlives its connection"
