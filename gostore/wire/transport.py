"""A TCP transport that sends at once what the socket takes at once, and a port that can wait.

Twisted's own transport keeps what is written until the reactor finds the socket writable. That
costs two calls of epoll and a turn of the reactor for each response: a third of the CPU of a small
one (docs/performance.md). This one can also send a stretch of a file without reading it
(sendfile(2)).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

from twisted.internet import main, tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger

READ_MOST = 256 * 1024
"""How many bytes are read at once from a client that sends more than the usual read takes."""

READ_LEAST = 4096
"""How many bytes are read at once when there is no memory for more."""

FILE_TURN = 1024 * 1024
"""After so many bytes of a file it is the turn of other clients."""

PORT_REST = 1.0
"""Seconds that a port rests when there is no file, or memory, for a connection."""

MOST_WAIT = 4096
"""How many waiting clients it hangs up on at a time: usually as many as the kernel lets wait."""

_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

log = Logger()


class Transport(Protocol):
    """The part of a Twisted TCP, TLS or Unix transport that is used here."""

    def write(self, data: bytes) -> None: ...

    def writeSequence(self, data: Sequence[bytes]) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def registerProducer(self, producer: object, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def loseConnection(self) -> None: ...

    def abortConnection(self) -> None: ...

    def getPeer(self) -> IAddress: ...

    def getHost(self) -> IAddress: ...


def set_no_delay(transport: Transport) -> None:
    """Let a TCP transport, also one below TLS, hold nothing back in the hope of more."""
    if isinstance(transport.getPeer(), (IPv4Address, IPv6Address)):
        no_delay = getattr(transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(enabled=True)


class EagerServer(tcp.Server):
    """The server side of a TCP connection."""

    _read_size = tcp.Server.bufferSize

    def doRead(self) -> ConnectionLost | ConnectionDone | None:  # type: ignore[override]
        """Read, and more at once as long as there is more: a large upload takes fewer turns."""
        try:
            data = self.socket.recv(self._read_size)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        except MemoryError:
            if self._read_size == READ_LEAST:
                return main.CONNECTION_LOST
            self._read_size = READ_LEAST
            return None
        self._read_size = READ_MOST if len(data) == self._read_size else self.bufferSize
        return self._dataReceived(data)

    def write(self, data: bytes) -> None:
        """Send what the socket takes. The rest waits for it, as ever."""
        if self._nothing_waits():
            # Twisted's writeSomeData() makes a view of the bytes first.
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0  # full; or broken, which is for the reactor to find, and to report
            if sent == len(data):
                return
            data = data[sent:]
        super().write(data)

    def send_file(self, fd: int, offset: int, length: int) -> int:
        """Send what the socket takes of a file's bytes, at most ``length``; return how many.

        If that is not all of them, the producer is paused until the socket takes more. If they are
        many, it is paused too, so that a client who takes all there is lets others have their turn.
        Raises EOFError if the file has no such bytes, OSError if it cannot be read.
        """
        sent = 0
        if self._nothing_waits():
            try:
                sent = os.sendfile(self.fileno(), fd, offset, length)
                if not sent:
                    raise EOFError(f"its file ends at byte {offset}")
            except (BlockingIOError, ConnectionError):
                pass  # full; or broken, which is for the reactor to find
        if sent < length or length >= FILE_TURN:
            producer: Any = self.producer
            if producer is not None and not self.producerPaused:
                self.producerPaused = True
                producer.pauseProducing()
            self.startWriting()
        return sent

    def _nothing_waits(self) -> bool:
        return bool(
            self.connected
            and not self._writeDisconnected
            and not self.dataBuffer
            and not self._tempDataBuffer
        )


def make_eager(port: IListeningPort) -> None:
    """Make the connections that a TCP port accepts EagerServers. Other ports stay as they are."""
    if isinstance(port, tcp.Port) and port.transport is tcp.Server:
        port.transport = EagerServer


class PatientSocket:
    """The socket of a port. It rests for a second when there is no file for a new client.

    After that it hangs up on those who still wait, with the help of a file that it keeps for this.
    Twisted hangs up at once. When a thread has taken its spare file, it tries again without a
    pause, and writes a line into the log each time.
    """

    def __init__(self, port: tcp.Port) -> None:
        self._port = port
        self._socket = port.socket
        self._spare = socket.socket()
        self._full = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection. While there is no room for one, say that nobody is there."""
        try:
            accepted = self._socket.accept()
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._rest(error)
            raise BlockingIOError(errno.EAGAIN, "resting") from error
        self._full = False
        return accepted

    def _rest(self, error: OSError) -> None:
        if self._full:
            self._hang_up()
        else:
            self._full = True
            reason = os.strerror(error.errno or 0)
            log.warn("No room for more connections: {reason}", reason=reason)
        self._port.stopReading()
        cast(Any, self._port.reactor).callLater(PORT_REST, self._go_on)

    def _hang_up(self) -> None:
        self._spare.close()
        with suppress(OSError):  # nobody waits any more, or a thread was faster than we
            for _ in range(MOST_WAIT):
                self._socket.accept()[0].close()
        with suppress(OSError):
            self._spare = socket.socket()

    def _go_on(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()

    def close(self) -> None:
        """Close it."""
        self._spare.close()
        self._socket.close()

    def __getattr__(self, name: str) -> Any:
        """Everything else is the socket's."""
        return getattr(self._socket, name)


def make_patient(port: IListeningPort) -> None:
    """Make a listening port rest while there is no room for more connections."""
    if isinstance(port, tcp.Port):
        port.socket = PatientSocket(port)
