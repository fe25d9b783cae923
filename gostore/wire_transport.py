"""A TCP transport that sends at once what the socket takes at once.

Twisted's own keeps what is written until the reactor finds the socket writable, which costs two
calls of epoll and a turn of the reactor for each response: a third of the CPU of a small one
(docs/performance.md). And it can send a stretch of a file without reading it (sendfile(2)).
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IListeningPort

#: What is read at once, in bytes, from a client that has sent more than is read otherwise.
READ_MOST = 256 * 1024

#: What is read at once when there is no memory for more.
READ_LEAST = 4096

#: After so many bytes of a file others have their turn.
TURN = 1024 * 1024


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
        """Send what the socket takes; what is left waits for it, as ever."""
        if self._nothing_waits():
            sent = self.writeSomeData(data)
            # A broken connection is left for the reactor to find, where it can be reported.
            if isinstance(sent, int) and sent:
                data = data[sent:]
                if not data:
                    return
        super().write(data)

    def send_file(self, fd: int, offset: int, length: int) -> int:
        """Send what the socket takes of a file's bytes, at most ``length``; return how many.

        If that is not all of them the producer is paused, and resumed when the socket takes more;
        and if they are many, so that a client who takes all there is does not keep the others from
        having their turn.
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
        if sent < length or length >= TURN:
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
    """Let the connections that a TCP port accepts be of this kind; others stay as they are."""
    if isinstance(port, tcp.Port) and port.transport is tcp.Server:
        port.transport = EagerServer
