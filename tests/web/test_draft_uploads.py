"""The routes of the IETF's draft, over a store on files."""

from __future__ import annotations

import hashlib

from gostore.access.grants import Principal
from gostore.web.dispatch import Dispatcher
from gostore.web.fields.digests import repr_digest
from gostore.web.labels import Labels
from gostore.web.routes.blobs import Blobs
from gostore.web.routes.draft_uploads import DraftUploads
from gostore.web.routes.uploads import ResumableUploads
from tests.store.support import StoreCase
from tests.web.fake_request import FakeBody, FakeRequest
from tests.web.test_tus import metadata
from tests.web.test_uploads import principal as user


def sha_256(data: bytes) -> str:
    """The digest of these bytes as the fields of RFC 9530 have it."""
    return repr_digest(hashlib.sha256(data).digest()).decode("ascii")


VERSION = "Upload-Draft-Interop-Version", "8"
PART = "Content-Type", "application/partial-upload"
ALL, SOME = ("Upload-Complete", "?1"), ("Upload-Complete", "?0")


class DraftCase(StoreCase):
    """Has a dispatcher of blobs and uploads; `ask` runs a request to its end."""

    principal: Principal | None = None
    put_creates = False

    def open(self, **settings: object):  # type: ignore[no-untyped-def]
        found = super().open(**settings)
        labels, uploads = Labels(), self.store.resumable
        draft = DraftUploads(uploads, labels, put_creates=self.put_creates, now=self.clock)
        blobs = Blobs(self.store, labels, put_creates=self.put_creates, draft=draft)
        self.dispatcher = Dispatcher([blobs, draft, ResumableUploads(uploads)])
        return found

    def begin_asking(
        self, method: str, target: str, *headers: tuple[str, str], body: FakeBody | bytes = b""
    ) -> FakeRequest:
        """Dispatch a request."""
        request = FakeRequest(method, target, [VERSION, *headers], body)
        request.principal = self.principal
        self.dispatcher.dispatch(request)  # type: ignore[arg-type]
        self.workers.run_all()
        return request

    def ask(
        self, method: str, target: str, *headers: tuple[str, str], body: bytes = b""
    ) -> FakeRequest:
        """Dispatch a request whose body comes a little later, and let it come to its end."""
        sent = FakeBody(open=True)
        sent.length = len(body)
        sent.complete = not body
        sent.open = bool(body)
        request = self.begin_asking(method, target, *headers, body=sent)
        if sent.sink is not None and body:
            sent.sink.received(body)
            sent.sink.finished()
            self.workers.run_all()
        return request

    def begin(self, *headers: tuple[str, str], body: bytes = b"", method: str = "POST") -> str:
        """Begin an upload of a part; return its path."""
        request = self.ask(method, "/store/d/a", SOME, *headers, body=body)
        self.assertEqual(request.code, 201, request.content)
        return self.path_of(request.answer["location"])

    def path_of(self, location: str) -> str:
        """The path that a Location means, as seen from /store/d/a."""
        self.assertTrue(location.startswith("../../uploads/draft/"), location)
        return location[5:]

    def patch(self, path: str, offset: int, *headers: tuple[str, str], body: bytes) -> FakeRequest:
        """Go on with it."""
        return self.ask("PATCH", path, PART, ("Upload-Offset", str(offset)), *headers, body=body)


class UploadTests(DraftCase):
    """From the first byte to the blob."""

    def test_parts(self) -> None:
        """A representation comes in parts, and is a blob when the client says that this is all."""
        path = self.begin(("Content-Type", "text/x"), ("X-Gostore-Meta-Who", "me"), body=b"01234")
        request = self.patch(path, 5, SOME, body=b"567")
        self.assertEqual((request.code, request.answer["upload-complete"]), (204, "?0"))
        self.assertEqual(request.answer["upload-offset"], "8")
        self.assertEqual(self.ask("HEAD", "/store/d/a").code, 404)
        request = self.patch(path, 8, ALL, body=b"89")
        self.assertEqual((request.code, request.answer["upload-complete"]), (204, "?1"))
        self.assertIn("etag", request.answer)
        self.assertTrue(request.answer["location"].endswith("../store/d/a"))
        self.assertEqual(self.read("d/a"), b"0123456789")
        blob = self.wait(self.store.get("d/a"))
        self.assertEqual(
            (blob.content_type, blob.metadata), ("text/x", {"x-gostore-meta-who": "me"})
        )

    def test_all_at_once(self) -> None:
        """Who sends all at once learns where it would go on, and gets the answer to a POST."""
        request = self.ask("POST", "/store/d/a", ALL, body=b"abc")
        self.assertEqual((request.code, request.answer["upload-complete"]), (204, "?1"))
        (code, first), *more = request.informed
        self.assertEqual((code, first["upload-draft-interop-version"]), (104, "8"))
        self.path_of(first["location"])
        self.assertEqual(first["upload-limit"], f"max-age={86400 - 1}")
        self.assertEqual([fields["upload-offset"] for _, fields in more], ["3"])
        self.assertNotIn("location", more[0][1])
        self.assertEqual(self.read("d/a"), b"abc")

    def test_same_location(self) -> None:
        """All messages about the beginning of an upload name the same place."""
        request = self.ask("POST", "/store/d/a", SOME, body=b"abc")
        self.assertEqual(request.informed[0][1]["location"], request.answer["location"])

    def test_cut(self) -> None:
        """What came before the connection broke counts, and the rest follows."""
        body = FakeBody(open=True)
        body.length = 10
        request = self.begin_asking("POST", "/store/d/a", ALL, body=body)
        assert body.sink is not None
        body.sink.received(b"0123")
        self.workers.run_all()
        body.sink.failed("gone")
        self.workers.run_all()
        path = self.path_of(request.informed[0][1]["location"])
        self.open()
        head = self.ask("HEAD", path)
        self.assertEqual(head.code, 204)
        self.assertEqual(
            {name: text for name, text in head.answer.items() if name.startswith("upload-")},
            {
                "upload-complete": "?0",
                "upload-offset": "4",
                "upload-length": "10",
                "upload-limit": head.answer["upload-limit"],
            },
        )
        self.assertEqual(head.answer["cache-control"], "no-store")
        self.assertEqual(self.patch(path, 4, ALL, body=b"456789").code, 204)
        self.assertEqual(self.read("d/a"), b"0123456789")

    def test_all_here_and_not_all_said(self) -> None:
        """All bytes are no blob until the client says that they are all, not even at a HEAD."""
        path = self.begin(("Upload-Length", "3"), body=b"abc")
        self.assertEqual(self.ask("HEAD", path).answer["upload-complete"], "?0")
        self.assertEqual(self.ask("HEAD", "/store/d/a").code, 404)
        self.assertEqual(self.patch(path, 3, ALL, body=b"").code, 204)
        head = self.ask("HEAD", path)
        self.assertEqual((head.code, head.answer["upload-complete"]), (204, "?1"))
        self.assertEqual(self.patch(path, 3, ALL, body=b"").code, 400)

    def test_unknown_length(self) -> None:
        """If nobody says the length, it is what came until the client says that this is all."""
        path = self.begin()
        body = FakeBody(open=True)
        request = self.begin_asking("PATCH", path, PART, ALL, ("Upload-Offset", "0"), body=body)
        assert body.sink is not None
        body.sink.received(b"abc")
        body.sink.finished()
        self.workers.run_all()
        self.assertEqual(request.code, 204, request.content)
        self.assertEqual(self.read("d/a"), b"abc")

    def test_put(self) -> None:
        """PUT replaces as it would in one request: 200, or 404 without a blob."""
        refused = self.ask("PUT", "/store/d/a", ALL, body=b"new")
        self.assertEqual(refused.code, 404)
        self.store_blob("d/a", b"old")
        request = self.ask("PUT", "/store/d/a", ALL, body=b"new")
        self.assertEqual((request.code, request.answer["upload-complete"]), (200, "?1"))
        self.assertEqual(self.read("d/a"), b"new")
        request = self.ask("PUT", "/store/d/b", ALL, ("If-None-Match", "*"), body=b"b")
        self.assertEqual(request.code, 204)

    def test_small(self) -> None:
        """What has come with its head needs no upload."""
        request = self.begin_asking("POST", "/store/d/a", ALL, body=b"abc")
        self.assertEqual((request.code, request.informed), (204, []))

    def test_cancel(self) -> None:
        """DELETE forgets an upload."""
        path = self.begin(body=b"abc")
        self.assertEqual(self.ask("DELETE", path).code, 204)
        self.assertEqual(self.ask("HEAD", path).code, 410)
        self.collect()
        self.assertEqual(self.names(), [])

    def test_options(self) -> None:
        """OPTIONS tells that a path takes such uploads."""
        self.open(max_blob_size=100)
        answer = self.ask("OPTIONS", "/store/d/a").answer
        self.assertEqual(answer["accept-patch"], "application/partial-upload")
        self.assertEqual(answer["upload-limit"], "max-size=100")
        self.assertNotIn("accept-patch", self.ask("OPTIONS", "/uploads/").answer)


class RefusalTests(DraftCase):
    """What is refused, and how."""

    def test_other_version(self) -> None:
        """A client of another draft gets no upload: it may send all at once, and no part."""
        for version in ("7", "x"):
            more = ("Upload-Draft-Interop-Version", version)
            request = self.ask("POST", f"/store/{version}", ALL, more, body=b"abc")
            self.assertEqual((request.code, request.informed), (204, []))
            self.assertNotIn("upload-complete", request.answer)
            request = self.ask("POST", "/store/d/a", SOME, more, body=b"abc")
            self.assertEqual((request.code, request.informed), (400, []))

    def test_switched_off(self) -> None:
        """Without the switch a part is not stored as if it were the whole."""
        self.dispatcher = Dispatcher([Blobs(self.store)])
        for method in ("POST", "PUT"):
            self.assertEqual(self.ask(method, "/store/d/a", SOME, body=b"abc").code, 400)
        self.assertEqual(self.ask("POST", "/store/d/a", ALL, body=b"abc").code, 204)

    def test_bad_parts(self) -> None:
        """A part has its type, its offset, its completeness and its length."""
        path = self.begin(("Upload-Length", "10"), body=b"abc")
        offset = "Upload-Offset", "3"
        for code, *headers in (
            (415, offset, ALL),
            (400, PART, offset),
            (400, PART, SOME),
            (400, PART, SOME, ("Upload-Offset", "x")),
            (400, PART, offset, ALL),
            (400, PART, offset, SOME, ("Upload-Length", "11")),
            (409, PART, ("Upload-Offset", "2"), SOME),
            (413, PART, offset, SOME, ("X", "y" * 9)),
        ):
            request = self.ask("PATCH", path, *headers, body=b"xxxxxxxxx" if code == 413 else b"x")
            self.assertEqual(request.code, code, (headers, request.content))
            if code == 409:
                self.assertEqual(request.answer["upload-offset"], "3")
        self.assertEqual(self.ask("HEAD", path).answer["upload-offset"], "3")

    def test_unframed(self) -> None:
        """A request that does not say where its body ends completes nothing."""
        path = self.begin(body=b"abc")
        request = FakeRequest(
            "PATCH", path, [VERSION, PART, ALL, ("Upload-Offset", "3")], framed=False
        )
        self.dispatcher.dispatch(request)  # type: ignore[arg-type]
        self.workers.run_all()
        self.assertEqual(request.code, 411)

    def test_digest_of_the_whole(self) -> None:
        """Bytes that do not have the digest of the whole become no blob, and the answer says so."""
        good = "Repr-Digest", sha_256(b"abcdef")
        path = self.begin(good, body=b"abc")
        request = self.patch(path, 3, ALL, body=b"xyz")
        self.assertEqual((request.code, request.answer["upload-complete"]), (400, "?1"))
        self.assertEqual(self.ask("HEAD", path).code, 410)
        path = self.begin(good, body=b"abc")
        self.assertEqual(self.patch(path, 3, ALL, body=b"def").code, 204)

    def test_digest_of_a_part(self) -> None:
        """A part that does not have its own digest counts for nothing."""
        path = self.begin(body=b"abc")
        wrong = "Content-Digest", sha_256(b"x")
        self.assertEqual(self.patch(path, 3, SOME, wrong, body=b"def").code, 400)
        self.assertEqual(self.ask("HEAD", path).answer["upload-offset"], "3")
        right = "Content-Digest", sha_256(b"def")
        self.assertEqual(self.patch(path, 3, SOME, right, body=b"def").code, 204)

    def test_somebody_was_faster(self) -> None:
        """A location that another client has taken is a refusal of the blob, not of the upload."""
        path = self.begin(body=b"abc")
        self.store_blob("d/a", b"theirs")
        request = self.patch(path, 3, ALL, body=b"def")
        self.assertEqual((request.code, request.answer["upload-complete"]), (409, "?1"))
        self.assertEqual(self.ask("POST", "/store/d/a", SOME, body=b"abc").code, 409)

    def test_too_large_from_the_start(self) -> None:
        """An upload that can never become a blob is not kept."""
        self.open(max_blob_size=5)
        request = self.ask("POST", "/store/d/a", SOME, ("Upload-Length", "6"), body=b"abc")
        self.assertEqual(request.code, 413)
        request = self.ask("POST", "/store/d/a", SOME, body=b"abcdef")
        self.assertEqual(request.code, 413)
        self.assertEqual(len(self.store.resumable), 0)

    def test_uploads_of_tus(self) -> None:
        """An upload that was begun by tus is none here."""
        tus = ("Tus-Resumable", "1.0.0"), ("Upload-Length", "3")
        request = self.ask("POST", "/uploads/", *tus, ("Upload-Metadata", metadata(location="a")))
        path = "/uploads/draft/" + request.answer["location"]
        self.assertEqual(self.ask("HEAD", path).code, 404)
        self.assertEqual(self.patch(path, 0, ALL, body=b"abc").code, 404)

    def test_grants(self) -> None:
        """The grants are those of POST and PUT, when it begins and when it ends."""
        self.principal = user("ada", "create d/")
        path = self.begin(body=b"abc")
        self.assertEqual(self.ask("PUT", "/store/d/b", SOME, body=b"abc").code, 403)
        self.assertEqual(self.ask("POST", "/store/e", SOME, body=b"abc").code, 403)
        self.principal = user("bob", "create d/")
        self.assertEqual(self.ask("HEAD", path).code, 404)
        self.principal = user("ada", "replace d/")
        self.assertEqual(self.patch(path, 3, ALL, body=b"def").code, 403)
