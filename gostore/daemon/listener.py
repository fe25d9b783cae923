"""The ports: what --listen becomes, how it is bound, and who may connect.

Twisted's endpoints do the work. This adds a longer backlog, certificates that are reloaded, and
unix sockets with the permissions of the umask that a kill -9 does not block for ever.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from gostore.daemon.parsers import endpoint_arguments
from gostore.daemon.tls import TLSContext
from gostore.wire import HTTPFactory, make_eager, make_patient

BACKLOG = 4096
"""How many connections may wait to be accepted: the most that Linux allows by default."""


class CannotListen(Exception):
    """An address cannot be listened on. ``unexpected`` is neither the system's nor Twisted's."""

    def __init__(self, listen: str, error: Exception) -> None:
        super().__init__(f"cannot listen on {listen}: {_reason(error)}")
        self.unexpected = not isinstance(error, (CannotListenError, OSError))


@frozen
class Address:
    """An address that the daemon listens on: an endpoint string, and getHost() of its port."""

    listen: str
    host: Any

    @property
    def is_tls(self) -> bool:
        """Whether its connections speak TLS."""
        return self.listen.startswith(("ssl:", "tls:"))


class Listener(Service):
    """Holds the ports. privilegedStartService binds them all, or raises CannotListen at once.

    ``endpoints`` are pairs of an endpoint string, for people, and its endpoint. ``bound`` is called
    with what getHost() of the ports gives, before anything is accepted.
    """

    def __init__(
        self,
        endpoints: Sequence[tuple[str, IStreamServerEndpoint]],
        factory: HTTPFactory,
        bound: Callable[[list[Any]], None] = lambda hosts: None,
    ) -> None:
        self.setName("listener")
        self.factory = factory
        self._bound = bound
        self._endpoints = endpoints
        self._ports: list[tuple[str, IListeningPort]] = []

    @property
    def certificates(self) -> list[TLSContext]:
        """What its endpoints have for TLS."""
        contexts = [getattr(each, "_sslContextFactory", None) for _, each in self._endpoints]
        return [each for each in contexts if isinstance(each, TLSContext)]

    @property
    def addresses(self) -> list[Address]:
        """The addresses it is bound to."""
        return [Address(listen, port.getHost()) for listen, port in self._ports]

    def privilegedStartService(self) -> None:
        """Bind."""
        super().privilegedStartService()
        for listen, endpoint in self._endpoints:
            try:
                port = _listen(endpoint, self.factory)
            except Exception as error:
                self.stopService()
                raise CannotListen(listen, error) from error
            self._ports.append((listen, port))
            make_eager(port)
            make_patient(port)
        self._bound([address.host for address in self.addresses])

    def stopService(self) -> Deferred[None]:
        """Unbind: accept no more connections. Accepted ones go on."""
        super().stopService()
        return Deferred.fromCoroutine(self._unbind())

    async def _unbind(self) -> None:
        while self._ports:
            await maybeDeferred(self._ports.pop()[1].stopListening)


def _listen(endpoint: IStreamServerEndpoint, factory: IProtocolFactory) -> IListeningPort:
    """Bind now. All of Twisted's own server endpoints answer before listen() returns."""
    outcome: list[IListeningPort | Failure] = []
    endpoint.listen(factory).addBoth(outcome.append)
    [port] = outcome
    if isinstance(port, Failure):
        port.raiseException()
    return port


def make_endpoint(reactor: Any, listen: str) -> IStreamServerEndpoint:
    """Make the endpoint of an endpoint string. Binds nothing."""
    kind, _, given = endpoint_arguments(listen)
    if kind == "unix":
        return UnixEndpoint(reactor, listen)
    if kind == "systemd":
        return SystemdEndpoint(reactor, listen)
    if kind in ("tcp", "tcp4", "tcp6", "ssl") and "backlog" not in given:
        # Beyond Twisted's 50 the kernel drops connections, and clients try again after a second.
        listen += f":backlog={BACKLOG}"
    endpoint: IStreamServerEndpoint = serverFromString(reactor, listen)
    if kind == "ssl":
        TLSContext.put_into(endpoint, listen)
    return endpoint


@define(eq=False)
@implementer(IStreamServerEndpoint)
class SystemdEndpoint:
    """A socket that systemd has given to this process; it is looked for when it is listened on."""

    _reactor: Any
    _listen: str

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Take the socket. Raises OSError if systemd has not given it."""
        try:
            endpoint = serverFromString(self._reactor, self._listen)
        except LookupError as error:
            given = os.environ.get("LISTEN_FDS", "none")
            raise OSError(
                f"it needs a socket from systemd, which has given this process {given}"
                " (a .socket unit has the name of its .service)"
            ) from error
        listening: Deferred[IListeningPort] = endpoint.listen(protocolFactory)
        return listening


@define(eq=False)
@implementer(IStreamServerEndpoint)
class UnixEndpoint:
    """A unix socket, with the permissions of the umask unless ``mode=`` is given.

    It takes the place of a socket that nobody listens on. Twisted would go by a lock file with the
    number of a process, and after a kill -9 another process may have the number: in a container
    the new daemon has it itself. The lock on the data directory keeps a second daemon out.
    """

    _reactor: Any
    _listen: str

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Bind the socket."""
        _, values, given = endpoint_arguments(self._listen)
        listen = self._listen
        if "backlog" not in given:
            listen += f":backlog={BACKLOG}"
        if "mode" not in given:
            listen += f":mode={0o666 & ~_umask():o}"
        if "lockfile" not in given:
            listen += ":lockfile=0"
            remove_stale_socket(given.get("address") or values[0])
        endpoint: IStreamServerEndpoint = serverFromString(self._reactor, listen)
        return endpoint.listen(protocolFactory)


def remove_stale_socket(path: str) -> None:
    """Remove a unix socket that nobody listens on. Anything else stays, and binding will fail."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as client:
            # A listener whose queue is full must not hold us.
            client.settimeout(0)
            number = client.connect_ex(path)
    except OSError:
        return
    if number == errno.ECONNREFUSED:
        os.unlink(path)


def _umask() -> int:
    """The umask. It can only be read by setting it; no other thread runs yet."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _reason(error: Exception) -> str:
    """The reason alone: CannotListenError repeats the address."""
    inner = getattr(error, "socketError", error)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
