"""The search for the dearest request head makes heads that a server reads; nothing is timed."""

from __future__ import annotations

import random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.heads import Field, Head, changed, cost
from gostore.wire import HTTPFactory, Limits
from tests.web.hostile import Served, known_fields


class HeadTests(SynchronousTestCase):
    """Heads, and what is measured of them."""

    def test_full(self) -> None:
        """Every head, however it was changed, is as long as the limits let it be, and complete."""
        chance, limits, names = random.Random(1), Limits(), known_fields()
        head = Head("GET", "/store/?~", "%41", (Field("accept", "", "a,", 16_000),))
        sizes = []
        for _ in range(300):
            data = head.encode(limits)
            sizes.append(len(data))
            self.assertTrue(data.endswith(b"\r\n\r\n"))
            self.assertLessEqual(len(data.split(b" ")[1]), limits.max_uri_size)
            head = changed(head, names, chance)
        self.assertLessEqual(max(sizes), limits.max_head_size)
        self.assertGreater(max(sizes), limits.max_head_size - 100)

    def test_cost(self) -> None:
        """What is measured is a request from its bytes to its answer."""
        served = Served()
        factory = HTTPFactory(served.__call__, Limits(), Clock())
        self.assertGreater(cost(Head("GET", "/store/a", "a", ()), served, factory), 0)
        self.assertEqual({request.path for request in served.requests}, {"/store/a"})
        self.assertFalse(any(request.is_awaited for request in served.requests))
