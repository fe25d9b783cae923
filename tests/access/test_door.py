"""Tests for gostore.access.door: who is let in, as whom, and for how long."""

from __future__ import annotations

from base64 import b64encode
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from gostore.access.door import (
    MOST_REMEMBERED,
    MOST_WAITING,
    Door,
    Throttled,
    WrongCredentials,
)
from gostore.access.grants import Principal
from gostore.access.rules import Rules, parse_rules
from gostore.access.throttle import MOST
from gostore.access.tokens import digest_of
from gostore.errors import Busy

ALICE = "$2y$06$" + 53 * "a"
BOB = "$2y$06$" + 53 * "b"

TEXT = f"""\
[user alice]
password = {ALICE}

[user bob]
password = {BOB}

[token nightly]
secret = sha256:{digest_of("gst_x").hex()}
expires = 1970-01-02
"""


def rules(text: str = TEXT) -> Rules:
    """The rules of a file."""
    return parse_rules(text, "x")


def basic(user: str, password: str) -> bytes:
    """The field of a user."""
    return b"Basic " + b64encode(f"{user}:{password}".encode())


class DoorTests(SynchronousTestCase):
    """A door, and passwords that are compared when the test says so."""

    def setUp(self) -> None:
        """Have a door."""
        self.clock, self.wall = Clock(), Clock()
        self.compared: list[tuple[bytes, bytes, Deferred[bool]]] = []
        self.door = Door(rules(), self.compare, self.clock.seconds, self.wall.seconds)

    def compare(self, password: bytes, hashed: bytes) -> Deferred[bool]:
        """Take a password to be compared."""
        done: Deferred[bool] = Deferred()
        self.compared.append((password, hashed, done))
        return done

    def ask(self, value: bytes, address: str | None = "192.0.2.1") -> Deferred[Principal]:
        """Ask for credentials, whether they are known or not."""
        return self.door.ask(self.door.key_of(value), value, address)

    def known(self, value: bytes) -> str | None:
        """The name of the principal that is known by these credentials."""
        found = self.door.find(self.door.key_of(value))
        return None if found is None else found.name

    def let_in(self, user: str = "alice", password: str = "right") -> bytes:
        """Let a user in; the field that it was let in with."""
        asked = self.ask(basic(user, password))
        self.compared.pop()[2].callback(True)
        self.assertEqual(self.successResultOf(asked).name, user)
        return basic(user, password)

    def test_token(self) -> None:
        """A token is known by its secret: as Bearer, and as the password of anybody."""
        for value in (b"Bearer gst_x", basic("x", "gst_x"), basic("alice", "gst_x")):
            self.assertIsNone(self.known(value))
            self.assertEqual(self.successResultOf(self.ask(value)).name, "nightly")
            self.assertEqual(self.known(value), "nightly")
        self.failureResultOf(self.ask(b"Bearer gst_y"), WrongCredentials)
        self.assertEqual(self.compared, [])

    def test_expired(self) -> None:
        """A token that has expired is nobody's, also for whom it was let in before."""
        self.successResultOf(self.ask(b"Bearer gst_x"))
        self.wall.advance(86399)
        self.assertEqual(self.known(b"Bearer gst_x"), "nightly")
        self.wall.advance(1)
        self.assertIsNone(self.known(b"Bearer gst_x"))
        self.failureResultOf(self.ask(b"Bearer gst_x"), WrongCredentials)

    def test_user(self) -> None:
        """A user is let in once the password is right, and known from then on."""
        asked = self.ask(basic("alice", "pass:word"))
        self.assertNoResult(asked)
        password, hashed, done = self.compared.pop()
        self.assertEqual((password, hashed), (b"pass:word", ALICE.encode()))
        done.callback(True)
        self.assertEqual(self.successResultOf(asked).name, "alice")
        self.assertEqual(self.known(basic("alice", "pass:word")), "alice")
        self.assertIsNone(self.known(basic("alice", "other")))

    def test_unknown_user(self) -> None:
        """An unknown user costs what a wrong password does, even if that is the right one."""
        wrong, unknown = self.ask(basic("alice", "x")), self.ask(basic("nobody", "x"))
        for _, hashed, done in self.compared:
            self.assertEqual(hashed[:7], b"$2y$06$".replace(b"y", hashed[2:3]))
            self.assertEqual(len(hashed), 60)
            done.callback(hashed != ALICE.encode())
        first = self.failureResultOf(wrong, WrongCredentials).value
        self.assertEqual(str(first), str(self.failureResultOf(unknown, WrongCredentials).value))

    def test_no_users(self) -> None:
        """Where there are no users, nobody waits for a password."""
        self.door.change(rules(TEXT[TEXT.index("[token") :]))
        self.failureResultOf(self.ask(basic("alice", "x")), WrongCredentials)

    def test_several_connections(self) -> None:
        """Clients that come at once with the same credentials wait for one look."""
        asked = [self.ask(basic("alice", "x")) for _ in range(3 * MOST)]
        self.compared.pop()[2].callback(True)
        self.assertEqual(self.compared, [])
        self.assertEqual({self.successResultOf(each).name for each in asked}, {"alice"})
        asked = [self.ask(basic("alice", "y")) for _ in range(3)]
        self.compared.pop()[2].callback(False)
        for each in asked:
            self.failureResultOf(each, WrongCredentials)

    def test_queue(self) -> None:
        """When too many wait for a thread, the next is told to come again, which is no failure."""
        asked = [self.ask(basic("alice", f"{n}"), f"192.0.2.{n}") for n in range(MOST_WAITING)]
        self.failureResultOf(self.ask(basic("bob", "x"), "192.0.2.99"), Busy)
        self.assertEqual(len(self.compared), MOST_WAITING)
        self.successResultOf(self.ask(b"Bearer gst_x", "192.0.2.99"))
        for _, _, done in self.compared:
            done.callback(False)
        for each in asked:
            self.failureResultOf(each, WrongCredentials)
        self.assertEqual(self.door.refused, {"wrong": MOST_WAITING, "throttled": 0, "busy": 1})
        self.assertNoResult(self.ask(basic("bob", "x"), "192.0.2.99"))

    def test_throttled(self) -> None:
        """After ten wrong credentials, nothing new is looked at from there; who is known passes."""
        alice = self.let_in()
        for number in range(MOST):
            value = b"nonsense" if number % 2 else b"Bearer gst_%d" % number
            self.failureResultOf(self.ask(value), WrongCredentials)
        for value in (b"Bearer gst_x", basic("bob", "right"), b"nonsense"):
            error = self.failureResultOf(self.ask(value), Throttled).value
            self.assertEqual(cast(Throttled, error).seconds, 60)
        self.assertEqual(self.compared, [])
        self.assertEqual(self.door.refused, {"wrong": MOST, "throttled": 3, "busy": 0})
        self.assertEqual(self.known(alice), "alice")
        self.successResultOf(self.ask(b"Bearer gst_x", "192.0.2.2"))
        self.clock.advance(60)
        self.successResultOf(self.ask(b"Bearer gst_x"))

    def test_right_ones_do_not_count(self) -> None:
        """Right credentials are no failures, however many there are."""
        for number in range(3 * MOST):
            self.successResultOf(self.ask(basic(f"{number}", "gst_x")))
        for _ in range(2 * MOST):
            self.let_in()

    def test_failed_comparison(self) -> None:
        """A comparison that could not be made is an error and not a wrong password."""
        for _ in range(2 * MOST):
            asked = self.ask(basic("alice", "x"))
            self.compared.pop()[2].errback(MemoryError())
            self.failureResultOf(asked, MemoryError)

    def test_forgotten(self) -> None:
        """A client is known as long as it comes, and for some minutes more."""
        alice, bob = self.let_in("alice"), self.let_in("bob")
        for _ in range(5):
            self.assertEqual(self.known(alice), "alice")
            self.door.forget()
        self.assertEqual(self.known(alice), "alice")
        self.assertIsNone(self.known(bob))

    def test_bound(self) -> None:
        """However many credentials were right, few of them are remembered."""
        for number in range(2 * MOST_REMEMBERED + 1):
            self.successResultOf(self.ask(basic(f"{number}", "gst_x")))
        self.assertIsNone(self.known(basic("0", "gst_x")))
        self.assertEqual(self.known(basic(f"{2 * MOST_REMEMBERED}", "gst_x")), "nightly")

    def test_change(self) -> None:
        """Other rules count at once: for those who are known, too, and for whoever is waiting."""
        alice, bob = self.let_in("alice"), self.let_in("bob")
        self.successResultOf(self.ask(b"Bearer gst_x"))
        self.door.change(rules(TEXT.replace(BOB, BOB[:-1] + "c") + "grant = read\n"))
        self.assertEqual(self.known(alice), "alice")
        self.assertIsNone(self.known(bob))
        token = self.door.find(self.door.key_of(b"Bearer gst_x"))
        assert token is not None
        self.assertEqual(len(token.grants), 1)
        asked = self.ask(basic("alice", "other"))
        self.door.change(rules(TEXT[TEXT.index("[user bob") : TEXT.index("[token")]))
        self.assertIsNone(self.known(alice))
        self.assertIsNone(self.known(b"Bearer gst_x"))
        self.failureResultOf(self.ask(b"Bearer gst_x"), WrongCredentials)
        self.compared.pop()[2].callback(True)
        self.failureResultOf(asked, WrongCredentials)

    def test_line(self) -> None:
        """Each failure has a line in the log with the address and nothing of the credentials."""
        with capturedLogs() as logged:
            self.failureResultOf(self.ask(b"Bearer hunter2", "2001:db8::1"), WrongCredentials)
            self.failureResultOf(self.ask(b"hunter2", None), WrongCredentials)
        self.assertEqual([event["address"] for event in logged], ["2001:db8::1", "a Unix socket"])
        self.assertNotIn("hunter2", str(logged))

    def test_memory(self) -> None:
        """Nothing that the door keeps has a password in it."""
        self.let_in("alice", "hunter2")
        self.assertNotIn("hunter2", repr(vars(self.door)))
        self.assertNotIn(b64encode(b"alice:hunter2").decode(), repr(vars(self.door)))
