"""Tests for gostore.web.forwarded: what is believed of whom."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.door import Door
from gostore.access.proxies import parse_proxies
from gostore.access.rules import parse_rules
from gostore.web.browsers import Browsers
from gostore.web.dispatch import Dispatcher
from gostore.web.guard import Guard
from tests.store.memory_store import MemoryStore
from tests.web.fake_request import FakeRequest
from tests.web.support import routes

PROXY = IPv4Address("TCP", "127.0.0.1", 5)
STRANGER = IPv4Address("TCP", "192.0.2.9", 5)
RULES = "[user alice]\npassword = proxy\ngrant = read\n"


class ForwardedTests(SynchronousTestCase):
    """A dispatcher that trusts 127.0.0.1 and Unix sockets."""

    def ask(
        self,
        *fields: tuple[str, str],
        client: object = PROXY,
        method: str = "GET",
        names: set[str] | None = None,
        guard: Guard | None = None,
    ) -> FakeRequest:
        """Send a request."""
        proxies = parse_proxies("127.0.0.1,unix")
        dispatcher = Dispatcher(routes(MemoryStore()), Browsers(names), None, guard, proxies)
        request = FakeRequest(method, "/store/a", fields)
        request.client = client
        dispatcher.dispatch(request)  # type: ignore[arg-type]
        return request

    def address(self, *fields: tuple[str, str], client: object = PROXY) -> str | None:
        """The client's address, as the application has it."""
        forwarded = self.ask(*fields, client=client).forwarded
        return None if forwarded is None else forwarded.client.host

    def test_client(self) -> None:
        """A trusted peer says for whom it asks; anybody else is asked about nothing."""
        fields = [("X-Forwarded-For", "6.6.6.6, 192.0.2.1"), ("X-Request-Id", "mine")]
        request = self.ask(*fields)
        self.assertEqual(request.forwarded.client, IPv4Address("TCP", "192.0.2.1", 0))
        self.assertEqual((request.body.sender, request.id), ("192.0.2.1", b"mine"))
        self.assertEqual(self.address(*fields, client=UNIXAddress(b"")), "192.0.2.1")
        self.assertEqual(self.address(("Forwarded", 'for="[2001:db8::1]:80"')), "2001:db8::1")
        self.assertEqual(self.address(), "127.0.0.1")
        request = self.ask(*fields, client=STRANGER)
        self.assertEqual(
            (request.forwarded, request.body.sender, request.id),
            (None, None, b"1b4e28ba-2fa1-41d2-883f-0016d3cca427"),
        )

    def test_both(self) -> None:
        """Where Forwarded and X-Forwarded-For differ, one of them is forged: 400."""
        mine, forged = ("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=6.6.6.6")
        self.assertEqual(self.ask(mine, forged).code, 400)
        self.assertEqual(self.ask(mine, forged, client=STRANGER).code, 404)
        self.assertEqual(
            self.address(mine, ("Forwarded", "for=192.0.2.1;proto=https")), "192.0.2.1"
        )
        self.assertEqual(self.ask(("Forwarded", "for")).code, 400)

    def test_secure(self) -> None:
        """The scheme is the one that the client used."""
        for value, secure in (("https", True), ("HTTPS", True), ("http", False), ("gopher", False)):
            self.assertEqual(self.ask(("X-Forwarded-Proto", value)).forwarded.is_secure, secure)

    def test_host(self) -> None:
        """The host is the one that the client asked for: it is what hosts and Origin are about."""
        host = ("Host", "127.0.0.1:7777")
        good, bad = ("X-Forwarded-Host", "a.example"), ("X-Forwarded-Host", "b.example")
        self.assertEqual(self.ask(host, good, names={"a.example"}).code, 404)
        self.assertEqual(self.ask(host, bad, names={"a.example"}).code, 421)
        self.assertEqual(self.ask(host, good, names={"a.example"}, client=STRANGER).code, 421)
        origin = ("Origin", "https://a.example")
        self.assertEqual(self.ask(host, good, origin, method="DELETE").code, 404)
        self.assertEqual(self.ask(host, bad, origin, method="DELETE").code, 403)
        self.assertEqual(self.ask(host, good, origin, method="DELETE", client=STRANGER).code, 403)

    def test_remote_user(self) -> None:
        """A trusted proxy names the user that it has verified; from others this counts nothing."""
        door = Door(parse_rules(RULES, "x"), lambda password, hashed: self.fail())
        guard = Guard(door, "X-Remote-User")
        alice, bob = ("X-Remote-User", "alice"), ("X-Remote-User", "bob")
        self.assertEqual(self.ask(alice, guard=guard).code, 404)
        self.assertEqual(self.ask(alice, method="DELETE", guard=guard).code, 403)
        self.assertEqual(self.ask(bob, guard=guard).code, 403)
        self.assertEqual(self.ask(alice, alice, guard=guard).code, 403)
        self.assertEqual(self.ask(alice, guard=guard, client=STRANGER).code, 401)
        self.assertEqual(self.ask(guard=guard).code, 401)
        self.assertEqual(self.ask(alice, guard=Guard(door)).code, 401)

    def test_no_password(self) -> None:
        """Nobody gets in with a password as a user whom only a proxy lets in."""
        guard = Guard(Door(parse_rules(RULES, "x"), lambda password, hashed: self.fail()))
        for text in ("YWxpY2U6", "YWxpY2U6cHJveHk="):
            request = self.ask(("Authorization", f"Basic {text}"), guard=guard)
            self.assertEqual(request.code, 401)
