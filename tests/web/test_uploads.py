"""The routes of uploads in several requests, over a store on files."""

from __future__ import annotations

import base64
import hashlib

from twisted.internet.defer import Deferred

from gostore.access.grants import Grant, Principal, parse_grant
from gostore.prefixes import ByPrefix
from gostore.web.browsers import Browsers
from gostore.web.cross_origin import CrossOrigin
from gostore.web.dispatch import Dispatcher
from gostore.web.guard import Guard
from gostore.web.lifetimes import LifetimeRule, Lifetimes
from gostore.web.routes.blobs import Blobs
from gostore.web.routes.uploads import ResumableUploads
from tests.store.doubles import SECOND
from tests.store.support import StoreCase
from tests.web.fake_request import FakeBody, FakeRequest
from tests.web.test_tus import metadata

TUS = "Tus-Resumable", "1.0.0"
TYPE = "Content-Type", "application/offset+octet-stream"


class UploadsCase(StoreCase):
    """Has a dispatcher of blobs and uploads; `ask` runs a request to its end."""

    principal: Principal | None = None

    def open(self, **settings: object):  # type: ignore[no-untyped-def]
        found = super().open(**settings)
        self.dispatcher = self.make_dispatcher()
        return found

    def make_dispatcher(self, cross_origin: CrossOrigin | None = None) -> Dispatcher:
        """What answers."""
        routes = [Blobs(self.store), ResumableUploads(self.store.resumable)]
        return Dispatcher(routes, Browsers(cross_origin=cross_origin))

    def begin_asking(
        self, method: str, target: str, *headers: tuple[str, str], body: FakeBody | bytes = b""
    ) -> FakeRequest:
        """Dispatch a request."""
        request = FakeRequest(method, target, headers, body)
        request.principal = self.principal
        self.dispatcher.dispatch(request)  # type: ignore[arg-type]
        return request

    def ask(
        self, method: str, target: str, *headers: tuple[str, str], body: FakeBody | bytes = b""
    ) -> FakeRequest:
        """Dispatch a request, and let it come to its end."""
        request = self.begin_asking(method, target, TUS, *headers, body=body)
        self.workers.run_all()
        return request

    def begin(self, length: int | None = 10, location: str = "a", **more: str) -> str:
        """Begin an upload; return its path."""
        said = ("Upload-Defer-Length", "1") if length is None else ("Upload-Length", str(length))
        text = metadata(location=location, **more)
        request = self.ask("POST", "/uploads/", said, ("Upload-Metadata", text))
        self.assertEqual(request.code, 201, request.content)
        return "/uploads/" + request.answer["location"]

    def patch(
        self, path: str, offset: int, body: FakeBody | bytes, *more: tuple[str, str]
    ) -> FakeRequest:
        """Go on with it."""
        return self.ask("PATCH", path, TYPE, ("Upload-Offset", str(offset)), *more, body=body)

    def head(self, path: str) -> FakeRequest:
        """Ask how far it is."""
        return self.ask("HEAD", path)

    def assert_refused(self, request: FakeRequest, code: int, *, delivered: bool = False) -> None:
        """It is refused in the words of both protocols, and costs no upload."""
        self.assertEqual(request.code, code, request.content)
        self.assertEqual(request.answer["tus-resumable"], "1.0.0")
        if request.method != "HEAD":
            self.assertTrue(request.error)
        self.assertEqual(request.body.delivered, delivered)


class UploadsTests(UploadsCase):
    """From its beginning to its end."""

    def test_begin(self) -> None:
        """POST begins an upload: 201, where it goes on, and when it expires."""
        request = self.ask(
            "POST",
            "/uploads/",
            ("Upload-Length", "10"),
            ("Upload-Metadata", metadata(location="a/ü x")),
        )
        self.assertEqual((request.code, request.content), (201, b""))
        self.assertRegex(request.answer["location"], r"^[0-9]{39}/a/%C3%BC%20x$")
        self.assertEqual(request.answer["tus-resumable"], "1.0.0")
        self.assertEqual(request.answer["upload-offset"], "0")
        self.assertIn("GMT", request.answer["upload-expires"])
        self.assertEqual(request.answer["cache-control"], "no-store")
        self.assertEqual(self.head("/uploads/" + request.answer["location"]).code, 200)
        said = ("Upload-Length", "1"), ("Upload-Metadata", metadata(location="b"))
        bare = self.ask("POST", "/uploads", *said)
        self.assertEqual(self.head("/" + bare.answer["location"]).code, 200)

    def test_whole(self) -> None:
        """PATCH after PATCH, and the last one makes the blob: 204 with its tag."""
        path = self.begin(filetype="text/plain")
        request = self.patch(path, 0, b"01234")
        self.assertEqual((request.code, request.answer["upload-offset"]), (204, "5"))
        self.assertNotIn("etag", request.answer)
        request = self.patch(path, 5, b"56789")
        self.assertEqual((request.code, request.answer["upload-offset"]), (204, "10"))
        blob = self.wait(self.store.get("a"))
        self.assertEqual(request.answer["etag"], f'"{blob.sha256.hex()}"')
        self.assertEqual(blob.content_type, "text/plain")
        self.assertEqual(self.read("a"), b"0123456789")
        again = self.patch(path, 10, b"")
        self.assertEqual((again.code, again.answer["upload-offset"]), (204, "10"))
        self.assert_refused(self.patch(path, 5, b"x"), 409)

    def test_head(self) -> None:
        """HEAD says how far it is, what was said of it, and is not cached."""
        path = self.begin()
        self.patch(path, 0, b"012")
        answer = self.head(path).answer
        self.assertEqual(answer["upload-offset"], "3")
        self.assertEqual(answer["upload-length"], "10")
        self.assertEqual(answer["upload-metadata"], metadata(location="a"))
        self.assertEqual(answer["cache-control"], "no-store")
        answer = self.head(self.begin(None, "b")).answer
        self.assertEqual(answer["upload-defer-length"], "1")
        self.assertNotIn("upload-length", answer)

    def test_head_finishes(self) -> None:
        """HEAD of an upload that is complete and no blob yet makes it one, or says why not."""
        path = self.begin(3)
        number = int(path.split("/")[2])
        address = next(iter(self.store.resumable._roster)).address
        self.assertEqual(address.number, number)
        from gostore.store.unfinished import Chunk
        from tests.store.doubles import FakeBody as Bytes

        self.wait(self.store.resumable.append(address, Chunk(0), Bytes(b"abc")))
        self.open()
        request = self.head(path)
        self.assertEqual((request.code, request.answer["upload-offset"]), (200, "3"))
        self.assertIn("etag", request.answer)
        self.assertEqual(self.read("a"), b"abc")

    def test_with_upload(self) -> None:
        """The first bytes may come with the POST, and all of them."""
        text = "Upload-Metadata", metadata(location="a")
        said = ("Upload-Length", "10"), text, TYPE
        request = self.ask("POST", "/uploads/", *said, body=b"01234")
        self.assertEqual((request.code, request.answer["upload-offset"]), (201, "5"))
        path = "/uploads/" + request.answer["location"]
        self.patch(path, 5, b"56789")
        self.assertEqual(self.read("a"), b"0123456789")
        said = ("Upload-Length", "3"), ("Upload-Metadata", metadata(location="b")), TYPE
        request = self.ask("POST", "/uploads/", *said, body=b"abc")
        self.assertEqual(request.code, 201)
        self.assertIn("etag", request.answer)
        self.assertEqual(self.read("b"), b"abc")

    def test_with_upload_refused(self) -> None:
        """If the first bytes fail there is no upload: its client would not find it."""
        text = "Upload-Metadata", metadata(location="a")
        checksum = "Upload-Checksum", "sha256 " + base64.b64encode(bytes(32)).decode()
        said = ("Upload-Length", "3"), text, TYPE
        request = self.ask("POST", "/uploads/", *said, checksum, body=b"abc")
        self.assert_refused(request, 460, delivered=True)
        self.assert_refused(self.ask("POST", "/uploads/", *said, body=b"abcd"), 413)
        self.assert_refused(self.ask("POST", "/uploads/", *said[:2], body=b"abc"), 415)
        self.assertEqual(len(self.store.resumable), 0)
        self.collect()
        self.assertEqual(self.names(), [])

    def test_empty(self) -> None:
        """An upload of no bytes is a blob at once."""
        path = self.begin(0)
        self.assertEqual(self.read("a"), b"")
        self.assertEqual(self.head(path).answer["upload-offset"], "0")

    def test_lifetime(self) -> None:
        """The blob stays as long as its location or its metadata say, from its last byte on."""
        rules = ByPrefix(LifetimeRule(), {"tmp/": LifetimeRule(60, 3600)})
        lifetimes = Lifetimes(rules, lambda: self.clock.time // SECOND)
        routes = [Blobs(self.store), ResumableUploads(self.store.resumable, lifetimes)]
        self.dispatcher = Dispatcher(routes, Browsers())
        self.clock.step = 0
        wanted = {"tmp/a": {}, "tmp/b": {"expires-in": "1h"}, "c": {"expires-in": "5"}, "d": {}}
        paths = {at: self.begin(location=at, **more) for at, more in wanted.items()}
        self.clock.time += 100 * SECOND
        now = self.clock.time // SECOND
        for path in paths.values():
            self.assertEqual(self.patch(path, 0, b"0123456789").code, 204)
        expiries = [self.wait(self.store.get(at)).expires for at in wanted]
        self.assertEqual(expiries, [now + 60, now + 3600, now + 5, None])
        for more in ({"expires-in": "2h"}, {"expires-in": "0"}, {"expires-in": "-1"}):
            asked = self.ask(
                "POST",
                "/uploads/",
                ("Upload-Length", "10"),
                ("Upload-Metadata", metadata(location="tmp/x", **more)),
            )
            self.assertEqual(asked.code, 400, more)

    def test_deferred(self) -> None:
        """A length that comes later comes with a PATCH, which may have no bytes."""
        path = self.begin(None)
        self.patch(path, 0, b"abc")
        self.assert_refused(self.patch(path, 3, b"", ("Upload-Length", "2")), 400)
        request = self.patch(path, 3, b"", ("Upload-Length", "3"))
        self.assertEqual(request.code, 204)
        self.assertEqual(self.read("a"), b"abc")

    def test_terminate(self) -> None:
        """DELETE forgets it: 204, then 410; the bytes go."""
        path = self.begin()
        self.patch(path, 0, b"abc")
        self.assertEqual(self.ask("DELETE", path).code, 204)
        self.assert_refused(self.head(path), 410)
        self.assert_refused(self.patch(path, 3, b"d"), 410)
        self.assert_refused(self.ask("DELETE", path), 410)
        self.collect()
        self.assertEqual(self.names(), [])

    def test_override(self) -> None:
        """POST stands for the method that it names."""
        path = self.begin()
        override = "X-HTTP-Method-Override"
        request = self.ask(
            "POST", path, (override, "PATCH"), TYPE, ("Upload-Offset", "0"), body=b"01234"
        )
        self.assertEqual((request.code, request.answer["upload-offset"]), (204, "5"))
        request = self.ask("POST", path, (override, "HEAD"))
        self.assertEqual((request.code, request.answer["upload-offset"]), (200, "5"))
        for wrong in ((), ((override, "GET"),)):
            request = self.ask("POST", path, *wrong)
            self.assert_refused(request, 405)
            self.assertEqual(request.answer["allow"], "DELETE, HEAD, OPTIONS, PATCH, POST")
        self.assertEqual(self.ask("POST", path, (override, "DELETE")).code, 204)


class RefusalTests(UploadsCase):
    """What is refused, and how."""

    def test_version(self) -> None:
        """Without the version of the protocol nothing is done: 412."""
        path = self.begin()
        for method, target in (("POST", "/uploads/"), ("PATCH", path), ("HEAD", path)):
            request = self.begin_asking(method, target, body=b"x")
            self.assert_refused(request, 412)
            self.assertEqual(request.answer["tus-version"], "1.0.0")

    def test_bad_beginnings(self) -> None:
        """What is not said, or said wrongly, is 400; too much is 413 and 431."""
        self.open(max_blob_size=100)
        length = "Upload-Length", "10"
        good = "Upload-Metadata", metadata(location="a")
        for code, *headers in (
            (400, length),
            (400, good),
            (400, length, ("Upload-Metadata", "location %%")),
            (400, length, ("Upload-Metadata", metadata(filename="a"))),
            (400, length, ("Upload-Defer-Length", "1"), good),
            (400, length, good, ("Upload-Concat", "partial")),
            (400, length, good, ("Upload-Checksum", "md5 YQ==")),
            (413, ("Upload-Length", "101"), good),
            (431, length, ("Upload-Metadata", metadata(location="a", x="x" * 8000))),
        ):
            self.assert_refused(self.ask("POST", "/uploads/", *headers), code)
        self.assertEqual(self.names(), [])

    def test_wrong_offset(self) -> None:
        """A wrong offset is 409, with the right one."""
        path = self.begin()
        self.patch(path, 0, b"01234")
        for offset in (0, 4, 6, 1 << 50):
            request = self.patch(path, offset, b"x")
            self.assert_refused(request, 409)
            self.assertEqual(request.answer["upload-offset"], "5")

    def test_bad_parts(self) -> None:
        """A PATCH of another type is 415, without an offset 400, and longer than the upload 413."""
        path = self.begin()
        offset = "Upload-Offset", "0"
        self.assert_refused(self.ask("PATCH", path, offset, body=b"x"), 415)
        self.assert_refused(self.ask("PATCH", path, TYPE, body=b"x"), 400)
        self.assert_refused(self.patch(path, 0, b"x" * 11), 413)
        trailer = "Trailer", "Upload-Checksum"
        self.assert_refused(self.patch(path, 0, b"x", trailer), 400)
        self.assertEqual(self.head(path).answer["upload-offset"], "0")

    def test_checksum(self) -> None:
        """Bytes without their checksum are 460, and do not count."""
        path = self.begin()
        for name in ("sha1", "sha256"):
            wrong = base64.b64encode(bytes(hashlib.new(name).digest_size)).decode()
            request = self.patch(path, 0, b"01234", ("Upload-Checksum", f"{name} {wrong}"))
            self.assert_refused(request, 460, delivered=True)
        right = base64.b64encode(hashlib.sha256(b"01234").digest()).decode()
        request = self.patch(path, 0, b"01234", ("Upload-Checksum", f"sha256 {right}"))
        self.assertEqual(request.answer["upload-offset"], "5")

    def test_verbs(self) -> None:
        """What a POST or a PUT would be refused is refused when it begins, and when it ends."""
        self.store_blob("a", b"old")
        length = "Upload-Length", "3"
        for code, more in ((409, {}), (412, {"if_none_match": "*"}), (412, {"if_match": '"0"'})):
            text = "Upload-Metadata", metadata(location="a", **more)
            self.assert_refused(self.ask("POST", "/uploads/", length, text), code)
        text = "Upload-Metadata", metadata(location="b", if_match="*")
        self.assert_refused(self.ask("POST", "/uploads/", length, text), 412)
        path = self.begin(3, "b")
        self.store_blob("b", b"other")
        self.assert_refused(self.patch(path, 0, b"new"), 409, delivered=True)
        self.assert_refused(self.head(path), 410)
        path = self.begin(3, "a", if_match="*")
        self.assertEqual(self.patch(path, 0, b"new").code, 204)
        self.assertEqual((self.read("a"), self.read("b")), (b"new", b"other"))
        path = self.begin(3, "c", sha256="0" * 64)
        self.assert_refused(self.patch(path, 0, b"new"), 400, delivered=True)
        self.assert_refused(self.head(path), 410)

    def test_taken_over(self) -> None:
        """Whose upload another request takes over gets 423."""
        path = self.begin()
        body = FakeBody(b"012", open=True)
        offset = "Upload-Offset", "0"
        first = self.begin_asking("PATCH", path, TUS, TYPE, offset, body=body)
        self.workers.run_all()
        self.assertEqual(self.head(path).answer["upload-offset"], "3")
        self.assert_refused(first, 423, delivered=True)

    def test_no_such_upload(self) -> None:
        """A number that is none's, and another location, are 404; other paths have nothing."""
        path = self.begin()
        number = path.split("/")[2]
        for wrong in (f"/uploads/{number}/b", "/uploads/5/a", f"/uploads/{'9' * 400}/a"):
            self.assert_refused(self.head(wrong), 404)
            self.assert_refused(self.patch(wrong, 0, b"x"), 404)
            self.assert_refused(self.ask("DELETE", wrong), 404)
        for wrong in ("/uploads/x/a", f"/uploads/{number}"):
            self.assertEqual(self.ask("DELETE", wrong).code, 404)
        self.assertEqual(self.ask("GET", path).code, 405)
        self.assertEqual(self.ask("GET", "/uploads/").code, 405)


class DiscoveryTests(UploadsCase):
    """What OPTIONS says, and what pages of other origins may see."""

    def test_options(self) -> None:
        """OPTIONS says what of the protocol there is, without asking for its version."""
        self.open(max_blob_size=1000)
        for path in ("/uploads/", "/uploads", "/uploads/5/a"):
            request = self.begin_asking("OPTIONS", path)
            answer = request.answer
            self.assertEqual(request.code, 200)
            self.assertEqual(answer["tus-version"], "1.0.0")
            self.assertEqual(answer["tus-max-size"], "1000")
            self.assertEqual(
                answer["tus-extension"],
                "creation,creation-with-upload,creation-defer-length,"
                "expiration,checksum,termination",
            )
        self.assertEqual(answer["allow"], "DELETE, HEAD, OPTIONS, PATCH, POST")
        self.assertNotIn("tus-version", self.begin_asking("OPTIONS", "/store/a").answer)

    def test_cross_origin(self) -> None:
        """A page of an allowed origin may send PATCH, and read what tus says."""
        origin = "Origin", "https://a.example"
        self.dispatcher = self.make_dispatcher(CrossOrigin(frozenset({origin[1]})))
        wanted = "Access-Control-Request-Method", "PATCH"
        names = "Access-Control-Request-Headers", "tus-resumable, upload-offset"
        answer = self.begin_asking("OPTIONS", "/uploads/5/a", origin, wanted, names).answer
        self.assertIn("PATCH", answer["access-control-allow-methods"])
        self.assertEqual(answer["access-control-allow-headers"], names[1])
        request = self.ask("HEAD", "/uploads/5/a", origin)
        exposed = request.answer["access-control-expose-headers"].split(", ")
        for name in (
            "Location",
            "Upload-Offset",
            "Upload-Length",
            "Upload-Metadata",
            "Upload-Expires",
            "Tus-Resumable",
            "Tus-Version",
            "Tus-Extension",
            "Tus-Max-Size",
        ):
            self.assertIn(name, exposed)


def principal(name: str, *grants: str) -> Principal:
    """A user with grants."""
    return Principal(name, "user", tuple(map(_grant, grants)))


def _grant(text: str) -> Grant:
    return parse_grant(text)


class FakeDoor:
    """Lets everybody in as one principal."""

    def __init__(self) -> None:
        self.anonymous = principal("nobody")

    def find(self, key: bytes) -> Principal:
        raise AssertionError("nobody has credentials here")

    def key_of(self, value: bytes) -> bytes:
        raise AssertionError("nobody has credentials here")

    def ask(self, key: bytes, value: bytes, address: str | None) -> Deferred[Principal]:
        raise AssertionError("nobody has credentials here")


class GrantTests(UploadsCase):
    """Who may do what."""

    def make_dispatcher(self, cross_origin: CrossOrigin | None = None) -> Dispatcher:
        self.door = FakeDoor()
        routes = [Blobs(self.store), ResumableUploads(self.store.resumable)]
        return Dispatcher(routes, guard=Guard(self.door))  # type: ignore[arg-type]

    def be(self, name: str, *grants: str) -> None:
        """From now on the client is this user."""
        self.door.anonymous = principal(name, *grants)

    def code(self, **more: str) -> int | None:
        """What a POST for a location gets."""
        text = "Upload-Metadata", metadata(**more)
        return self.ask("POST", "/uploads/", ("Upload-Length", "3"), text).code

    def test_beginning(self) -> None:
        """It takes the grant that a POST or a PUT of its location takes."""
        self.store_blob("in/old")
        self.be("alice", "create in/")
        self.assertEqual(self.code(location="in/x"), 201)
        self.assertEqual(self.code(location="out/x"), 403)
        self.assertEqual(self.code(location="in/old", if_match="*"), 403)
        self.be("alice", "replace in/")
        self.assertEqual(self.code(location="in/old", if_match="*"), 201)
        self.assertEqual(self.code(location="in/y"), 403)
        self.be("alice", "read", "list")
        self.assertEqual(self.code(location="in/z"), 403)

    def test_others(self) -> None:
        """Another principal finds no upload, whatever it may do."""
        self.be("alice", "all")
        path = self.begin(3)
        self.be("bob", "all")
        for request in (self.head(path), self.patch(path, 0, b"x"), self.ask("DELETE", path)):
            self.assert_refused(request, 404)
        self.be("bob", "read")
        self.assertEqual(self.head(path).code, 403)
        self.be("alice", "all")
        self.assertEqual(self.patch(path, 0, b"abc").code, 204)
        self.be("bob", "all")
        self.assert_refused(self.head(path), 404)

    def test_taken_away(self) -> None:
        """Without its grant the upload goes no further, not even to its end; then it does again."""
        self.be("alice", "create in/")
        path = self.begin(3, "in/x")
        self.patch(path, 0, b"ab")
        self.be("alice", "replace in/")
        self.assert_refused(self.patch(path, 2, b"c"), 403)
        self.be("alice", "create out/")
        self.assertEqual(self.patch(path, 2, b"c").code, 403)
        self.be("alice", "create in/")
        self.assertEqual(self.patch(path, 2, b"c").code, 204)
        self.assertEqual(self.read("in/x"), b"abc")
