"""gostore.wire.identity: the ids of requests."""

from __future__ import annotations

import uuid

from twisted.trial.unittest import SynchronousTestCase

from gostore.wire import HTTPFactory, Limits, Request
from gostore.wire.identity import identities
from tests.wire.support import GET, Client, Store, Turning, head, read_responses


class IdentityTests(SynchronousTestCase):
    """An id for each request."""

    def test_uuids(self) -> None:
        """Each is a random UUID (RFC 9562 section 5.4) as people write it, and no two are one."""
        draw = identities()
        drawn = [draw().decode() for _ in range(1000)]
        self.assertEqual(len(set(drawn)), 1000)
        for each in drawn:
            parsed = uuid.UUID(each)
            self.assertEqual((str(parsed), parsed.version), (each, 4))
            self.assertEqual(parsed.variant, uuid.RFC_4122)
        # All bits but those of the version and the variant differ somewhere.
        bits = 0
        for each in drawn:
            bits |= uuid.UUID(each).int ^ uuid.UUID(drawn[0]).int
        self.assertEqual(bits.bit_count(), 122)

    def test_apart(self) -> None:
        """Two factories give different ids."""
        self.assertNotEqual(identities()(), identities()())


class FieldTests(SynchronousTestCase):
    """X-Request-Id, in every answer."""

    def client(self, app: object = None) -> Client:
        """A client of a factory that gives real ids."""
        app = app or Store()
        return Client(app, factory=HTTPFactory(app, Limits(max_connections=1), Turning()))  # type: ignore[arg-type]

    def test_each(self) -> None:
        """Each request of a connection has an id of its own, which the application knows."""
        client = self.client()
        client.send(GET + GET)
        told = [each.headers["x-request-id"] for each in client.responses()]
        self.assertEqual(told, [each.id.decode() for each in client.requests])
        self.assertEqual(len(set(told)), 2)

    def test_refused(self) -> None:
        """So has what the wire refuses, be its head read or not, and a connection too many."""
        client = self.client()
        for sent in (b"NONSENSE\r\n\r\n", head(b"Transfer-Encoding: chunked") + b"x"):
            client = self.client()
            client.send(sent)
            [refused] = client.responses()
            self.assertEqual(refused.code, 400)
            self.assertEqual(uuid.UUID(refused.headers["x-request-id"]).version, 4)
        other = Client(client.app, factory=client.factory)
        other.send(GET)
        [refused] = read_responses(other.wire.value())
        self.assertEqual((refused.code, len(refused.headers["x-request-id"])), (503, 36))

    def test_other(self) -> None:
        """The application may have another one sent, say that of a proxy."""

        def app(request: Request) -> None:
            request.id = b"other"
            request.respond(200, (), b"")

        client = self.client(app)
        client.send(GET)
        [response] = read_responses(client.wire.value())
        self.assertEqual(response.headers["x-request-id"], "other")
