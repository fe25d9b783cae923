"""Tests for gostore.web.routes.usage: what a user sees of how much is stored."""

from __future__ import annotations

import json
import math
from typing import Any

from twisted.internet.defer import Deferred

from gostore.access.door import Door
from gostore.access.quotas import Quota, Quotas
from gostore.access.rules import parse_rules
from gostore.access.tokens import digest_of
from gostore.prefixes import ByPrefix
from gostore.web.dispatch import Dispatcher
from gostore.web.guard import Guard
from gostore.web.routes.usage import Usage
from tests.web.support import WebCase

RULES = "[anonymous]\ngrant = read\n" + "".join(
    f"[token {name}]\nsecret = sha256:{digest_of('gst_' + name).hex()}\ngrant = {grant}\n"
    for name, grant in [("all", "all"), ("some", "list a/b/"), ("none", "read")]
)


class UsageTests(WebCase):
    """/usage."""

    def setUp(self) -> None:
        super().setUp()
        self.quotas = Quotas([Quota("", 1000), Quota("a/b/", 100, 5), Quota("secret/", 7)])
        self.quotas.count("a/b/c", 30, 1)
        self.keep = ByPrefix(60.0, {"a/": math.inf, "a/b/": 0.0, "secret/": 5.0})
        self.usage = Usage(self.store, self.quotas, self.keep)
        self.dispatcher = Dispatcher([self.usage])

    def told(self, *headers: tuple[str, str]) -> dict[str, Any]:
        """What it says."""
        request = self.ask("GET", "/usage", *headers)
        self.assertEqual(request.code, 200)
        self.assertEqual(request.answer["cache-control"], "no-store")
        found: dict[str, Any] = json.loads(request.content)
        return found

    def test_everything(self) -> None:
        """Without an access file everybody sees all: blobs, room, quotas, and what is kept."""
        self.store.add("a", b"data")
        self.store.free, self.store.reserve, self.store.kept = 1000, 300, 50
        told = self.told()
        self.assertEqual((told["blobs"], told["bytes"], told["free"]), (1, 4, 750))
        self.assertIsNone(told["principal"])
        self.assertEqual([each["prefix"] for each in told["quotas"]], ["", "a/b/", "secret/"])
        some = {"prefix": "a/b/", "bytes": 30, "max_bytes": 100, "blobs": 1, "max_blobs": 5}
        self.assertEqual(told["quotas"][1], some)
        self.assertEqual(
            {each["prefix"]: each["seconds"] for each in told["keep"]},
            {"": 60.0, "a/": None, "a/b/": 0.0, "secret/": 5.0},
        )

    def test_no_room(self) -> None:
        """Within the reserve there is no room, and never less than none."""
        self.store.free, self.store.reserve = 100, 300
        self.assertEqual(self.told()["free"], 0)

    def test_nobody_counts(self) -> None:
        """A bucket counts nothing, so nothing is said of it."""
        self.dispatcher = Dispatcher([Usage(self.store, counts=False)])
        expected = {"principal": None, "quotas": [], "keep": [{"prefix": "", "seconds": 0.0}]}
        self.assertEqual(self.told(), expected)

    def test_grants(self) -> None:
        """Who may list a part sees the quotas and the rules of that part, and no total."""
        door = Door(parse_rules(RULES, "x"), lambda *_: Deferred())
        self.dispatcher = Dispatcher([self.usage], guard=Guard(door))

        def bearer(name: str) -> tuple[str, str]:
            return "Authorization", f"Bearer gst_{name}"

        self.assertEqual(self.told(bearer("all"))["principal"], "all")
        self.assertIn("bytes", self.told(bearer("all")))
        told = self.told(bearer("some"))
        self.assertEqual(told.keys(), {"principal", "quotas", "keep"})
        self.assertEqual([each["prefix"] for each in told["quotas"]], ["a/b/"])
        self.assertEqual([each["prefix"] for each in told["keep"]], ["", "a/", "a/b/"])
        self.assert_refused(self.ask("GET", "/usage", bearer("none")), 403)
        self.assert_refused(self.ask("GET", "/usage"), 401)
