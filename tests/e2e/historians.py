"""Clients of a daemon that keeps what dies: they look back, and bring back what they find."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import define, field

from tests.e2e.daemon import ask, eventually
from tests.e2e.storm import LOCATIONS, Clients, Told, body_of, value_of
from tests.histories import Look, Version, Write, violation
from tests.linearizability import RESTORE, RESTORED, is_done

#: Of what they do so much is about the past.
SHARE = 0.25
#: Where what expires is, and how large it is.
BRIEF = "brief/"
BRIEF_SIZE = 1000
#: How far they look back, if not to the beginning; and how many versions a page has.
RECENT = 20
PAGE = 1000


@define(eq=False)
class Historians(Clients):
    """Clients that also read and restore versions, and look at whole histories when told to.

    With ``is_lossy`` a version may be gone, because there was no room for it.
    """

    is_lossy: bool = False
    looks: list[Look] = field(init=False, factory=list)
    #: Told of each look at a whole history.
    looked: Callable[[Look], None] = lambda look: None

    #: Of what they store so much expires, at locations of its own.
    share_brief: float = 0.0

    def request(
        self, connection: http.client.HTTPConnection, chance: random.Random, value: str
    ) -> None:
        """Do one thing or another, or look back."""
        if chance.random() < self.share_brief:
            self.store_brief(connection, value)
        elif chance.random() < SHARE:
            self.look_back(connection, chance, f"key/{chance.randrange(LOCATIONS)}")
        else:
            super().request(connection, chance, value)

    def store_brief(self, connection: http.client.HTTPConnection, value: str) -> None:
        """Store a blob that expires soon."""
        self.send(
            connection,
            "POST",
            f"{BRIEF}{value}",
            value,
            body_of(value, BRIEF_SIZE),
            headers={"Expires-In": "2"},
        )

    def look_at_brief(self) -> dict[str, str]:
        """Wait until all that expires has become history; return the digest of each location."""
        connection = self.daemon.connect()

        def listed(query: str) -> dict[str, str]:
            answer = ask(connection, "GET", f"/store/?prefix={BRIEF}&format=json&{query}")
            assert answer.status == 200, answer
            return {each["location"]: _digest(each) for each in json.loads(answer.body)}

        eventually(lambda: not listed("limit=1"), "all are over")
        before: dict[str, str] = {}
        # The collector marks what is over some moments later.
        while len(found := listed("deleted&limit=1000")) > len(before):
            before = found
            threading.Event().wait(1)
        connection.close()
        return found

    def look_back(
        self, connection: http.client.HTTPConnection, chance: random.Random, location: str
    ) -> None:
        """Read a recent version of a location, and perhaps bring it back."""
        page = self._page(connection, location, f"limit={RECENT}")
        if not page:
            return
        chosen = chance.choice(page)
        body = self.read_version(connection, location, chosen)
        if body is not None and chance.random() < 0.5:
            self.restore(connection, location, chosen["version"], value_of(body))

    def read_version(
        self, connection: http.client.HTTPConnection, location: str, version: dict[str, Any]
    ) -> bytes | None:
        """Read a version, whose bytes have to be those that its entry says; None if it is gone."""
        answer = ask(connection, "GET", f"/store/{location}?version={version['version']}")
        if answer.status == 404 and self.is_lossy:
            return None
        assert answer.status == 200, f"{location}: {version} got {answer.status}"
        assert hashlib.sha256(answer.body).hexdigest() == _digest(version), f"{version} is another"
        return answer.body

    def restore(
        self, connection: http.client.HTTPConnection, location: str, version: int, value: str
    ) -> None:
        """Make a version current again, and note what was told."""
        note = Told(location, RESTORE, value, None, time.monotonic(), None)
        self.told.append(note)
        self.listener(note)
        answer = ask(connection, "POST", f"/store/{location}?restore={version}")
        gone = self.is_lossy and answer.status in (404, 507)
        if answer.status not in RESTORED and not gone:
            self.odd[RESTORE, answer.status] += 1
            return  # it may have happened
        note.status, note.ended = answer.status, time.monotonic()
        self.listener(note)

    def look_at_all(self) -> None:
        """Look at all versions of each location; what is current is as good as a GET."""
        connection = self.daemon.connect()
        for number in range(LOCATIONS):
            self.look(connection, f"key/{number}")
        connection.close()

    def look(self, connection: http.client.HTTPConnection, location: str) -> list[dict[str, Any]]:
        """Look at all versions of a location, while nobody writes."""
        begun = time.monotonic()
        entries = page = self._page(connection, location, f"limit={PAGE}")
        while len(page) == PAGE:
            before = page[-1]["version"]
            page = self._page(connection, location, f"limit={PAGE}&before={before}")
            entries = [*entries, *page]
        ended = time.monotonic()
        versions = [
            Version(each["version"], _digest(each), each.get("ended_by")) for each in entries
        ]
        look = Look(location, begun, ended, versions)
        self.looks.append(look)
        self.looked(look)
        current = versions[0].digest if versions and versions[0].ended_by is None else None
        note = Told(location, "GET", None, 404 if current is None else 200, begun, ended, current)
        self.told.append(note)
        self.listener(note)
        return entries

    def bring_back_all(self) -> int:
        """Restore what is deleted, read it, and return how many locations that were."""
        connection = self.daemon.connect()
        count = 0
        for number in range(LOCATIONS):
            location = f"key/{number}"
            entries = self.look(connection, location)
            if not entries or "ended_by" not in entries[0]:
                continue
            count += 1
            assert self.send(connection, "GET", location).status == 404
            body = self.read_version(connection, location, entries[0])
            assert body is not None
            self.restore(connection, location, entries[0]["version"], value_of(body))
            assert ask(connection, "GET", f"/store/{location}").body == body
            self.look(connection, location)
        connection.close()
        return count

    def _page(
        self, connection: http.client.HTTPConnection, location: str, query: str
    ) -> list[dict[str, Any]]:
        answer = ask(connection, "GET", f"/store/{location}?history&format=json&{query}")
        if answer.status == 404:
            return []
        assert answer.status == 200, f"{location}?history got {answer.status}"
        entries: list[dict[str, Any]] = json.loads(answer.body)
        numbers = [each["version"] for each in entries]
        assert numbers == sorted(set(numbers), reverse=True), f"{location}: {numbers}"
        return entries


def wrong_looks(
    looks: Iterable[Look], told: Iterable[Told], *, is_lossy: bool = False
) -> dict[str, str]:
    """The locations whose histories are not what clients were told of, with what is wrong."""
    told = list(told)
    digests = {one.value: one.digest for one in told if one.digest is not None and one.value}
    writes: dict[str, list[Write]] = {}
    for one in told:
        if one.method == "GET":
            continue
        assert one.ended is not None
        happened = None if one.status is None else is_done(one.method, one.status)
        digest = None if one.method == "DELETE" else one.digest or digests[one.value]
        writes.setdefault(one.location, []).append(Write(digest, happened, one.begun, one.ended))
    by_location: dict[str, list[Look]] = {}
    for look in looks:
        by_location.setdefault(look.location, []).append(look)
    found = {
        location: violation(some, writes.get(location, []), is_lossy=is_lossy)
        for location, some in by_location.items()
    }
    return {location: wrong for location, wrong in found.items() if wrong is not None}


def lost_brief(told: Iterable[Told], found: Mapping[str, str]) -> str | None:
    """Say which of the blobs that expire is not in the history, or should not be; None: all are."""
    stored = {one.location: one for one in told if one.location.startswith(BRIEF)}
    for location, one in stored.items():
        if one.status is not None and found.get(location) != one.digest:
            return f"{location} is lost"
        if found.get(location, one.digest) != one.digest:
            return f"{location} is another"
    unknown = found.keys() - stored.keys()
    return f"nobody has stored {unknown}" if unknown else None


def _digest(entry: dict[str, Any]) -> str:
    """The digest that the entity tag of a version has."""
    return str(entry["etag"]).strip('"')
