"""Tests for gostore.daemon.listener: what --listen becomes, and unix sockets."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gostore.daemon.listener import (
    BACKLOG,
    CannotListen,
    Listener,
    UnixEndpoint,
    make_endpoint,
    remove_stale_socket,
)
from gostore.wire import HTTPFactory
from tests.test_tap import temporary


@implementer(IListeningPort)
class Port:
    """A port that counts how often it is closed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = 0

    def startListening(self) -> None:
        """Listens from the beginning."""

    def getHost(self) -> Any:
        """The address."""
        return IPv4Address("TCP", "127.0.0.1", self.number)

    def stopListening(self) -> None:
        """Count it."""
        self.closed += 1


@implementer(IStreamServerEndpoint)
class Endpoint:
    """An endpoint with a port, or with an error."""

    def __init__(self, outcome: Port | Exception) -> None:
        self.outcome = outcome

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Give it."""
        if isinstance(self.outcome, Exception):
            return fail(self.outcome)
        return succeed(self.outcome)


def listener(*outcomes: Port | Exception) -> Listener:
    """A listener on endpoints a, b and so on."""
    endpoints = [Endpoint(each) for each in outcomes]
    factory = cast(HTTPFactory, Factory())
    return Listener(list(zip("abc", endpoints, strict=False)), factory)


class ListenerTests(SynchronousTestCase):
    """The service."""

    def test_several(self) -> None:
        """It listens on all addresses it is told, and closes each of them."""
        ports = [Port(1), Port(2)]
        service = listener(*ports)
        service.privilegedStartService()
        self.assertEqual(
            [(each.listen, each.host.port) for each in service.addresses], [("a", 1), ("b", 2)]
        )
        self.successResultOf(service.stopService())
        self.assertEqual([port.closed for port in ports], [1, 1])

    def test_one_fails(self) -> None:
        """If one cannot be bound none is, and the error says which one."""
        first = Port(1)
        service = listener(first, CannotListenError("", 2, OSError(98, "Address in use")))
        with self.assertRaises(CannotListen) as caught:
            service.privilegedStartService()
        self.assertEqual(str(caught.exception), "cannot listen on b: Address in use")
        self.assertFalse(caught.exception.unexpected)
        self.assertEqual((first.closed, service.addresses), (1, []))
        with self.assertRaises(CannotListen) as caught:
            listener(KeyError()).privilegedStartService()
        self.assertTrue(caught.exception.unexpected)

    def test_backlog(self) -> None:
        """As many as the kernel allows may wait to be accepted, unless the endpoint says a number.

        What systemd listens on is systemd's to say.
        """
        for listen, wanted in {
            "tcp:7777": BACKLOG,
            "tcp6:7777:interface=\\:\\:1": BACKLOG,
            "tcp:7777:backlog=5": 5,
        }.items():
            memory = MemoryReactorClock()
            self.successResultOf(make_endpoint(memory, listen).listen(Factory()))
            self.assertEqual(memory.tcpServers[0][2], wanted)
        memory = MemoryReactorClock()
        for listen in ("unix:/none/x", "unix:/none/x:backlog=5"):
            self.successResultOf(make_endpoint(memory, listen).listen(Factory()))
        self.assertEqual([each[2] for each in memory.unixServers], [BACKLOG, 5])


class SystemdTests(SynchronousTestCase):
    """Sockets of systemd, which has given this process none."""

    def test_none(self) -> None:
        """A socket that systemd has not given is missed in words."""
        for listen in ("systemd:domain=INET:index=0", "systemd:domain=UNIX:name=x.socket"):
            endpoint = make_endpoint(MemoryReactorClock(), listen)
            service = Listener([(listen, endpoint)], cast(HTTPFactory, Factory()))
            with self.assertRaises(CannotListen) as caught:
                service.privilegedStartService()
            self.assertIn("it needs a socket from systemd", str(caught.exception))
            self.assertFalse(caught.exception.unexpected)


class UnixTests(SynchronousTestCase):
    """Unix sockets, on real ones."""

    def setUp(self) -> None:
        """Choose a path, and a reactor of our own: another test may run the usual one."""
        self.path = str(temporary(self) / "x.sock")
        self.reactor = SelectReactor()

    def bind(self, options: str = "", umask: int = 0o022) -> None:
        """Listen there with a umask until the test is over."""
        before = os.umask(umask)
        try:
            endpoint = UnixEndpoint(self.reactor, f"unix:{self.path}{options}")
            self.addCleanup(self.close, self.successResultOf(endpoint.listen(Factory())))
            self.assertEqual(os.umask(umask), umask)
        finally:
            os.umask(before)

    def close(self, port: IListeningPort) -> None:
        """Listen no more."""
        closed = port.stopListening()
        self.reactor.iterate()
        self.successResultOf(closed)

    def abandon(self) -> None:
        """Leave a socket there that nobody listens on, as kill -9 does."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.path)
            server.listen()

    def test_mode(self) -> None:
        """The permissions are those of the umask, or those that mode= says."""
        for number, (umask, options, mode) in enumerate(
            [(0o077, "", 0o600), (0o022, "", 0o644), (0, "", 0o666), (0o077, ":mode=660", 0o660)]
        ):
            self.path += str(number)
            self.bind(options, umask)
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), mode)

    def test_abandoned(self) -> None:
        """A socket that nobody listens on is taken over, whatever lock lies beside it."""
        self.abandon()
        os.symlink(str(os.getpid()), f"{self.path}.lock")
        self.bind()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)

    def test_in_use(self) -> None:
        """A socket that somebody listens on is not: the start is refused, and the other goes on."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(self.path)
            server.listen()
            endpoint = UnixEndpoint(self.reactor, f"unix:{self.path}")
            self.failureResultOf(endpoint.listen(Factory()), CannotListenError)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(self.path)

    def test_full(self) -> None:
        """Nor is one whose queue is full."""
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(self.path)
            server.listen(0)
            client.connect(self.path)
            remove_stale_socket(self.path)
            self.assertTrue(os.path.exists(self.path))

    def test_no_socket(self) -> None:
        """What is no socket stays, and so does a link to an abandoned one."""
        Path(self.path).write_text("mine")
        endpoint = UnixEndpoint(self.reactor, f"unix:{self.path}")
        self.failureResultOf(endpoint.listen(Factory()), CannotListenError)
        self.assertEqual(Path(self.path).read_text(), "mine")
        os.unlink(self.path)
        self.abandon()
        link = f"{self.path}.link"
        os.symlink(self.path, link)
        remove_stale_socket(link)
        remove_stale_socket(f"{self.path}.none")
        self.assertTrue(os.path.exists(link))

    def test_lock_file(self) -> None:
        """Twisted's lock file is there if the endpoint asks for it."""
        self.bind(":lockfile=1")
        self.assertTrue(os.path.islink(f"{self.path}.lock"))
