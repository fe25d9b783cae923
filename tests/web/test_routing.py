"""Routing: raw paths to endpoints, and the Allow field."""

from __future__ import annotations

from typing import Any, cast

from klein import Klein
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.grants import Verb
from gostore.web.answers import Answer, Refusal
from gostore.web.routing import Router, asks, prepare
from tests.store.memory_store import MemoryStore
from tests.web.support import routes


class RouterTests(SynchronousTestCase):
    """Router, with the routes of a daemon."""

    def setUp(self) -> None:
        self.routes = routes(MemoryStore())
        self.blobs, self.lists, self.uploads, self.status, self.metrics, *_ = cast(
            list[Any], self.routes
        )
        self.router = Router(self.routes)

    def refused(self, method: str, path: str) -> Refusal:
        """How a request is refused."""
        return self.assertRaises(Refusal, self.router.match, method, path)

    def test_endpoints(self) -> None:
        """Each verb of a location has its endpoint; HEAD has that of GET (RFC 9110 9.3.2)."""
        blobs, lists, status = self.blobs, self.lists, self.status
        for method, endpoint in [
            ("POST", blobs.create),
            ("PUT", blobs.replace),
            ("DELETE", blobs.delete),
            ("GET", blobs.read),
            ("HEAD", blobs.read),
        ]:
            found = self.router.match(method, "/store/a/b%20c")
            self.assertEqual(found, (endpoint, {"location": "a/b c"}))
        self.assertEqual(self.router.match("GET", "/store/"), (lists.list_blobs, {}))
        self.assertEqual(self.router.match("GET", "/healthz"), (status.healthz, {}))

    def test_asks(self) -> None:
        """Each route says which verbs it asks for; what says nothing of blobs asks for none."""
        for method, path, verbs in [
            ("POST", "/store/a", (Verb.CREATE, Verb.REPLACE)),
            ("PUT", "/store/a", (Verb.REPLACE, Verb.CREATE)),
            ("DELETE", "/store/a", (Verb.DELETE,)),
            ("GET", "/store/a", (Verb.READ,)),
            ("HEAD", "/store/a", (Verb.READ,)),
            ("GET", "/store/", (Verb.LIST,)),
            ("GET", "/store/a/", (Verb.LIST,)),
            ("POST", "/uploads/", (Verb.CREATE, Verb.REPLACE)),
            ("PATCH", "/uploads/5/a", (Verb.CREATE, Verb.REPLACE)),
            ("HEAD", "/uploads/5/a", (Verb.CREATE, Verb.REPLACE)),
            ("DELETE", "/uploads/5/a", (Verb.CREATE, Verb.REPLACE)),
            ("GET", "/usage", (Verb.LIST,)),
            ("GET", "/page/0/page.js", ()),
            ("GET", "/healthz", ()),
            ("GET", "/", ()),
            ("GET", "/store", ()),
            ("GET", "/openapi.json", ()),
        ]:
            endpoint, _ = self.router.match(method, path)
            self.assertEqual(cast(Any, endpoint).asks, verbs, path)

    def test_asks_for_nothing_said(self) -> None:
        """A route that does not say what it asks for is no route."""

        class Forgetful:
            app = Klein()
            prepare(app)

            @app.route("/said")
            @asks()
            def said(self, request: object) -> Answer:
                return Answer(200)

            @app.route("/unsaid")
            def unsaid(self, request: object) -> Any:
                return Answer(200)

        with self.assertRaisesRegex(TypeError, "^the route /unsaid does not say"):
            Router([*self.routes, Forgetful()])

    def test_encoded_slash(self) -> None:
        """An encoded slash names what a plain one names."""
        self.assertEqual(
            self.router.match("GET", "/store/a%2Fb"), self.router.match("GET", "/store/a/b")
        )

    def test_decoded_once(self) -> None:
        """A location is decoded once, not until nothing changes."""
        self.assertEqual(self.router.match("GET", "/store/%2561")[1], {"location": "%61"})

    def test_directory(self) -> None:
        """A path that ends with a slash is a prefix for GET; for a write it is no location."""
        found = self.router.match("GET", "/store/a/")
        self.assertEqual(found, (self.lists.browse, {"prefix": "a/"}))
        self.assertEqual(self.refused("PUT", "/store/a/").code, 400)

    def test_no_location(self) -> None:
        """What cannot be a location is 400, what is too long 414, in whatever verb."""
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            for path in ("//a", "/a//b", "/..", "/a/./b", "/%2e%2e/a", "/a%", "/%ff", "/a%00"):
                self.assertEqual(self.refused(method, "/store" + path).code, 400, path)
            self.assertEqual(self.refused(method, "/store/" + "a" * 1025).code, 414)

    def test_nowhere(self) -> None:
        """What no route has is 404, never a redirect to what resembles it."""
        for path in ("/stores", "//store/a", "/STORE/a", "/healthz/", "store/a", "", "*"):
            refusal = self.refused("GET", path)
            self.assertEqual(refusal.code, 404, path)
            # A newcomer's first request, answered with what the next could be.
            self.assertRegex(refusal.text, " /store/, .* /openapi.json$")

    def test_too_long(self) -> None:
        """A path longer than any route is 414 before it is looked up, in whatever verb."""
        for path in ("/" * 5000, "/store/" + "//" * 2500 + "/", "/nowhere/" + "a" * 5000):
            self.assertEqual(self.refused("GET", path).code, 414)
            self.assertEqual(self.assertRaises(Refusal, self.router.allow, path).code, 414)

    def test_not_allowed(self) -> None:
        """405 comes with the methods that are allowed (RFC 9110 section 15.5.6)."""
        for path in ("/store/", "/healthz"):
            refusal = self.refused("PUT", path)
            self.assertEqual(refusal.code, 405)
            self.assertEqual(refusal.fields, {b"allow": b"GET, HEAD, OPTIONS"})

    def test_allow(self) -> None:
        """Allow is that of the path, and of the whole server for the asterisk form."""
        everything = {b"allow": b"DELETE, GET, HEAD, OPTIONS, POST, PUT"}
        self.assertEqual(self.router.allow("/store/a"), everything)
        server = {b"allow": b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"}
        self.assertEqual(self.router.allow("*"), server)
        self.assertEqual(self.router.allow("/healthz"), {b"allow": b"GET, HEAD, OPTIONS"})
        for path in ("/nowhere", "//store/a"):
            self.assertEqual(self.assertRaises(Refusal, self.router.allow, path).code, 404)
