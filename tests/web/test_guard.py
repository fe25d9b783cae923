"""Tests for gostore.web.guard: who is let through to which route."""

from __future__ import annotations

from base64 import b64encode

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.door import Door
from gostore.access.grants import Verb
from gostore.access.rules import parse_rules
from gostore.access.throttle import MOST
from gostore.access.tokens import digest_of
from gostore.errors import Damaged
from gostore.web.answer_cache import AnswerCache
from gostore.web.dispatch import Dispatcher
from gostore.web.guard import Guard, refused
from gostore.web.routes.blobs import Blobs
from tests.store.memory_store import MemoryStore
from tests.web.fake_request import FakeBody, FakeRequest
from tests.web.support import routes

HASH = "$2y$05$" + 53 * "a"


def token(name: str, *grants: str) -> str:
    """The section of a token whose secret is gst_ and its name."""
    lines = "\n  ".join(grants)
    return f"[token {name}]\nsecret = sha256:{digest_of('gst_' + name).hex()}\ngrant = {lines}\n"


RULES = (
    "[anonymous]\ngrant = read public/\n"
    + f"[user alice]\npassword = {HASH}\ngrant = all\n"
    + token("all", "all")
    + token("append", "append a/")
    + token("read", "read a/")
    + token("replace", "replace a/")
    + token("both", "create,replace a/")
    + token("list", "list a/b/", "list c")
    + token("nothing")
)


class GuardCase(SynchronousTestCase):
    """A store behind a guard, with a blob at a/old."""

    put_creates = False

    def setUp(self) -> None:
        """Have it."""
        self.store = MemoryStore()
        self.store.add("a/old")
        self.compared: list[Deferred[bool]] = []
        self.door = Door(parse_rules(RULES, "x"), self.compare)
        found = routes(self.store, put_creates=self.put_creates)
        self.dispatcher = Dispatcher(found, guard=Guard(self.door))

    def compare(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        """Leave it to the test."""
        self.compared.append(Deferred())
        return self.compared[-1]

    def ask(
        self,
        name: str,
        method: str,
        target: str,
        *headers: tuple[str, str],
        body: FakeBody | bytes = b"",
    ) -> FakeRequest:
        """Send a request with the token of a name, or without credentials."""
        fields = [*headers]
        if name:
            fields.append(("Authorization", f"Bearer gst_{name}"))
        request = FakeRequest(method, target, fields, body)
        self.dispatcher.dispatch(request)  # type: ignore[arg-type]
        return request

    def put(self, name: str, location: str, *headers: tuple[str, str]) -> int | None:
        """The status of a PUT."""
        return self.ask(name, "PUT", f"/store/{location}", *headers, body=b"new").code


class GuardTests(GuardCase):
    """Who gets which answer."""

    def test_without_credentials(self) -> None:
        """Those without credentials are asked for some, where they may not do it without."""
        self.store.add("public/a")
        self.assertEqual(self.ask("", "GET", "/store/public/a").code, 200)
        for method, target in (
            ("GET", "/store/a/old"),
            ("GET", "/store/a/missing"),
            ("DELETE", "/store/public/a"),
            ("GET", "/store/"),
            ("GET", "/store/public/"),
        ):
            request = self.ask("", method, target)
            self.assertEqual(request.code, 401)
            self.assertEqual(
                request.answer["www-authenticate"],
                'Basic realm="gostore", charset="UTF-8", Bearer realm="gostore"',
            )
            self.assertIn("Without credentials nobody may", request.error)

    def test_open(self) -> None:
        """Health, and what says nothing of blobs, is open to all, also to wrong credentials."""
        for name in ("", "wrong"):
            for path in ("/healthz", "/livez", "/readyz", "/openapi.json"):
                self.assertEqual(self.ask(name, "GET", path).code, 200)
            self.assertEqual(self.ask(name, "GET", "/nowhere").code, 404)
            self.assertEqual(self.ask(name, "OPTIONS", "/store/a").code, 200)

    def test_insufficient(self) -> None:
        """A principal that may not do it is told so, whether there is a blob or not."""
        for location in ("a/old", "a/new", "public/x"):
            for method in ("GET", "HEAD", "DELETE"):
                request = self.ask("append", method, f"/store/{location}")
                self.assertEqual(request.code, 403)
                self.assertNotIn("www-authenticate", request.answer)
        self.assertEqual(
            self.ask("append", "GET", "/store/a/old").error, "append may not read this"
        )
        self.assertEqual(self.ask("append", "POST", "/store/b").code, 403)
        self.assertEqual(self.ask("nothing", "GET", "/store/").code, 403)

    def test_the_metrics(self) -> None:
        """A refusal of the metrics is a sentence, although metrics is no verb of English."""
        self.assertEqual(
            refused(self.door.anonymous, Verb.METRICS).text,
            "Without credentials nobody may read the metrics",
        )

    def test_refused_before_the_body(self) -> None:
        """A refusal takes nothing of the body."""
        for name, method in (("", "POST"), ("wrong", "POST"), ("append", "DELETE")):
            body = FakeBody(open=True)
            request = self.ask(name, method, "/store/a/new", body=body)
            self.assertIn(request.code, (401, 403))
            self.assertFalse(body.delivered)
        body = FakeBody(open=True)
        self.assertEqual(self.ask("append", "PUT", "/store/a/old", body=body).code, 403)
        self.assertFalse(body.delivered)

    def test_wrong(self) -> None:
        """Wrong credentials are 401 whatever the anonymous may do, and 429 after ten."""
        self.store.add("public/a")
        for _ in range(MOST):
            request = self.ask("wrong", "GET", "/store/public/a")
            self.assertEqual((request.code, request.error), (401, "The credentials are wrong"))
            self.assertIn("www-authenticate", request.answer)
        request = self.ask("all", "GET", "/store/public/a")
        self.assertEqual(request.code, 429)
        self.assertEqual(request.answer["retry-after"], "60")
        self.assertEqual(self.ask("", "GET", "/store/public/a").code, 200)

    def test_address(self) -> None:
        """Failures count for the address that they come from."""
        request = FakeRequest("GET", "/store/a", [("Authorization", "x")])
        request.client = IPv4Address("TCP", "192.0.2.1", 1)
        for _ in range(MOST):
            request.code = None
            self.dispatcher.dispatch(request)  # type: ignore[arg-type]
        self.assertTrue(self.door.throttle.wait("192.0.2.1"))
        self.assertEqual(self.ask("all", "GET", "/store/a/old").code, 200)

    def test_password(self) -> None:
        """A request waits for its password, takes nothing of the body, and is then answered."""
        value = "Basic " + b64encode(b"alice:x").decode()
        for is_right, code, delivered in ((False, 401, False), (True, 204, True)):
            body = FakeBody(open=True)
            request = self.ask("", "POST", "/store/new", ("Authorization", value), body=body)
            self.assertEqual((request.code, body.delivered), (None, False))
            self.compared.pop().callback(is_right)
            self.assertEqual(body.delivered, delivered)
            if is_right:
                assert body.sink is not None
                body.sink.finished()
            self.assertEqual(request.code, code)
        request = self.ask("", "GET", "/store/new", ("Authorization", value))
        self.assertEqual((request.code, self.compared), (200, []))

    def test_busy(self) -> None:
        """When a password cannot be compared now, the client is told to come again."""
        value = "Basic " + b64encode(b"alice:x").decode()
        self.patch(self.door, "_asking", dict.fromkeys(range(32)))
        request = self.ask("", "GET", "/store/a", ("Authorization", value))
        self.assertEqual((request.code, request.answer["retry-after"]), (503, "1"))

    def test_principal(self) -> None:
        """The request knows its principal, and the log of a blob names it."""
        self.assertEqual(self.ask("all", "GET", "/store/a/old").principal.name, "all")
        self.assertEqual(self.ask("", "GET", "/store/a/old").principal.name, "anonymous")
        request = self.ask("append", "POST", "/store/a/new", body=b"x")
        self.assertRegex(request.body.origin, "^append, ")

    def test_list(self) -> None:
        """A list has what may be listed, and for that list nothing else is there."""
        for location in ("a/b/1", "a/c", "b", "c1", "c2/x", "d"):
            self.store.add(location)
        self.assertEqual(self.listed(""), ["a/b/1", "c1", "c2/x"])
        self.assertEqual(self.listed("&delimiter=/"), ["a/", "c1", "c2/"])
        self.assertEqual(self.listed("&prefix=d"), [])
        request = self.ask("list", "GET", "/store/?format=text&limit=1&after=c1")
        self.assertNotIn("link", request.answer)
        html = ("Accept", "text/html")
        self.assertEqual(self.ask("list", "GET", "/store/a/", html).code, 200)
        # As where there is nothing.
        hidden = self.ask("list", "GET", "/store/d/", html)
        nothing = self.ask("all", "GET", "/store/nothing/", html)
        self.assertEqual((hidden.code, hidden.content), (400, nothing.content))
        self.assertEqual(len(self.listed("", "all")), 7)

    def listed(self, query: str, name: str = "list") -> list[str]:
        """The entries of a list."""
        request = self.ask(name, "GET", f"/store/?format=text{query}")
        self.assertEqual(request.code, 200)
        return [line.split("\t")[0] for line in request.content.decode().splitlines()]


class CacheTests(GuardCase):
    """Answers that are kept in memory."""

    def test_public(self) -> None:
        """An answer is found without a request only as long as everybody may read the blob."""
        self.store.add("public/a")
        answers = AnswerCache(1 << 20, self.store)
        self.dispatcher = Dispatcher([Blobs(self.store)], None, answers, Guard(self.door))
        request = self.ask("", "GET", "/store/public/a")
        find = self.dispatcher.shortcut(request)  # type: ignore[arg-type]
        assert find is not None
        self.assertIsNotNone(find(b"GET /store/public/a HTTP/1.1"))
        self.assertIsNone(find(b"GET /store/a/old HTTP/1.1"))
        self.assertEqual(len(answers), 1)
        self.door.change(parse_rules(RULES.replace("public/", "private/"), "x"))
        self.assertIsNone(find(b"GET /store/public/a HTTP/1.1"))

    def test_with_credentials(self) -> None:
        """A client with credentials gets what these may read, as long as they are good."""
        self.store.add("b")
        answers = AnswerCache(1 << 20, self.store)
        self.dispatcher = Dispatcher([Blobs(self.store)], None, answers, Guard(self.door))
        for name, old, other in (
            ("all", True, True),
            ("read", True, False),
            ("append", False, False),
            ("wrong", False, False),
        ):
            request = self.ask(name, "GET", "/store/a/old")
            self.assertEqual(request.code == 200, old, name)
            find = self.dispatcher.shortcut(request)  # type: ignore[arg-type]
            assert find is not None
            self.assertEqual(find(b"GET /store/a/old HTTP/1.1") is not None, old, name)
            self.assertEqual(find(b"GET /store/b HTTP/1.1") is not None, other, name)
            revoked = RULES.replace(digest_of(f"gst_{name}").hex(), digest_of("gst_x").hex())
            self.door.change(parse_rules(revoked, "x"))
            self.assertIsNone(find(b"GET /store/a/old HTTP/1.1"), name)
            self.door.change(parse_rules(RULES, "x"))

    def test_not_let_in_yet(self) -> None:
        """While a password is being compared the shortcut gives nothing."""
        answers = AnswerCache(1 << 20, self.store)
        self.dispatcher = Dispatcher([Blobs(self.store)], None, answers, Guard(self.door))
        basic = ("Authorization", "Basic " + b64encode(b"alice:secret").decode())
        request = self.ask("", "GET", "/store/a/old", basic)
        find = self.dispatcher.shortcut(request)  # type: ignore[arg-type]
        assert find is not None
        self.assertIsNone(find(b"GET /store/a/old HTTP/1.1"))
        self.compared[0].callback(True)
        self.assertIsNotNone(find(b"GET /store/a/old HTTP/1.1"))


class PutTests(GuardCase):
    """PUT asks for create where there is no blob, and for replace where there is one."""

    def test_plain(self) -> None:
        """A plain PUT creates nothing, whoever sends it."""
        self.assertEqual(self.put("append", "a/old"), 403)
        self.assertEqual(self.put("append", "a/new"), 404)
        self.assertEqual(self.put("append", "a/new", ("If-Match", '"x"')), 412)
        self.assertEqual(self.put("append", "a/old", ("If-Match", "*")), 403)
        self.assertEqual(self.put("replace", "a/old"), 200)
        self.assertEqual(self.put("replace", "a/new"), 403)
        self.assertEqual(self.put("replace", "a/new", ("If-Match", "*")), 403)
        self.assertEqual(self.put("replace", "a/old", ("If-Match", '"x"')), 412)
        self.assertEqual(self.put("both", "a/old"), 200)
        self.assertEqual(self.put("both", "a/new"), 404)
        self.assertEqual(self.put("list", "a/b/x"), 403)

    def test_if_none_match(self) -> None:
        """With If-None-Match: * it is a create."""
        star = ("If-None-Match", "*")
        self.assertEqual(self.put("append", "a/old", star), 412)
        self.assertEqual(self.put("append", "a/new", star), 204)
        self.assertEqual(self.put("replace", "a/old", star), 412)
        self.assertEqual(self.put("replace", "a/new2", star), 403)
        self.assertEqual(self.put("both", "a/new2", star), 204)

    def test_damaged(self) -> None:
        """A damaged blob is one that only those who may replace can write over."""
        self.patch(self.store, "get", lambda location: fail(Damaged(location)))
        self.assertEqual(self.put("append", "a/old"), 403)
        self.assertEqual(self.put("append", "a/old", ("If-None-Match", "*")), 412)


class PutCreatesTests(GuardCase):
    """The same where a plain PUT creates."""

    put_creates = True

    def test_plain(self) -> None:
        """Both verbs are asked for, each where it applies."""
        self.assertEqual(self.put("append", "a/old"), 403)
        self.assertEqual(self.put("append", "a/old", ("If-Match", "*")), 403)
        self.assertEqual(self.put("append", "a/old", ("If-None-Match", '"x"')), 403)
        self.assertEqual(self.put("append", "a/new", ("If-Match", '"x"')), 412)
        self.assertEqual(self.put("append", "a/new"), 204)
        self.assertEqual(self.put("replace", "a/old"), 200)
        self.assertEqual(self.put("replace", "a/new2"), 403)
        self.assertEqual(self.put("both", "a/old"), 200)
        self.assertEqual(self.put("both", "a/new2"), 204)

    def test_race(self) -> None:
        """A blob that another client makes during an append-only PUT is not replaced."""
        body = FakeBody(open=True)
        request = self.ask("append", "PUT", "/store/a/new", body=body)
        self.assertTrue(body.delivered)
        self.assertEqual(self.put("all", "a/new"), 204)
        assert body.sink is not None
        body.sink.finished()
        self.assertEqual(request.code, 403)
        self.assertEqual(self.ask("all", "GET", "/store/a/new").content, b"new")
