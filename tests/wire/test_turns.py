"""gostore.wire.turns: a client whose work takes long lets others have their turn."""

from __future__ import annotations

import socket
from functools import partial

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.pollreactor import PollReactor
from twisted.trial.unittest import SynchronousTestCase

from gostore.wire.turns import (
    CHUNKS_A_TURN,
    PIECES_A_TURN,
    REQUESTS_A_TURN,
    SOCKETS_A_TURN,
    Turns,
    shorten_turns,
)
from tests.wire.support import GET, Client, Pieces, Turning, chunked, head, responder

TINY = 10_000
TINY_CHUNKS = b"1\r\nx\r\n" * TINY
END = b"0\r\n\r\n"


class TurnsTests(SynchronousTestCase):
    """Work that waits."""

    def test_one_a_turn(self) -> None:
        """A turn of the reactor does one piece of work, the oldest."""
        clock = Turning()
        turns = Turns(clock)
        done: list[int] = []
        for number in range(3):
            turns.wait(lambda number=number: done.append(number))  # type: ignore[misc]
        for number in range(3):
            self.assertEqual(done, list(range(number)))
            clock.turn()
        self.assertEqual(done, [0, 1, 2])
        self.assertEqual((len(turns), clock.getDelayedCalls()), (0, []))

    def test_again(self) -> None:
        """Work that has more to do waits behind the others."""
        clock = Turning()
        turns = Turns(clock)
        done: list[str] = []

        def work() -> None:
            done.append("long")
            if len(done) < 4:
                turns.wait(work)

        turns.wait(work)
        turns.wait(lambda: done.append("short"))
        for _ in range(9):
            clock.turn()
        self.assertEqual(done, ["long", "short", "long", "long"])

    def test_failure(self) -> None:
        """Work that raises does not keep the next from its turn."""
        clock = Turning()
        turns = Turns(clock)
        done: list[int] = []
        turns.wait(lambda: done.append(1 // 0))
        turns.wait(lambda: done.append(2))
        self.assertRaises(ZeroDivisionError, clock.turn)
        clock.turn()
        self.assertEqual(done, [2])


class TinyChunkTests(SynchronousTestCase):
    """Bodies in chunks of one byte."""

    def uploading(self) -> Client:
        """A client that has sent 10,000 chunks of one byte, in one read."""
        client = Client()
        client.send(chunked(b""))
        client.connection.dataReceived(TINY_CHUNKS)
        return client

    def test_work_of_a_turn(self) -> None:
        """However much comes at once, a turn reads so many chunks and no more."""
        client = self.uploading()
        body = client.requests[0].body
        for turn in range(1, TINY // CHUNKS_A_TURN):
            self.assertLessEqual(body.size, turn * CHUNKS_A_TURN)
            self.assertTrue(client.wire.paused)
            client.clock.turn()
        client.settle()
        self.assertFalse(client.wire.paused)
        self.assertEqual(body.size, TINY)
        client.send(END + GET)
        self.assertEqual(client.codes, [200, 200])
        self.assertEqual(client.app.kept, {"/a": b"x" * TINY})

    def test_others(self) -> None:
        """Another client is answered in between, and many such bodies share one turn."""
        first = self.uploading()
        second = Client(first.app, factory=first.factory)
        second.send(chunked(b""))
        second.connection.dataReceived(TINY_CHUNKS)
        before = sum(request.body.size for request in first.requests)
        third = Client(first.app, factory=first.factory)
        third.connection.dataReceived(GET)
        self.assertEqual(len(third.wire.value().split(b"\r\n\r\n")), 2)
        third.clock.turn()
        after = sum(request.body.size for request in first.requests)
        self.assertLessEqual(after - before, CHUNKS_A_TURN)

    def test_half_close(self) -> None:
        """A client that half-closes while its body waits has sent it all the same."""
        client = Client()
        client.send(chunked(b""))
        client.connection.dataReceived(TINY_CHUNKS + END)
        client.end()
        client.settle()
        self.assertEqual(client.codes, [200])
        self.assertEqual(client.app.kept, {"/a": b"x" * TINY})
        self.assertTrue(client.wire.lost)

    def test_half_close_too_early(self) -> None:
        """A client that half-closes in its body is found out when all of it is read."""
        client = self.uploading()
        client.end()
        client.settle()
        self.assertEqual(client.app.sinks[0].reasons, [f"Client went away after {TINY} bytes"])

    def test_gone(self) -> None:
        """A client that goes while its body waits leaves nothing behind."""
        client = self.uploading()
        client.lose()
        self.assertEqual(len(client.app.sinks[0].reasons), 1)
        client.settle()
        client.wait(2)
        self.assertEqual(client.clock.getDelayedCalls(), [])

    def test_more_comes(self) -> None:
        """Bytes that come while others wait (TLS may have some) are read in their order."""
        client = self.uploading()
        client.connection.dataReceived(b"3\r\nend\r\n" + END)
        client.settle()
        self.assertEqual(client.app.kept, {"/a": b"x" * TINY + b"end"})

    def test_answered(self) -> None:
        """An answer in the middle of it is the last; the rest is never read as a request."""
        client = Client()
        client.send(head(b"Transfer-Encoding: chunked", line=b"PUT /waiting HTTP/1.1"))
        client.connection.dataReceived(TINY_CHUNKS + END + GET)
        client.requests[0].respond(413, [], b"")
        client.settle()
        self.assertEqual(client.codes, [413])
        self.assertTrue(client.wire.ending)

    def test_bad_chunk(self) -> None:
        """A bad chunk is found in its turn."""
        client = Client()
        client.send(chunked(b""))
        client.connection.dataReceived(TINY_CHUNKS + b"x\r\n")
        client.settle()
        self.assertEqual(client.codes, [400])

    def test_slow(self) -> None:
        """Waiting for a turn gives a body that is too slow no more time."""
        client = Client()
        client.send(chunked(b""))
        for _ in range(70):
            if client.wire.ending:
                break
            client.send(b"1\r\nx\r\n" * (CHUNKS_A_TURN + 1))
            client.wait(10)
        self.assertEqual(client.codes, [408])


class PipelineTests(SynchronousTestCase):
    """Many requests at once."""

    def test_work_of_a_turn(self) -> None:
        """A turn reads so many requests and no more, and the rest is not lost."""
        client = Client()
        client.connection.dataReceived(GET * 1000)
        self.assertLessEqual(len(client.requests), REQUESTS_A_TURN)
        self.assertTrue(client.wire.paused)
        client.clock.turn()
        self.assertLessEqual(len(client.requests), 2 * REQUESTS_A_TURN)
        client.settle()
        self.assertEqual(client.codes, [200] * 1000)
        self.assertFalse(client.wire.paused)

    def test_upload_at_the_end(self) -> None:
        """A turn may end right before a body of which nothing is here."""
        client = Client()
        upload = head(b"Content-Length: 5", line=b"PUT /b HTTP/1.1")
        client.connection.dataReceived(GET * (REQUESTS_A_TURN - 1) + upload)
        client.settle()
        self.assertFalse(client.wire.paused)
        client.send(b"hello")
        self.assertEqual(client.codes, [200] * REQUESTS_A_TURN)
        self.assertEqual(client.app.kept, {"/b": b"hello"})

    def test_half_close(self) -> None:
        """A client that half-closes gets all its answers first."""
        client = Client()
        client.connection.dataReceived(GET * 100)
        client.end()
        self.assertFalse(client.wire.ending)
        client.settle()
        self.assertEqual(client.codes, [200] * 100)
        self.assertTrue(client.wire.lost)


class SourceTests(SynchronousTestCase):
    """Sources that have everything, for clients that take everything."""

    def test_work_of_a_turn(self) -> None:
        """A turn writes so many pieces and no more."""
        source = Pieces([b"x"] * 1000)
        client = Client(responder(200, [], lambda: source))
        client.connection.dataReceived(GET)
        self.assertEqual(source.reads, PIECES_A_TURN)
        client.clock.turn()
        self.assertEqual(source.reads, 2 * PIECES_A_TURN)
        client.settle()
        self.assertEqual([each.body for each in client.responses()], [b"x" * 1000])
        self.assertEqual(source.closed, 1)

    def test_gone(self) -> None:
        """A client that goes while a response waits for its turn gets no more of it."""
        source = Pieces([b"x"] * 1000)
        client = Client(responder(200, [], lambda: source))
        client.connection.dataReceived(GET)
        client.lose()
        client.settle()
        self.assertEqual((source.reads, source.closed), (PIECES_A_TURN, 1))


class Ready:
    """A socket that always has something to read, and notes that it was served."""

    def __init__(self, number: int, served: list[int]) -> None:
        self._number = number
        self._served = served
        self._socket, self._peer = socket.socketpair()
        self._peer.send(b"x")

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def doRead(self) -> None:
        """Read nothing, so that the socket stays ready."""
        self._served.append(self._number)

    def logPrefix(self) -> str:
        """The name in the log."""
        return "ready"

    def close(self) -> None:
        """Close both ends."""
        self._socket.close()
        self._peer.close()


class ShortTurnsTests(SynchronousTestCase):
    """A reactor with many ready sockets."""

    def serve(self, reactor: EPollReactor | PollReactor, sockets: int, turns: int) -> list[int]:
        """The sockets that some turns of a reactor served, in their order."""
        served: list[int] = []
        everyone = [Ready(number, served) for number in range(sockets)]
        for each in everyone:
            reactor.addReader(each)
        for _ in range(turns):
            reactor.doIteration(0)
        for each in everyone:
            reactor.removeReader(each)
            each.close()
        return served

    def test_a_few_a_turn(self) -> None:
        """A turn serves 32 ready sockets, and the next turns the others before the same again."""
        reactor = EPollReactor()
        shorten_turns(reactor)
        served = self.serve(reactor, 3 * SOCKETS_A_TURN, 3)
        self.assertEqual(sorted(served), list(range(3 * SOCKETS_A_TURN)))
        self.assertEqual(len(self.serve(reactor, 100, 1)), SOCKETS_A_TURN)

    def test_failing(self) -> None:
        """A socket that cannot be served, not even ended, keeps no other from being served."""
        reactor = EPollReactor()
        shorten_turns(reactor)
        served: list[int] = []
        one, other = Ready(1, served), Ready(2, served)

        def fail() -> None:
            raise RuntimeError("neither this")

        one.doRead = fail  # type: ignore[method-assign]
        for each in (one, other):
            self.addCleanup(each.close)
            reactor.addReader(each)
        reactor.doIteration(None)
        self.assertEqual(served, [2])
        self.assertEqual(len(self.flushLoggedErrors()), 2)
        self.assertEqual(reactor.removeAll(), [other])

    def test_closed(self) -> None:
        """A socket that was ready, and that another closed in this turn, is not served."""
        reactor = EPollReactor()
        shorten_turns(reactor)
        served: list[int] = []
        pair = [Ready(1, served), Ready(2, served)]

        def close(one: Ready, other: Ready) -> None:
            served.append(0)
            reactor.removeReader(other)

        for one, other in (pair, reversed(pair)):
            one.doRead = partial(close, one, other)  # type: ignore[method-assign]
            self.addCleanup(one.close)
            reactor.addReader(one)
        reactor.doIteration(0)
        self.assertEqual(served, [0])

    def test_few_sockets(self) -> None:
        """With fewer sockets than that, all are served in a turn; they can be removed and added."""
        reactor = EPollReactor()
        shorten_turns(reactor)
        for _ in range(2):
            self.assertEqual(sorted(self.serve(reactor, 5, 1)), [0, 1, 2, 3, 4])

    def test_another_reactor(self) -> None:
        """A reactor of another kind stays as it is, and serves them all."""
        reactor = PollReactor()
        shorten_turns(reactor)
        self.assertEqual(len(self.serve(reactor, 100, 1)), 100)
