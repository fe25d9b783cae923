"""The routes of a blob, each request as the dispatcher sees it."""

from __future__ import annotations

import base64
import hashlib

from twisted.internet.defer import Deferred, fail

from gostore import errors
from gostore.blob import Committed
from gostore.store.interface import Content
from gostore.web.dispatch import Dispatcher
from gostore.web.routes.blobs import ATTEMPTS
from gostore.wire import Headers
from tests.store.memory_store import MemoryStore
from tests.web.fake_request import FakeBody, FakeRequest
from tests.web.support import WebCase, routes

DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
BEFORE = "Tue, 14 Nov 2023 22:13:19 GMT"
AFTER = "Tue, 14 Nov 2023 22:13:21 GMT"


def tag(data: bytes) -> str:
    """The entity tag of a blob with these bytes."""
    return f'"{hashlib.sha256(data).hexdigest()}"'


OTHER = tag(b"none of the blobs here has these bytes")


class VerbTests(WebCase):
    """The verbs of a location."""

    def test_create(self) -> None:
        """POST stores a blob: 204 with its tag and where it is (RFC 9110 section 9.3.3)."""
        request = self.ask("POST", "/store/a/b%20%C3%A9%3F", body=b"data")
        self.assertEqual(request.code, 204)
        self.assertEqual(request.answer, {"etag": tag(b"data"), "location": "b%20%C3%A9%3F"})
        self.assertEqual(request.content, b"")
        self.assertEqual(self.store.data("a/b \u00e9?"), b"data")

    def test_origin(self) -> None:
        """The store learns the id of each request that writes, be its body in chunks or not."""
        chunks = FakeBody(b"data", trailer=Headers.of([]))
        for method, body in (("POST", b"data"), ("PUT", chunks), ("DELETE", b"")):
            self.ask(method, "/store/foo", body=body)
        self.assertEqual(self.store.origins, ["1b4e28ba-2fa1-41d2-883f-0016d3cca427"] * 3)

    def test_create_there_is(self) -> None:
        """POST where there is a blob is 409, and changes nothing."""
        self.store.add("foo", b"old")
        request = self.ask("POST", "/store/foo", body=b"new")
        self.assert_refused(request, 409)
        self.assertEqual(request.content, b'{"code": 409, "text": "foo already exists"}\n')
        self.assertEqual(self.store.data("foo"), b"old")

    def test_create_too_late(self) -> None:
        """POST is 409 also if there is a blob only by the time its body is whole."""
        request = self.ask("POST", "/store/foo", body=FakeBody(b"late", open=True))
        self.store.add("foo", b"first")
        self.assertIsNone(request.code)
        assert request.body.sink is not None
        request.body.sink.finished()
        self.assert_refused(request, 409, delivered=True)
        self.assertEqual(self.store.data("foo"), b"first")

    def test_replace(self) -> None:
        """PUT stores a blob in the place of another: 200, no body, the new tag."""
        self.store.add("foo", b"old")
        request = self.ask("PUT", "/store/foo", body=b"new")
        self.assertEqual((request.code, request.content), (200, b""))
        self.assertEqual(request.answer, {"etag": tag(b"new")})
        self.assertEqual(self.store.data("foo"), b"new")

    def test_replace_nothing(self) -> None:
        """PUT where there is nothing is 404, and stores nothing."""
        request = self.ask("PUT", "/store/foo", body=b"new")
        self.assert_refused(request, 404)
        self.assertEqual(request.error, "foo does not exist: POST creates, or --put-creates")
        self.assertEqual(self.store.blobs, {})

    def test_type_of_the_name(self) -> None:
        """With no type, or curl's, the name tells it; what the upload says counts (8.3)."""
        curl = "Content-Type", "application/x-www-form-urlencoded"
        for location, fields, content_type in [
            ("a.txt", [], "text/plain"),
            ("a.txt", [curl], "text/plain"),
            ("a.txt", [("Content-Type", "a/b")], "a/b"),
            ("a.html", [], None),
            ("a", [curl], None),
        ]:
            for method in ("POST", "PUT"):
                self.dispatcher = Dispatcher(routes(self.store, put_creates=True))
                self.store.blobs.clear()
                request = self.ask(method, f"/store/{location}", *fields, body=b"1")
                self.assertEqual(request.code, 204)
                self.assertEqual(self.store.blobs[location][0].content_type, content_type)

    def test_keep_metadata(self) -> None:
        """PUT drops what was kept with the old version, unless it asks that it is kept."""
        keep = "X-Gostore-Keep-Metadata", "1"
        old = {"x-gostore-meta-a": "1", "content-language": "de"}
        for fields, content_type, metadata in [
            ([], None, None),
            ([("X-Gostore-Keep-Metadata", "0")], None, None),
            ([keep], "a/b", old),
            ([keep, ("Content-Type", "application/x-www-form-urlencoded")], "a/b", old),
            (
                [
                    keep,
                    ("Content-Type", "c/d"),
                    ("X-Gostore-Meta-A", "2"),
                    ("Cache-Control", "public"),
                ],
                "c/d",
                {"x-gostore-meta-a": "2", "content-language": "de", "cache-control": "public"},
            ),
        ]:
            self.store.blobs.clear()
            self.store.add("foo", b"old", content_type="a/b", metadata=dict(old))
            self.assertEqual(self.ask("PUT", "/store/foo", *fields, body=b"new").code, 200)
            blob = self.store.blobs["foo"][0]
            self.assertEqual((blob.content_type, blob.metadata or None), (content_type, metadata))
        self.assertEqual(self.ask("POST", "/store/bar", keep, body=b"new").code, 204)
        self.assert_refused(self.ask("PUT", "/store/foo", (keep[0], "yes"), body=b"new"), 400)

    def test_keep_too_much(self) -> None:
        """What is kept does not grow from version to version: 431."""
        self.store.add("foo", b"old", metadata={"x-gostore-meta-a": "a" * 4000})
        keep = "X-Gostore-Keep-Metadata", "1"
        more = "X-Gostore-Meta-B", "b" * 4200
        request = self.ask("PUT", "/store/foo", keep, more, body=b"new")
        self.assert_refused(request, 431, delivered=True)
        self.assertEqual(self.store.data("foo"), b"old")

    def test_form(self) -> None:
        """A form is 415 with a command that sends the file itself; the setting stores it."""
        form = "Content-Type", "Multipart/Form-Data; boundary=X"
        for method in ("POST", "PUT"):
            request = self.ask(method, "/store/foo", form, body=b"--X--")
            self.assert_refused(request, 415)
            self.assertIn(f"curl --request {method} --upload-file FILE", request.error)
        self.dispatcher = Dispatcher(routes(self.store, stores_forms=True))
        self.assertEqual(self.ask("POST", "/store/foo", form, body=b"--X--").code, 204)
        self.assertEqual(self.store.blobs["foo"][0].content_type, form[1])

    def test_put_creates(self) -> None:
        """With put-creates, PUT creates what does not exist, and says which of both it did."""
        self.dispatcher = Dispatcher(routes(self.store, put_creates=True))
        created = self.ask("PUT", "/store/foo", body=b"1")
        self.assertEqual(created.code, 204)
        self.assertEqual(created.answer, {"etag": tag(b"1"), "location": "foo"})
        replaced = self.ask("PUT", "/store/foo", body=b"2")
        self.assertEqual((replaced.code, replaced.answer), (200, {"etag": tag(b"2")}))
        self.assert_refused(self.ask("PUT", "/store/bar", ("If-Match", "*"), body=b"3"), 412)
        self.assertEqual(list(self.store.blobs), ["foo"])

    def test_delete(self) -> None:
        """DELETE takes a blob away: 200 and no body; 404 if there is none."""
        self.store.add("foo", b"data")
        request = self.ask("DELETE", "/store/foo")
        self.assertEqual((request.code, request.answer, request.content), (200, {}, b""))
        self.assertEqual(self.store.blobs, {})
        self.assert_refused(self.ask("DELETE", "/store/foo"), 404)

    def test_read(self) -> None:
        """GET gives back the bytes exactly as sent, with all that is known of them."""
        for data in (b"", b"\0\r\n\xff", b"x" * 65536, bytes(range(256)) * 1000):
            self.store.add("foo", data)
            request = self.ask("GET", "/store/foo")
            self.assertEqual(request.code, 200)
            self.assertEqual(request.content, data)
            self.assertEqual(request.length, len(data))
            digest = hashlib.sha256(data)
            self.assertEqual(request.answer["etag"], f'"{digest.hexdigest()}"')
            self.assertEqual(request.answer["accept-ranges"], "bytes")
            self.assertEqual(request.answer["content-type"], "application/octet-stream")
            self.assertEqual(request.answer["x-content-type-options"], "nosniff")
            self.assertEqual(
                request.answer["content-security-policy"],
                "sandbox; default-src 'none'; frame-ancestors 'self'",
            )
            self.assertRegex(request.answer["repr-digest"], "^sha-256=:[A-Za-z0-9+/]{43}=:$")
            content = self.store.blobs["foo"][1]
            self.assertEqual((content.opened, content.closed), (1, 1))

    def test_head(self) -> None:
        """HEAD has the head of GET and no body, and opens nothing (RFC 9110 section 9.3.2)."""
        for data in (b"data", b"x" * 100_000):
            self.store.add("foo", data)
            head = self.ask("HEAD", "/store/foo")
            self.assertEqual((head.code, head.content), (200, b""))
            self.assertEqual(self.store.blobs["foo"][1].opened, 0)
            got = self.ask("GET", "/store/foo")
            self.assertEqual((head.answer, head.length), (got.answer, got.length))

    def test_navigation(self) -> None:
        """A browser that is led to a page saves it, or its part; others get it as it is."""
        self.store.add("foo", b"data", content_type="text/html")
        navigation = "Sec-Fetch-Mode", "navigate"
        for method, fields, code in [
            ("GET", [], 200),
            ("HEAD", [], 200),
            ("GET", [("Range", "bytes=0-0")], 206),
            ("GET", [("Range", "bytes=0-0,2-2")], 206),
        ]:
            request = self.ask(method, "/store/foo", navigation, *fields)
            self.assertEqual(request.code, code)
            self.assertEqual(request.answer["content-disposition"], "attachment")
        fetched = self.ask("GET", "/store/foo", ("Sec-Fetch-Mode", "cors"))
        self.assertNotIn("content-disposition", fetched.answer)

    def test_nothing(self) -> None:
        """GET and HEAD of what does not exist are 404, and name it."""
        for method in ("GET", "HEAD"):
            request = self.ask(method, "/store/f%C3%B6%22")
            self.assert_refused(request, 404)
            self.assertEqual(request.error, 'f\u00f6" does not exist')

    def test_query(self) -> None:
        """The query is no part of the name."""
        self.store.add("foo", b"data")
        self.assertEqual(self.ask("GET", "/store/foo?bar=%zz").content, b"data")

    def test_no_location(self) -> None:
        """What is no location is 400, what is too long 414, and no body is asked for."""
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            self.assert_refused(self.ask(method, "/store/a//b", body=b"data"), 400)
            self.assert_refused(self.ask(method, "/store/" + "a" * 1025, body=b"data"), 414)


class FetchTests(WebCase):
    """A store whose steps are trips to another machine finds and opens a blob in one go."""

    def setUp(self) -> None:
        super().setUp()
        self.fetched: list[str] = []

        def fetch(location: str) -> Deferred[tuple[Committed, Content]]:
            self.fetched.append(location)
            return self.store.get(location).addCallback(opened)

        def opened(blob: Committed) -> Deferred[tuple[Committed, Content]]:
            return self.store.content(blob).addCallback(lambda content: (blob, content))

        self.store.fetch = fetch
        self.store.add("foo", b"data")

    def test_get(self) -> None:
        """A GET wants all of it, or parts of it; where nothing is it is 404 as ever."""
        self.assertEqual(self.ask("GET", "/store/foo").content, b"data")
        self.assertEqual(self.ask("GET", "/store/foo", ("Range", "bytes=1-2")).content, b"at")
        self.assert_refused(self.ask("GET", "/store/bar"), 404)
        self.assertEqual(self.fetched, ["foo", "foo", "bar"])

    def test_others(self) -> None:
        """A HEAD wants no bytes, and a condition may be an answer without any."""
        self.assertEqual(self.ask("HEAD", "/store/foo").code, 200)
        self.assertEqual(self.ask("GET", "/store/foo", ("If-None-Match", tag(b"data"))).code, 304)
        self.assertEqual(self.ask("GET", "/store/foo", ("If-Match", tag(b"data"))).content, b"data")
        self.assertEqual(self.fetched, [])


class RangeTests(WebCase):
    """Parts of a blob (RFC 9110 section 14)."""

    data = bytes(range(256)) * 1000

    def setUp(self) -> None:
        super().setUp()
        self.store.add("foo", self.data, content_type="text/plain")

    def part(self, wanted: str, *headers: tuple[str, str]) -> FakeRequest:
        """Ask for parts; what was opened for it is closed."""
        request = self.ask("GET", "/store/foo", ("Range", wanted), *headers)
        self.assertEqual(len(request.content), request.length)
        content = self.store.blobs["foo"][1]
        self.assertEqual(content.opened, content.closed)
        return request

    def test_one(self) -> None:
        """One part is 206 with where it is, small or large (15.3.7.1)."""
        size = len(self.data)
        whole = self.ask("HEAD", "/store/foo").answer
        for wanted, start, stop in [
            ("bytes=0-0", 0, 1),
            ("bytes=-5", size - 5, size),
            ("bytes=100-", 100, size),
            ("bytes=1000-101000", 1000, 101_001),
            ("bytes=7-999999999", 7, size),
        ]:
            request = self.part(wanted)
            self.assertEqual((request.code, request.content), (206, self.data[start:stop]))
            where = {"content-range": f"bytes {start}-{stop - 1}/{size}"}
            self.assertEqual(request.answer, {**whole, **where})

    def test_several(self) -> None:
        """Several parts are 206 in the order that was asked for, each with its place (15.3.7.2)."""
        request = self.part("bytes=-2, 0-99999")
        self.assertEqual(request.code, 206)
        kind, _, boundary = request.answer["content-type"].partition("; boundary=")
        self.assertEqual(kind, "multipart/byteranges")
        self.assertNotIn("content-range", request.answer)
        expected = b""
        for start, stop in [(len(self.data) - 2, len(self.data)), (0, 100_000)]:
            expected += (
                f"\r\n--{boundary}\r\nContent-Type: text/plain\r\n"
                f"Content-Range: bytes {start}-{stop - 1}/{len(self.data)}\r\n\r\n"
            ).encode() + self.data[start:stop]
        self.assertEqual(request.content, expected + f"\r\n--{boundary}--\r\n".encode())

    def test_none(self) -> None:
        """Parts of which there is not a byte are 416, with the size, and open nothing (15.5.17)."""
        request = self.ask("GET", "/store/foo", ("Range", "bytes=256000-"))
        self.assert_refused(request, 416)
        self.assertEqual(request.answer["content-range"], "bytes */256000")
        self.assertEqual(self.store.blobs["foo"][1].opened, 0)

    def test_whole(self) -> None:
        """What is no range of bytes, or of another version (If-Range), gets the whole (14.2)."""
        for headers in [
            [("Range", "lines=0-1")],
            [("Range", "bytes=1-0")],
            [("Range", "bytes=0-1"), ("If-Range", OTHER)],
            [("Range", "bytes=0-1"), ("If-Range", BEFORE)],
        ]:
            request = self.ask("GET", "/store/foo", *headers)
            self.assertEqual((request.code, request.content), (200, self.data))
        same = ("If-Range", tag(self.data))
        self.assertEqual(self.part("bytes=0-1", same).content, self.data[:2])

    def test_head(self) -> None:
        """HEAD knows no ranges: it has the head of the whole (RFC 9110 section 14.2)."""
        request = self.ask("HEAD", "/store/foo", ("Range", "bytes=0-1"))
        self.assertEqual((request.code, request.length), (200, len(self.data)))

    def test_conditions_first(self) -> None:
        """A condition is judged before a range: 304 and 412 win (RFC 9110 section 13.2.2)."""
        wanted = ("Range", "bytes=0-1")
        unchanged = self.ask("GET", "/store/foo", wanted, ("If-None-Match", tag(self.data)))
        self.assertEqual(unchanged.code, 304)
        self.assert_refused(self.ask("GET", "/store/foo", wanted, ("If-Match", OTHER)), 412)


class WaitTests(WebCase):
    """Reads that have to wait for the disk, and blobs that go while they do."""

    def test_waits(self) -> None:
        """A read answers when all that it waits for is there, in however many steps."""
        self.store.add("foo", b"data")
        content = self.store.blobs["foo"][1]
        content.result = Deferred()
        self.store.holding = True
        request = self.ask("GET", "/store/foo")
        self.assertEqual((request.code, content.opened), (None, 0))
        self.store.release(holding=True)
        self.assertEqual((request.code, content.opened), (None, 1))
        self.store.release()
        self.assertEqual((request.code, content.closed), (None, 0))
        content.result.callback(b"data")
        self.assertEqual((request.code, request.content), (200, b"data"))
        self.assertEqual(content.closed, 1)

    def test_broken(self) -> None:
        """A small blob that cannot be read is 500, not an answer that is cut, however late."""
        self.store.add("foo", b"data")
        content = self.store.blobs["foo"][1]
        for late in (False, True):
            content.opened = content.closed = 0
            content.result = Deferred() if late else fail(errors.DiskFailed("EIO"))
            request = self.ask("GET", "/store/foo")
            if late:
                self.assertIsNone(request.code)
                content.result.errback(errors.DiskFailed("EIO"))
            self.assert_refused(request, 500)
            self.assertEqual(request.error, str(errors.DiskFailed("EIO")))
            self.assertEqual((content.opened, content.closed), (1, 1))

    def test_collected_meanwhile(self) -> None:
        """A blob that is gone when it is to be opened is looked for again, as often as it may."""
        self.store.add("foo", b"data")
        self.store.opens_missed = ATTEMPTS - 1
        request = self.ask("GET", "/store/foo")
        self.assertEqual((request.code, request.content), (200, b"data"))
        self.store.opens_missed = ATTEMPTS
        request = self.ask("GET", "/store/foo")
        self.assert_refused(request, 503)
        self.assertEqual(request.answer["retry-after"], "1")
        self.assertEqual(self.store.blobs["foo"][1].opened, 1)

    def test_replaced_meanwhile(self) -> None:
        """A blob that is replaced or deleted before it is opened is read anew, conditions too."""
        for headers, new, code in [
            ([], b"new", 200),
            ([], None, 404),
            ([("If-Match", tag(b"old"))], b"new", 412),
            ([("If-None-Match", tag(b"new"))], b"new", 304),
        ]:
            self.setUp()
            self.store.add("foo", b"old")
            self.store.holding = True
            request = self.ask("GET", "/store/foo", *headers)
            del self.store.blobs["foo"]
            if new is not None:
                self.store.add("foo", new)
            self.store.release()
            self.assertEqual(request.code, code)
            if code == 200:
                self.assertEqual((request.content, request.answer["etag"]), (new, tag(b"new")))


class UploadTests(WebCase):
    """Uploads that are refused, or that fail."""

    def test_too_large(self) -> None:
        """An announced length over the limit is 413, and the body is not asked for."""
        self.store = MemoryStore(max_blob_size=4)
        self.dispatcher = Dispatcher(routes(self.store))
        self.assert_refused(self.ask("POST", "/store/foo", body=b"12345"), 413)
        self.assertEqual(self.ask("POST", "/store/foo", body=b"1234").code, 204)

    def test_body_fails(self) -> None:
        """A body that does not arrive whole is 400 with the reason, and stores nothing."""
        self.store.add("bar", b"old")
        for method, target in (("POST", "/store/foo"), ("PUT", "/store/bar")):
            request = self.ask(method, target, body=FakeBody(b"da", open=True))
            assert request.body.sink is not None
            request.body.sink.failed("The body ended early")
            self.assert_refused(request, 400, delivered=True)
            self.assertEqual(request.error, "The body ended early")
        self.assertEqual(list(self.store.blobs), ["bar"])
        self.assertEqual(self.store.data("bar"), b"old")

    def late(self, trailer: list[tuple[bytes, bytes]], *headers: tuple[str, str]) -> FakeRequest:
        """PUT to /store/bar, in chunks and with this trailer."""
        self.store.add("bar", b"old")
        body = FakeBody(b"data", trailer=Headers.of(trailer))
        return self.ask("PUT", "/store/bar", *headers, body=body)

    def test_late_digest(self) -> None:
        """A digest in a trailer is verified if Trailer announces it (RFC 9530, RFC 9110 6.6.2)."""
        for field, name, good, bad in [
            ("Content-MD5", "md5", "%b", "%b"),
            ("Content-Digest", "sha256", "sha-256=:%b:", "sha-256=:%b:"),
            ("Repr-Digest", "sha512", "sha-512=:%b:, crc=:AA==:", "sha-512=:%b:"),
        ]:
            for data, code in ((b"data", 200), (b"date", 400)):
                digest = base64.b64encode(hashlib.new(name, data).digest())
                value = (good if code == 200 else bad).encode() % digest
                trailer = [(field.lower().encode(), value), (b"x", b"y")]
                request = self.late(trailer, ("Trailer", f"X, {field}"))
                self.assertEqual(request.code, code, field)
                self.assertEqual(self.store.data("bar"), b"data" if code == 200 else b"old")
                if code == 400:
                    self.assertIn(name, request.error)

    def test_late_digest_as_well(self) -> None:
        """A digest in the head counts, too."""
        digest = f"sha-256=:{base64.b64encode(hashlib.sha256(b'data').digest()).decode()}:"
        trailer = [(b"content-digest", digest.encode())]
        wrong = ("Content-MD5", base64.b64encode(bytes(16)).decode())
        for headers, code in [((), 200), ((("Content-Digest", digest),), 200), ((wrong,), 400)]:
            self.assertEqual(self.late(trailer, ("Trailer", "Content-Digest"), *headers).code, code)

    def test_unannounced_late_digest(self) -> None:
        """One that nothing announced is verified if it is an SHA-256, and refused if not."""
        for name, field, code in [("sha-256", "sha256", 200), ("sha-512", "sha512", 400)]:
            digest = base64.b64encode(hashlib.new(field, b"data").digest())
            trailer = [(b"repr-digest", b"%b=:%b:" % (name.encode(), digest))]
            self.assertEqual(self.late(trailer).code, code)
        both = [(b"content-md5", base64.b64encode(hashlib.md5(b"data").digest())), *trailer]
        self.assertEqual(self.late(both, ("Trailer", "Repr-Digest")).code, 400)
        self.assertEqual(self.store.data("bar"), b"old")

    def test_late_digest_that_cannot_be_verified(self) -> None:
        """A digest in the trailer is never passed over: what cannot be verified is not stored."""
        for value in (
            b"",
            b"nonsense",
            b"sha=:AAAA:",
            b"crc32c=:AAAAAA==:",
            b"sha-256=:AAAA:",
            b"\xff",
        ):
            for headers in ((), (("Trailer", "Content-Digest"),)):
                request = self.late([(b"content-digest", value)], *headers)
                self.assert_refused(request, 400, delivered=True)
        self.assert_refused(self.late([(b"digest", b"sha-256=AAAA")]), 400, delivered=True)
        self.assert_refused(self.late([(b"content-md5", b"AAAA")]), 400, delivered=True)
        self.assertEqual(self.store.data("bar"), b"old")

    def test_late_digest_that_does_not_come(self) -> None:
        """A client that announces a digest and does not send it gets no 2xx."""
        request = self.late([(b"x", b"y")], ("Trailer", "x, content-digest"))
        self.assert_refused(request, 400, delivered=True)
        self.assertEqual(request.error, "The trailer lacks the Content-Digest that was announced")

    def test_digest_in_no_trailer(self) -> None:
        """A body of known length has no trailer: a digest announced for it is refused at once."""
        request = self.ask("POST", "/store/foo", ("Trailer", "Repr-Digest"), body=b"data")
        self.assert_refused(request, 400)
        request = self.ask("POST", "/store/foo", ("Trailer", "X-Checked"), body=b"data")
        self.assertEqual(request.code, 204)

    def test_long_trailer(self) -> None:
        """Trailer may announce so many fields and no more."""
        request = self.late([], ("Trailer", ",".join(f"x-{number}" for number in range(99))))
        self.assert_refused(request, 431)

    def test_length_required(self) -> None:
        """411: a write that does not say where its body ends stores nothing (RFC 9112 6.3)."""
        self.ask("POST", "/store/foo", body=b"precious")
        for method, location in (("PUT", "foo"), ("POST", "foo"), ("POST", "bar")):
            request = FakeRequest(method, f"/store/{location}", framed=False)
            self.dispatcher.dispatch(request)  # type: ignore[arg-type]
            self.assert_refused(request, 411)
        self.assertEqual(self.ask("GET", "/store/foo").content, b"precious")
        self.assertEqual(self.ask("GET", "/store/bar").code, 404)

    def test_length_zero(self) -> None:
        """An empty body that says so is stored, and a DELETE needs no length."""
        self.ask("POST", "/store/foo", body=b"precious")
        self.assertEqual(self.ask("PUT", "/store/foo", body=b"").code, 200)
        self.assertEqual(self.ask("GET", "/store/foo").content, b"")
        self.assertEqual(self.ask("DELETE", "/store/foo").code, 200)


class ConditionTests(WebCase):
    """Conditional requests (RFC 9110 section 13) in every verb."""

    data = b"data"
    there = "200 200 200 409 200"
    table = (
        # A condition, and what GET, HEAD, PUT, POST and DELETE are: of a blob, and of nothing.
        (("If-Match", tag(data)), there, "404 404 412 412 404"),
        (("If-Match", "*"), there, "404 404 412 412 404"),
        (("If-Match", f"{OTHER}, {tag(data)}"), there, "404 404 412 412 404"),
        (("If-Match", f"W/{tag(data)}"), "412 412 412 409 412", "404 404 412 412 404"),
        (("If-Match", OTHER), "412 412 412 409 412", "404 404 412 412 404"),
        (("If-None-Match", "*"), "304 304 412 409 412", "404 404 204 204 404"),
        (("If-None-Match", tag(data)), "304 304 412 409 412", "404 404 404 204 404"),
        (("If-None-Match", f"W/{tag(data)}"), "304 304 412 409 412", "404 404 404 204 404"),
        (("If-None-Match", OTHER), there, "404 404 404 204 404"),
        (("If-Modified-Since", BEFORE), there, "404 404 404 204 404"),
        (("If-Modified-Since", DATE), "304 304 200 409 200", "404 404 404 204 404"),
        (("If-Modified-Since", AFTER), "304 304 200 409 200", "404 404 404 204 404"),
        (("If-Modified-Since", "yesterday"), there, "404 404 404 204 404"),
        (("If-Unmodified-Since", BEFORE), "412 412 412 409 412", "404 404 404 204 404"),
        (("If-Unmodified-Since", DATE), there, "404 404 404 204 404"),
        (("If-Unmodified-Since", "yesterday"), there, "404 404 404 204 404"),
    )

    def answers(self, *headers: tuple[str, str], there: bool) -> str:
        """What every verb is answered, each by a store of its own, with a blob or nothing in it."""
        codes = []
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            self.setUp()
            if there:
                self.store.add("foo", self.data)
            request = self.ask(method, "/store/foo", *headers, body=b"new")
            codes.append(str(request.code))
            self.assert_effect(method, request, there)
        return " ".join(codes)

    def assert_effect(self, method: str, request: FakeRequest, there: bool) -> None:
        """The store is as the answer says, and a refusal cost no upload."""
        before = [self.data] if there else []
        after = [content.data for _, content in self.store.blobs.values()]
        assert request.code is not None
        if request.code >= 400:
            self.assert_refused(request, request.code)
        if method in ("GET", "HEAD") or request.code >= 400:
            self.assertEqual(after, before)
        else:
            self.assertEqual(after, [] if method == "DELETE" else [b"new"])

    def test_table(self) -> None:
        """Each condition is judged as its section says, and a write that fails leaves no trace."""
        for header, there, missing in self.table:
            with self.subTest(header=header):
                self.assertEqual(self.answers(header, there=True), there)
                self.assertEqual(self.answers(header, there=False), missing)

    def test_order(self) -> None:
        """An entity tag counts, and the date beside it does not (RFC 9110 section 13.2.2)."""
        for headers, there in [
            ([("If-Match", tag(self.data)), ("If-Unmodified-Since", BEFORE)], self.there),
            ([("If-None-Match", OTHER), ("If-Modified-Since", DATE)], self.there),
            ([("If-Match", OTHER), ("If-None-Match", "*")], "412 412 412 409 412"),
            ([("If-Match", "*"), ("If-None-Match", "*")], "304 304 412 409 412"),
        ]:
            with self.subTest(headers=headers):
                self.assertEqual(self.answers(*headers, there=True), there)

    def test_not_modified(self) -> None:
        """304 has the fields of a 200 that a cache has to know, and no body (15.4.5)."""
        self.store.add("foo", b"data", metadata={"cache-control": "no-store"})
        request = self.ask("GET", "/store/foo", ("If-None-Match", tag(b"data")))
        self.assertEqual((request.code, request.content), (304, b""))
        self.assertEqual(request.answer["etag"], tag(b"data"))
        self.assertEqual(request.answer["cache-control"], "no-store")
        self.assertEqual(self.store.blobs["foo"][1].opened, 0)

    def test_commit(self) -> None:
        """A write is judged again when its body is whole, by what is there then."""
        old, new = b"old", b"new"
        for method, header, before, after, code in [
            ("PUT", ("If-Match", tag(old)), old, new, 412),
            ("PUT", ("If-Match", tag(old)), old, old, 200),
            ("PUT", ("If-Match", tag(old)), old, None, 412),
            ("PUT", ("If-Unmodified-Since", DATE), old, new, 412),
            ("PUT", ("If-None-Match", tag(new)), old, new, 412),
            ("PUT", ("If-None-Match", "*"), None, new, 412),
            ("PUT", ("If-None-Match", "*"), None, None, 204),
            ("POST", ("If-None-Match", "*"), None, new, 409),
        ]:
            with self.subTest(method=method, header=header, after=after):
                self.setUp()
                if before is not None:
                    self.store.add("foo", before)
                request = self.ask(method, "/store/foo", header, body=FakeBody(b"it", open=True))
                self.assertIsNone(request.code)
                if after is None:
                    self.store.blobs.clear()
                elif after != before:
                    self.store.add("foo", after)
                assert request.body.sink is not None
                request.body.sink.finished()
                self.assertEqual(request.code, code)
                stored = [content.data for _, content in self.store.blobs.values()]
                kept = [] if after is None else [after]
                self.assertEqual(stored, kept if code >= 400 else [b"it"])
