"""gostore.web.routes.past and history_forms: what a query asks of the past of a location."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from gostore.access.grants import Grant, Principal, Verb
from gostore.blob import Committed, EndedBy, Ending
from gostore.errors import AlreadyExists, NotFound, NoVersion
from gostore.store.interface import Content, Lifetime, Precondition, Seek
from gostore.store.reading import SmallContent
from gostore.store.versions import DeletedPage, Restore, Version
from gostore.web.dispatch import Dispatcher
from gostore.web.routes.blobs import Blobs
from gostore.web.routes.lists import Lists
from gostore.web.routes.past import PastRoutes
from tests.store.memory_store import MemoryStore
from tests.web.fake_request import FakeRequest
from tests.web.support import WebCase

SECOND = 1_000_000_000
DIGEST = bytes(32)


def committed(location: str, generation: int, size: int = 3) -> Committed:
    """A blob that was committed in the second of its generation."""
    when = generation * SECOND
    return Committed(generation, location, generation, size, DIGEST, when, "text/plain", None)


class FakePast:
    """A past of one location, ``a``, that was deleted: its versions 1 and 2."""

    def __init__(self) -> None:
        self.restored: list[tuple[str, Restore, Precondition | None]] = []
        self.failure: Exception | None = None
        self.versions = [
            Version(
                committed("a", 2), "bob, 2b", Ending(9 * SECOND, EndedBy.DELETED, "eve, 3c"), None
            ),
            Version(
                committed("a", 1),
                "1a",
                Ending(2 * SECOND, EndedBy.REPLACED, "bob, 2b", 2),
                99 * SECOND,
            ),
        ]

    def history(
        self, location: str, before: int | None = None, limit: int = 1000
    ) -> Deferred[list[Version]]:
        """As `Past.history`."""
        if location != "a":
            return fail(NotFound(location))
        below = [each for each in self.versions if before is None or each.blob.generation < before]
        return succeed(below[:limit])

    def version(self, location: str, generation: int) -> Deferred[tuple[Committed, Content]]:
        """As `Past.version`."""
        if location != "a" or generation not in (1, 2):
            return fail(NoVersion(location, generation))
        return succeed((committed("a", generation), SmallContent(b"v%d." % generation)))

    def restore(
        self, location: str, restore: Restore, precondition: Precondition | None = None
    ) -> Deferred[tuple[Committed, bool]]:
        """As `Past.restore`."""
        if self.failure is not None:
            return fail(self.failure)
        self.restored.append((location, restore, precondition))
        return succeed((committed(location, 3), True))

    def deleted(
        self, prefix: str = "", after: str = "", limit: int = 1000, seek: Seek | None = None
    ) -> Deferred[DeletedPage]:
        """As `Past.deleted`."""
        return succeed(DeletedPage(self.versions[:1], "a" if limit == 1 else None))


class PastTests(WebCase):
    """A store with a past."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.past = FakePast()
        past = PastRoutes(self.past)
        blobs, lists = Blobs(self.store, past=past), Lists(self.store, past=past)
        self.dispatcher = Dispatcher([blobs, lists])

    def test_json(self) -> None:
        """The history is JSON, the newest version first, with who, when and by what."""
        answer = self.ask("GET", "/store/a?history")
        newest, oldest = json.loads(answer.content)
        self.assertEqual(newest["version"], 2)
        self.assertEqual(
            newest["ended"], {"time": "1970-01-01T00:00:09Z", "principal": "eve", "request": "3c"}
        )
        self.assertEqual((newest["ended_by"], newest["until"]), ("deleted", "forever"))
        self.assertEqual(
            oldest["created"], {"time": "1970-01-01T00:00:01Z", "principal": None, "request": "1a"}
        )
        self.assertEqual((oldest["ended_by"], oldest["successor"]), ("replaced", 2))
        self.assertEqual((oldest["state"], oldest["until"]), ("Failure", "1970-01-01T00:01:39Z"))

    def test_forms(self) -> None:
        """It is lines or a page if the client likes these better."""
        text = self.ask("GET", "/store/a?history", ("Accept", "text/plain")).content.decode()
        self.assertEqual(text.splitlines()[0].split("\t")[:3], ["a", "2", "3"])
        page = self.ask("GET", "/store/a?history&format=html")
        self.assertIn(b'<a href="a?version=1">', page.content)
        self.assertEqual(page.answer["content-security-policy"][:18], "default-src 'none'")

    def test_pages(self) -> None:
        """A page that is not the last one leads to the next."""
        first = self.ask("GET", "/store/a?history&limit=1")
        self.assertEqual(len(json.loads(first.content)), 1)
        link = first.answer["link"].partition(">")[0][1:]
        second = self.ask("GET", f"/store/a{link}")
        self.assertEqual([each["version"] for each in json.loads(second.content)], [1])
        self.assertNotIn("link", second.answer)

    def test_version(self) -> None:
        """A version is read as any blob is: with ETag, ranges and conditions."""
        whole = self.ask("GET", "/store/a?version=1")
        self.assertEqual((whole.code, whole.content), (200, b"v1."))
        etag = whole.answer["etag"]
        part = self.ask("GET", "/store/a?version=1", ("Range", "bytes=1-"))
        self.assertEqual((part.code, part.content), (206, b"1."))
        same = self.ask("GET", "/store/a?version=1", ("If-None-Match", etag))
        self.assertEqual(same.code, 304)
        other = self.ask("GET", "/store/a?version=1", ("If-Match", '"x"'))
        self.assert_refused(other, 412)
        head = self.ask("HEAD", "/store/a?version=1")
        self.assertEqual((head.code, head.answer["etag"]), (200, etag))

    def test_mistakes(self) -> None:
        """A version that is no number, an unknown parameter and what is not known are refused."""
        for query, code in (
            ("version=x", 400),
            ("version=", 400),
            ("version=-1", 400),
            ("version=1&version=2", 400),
            ("version=1&colour=red", 400),
            ("history&colour=red", 400),
            ("history&format=pdf", 400),
            ("version=9", 404),
        ):
            self.assert_refused(self.ask("GET", f"/store/a?{query}"), code)
        self.assert_refused(self.ask("GET", "/store/b?history"), 404)
        self.assert_refused(self.ask("POST", "/store/a?restore=x"), 400)

    def test_wrong_method(self) -> None:
        """A word that a method does not know is refused: it would do something else without it."""
        for method, word in (
            ("DELETE", "version=1"),
            ("DELETE", "x=1&history"),
            ("PUT", "restore=1"),
            ("PUT", "version=1"),
            ("POST", "history"),
            ("POST", "deleted"),
            ("GET", "restore=1"),
            ("HEAD", "from=b"),
            ("GET", "deleted"),
        ):
            self.assert_refused(self.ask(method, f"/store/a?{word}"), 400)

    def test_restored_lifetime(self) -> None:
        """A restore takes a lifetime, and no body."""
        self.assertEqual(self.ask("POST", "/store/a?restore=1", ("Expires-In", "5")).code, 204)
        self.assertEqual(self.past.restored[-1][1].lifetime, Lifetime(5))
        bad = self.ask("POST", "/store/a?restore=1", ("Expires-In", "bad"))
        self.assert_refused(bad, 400)
        self.assert_refused(self.ask("POST", "/store/a?restore=1", body=b"x"), 400)

    def test_last_words(self) -> None:
        """A 404 says of a deleted location when it was deleted, by whom, and how it comes back."""
        text = json.loads(self.ask("GET", "/store/a").content)["text"]
        self.assertEqual(
            text,
            "a does not exist: it was deleted at 1970-01-01T00:00:09Z by eve (request 3c);"
            " POST it with ?restore=2 to bring it back",
        )
        self.assertEqual(
            json.loads(self.ask("GET", "/store/b").content)["text"], "b does not exist"
        )

    def test_deleted(self) -> None:
        """What can be restored is a list."""
        page = self.ask("GET", "/store/?deleted&limit=1&format=text")
        self.assertEqual(page.content.split(b"\t")[0], b"a")
        self.assertIn("after=a", page.answer["link"])

    def test_restore(self) -> None:
        """A restore needs no body and answers as a PUT does; its conditions hold."""
        answer = self.ask("POST", "/store/a?restore=1", ("If-None-Match", "*"))
        self.assertEqual((answer.code, answer.answer["location"]), (204, "a"))
        ((location, restore, precondition),) = self.past.restored
        self.assertEqual((location, restore.version, restore.exists), ("a", 1, None))
        self.assertIsNotNone(precondition)

    def ask_as(
        self, verbs: set[Verb], target: str, method: str = "POST", *headers: tuple[str, str]
    ) -> FakeRequest:
        """Ask as somebody who may do these."""
        request: Any = FakeRequest(method, target, headers)
        request.principal = Principal("ann", "user", (Grant(frozenset(verbs), ""),))
        self.dispatcher.dispatch(request)
        return request  # type: ignore[no-any-return]

    def test_grants(self) -> None:
        """A client that may only create brings back what is gone, and never replaces."""
        self.assertEqual(self.ask_as({Verb.CREATE}, "/store/a?restore=1").code, 204)
        self.assertIs(self.past.restored[-1][1].exists, False)
        self.assertEqual(self.ask_as({Verb.REPLACE}, "/store/a?restore=1").code, 204)
        self.assertIs(self.past.restored[-1][1].exists, True)
        self.past.failure = AlreadyExists("a")
        self.assert_refused(self.ask_as({Verb.CREATE}, "/store/a?restore=1"), 403)
        self.past.failure = NotFound("a")
        self.assert_refused(self.ask_as({Verb.REPLACE}, "/store/a?restore=1"), 403)
        self.past.failure = None
        self.assert_refused(self.ask_as({Verb.REPLACE}, "/store/a"), 403)

    def test_copy(self) -> None:
        """A copy goes by the rules of POST or of PUT, and takes a lifetime and no body."""
        for method, headers, exists in (
            ("POST", (), False),
            ("PUT", (), True),
            ("PUT", (("If-None-Match", "*"),), None),
        ):
            answer = self.ask(method, "/store/b?from=a", *headers)
            self.assertEqual(answer.code, 204)
            location, restore, precondition = self.past.restored[-1]
            self.assertEqual((location, restore.source, restore.version), ("b", "a", None))
            self.assertIs(restore.exists, exists)
            self.assertEqual(precondition is None, not headers)
        self.ask("POST", "/store/b?from=a", ("Expires-In", "5"))
        self.assertEqual(self.past.restored[-1][1].lifetime, Lifetime(5))
        count = len(self.past.restored)
        self.assert_refused(self.ask("POST", "/store/b?from=a", body=b"x"), 400)
        self.assert_refused(self.ask("PUT", "/store/b?from=", body=b""), 400)
        self.assertEqual(len(self.past.restored), count)

    def test_copy_grants(self) -> None:
        """A copy needs the grant to read its source, and the one that an upload would need."""
        create, replace = {Verb.READ, Verb.CREATE}, {Verb.READ, Verb.REPLACE}
        self.assert_refused(self.ask_as({Verb.CREATE}, "/store/b?from=a"), 403)
        self.assert_refused(self.ask_as(replace, "/store/b?from=a"), 403)
        self.assert_refused(self.ask_as(create, "/store/b?from=a", "PUT"), 403)
        self.assertEqual(self.past.restored, [])
        self.assertEqual(self.ask_as(create, "/store/b?from=a").code, 204)
        new = ("If-None-Match", "*")
        self.assertEqual(self.ask_as(create, "/store/b?from=a", "PUT", new).code, 204)
        self.assertIs(self.past.restored[-1][1].exists, False)
        self.assertEqual(self.ask_as(replace, "/store/b?from=a", "PUT").code, 204)
        self.assertIs(self.past.restored[-1][1].exists, True)

    def test_copy_finds_something_else(self) -> None:
        """A copy that may not replace or create says so, or that its source is not there."""
        create, replace = {Verb.READ, Verb.CREATE}, {Verb.READ, Verb.REPLACE}
        new = ("If-None-Match", "*")
        self.past.failure = AlreadyExists("b")
        self.assert_refused(self.ask("POST", "/store/b?from=a"), 409)
        self.assert_refused(self.ask_as(create, "/store/b?from=a", "PUT", new), 403)
        self.past.failure = NotFound("b")
        missing = self.ask("PUT", "/store/b?from=a")
        self.assert_refused(missing, 404)
        self.assertIn(b"POST creates", missing.content)
        self.assert_refused(self.ask_as(replace, "/store/b?from=a", "PUT"), 403)
        self.past.failure = NotFound("a")
        for method in ("POST", "PUT"):
            missing = self.ask(method, "/store/b?from=a")
            self.assert_refused(missing, 404)
            self.assertIn(b"a does not exist", missing.content)

    def test_no_past(self) -> None:
        """A store that keeps nothing copies nothing, and has no version to bring back."""
        self.dispatcher = Dispatcher([Blobs(self.store)])
        for method in ("POST", "PUT"):
            self.assert_refused(self.ask(method, "/store/b?from=a"), 501)
        self.assert_refused(self.ask("POST", "/store/a?restore=1"), 404)
        self.assert_refused(self.ask("GET", "/store/a?history"), 400)
