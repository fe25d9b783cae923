"""Tests for gostore.wire.response: heads, and bodies that are read, or sent from files."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gostore.errors import Damaged, DiskFailed
from gostore.wire.response import PreparedFields, Sending, Stretch, response_head


class Outlet:
    """A client that takes so many bytes of a file at a time; its answer is in ``sent_bytes``."""

    def __init__(self, file: bytes = b"", takes: int = 1 << 20) -> None:
        self.file = file
        self.takes = takes
        self.blocked = False
        self.sends_files = bool(file)
        self.sent_bytes = b""
        self.over = 0
        self.failed: list[bool] = []

    def write(self, head: bytes, data: bytes) -> None:
        """Take a piece."""
        self.sent_bytes += head + data

    def send_file(self, fd: int, offset: int, length: int) -> int:
        """Take some of the file, and be blocked if that was not all."""
        if offset + length > len(self.file):
            raise EOFError
        sent = min(length, self.takes)
        self.sent_bytes += self.file[offset : offset + sent]
        self.blocked = sent < length
        return sent

    def sent(self) -> None:
        """It is over."""
        self.over += 1

    def sending_failed(self, headless: bool) -> None:
        """It has failed."""
        self.failed.append(headless)


class Pieces:
    """A source of pieces, given one by one."""

    def __init__(self, length: int, *pieces: object) -> None:
        self.length = length
        self.pieces = deque(pieces)
        self.closed = 0

    def read(self) -> Any:
        """The next piece, in bytes: this outlet sends no files."""
        piece = self.pieces.popleft()
        assert not isinstance(piece, Stretch)
        return piece

    def stretch(self) -> object:
        """The next piece, wherever it is."""
        return self.pieces.popleft()

    def unsent(self, failure: Failure) -> Failure:
        """A file that is cut is damaged."""
        return Failure(Damaged("a")) if failure.check(EOFError) else failure

    def close(self) -> None:
        """Closed."""
        self.closed += 1


class SendingTests(SynchronousTestCase):
    """Responses on their way."""

    def test_stretches(self) -> None:
        """Stretches of a file and bytes between them arrive in order, after the head."""
        outlet = Outlet(b"0123456789", takes=2)
        source = Pieces(9, Stretch(3, 1, 5), b"ab", Stretch(3, 8, 2))
        sending = Sending(outlet, source, b"head ")  # type: ignore[arg-type]
        sending.pump()
        for _ in range(10):
            outlet.blocked = False
            if not outlet.over:
                sending.pump()
        self.assertEqual(outlet.sent_bytes, b"head 12345ab89")
        self.assertEqual((outlet.over, source.closed, outlet.failed), (1, 1, []))

    def test_no_files(self) -> None:
        """Where the transport cannot send files the source is read."""
        outlet = Outlet()
        source = Pieces(2, b"a", b"b")
        Sending(outlet, source, b"head ").pump()
        self.assertEqual((outlet.sent_bytes, outlet.over), (b"head ab", 1))

    def test_file_too_short(self) -> None:
        """A file that was cut breaks the response off; the source is closed, and says why."""
        outlet = Outlet(b"0123")
        source = Pieces(5, Stretch(3, 0, 5))
        Sending(outlet, source, b"head ").pump()  # type: ignore[arg-type]
        self.assertEqual((outlet.failed, outlet.over, source.closed), ([False], 0, 1))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_damaged(self) -> None:
        """So does one that is found damaged when it is read, and again the source says why."""
        outlet = Outlet()
        source = Pieces(5, fail(Damaged("a")))
        Sending(outlet, source, b"head ").pump()
        self.assertEqual((outlet.failed, outlet.over, source.closed), ([True], 0, 1))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_disk_fails(self) -> None:
        """One that the disk does not give is told of in one line."""
        said: list[LogEvent] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        outlet = Outlet()
        Sending(outlet, Pieces(5, fail(DiskFailed("EIO"))), b"head ").pump()
        self.assertEqual(outlet.failed, [True])
        [event] = said
        self.assertEqual(formatEvent(event), f"Reading a response body failed: {DiskFailed('EIO')}")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_file_fails(self) -> None:
        """A file that cannot be sent, for whatever other reason, is logged here."""

        class Failing(Outlet):
            def send_file(self, fd: int, offset: int, length: int) -> int:
                raise OSError

        outlet = Failing(b"01234")
        source = Pieces(5, Stretch(3, 0, 5))
        Sending(outlet, source, b"head ").pump()  # type: ignore[arg-type]
        self.assertEqual((outlet.failed, outlet.over, source.closed), ([False], 0, 1))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_stretch_too_long(self) -> None:
        """A stretch longer than what is left is an error, and nothing of it is sent."""
        outlet = Outlet(b"0123456789")
        source = Pieces(5, Stretch(3, 0, 6))
        Sending(outlet, source, b"head ").pump()  # type: ignore[arg-type]
        self.assertEqual((outlet.failed, outlet.sent_bytes), ([True], b""))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_late_stretch(self) -> None:
        """A stretch that is loaded when the client has gone is not sent; then the source closes."""
        outlet = Outlet(b"0123456789")
        loaded: Deferred[Stretch] = Deferred()
        source = Pieces(5, loaded)
        sending = Sending(outlet, source, b"head ")  # type: ignore[arg-type]
        sending.pump()
        sending.stop()
        self.assertEqual(source.closed, 0)
        loaded.callback(Stretch(3, 0, 5))
        self.assertEqual((outlet.sent_bytes, source.closed), (b"", 1))


class HeadTests(SynchronousTestCase):
    """Response heads."""

    def test_names(self) -> None:
        """Field names are written as people write them."""
        fields = [(b"etag", b'"x"'), (b"x-gostore-meta-a", b"b"), (b"accept-ranges", b"bytes")]
        head = response_head(200, fields, 3, True, (1, 1), b"\r\n")
        self.assertEqual(
            head,
            b'HTTP/1.1 200 OK\r\nETag: "x"\r\nX-Gostore-Meta-A: b\r\nAccept-Ranges: bytes\r\n'
            b"Content-Length: 3\r\n\r\n",
        )
        self.assertEqual(response_head(200, PreparedFields(fields), 3, True, (1, 1), b"\r\n"), head)

    def test_line_end(self) -> None:
        """A line end in a field is refused, prepared or not."""
        for value in (b"a\r\nb: c", b"a\nb", b"a\rb"):
            self.assertRaises(ValueError, PreparedFields, [(b"a", value)])
            self.assertRaises(ValueError, response_head, 200, [(b"a", value)], 0, True, (1, 1), b"")
