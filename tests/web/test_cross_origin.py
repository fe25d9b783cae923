"""Tests for gostore.web.cross_origin: pages of other origins that may use the server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.web.browsers import Browsers
from gostore.web.cross_origin import CrossOrigin
from gostore.web.dispatch import Dispatcher
from tests.store.memory_store import MemoryStore
from tests.web.fake_request import FakeRequest
from tests.web.support import routes

PAGE = "https://page.example"
EVIL = "https://evil.example"


class CrossOriginTests(SynchronousTestCase):
    """A server that pages of one origin may use."""

    origins = frozenset({PAGE})

    def setUp(self) -> None:
        """Have a blob."""
        self.store = MemoryStore()
        self.store.add("a", b"data")

    def ask(self, method: str, target: str, *fields: tuple[str, str]) -> FakeRequest:
        """Send a request to the server."""
        browsers = Browsers(None, CrossOrigin(self.origins))
        dispatcher = Dispatcher(routes(self.store), browsers)
        request = FakeRequest(method, target, [("Host", "blobs.example"), *fields])
        dispatcher.dispatch(request)  # type: ignore[arg-type]
        return request

    def field(self, request: FakeRequest, name: str) -> list[str]:
        """The values of a field of the answer."""
        return [value.decode() for key, value in request._fields if key.decode() == name]

    def test_read(self) -> None:
        """A page of that origin may read every answer, errors too; no other may read any."""
        for target, code in (("/store/a", 200), ("/store/b", 404), ("/store/", 200), ("/x", 404)):
            request = self.ask("GET", target, ("Origin", PAGE))
            self.assertEqual(request.code, code)
            self.assertEqual(self.field(request, "access-control-allow-origin"), [PAGE])
            self.assertEqual(self.field(request, "access-control-allow-credentials"), ["true"])
            self.assertIn("ETag", self.field(request, "access-control-expose-headers")[0])
            self.assertEqual(self.field(request, "vary")[-1], "Origin")
            for origin in (
                EVIL,
                "null",
                f"{PAGE}:8443",
                f"{PAGE}.evil.example",
                "http://page.example",
            ):
                request = self.ask("GET", target, ("Origin", origin))
                self.assertEqual(request.code, code)
                self.assertNotIn("access-control", str(request._fields))
                self.assertEqual(self.field(request, "vary")[-1], "Origin")
        self.assertEqual(self.field(self.ask("GET", "/store/a"), "vary")[-1], "Origin")
        self.assertEqual(
            self.field(self.ask("GET", "/store/a"), "cross-origin-resource-policy"), ["same-origin"]
        )

    def test_metadata(self) -> None:
        """A page may read the metadata, whose names the client has chosen."""
        self.store.add("m", b"data", metadata={"x-gostore-meta-color": "red"})
        exposed = self.field(
            self.ask("GET", "/store/m", ("Origin", PAGE)), "access-control-expose-headers"
        )
        self.assertTrue(exposed[0].endswith(", X-Gostore-Meta-Color"), exposed)

    def test_write(self) -> None:
        """A page of that origin may write, whatever Sec-Fetch-Site says; no other may."""
        cross = ("Sec-Fetch-Site", "cross-site")
        self.assertEqual(self.ask("DELETE", "/store/a", ("Origin", PAGE), cross).code, 200)
        for origin in (EVIL, "null"):
            self.assertEqual(self.ask("DELETE", "/store/b", ("Origin", origin), cross).code, 403)
        self.assertEqual(self.ask("DELETE", "/store/b", cross).code, 403)

    def test_preflight(self) -> None:
        """A page of that origin may ask for the methods that there are, with any fields."""
        wants = ("Access-Control-Request-Method", "PUT")
        fields = ("Access-Control-Request-Headers", "authorization, x-gostore-meta-a")
        request = self.ask("OPTIONS", "/store/a", ("Origin", PAGE), wants, fields)
        self.assertEqual(request.code, 200)
        self.assertIn("PUT", self.field(request, "access-control-allow-methods")[0])
        self.assertEqual(self.field(request, "access-control-allow-headers"), [fields[1]])
        self.assertEqual(self.field(request, "access-control-max-age"), ["600"])
        wants = ("Access-Control-Request-Method", "FROBNICATE")
        request = self.ask("OPTIONS", "/store/a", ("Origin", PAGE), wants)
        self.assertNotIn("FROBNICATE", self.field(request, "access-control-allow-methods")[0])
        request = self.ask("OPTIONS", "/store/a", ("Origin", EVIL), wants, fields)
        self.assertNotIn("access-control", str(request._fields))
        bad = ("Access-Control-Request-Headers", "a\tb")
        request = self.ask("OPTIONS", "/store/a", ("Origin", PAGE), wants, bad)
        self.assertNotIn("access-control-allow-headers", str(request._fields))


class AnyOriginTests(CrossOriginTests):
    """A server that pages of all origins may use, without credentials."""

    origins = frozenset("*")

    def test_read(self) -> None:
        """Any page may read and embed, and send no credentials."""
        for origin in (PAGE, EVIL, "null"):
            request = self.ask("GET", "/store/a", ("Origin", origin))
            self.assertEqual(self.field(request, "access-control-allow-origin"), ["*"])
            self.assertEqual(self.field(request, "access-control-allow-credentials"), [])
            self.assertEqual(self.field(request, "cross-origin-resource-policy"), ["cross-origin"])

    def test_write(self) -> None:
        """Any page may write, if the browser says which it is."""
        cross = ("Sec-Fetch-Site", "cross-site")
        self.assertEqual(self.ask("DELETE", "/store/a", ("Origin", EVIL), cross).code, 200)
        self.assertEqual(self.ask("DELETE", "/store/b", ("Origin", "null"), cross).code, 404)
        self.assertEqual(self.ask("DELETE", "/store/b", cross).code, 403)

    def test_preflight(self) -> None:
        """Any page may ask."""
        wants = ("Access-Control-Request-Method", "PUT")
        request = self.ask("OPTIONS", "/store/a", ("Origin", EVIL), wants)
        self.assertIn("PUT", self.field(request, "access-control-allow-methods")[0])


class NoOriginTests(SynchronousTestCase):
    """A server without the setting."""

    def test_nothing(self) -> None:
        """No answer has a field of CORS."""
        dispatcher = Dispatcher(routes(MemoryStore()), Browsers())
        for method in ("GET", "OPTIONS"):
            wants = ("Access-Control-Request-Method", "PUT")
            request = FakeRequest(method, "/store/a", [("Origin", PAGE), wants])
            dispatcher.dispatch(request)  # type: ignore[arg-type]
            self.assertNotIn("access-control", str(request._fields))
