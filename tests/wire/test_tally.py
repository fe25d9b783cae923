"""gostore.wire.tally: what is counted of all answers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.wire import Limits
from gostore.wire.tally import BYTES, OTHER, SECONDS, Counts, Tally
from tests.wire.support import GET, Client, head


class TallyTests(SynchronousTestCase):
    """The counts by themselves."""

    def test_groups(self) -> None:
        """Each value is in one group: up to a bound, that one included, or above them all."""
        tally = Tally()
        for bound in SECONDS:
            tally.add("GET", 200, bound, 0, 0)
        tally.add("GET", 200, SECONDS[-1] + 1, 0, 0)
        for bound in BYTES:
            tally.add("PUT", 204, 0.0, bound, bound)
        tally.add("PUT", 204, 0.0, BYTES[-1] + 1, BYTES[-1] + 1)
        read, written = tally.answers["GET", 200], tally.answers["PUT", 204]
        self.assertEqual(read.by_seconds, [1] * (len(SECONDS) + 1))
        self.assertEqual(read.seconds, sum(SECONDS) + SECONDS[-1] + 1)
        self.assertEqual(written.by_received, [1] * (len(BYTES) + 1))
        self.assertEqual(written.by_sent, [1] * (len(BYTES) + 1))
        self.assertEqual(written.received, sum(BYTES) + BYTES[-1] + 1)
        self.assertEqual(written.sent, written.received)

    def test_other_methods(self) -> None:
        """A client may invent methods: all of them have one count for each status."""
        tally = Tally()
        for number in range(1000):
            tally.add(f"M{number}", 405, 0.0, 0, 0)
        self.assertEqual(list(tally.answers), [(OTHER, 405)])
        self.assertEqual(sum(tally.answers[OTHER, 405].by_sent), 1000)


class AnswerTests(SynchronousTestCase):
    """What the connections count."""

    def counts(self, client: Client, method: str, code: int) -> Counts:
        """The only counts there are but those of a GET's 200, which each client has."""
        answers = client.factory.tally.answers
        found = {key for key, each in answers.items() if any(each.by_sent)}
        self.assertEqual(found, {(method, code)})
        return answers[method, code]

    def test_answer(self) -> None:
        """An answer is counted when it ends, with the time since the end of its head."""
        client = Client()
        client.send(head(b"Content-Length: 5", line=b"PUT /a HTTP/1.1"))
        self.assertFalse(any(any(each.by_sent) for each in client.factory.tally.answers.values()))
        client.clock.advance(3)
        client.send(b"hello")
        counts = self.counts(client, "PUT", 200)
        self.assertEqual((counts.seconds, counts.received, counts.sent), (3.0, 5, 0))

    def test_unread(self) -> None:
        """What could not be read is counted with its status."""
        client = Client()
        client.send(b"NONSENSE\r\n\r\n")
        self.assertEqual(sum(self.counts(client, OTHER, 400).by_sent), 1)

    def test_gone(self) -> None:
        """A client that goes before it is answered is counted without a status."""
        client = Client()
        client.send(head(b"Content-Length: 5", line=b"PUT /a HTTP/1.1") + b"he")
        client.lose()
        self.assertEqual(self.counts(client, "PUT", 0).received, 2)

    def test_connections(self) -> None:
        """Connections that are too many are counted."""
        first = Client(limits=Limits(max_connections=1, turned_away=2))
        for _ in range(2):
            Client(first.app, factory=first.factory).send(GET)
        for _ in range(3):
            self.assertIsNone(first.factory.buildProtocol(None))
        tally = first.factory.tally
        self.assertEqual((tally.turned_away, tally.cut_off), (2, 3))
