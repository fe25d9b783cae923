"""Blobs that expire within seconds, as their client knows them."""

from __future__ import annotations

import http.client
import random
import time
from email.utils import parsedate_to_datetime

from attrs import define

from tests.e2e.daemon import Daemon, ask
from tests.e2e.storm import SIZES, WEIGHTS, body_of, value_of


@define
class Brief:
    """A blob that expires, as its client knows it."""

    location: str
    value: str
    #: When it was asked for, and for how many seconds.
    begun: float
    seconds: int
    #: When it is over, as its answer said; None if there was none.
    expires: float | None = None

    def check(self, connection: http.client.HTTPConnection) -> int:
        """Read it: it is there until its time, whole, and not afterwards."""
        before = time.time()
        answer = ask(connection, "GET", f"/store/{self.location}")
        after = time.time()
        assert answer.status in (200, 404), answer
        if answer.status == 200:
            assert value_of(answer.body) == self.value
            assert self.expires is None or before < self.expires, f"{self} is there still"
        elif self.expires is not None:
            assert after >= self.begun + self.seconds, f"{self} is gone"
        return answer.status

    def is_unknown(self, reader: http.client.HTTPConnection) -> bool:
        """Whether nobody knows when it is over: it was killed before its answer."""
        return self.expires is None and self.check(reader) == 200


def make_brief(
    daemon: Daemon, chance: random.Random, life: int, made: list[Brief], end: float
) -> None:
    """Store blobs that expire soon, and read those from before, until a time."""
    connection = daemon.connect()
    while time.monotonic() < end:
        value = f"{life}.{len(made)}"
        brief = Brief(f"brief/{value}", value, time.time(), chance.choice((1, 1, 2, 4)))
        made.append(brief)
        answer = ask(
            connection,
            "POST",
            f"/store/{brief.location}",
            body_of(value, chance.choices(SIZES, WEIGHTS)[0]),
            headers={"Expires-In": str(brief.seconds)},
        )
        assert answer.status == 204, answer
        brief.expires = parsedate_to_datetime(answer.headers["Expires-At"]).timestamp()
        chance.choice(made).check(connection)
    connection.close()
