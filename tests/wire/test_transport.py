"""Tests for gostore.wire.transport: sending at once, and sending from files, on real sockets."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any
from unittest import mock

from twisted.internet import main, tcp
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor, MemoryReactorClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gostore.wire.transport import (
    FILE_TURN,
    PORT_REST,
    READ_LEAST,
    EagerServer,
    make_eager,
    make_patient,
)


class Reactor:
    """Notes who waits for what; the tests say when a socket can be written to."""

    def __init__(self) -> None:
        self.writers: set[object] = set()

    def addReader(self, reader: object) -> None:
        """Reading is not what these tests are about."""

    removeReader = addReader

    def addWriter(self, writer: object) -> None:
        """Somebody waits to write."""
        self.writers.add(writer)

    def removeWriter(self, writer: object) -> None:
        """Somebody has nothing more to write."""
        self.writers.discard(writer)


class Producer:
    """Counts."""

    def __init__(self) -> None:
        self.paused = 0
        self.resumed = 0

    def pauseProducing(self) -> None:
        """Paused."""
        self.paused += 1

    def resumeProducing(self) -> None:
        """Resumed."""
        self.resumed += 1


class ShortOfMemory:
    """A socket with a lot to read, and memory for no more than so many bytes."""

    def __init__(self, most: int) -> None:
        self.most = most

    def recv(self, size: int) -> bytes:
        """Receive."""
        if size > self.most:
            raise MemoryError
        return bytes(size)


class EagerServerTests(SynchronousTestCase):
    """One transport, and the client at the other end of its socket."""

    def setUp(self) -> None:
        server, self.client = socket.socketpair()
        self.addCleanup(self.client.close)
        self.addCleanup(server.close)
        server.setblocking(False)
        self.client.setblocking(False)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.reactor = Reactor()
        address: Any = ("127.0.0.1", 1)
        port: Any = None
        self.transport = EagerServer(server, Protocol(), address, port, 1, self.reactor)  # type: ignore[arg-type]
        self.producer = Producer()
        self.transport.registerProducer(self.producer, True)

    def got(self) -> bytes:
        """The bytes that the client can read now."""
        pieces = []
        try:
            while piece := self.client.recv(1 << 20):
                pieces.append(piece)
        except BlockingIOError:
            pass
        return b"".join(pieces)

    def file(self, data: bytes) -> int:
        """A file that is open."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(data)
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        return fd

    def test_write(self) -> None:
        """write sends what the socket takes before it returns, and nobody waits for anything."""
        self.transport.write(b"hello")
        self.assertEqual(self.got(), b"hello")
        self.assertEqual(self.reactor.writers, set())

    def test_more_than_it_takes(self) -> None:
        """The rest waits for the socket, in order, and pauses the producer."""
        data = os.urandom(300_000)
        self.transport.write(data)
        self.assertEqual(self.reactor.writers, {self.transport})
        self.assertEqual(self.producer.paused, 1)
        self.transport.write(b"and more")
        got = b""
        while self.transport in self.reactor.writers:
            got += self.got()
            self.assertIsNone(self.transport.doWrite())
        self.assertEqual(got + self.got(), data + b"and more")
        self.assertEqual(self.producer.resumed, 1)

    def test_broken(self) -> None:
        """A connection that is broken is left for the reactor to find."""
        self.client.close()
        self.transport.write(b"hello")
        self.assertEqual(self.reactor.writers, {self.transport})
        self.assertIsInstance(self.transport.doWrite(), Exception)

    def test_send_file(self) -> None:
        """A stretch of a file is sent as far as the socket takes it, then the producer waits."""
        data = os.urandom(300_000)
        fd = self.file(b"before" + data + b"after")
        sent = self.transport.send_file(fd, 6, len(data))
        self.assertTrue(0 < sent < len(data))
        self.assertEqual((self.producer.paused, self.producer.resumed), (1, 0))
        got = b""
        while sent < len(data):
            got += self.got()
            self.assertIsNone(self.transport.doWrite())
            sent += self.transport.send_file(fd, 6 + sent, len(data) - sent)
        self.assertEqual(got + self.got(), data)
        self.assertEqual(self.producer.resumed, self.producer.paused)

    def test_small_file(self) -> None:
        """If all of it is sent nobody is paused."""
        self.assertEqual(self.transport.send_file(self.file(b"hello"), 1, 3), 3)
        self.assertEqual(self.got(), b"ell")
        self.assertEqual((self.producer.paused, self.reactor.writers), (0, set()))

    def test_turns(self) -> None:
        """After a large stretch others have their turn, though the socket would take more."""
        self.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * FILE_TURN)
        fd = self.file(bytes(2 * FILE_TURN))
        with mock.patch("os.sendfile", lambda out, fd, offset, length: length):
            self.assertEqual(self.transport.send_file(fd, 0, FILE_TURN - 1), FILE_TURN - 1)
            self.assertEqual(self.producer.paused, 0)
            self.assertEqual(self.transport.send_file(fd, 0, FILE_TURN), FILE_TURN)
        self.assertEqual(self.producer.paused, 1)
        self.assertIsNone(self.transport.doWrite())
        self.assertEqual(self.producer.resumed, 1)

    def test_read_more(self) -> None:
        """Reads are large when a client sends a lot, and small when it does not."""
        sizes: list[int] = []
        self.transport.protocol.dataReceived = lambda data: sizes.append(len(data))
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for much in (200_000, 100_000):
            self.client.send(bytes(much))
            for _ in range(3):
                self.assertIsNone(self.transport.doRead())
        self.assertEqual(sizes, [65536, 134_464, 65536, 34_464])

    def test_no_memory(self) -> None:
        """Without memory for what is read otherwise less is read; without that, it is the end."""
        self.transport.socket = ShortOfMemory(READ_LEAST)
        with mock.patch.object(self.transport, "_dataReceived", return_value=None) as received:
            self.assertIsNone(self.transport.doRead())
            received.assert_not_called()
            self.assertIsNone(self.transport.doRead())
            received.assert_called_once_with(bytes(READ_LEAST))
        self.transport.socket = ShortOfMemory(0)
        self.assertIsNone(self.transport.doRead())
        self.assertIs(self.transport.doRead(), main.CONNECTION_LOST)

    def test_read_end(self) -> None:
        """A client who has gone, or whose connection is broken, is told from one who is silent."""
        self.assertIsNone(self.transport.doRead())
        self.client.close()
        self.assertIs(self.transport.doRead(), main.CONNECTION_DONE)
        self.transport.socket.close()
        self.assertIs(self.transport.doRead(), main.CONNECTION_LOST)

    def test_after_what_waits(self) -> None:
        """Nothing of a file overtakes what was written before it."""
        self.transport.write(bytes(300_000))
        self.assertEqual(self.transport.send_file(self.file(b"hello"), 0, 5), 0)
        self.assertEqual(self.producer.paused, 1)

    def test_short_file(self) -> None:
        """A file that ends too early is an error, not an endless wait."""
        self.assertRaises(EOFError, self.transport.send_file, self.file(b"hello"), 5, 1)

    def test_broken_file(self) -> None:
        """Nothing is sent on a broken connection, and the reactor is left to find it."""
        self.client.close()
        self.assertEqual(self.transport.send_file(self.file(b"hello"), 0, 5), 0)
        self.assertEqual(self.reactor.writers, {self.transport})


class MakeEagerTests(SynchronousTestCase):
    """Which ports accept such connections."""

    def test_tcp(self) -> None:
        """A TCP port does, from now on."""
        port = tcp.Port(0, Factory(), reactor=MemoryReactor())
        make_eager(port)
        self.assertIs(port.transport, EagerServer)

    def test_others(self) -> None:
        """Others stay as they are: one with transports of its own, and one that is no TCP."""

        class Special(tcp.Server):
            """Another transport."""

        port = tcp.Port(0, Factory(), reactor=MemoryReactor())
        port.transport = Special
        make_eager(port)
        self.assertIs(port.transport, Special)
        stranger: Any = object()
        make_eager(stranger)


FULL = OSError(errno.EMFILE, "Too many open files")


class Listening:
    """A listening socket that gives what it is told to."""

    def __init__(self, *results: object) -> None:
        self.results = list(results)
        self.closed = False

    def accept(self) -> object:
        """The next one, raised if it is an exception; nobody if there is none."""
        result = self.results.pop(0) if self.results else BlockingIOError(errno.EAGAIN, "nobody")
        if isinstance(result, Exception):
            raise result
        return result

    def shutdown(self, how: int) -> None:
        """It never was connected."""

    def close(self) -> None:
        """Closed."""
        self.closed = True


class PatientTests(SynchronousTestCase):
    """A port without a file for a connection."""

    def listen(self, *results: object) -> None:
        """Have a port that reads from such a socket, and see who gets in and what is said."""
        self.reactor = MemoryReactorClock()
        self.came: list[object] = []
        factory = Factory()
        factory.buildProtocol = self.came.append  # type: ignore[method-assign,assignment]
        self.port = tcp.Port(0, factory, reactor=self.reactor)
        self.port.connected = True
        self.port.numberAccepts = 10
        self.socket = self.port.socket = Listening(*results)
        self.port.fileno = lambda: 99  # type: ignore[method-assign]
        make_patient(self.port)
        self.port.startReading()
        self.said: list[str] = []

        def hear(event: LogEvent) -> None:
            self.said.append(formatEvent(event))

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        self.addCleanup(self.port.socket.close)

    def files(self) -> int:
        """How many files are open, that which is kept among them."""
        return len(os.listdir("/proc/self/fd"))

    @property
    def reads(self) -> bool:
        """Whether the port looks for connections."""
        return self.port in self.reactor.getReaders()

    def client(self) -> tuple[socket.socket, tuple[str, int]]:
        """Somebody who comes."""
        mine, theirs = socket.socketpair()
        self.addCleanup(mine.close)
        self.addCleanup(theirs.close)
        return mine, ("192.0.2.1", 4000)

    def test_rests(self) -> None:
        """It lets those who come wait for a second, and says so."""
        self.listen(self.client(), FULL, self.client())
        self.port.doRead()
        self.assertEqual((len(self.came), self.reads), (1, False))
        self.reactor.advance(PORT_REST)
        self.assertTrue(self.reads)
        self.port.doRead()
        self.assertEqual((len(self.came), self.reads), (2, True))
        self.assertEqual(self.said, ["No room for more connections: Too many open files"])

    def test_hangs_up(self) -> None:
        """If there is no room after that it lets go of all who wait, and rests again."""
        waiting = [self.client() for _ in range(3)]
        last = self.client()
        files = self.files()
        self.listen(FULL, FULL, *waiting, BlockingIOError(errno.EAGAIN, "nobody"), last)
        for _ in range(2):
            self.reactor.advance(PORT_REST)
            self.port.doRead()
            self.assertFalse(self.reads)
        self.assertEqual([each.fileno() for each, _ in waiting], [-1] * 3)
        self.assertEqual(self.came, [])
        self.assertEqual(self.files(), files - 3 + 1)
        self.reactor.advance(PORT_REST)
        self.port.doRead()
        self.assertEqual((len(self.came), len(self.said)), (1, 1))

    def test_spare_is_taken(self) -> None:
        """Where a thread has taken the file that was kept, another is kept when there is one."""
        self.listen(*[FULL] * 5)
        files = self.files()
        with mock.patch("socket.socket", side_effect=FULL):
            for _ in range(2):
                self.port.doRead()
        self.assertEqual(self.files(), files - 1)
        self.port.doRead()
        self.assertEqual(self.files(), files)

    def test_again(self) -> None:
        """Once somebody has come in between it is said again."""
        self.listen(FULL, self.client(), FULL)
        for _ in range(3):
            self.port.doRead()
        self.assertEqual(len(self.said), 2)

    def test_closed(self) -> None:
        """A port that is closed meanwhile stays so."""
        files = self.files()
        self.listen(FULL)
        self.port.doRead()
        self.port.stopListening()
        self.reactor.advance(0)
        self.reactor.advance(PORT_REST)
        self.assertFalse(self.reads)
        self.assertTrue(self.socket.closed)
        self.assertEqual(self.files(), files)

    def test_others(self) -> None:
        """Other failures are Twisted's to see to; a port that is no TCP stays as it is."""
        self.listen(OSError(errno.EPERM, "filtered"), self.client())
        self.port.doRead()
        self.assertEqual((len(self.came), self.reads), (1, True))
        stranger: Any = object()
        make_patient(stranger)
