"""What the pages of other sites may not make a browser do."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from gostore.web.answers import Refusal
from gostore.web.browsers import Browsers, is_loopback, name_of
from gostore.web.dispatch import Dispatcher
from tests.web.fake_request import FakeRequest
from tests.web.support import WebCase, routes

LOOPBACK = IPv4Address("TCP", "127.0.0.1", 7777)
SOCKET = UNIXAddress("/run/gostore")
OURS = "Host", "localhost:7777"
EVIL = "http://evil.example"


def code(browsers: Browsers, request: FakeRequest, server: object = LOOPBACK) -> int:
    """The status that a request is refused with, 0 if it is not."""
    request.server = server
    try:
        browsers.check(request)  # type: ignore[arg-type]
    except Refusal as refusal:
        return refusal.code
    return 0


class HostTests(SynchronousTestCase):
    """Host (DNS rebinding)."""

    def codes(self, names: Iterable[str] | None, hosts: Iterable[str], server: object) -> set[int]:
        """How requests for these hosts are refused by a daemon that listens on 127.0.0.1."""
        browsers = Browsers(names)
        browsers.listening_on([LOOPBACK, IPv6Address("TCP", "::1", 7777), SOCKET])
        return {
            code(browsers, FakeRequest(method, "/store/a", [("Host", host)]), server)
            for host in hosts
            for method in ("GET", "HEAD", "POST", "OPTIONS")
        }

    own = (
        "localhost", "LocalHost:7777", "localhost.", "a.localhost", "A.B.localhost:1", "127.0.0.1",
        "127.0.0.1:7777", "127.1.2.3", "[::1]", "[::1]:7777", "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]:80", "",
    )  # fmt: skip
    foreign = (
        "evil.example", "evil.example:7777", "localhost.evil.example", "notlocalhost",
        "127.0.0.1.a", "0.0.0.0", "192.0.2.1", "[::2]", "[::ffff:192.0.2.1]", "x",
        ".localhost.example",
    )  # fmt: skip

    def test_loopback(self) -> None:
        """On a loopback address only names of this machine are served, every other one is 421."""
        for server in (LOOPBACK, IPv6Address("TCP", "::1", 7777)):
            self.assertEqual(self.codes(None, self.own, server), {0})
            self.assertEqual(self.codes(None, self.foreign, server), {421})

    def test_elsewhere(self) -> None:
        """Where other machines can connect, and on Unix sockets, any name is served."""
        everywhere = IPv4Address("TCP", "192.0.2.1", 7777)
        # A connection by way of the loopback to a port that is open to all.
        to_all = IPv4Address("TCP", "127.0.0.1", 8888)
        for server in (everywhere, to_all, SOCKET):
            self.assertEqual(self.codes(None, (*self.own, *self.foreign), server), {0})

    def test_names(self) -> None:
        """The setting's names are served wherever the daemon listens, and no others."""
        for server in (LOOPBACK, IPv4Address("TCP", "192.0.2.1", 7777), SOCKET):
            names = ["a.example", "*.b.example", "::2"]
            good = ["a.example", "A.Example.:80", "x.b.example", "x.y.b.example", "[::2]:1"]
            bad = ["b.example", "x.a.example", "xb.example", "localhost", "[::1]", "a.example.b"]
            self.assertEqual(self.codes(names, good, server), {0})
            self.assertEqual(self.codes(names, bad, server), {421})
            self.assertEqual(self.codes("*", (*self.own, *self.foreign), server), {0})

    def test_absolute_form(self) -> None:
        """The authority of a target in absolute form overrides Host (RFC 9112 section 3.2.2)."""
        browsers = Browsers()
        browsers.listening_on([LOOPBACK])
        for target, refused in [
            ("http://evil.example/store/a", 421),
            ("HTTP://evil.example:7777", 421),
            ("http://localhost:7777/store/a", 0),
            ("*", 0),
        ]:
            request = FakeRequest("GET", target, [OURS])
            self.assertEqual(code(browsers, request), refused, target)

    def test_no_host(self) -> None:
        """No Host (HTTP/1.0) is served: browsers always send one."""
        browsers = Browsers(["a.example"])
        self.assertEqual(code(browsers, FakeRequest("GET", "/store/a")), 0)

    @given(st.text())
    def test_anything(self, host: str) -> None:
        """Whatever a name is, it is split and judged without an exception."""
        self.assertIsInstance(is_loopback(name_of(host)), bool)


class SiteTests(SynchronousTestCase):
    """Origin and Sec-Fetch-Site (cross-site request forgery)."""

    def refused(self, *fields: tuple[str, str], server: object = LOOPBACK) -> set[int]:
        """How writes with these fields are refused; reads are not."""
        browsers = Browsers("*")
        read = FakeRequest("GET", "/store/a", fields)
        self.assertEqual(code(browsers, read, server), 0)
        return {
            code(browsers, FakeRequest(method, "/store/a", fields), server)
            for method in ("POST", "PUT", "PATCH", "DELETE")
        }

    def test_no_browser(self) -> None:
        """A client that is no browser sends neither, and may write."""
        self.assertEqual(self.refused(OURS), {0})

    def test_fetch_site(self) -> None:
        """A write of another site's page is 403, a user's own and a page's own are not."""
        for site, refused in [
            ("cross-site", 403), ("same-site", 403), ("Cross-Site", 403),
            ("same-origin", 0), ("none", 0), ("unknown", 0),
        ]:  # fmt: skip
            self.assertEqual(self.refused(OURS, ("Sec-Fetch-Site", site)), {refused}, site)

    def test_origin(self) -> None:
        """A write whose Origin is not the host that it is sent to is 403."""
        for host, origin, refused in [
            ("localhost:7777", "http://localhost:7777", 0),
            ("localhost:7777", "HTTP://LOCALHOST:7777", 0),
            ("blobs.example", "https://blobs.example", 0),
            ("blobs.example:443", "https://blobs.example", 0),
            ("blobs.example", "http://blobs.example:80", 0),
            ("[::1]:7777", "http://[::1]:7777", 0),
            ("localhost:7777", EVIL, 403),
            ("localhost:7777", "http://localhost", 403),
            ("localhost:7777", "http://localhost:8888", 403),
            ("localhost:7777", "http://127.0.0.1:7777", 403),
            ("localhost:7777", "null", 403),
            ("localhost:7777", "", 403),
            ("localhost:7777", f"http://localhost:7777, {EVIL}", 403),
            ("localhost:7777", "chrome-extension://localhost:7777", 403),
            ("localhost:7777", "http://evil@localhost:7777", 403),
        ]:
            found = self.refused(("Host", host), ("Origin", origin))
            self.assertEqual(found, {refused}, origin)
        self.assertEqual(self.refused(("Origin", EVIL)), {403})

    def test_both(self) -> None:
        """Either of them is enough to refuse a write."""
        own = "Origin", "http://localhost:7777"
        self.assertEqual(self.refused(OURS, own, ("Sec-Fetch-Site", "cross-site")), {403})
        foreign = "Origin", EVIL
        self.assertEqual(self.refused(OURS, foreign, ("Sec-Fetch-Site", "same-origin")), {403})

    def test_tls(self) -> None:
        """Over TLS a page that came without it is another site."""
        for scheme, refused in (("https", 0), ("http", 403)):
            request = FakeRequest(
                "POST", "/store/a", [OURS, ("Origin", f"{scheme}://localhost:7777")]
            )
            request.is_secure = True
            self.assertEqual(code(Browsers("*"), request), refused)

    def test_unix_socket(self) -> None:
        """On a Unix socket Host names nothing that an Origin could be compared with."""
        for field, refused in ((("Origin", EVIL), 0), (("Sec-Fetch-Site", "cross-site"), 403)):
            request = FakeRequest("POST", "/store/a", [("Host", "x"), field])
            self.assertEqual(code(Browsers(), request, SOCKET), refused)

    def test_unix_socket_behind_a_proxy(self) -> None:
        """With names in the setting, Host and Origin are judged on a Unix socket as elsewhere."""
        browsers = Browsers(["a.example"])
        for host, origin, refused in (
            ("a.example", "http://a.example", 0),
            ("a.example", EVIL, 403),
            ("evil.example", EVIL, 421),
        ):
            request = FakeRequest("POST", "/store/a", [("Host", host), ("Origin", origin)])
            self.assertEqual(code(browsers, request, SOCKET), refused)


class DispatchTests(WebCase):
    """A dispatcher with Browsers."""

    def test_refused(self) -> None:
        """What a browser should not have asked for reaches no route, and costs no upload."""
        browsers = Browsers()
        browsers.listening_on([LOOPBACK])
        self.dispatcher = Dispatcher(routes(self.store), browsers)
        self.store.add("foo", b"data")
        site = "Sec-Fetch-Site", "cross-site"
        for method, fields, refused in [
            ("DELETE", [OURS, site], 403),
            ("POST", [OURS, site], 403),
            ("GET", [("Host", "evil.example")], 421),
            ("OPTIONS", [("Host", "evil.example")], 421),
            ("PATCH", [("Host", "evil.example")], 421),
        ]:
            request = FakeRequest(method, "/store/foo", fields, b"evil")
            request.server = LOOPBACK
            self.dispatcher.dispatch(request)  # type: ignore[arg-type]
            self.assert_refused(request, refused)
            self.assertNotIn("evil", request.error)
        self.assertEqual(self.store.data("foo"), b"data")
