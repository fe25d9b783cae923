"""Routing: raw paths to endpoints, and the Allow field."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.web.answers import Refusal
from gostore.web.dispatch import Api
from gostore.web.routing import LONGEST_REMEMBERED, REMEMBERED, Router


class RouterTests(SynchronousTestCase):
    """Router, with the routes of the API."""

    def setUp(self) -> None:
        self.router = Router(Api.app)

    def refused(self, method: str, path: str) -> Refusal:
        """How a request is refused."""
        return self.assertRaises(Refusal, self.router.match, method, path)

    def test_endpoints(self) -> None:
        """Each verb of a location has its endpoint; HEAD has that of GET (RFC 9110 9.3.2)."""
        for method, endpoint in [
            ("POST", "create"),
            ("PUT", "replace"),
            ("DELETE", "delete"),
            ("GET", "read"),
            ("HEAD", "read"),
        ]:
            found = self.router.match(method, "/store/a/b%20c")
            self.assertEqual(found, (endpoint, {"location": "a/b c"}))
        self.assertEqual(self.router.match("GET", "/store/"), ("list_blobs", {}))
        self.assertEqual(self.router.match("GET", "/healthz"), ("healthz", {}))

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
        self.assertEqual(self.router.match("GET", "/store/a/"), ("browse", {"prefix": "a/"}))
        self.assertEqual(self.refused("PUT", "/store/a/").code, 400)

    def test_no_location(self) -> None:
        """What cannot be a location is 400, what is too long 414, in whatever verb."""
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            for path in ("//a", "/a//b", "/..", "/a/./b", "/%2e%2e/a", "/a%", "/%ff", "/a%00"):
                self.assertEqual(self.refused(method, "/store" + path).code, 400, path)
            self.assertEqual(self.refused(method, "/store/" + "a" * 1025).code, 414)

    def test_nowhere(self) -> None:
        """What no route has is 404, never a redirect to what resembles it."""
        for path in ("/", "/store", "//store/a", "/STORE/a", "/healthz/", "store/a", "", "*"):
            refusal = self.refused("GET", path)
            self.assertEqual(refusal.code, 404, path)
            # A newcomer's first request, answered with what the next could be.
            self.assertRegex(refusal.text, " /store/, .* /openapi.json$")

    def test_not_allowed(self) -> None:
        """405 comes with the methods that are allowed (RFC 9110 section 15.5.6)."""
        for path in ("/store/", "/healthz"):
            refusal = self.refused("PUT", path)
            self.assertEqual(refusal.code, 405)
            self.assertEqual(refusal.headers, {b"allow": b"GET, HEAD, OPTIONS"})

    def test_allow(self) -> None:
        """Allow is that of the path, and of the whole server for the asterisk form."""
        everything = {b"allow": b"DELETE, GET, HEAD, OPTIONS, POST, PUT"}
        self.assertEqual(self.router.allow("/store/a"), everything)
        self.assertEqual(self.router.allow("*"), everything)
        self.assertEqual(self.router.allow("/healthz"), {b"allow": b"GET, HEAD, OPTIONS"})
        for path in ("/nowhere", "//store/a"):
            self.assertEqual(self.assertRaises(Refusal, self.router.allow, path).code, 404)

    def test_memory_is_bounded(self) -> None:
        """Of the matches only so many are remembered, and no long ones."""
        for number in range(REMEMBERED + 1):
            self.router.match("GET", f"/store/{number}")
        self.assertEqual(len(self.router._remembered), 1)
        self.router.match("GET", "/store/" + "a" * LONGEST_REMEMBERED)
        self.assertEqual(len(self.router._remembered), 1)
        found = self.router.match("GET", f"/store/{REMEMBERED}")
        self.assertEqual(found[1], {"location": str(REMEMBERED)})
