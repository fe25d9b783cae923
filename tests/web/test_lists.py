"""The routes of the list, each request as the dispatcher sees it."""

from __future__ import annotations

import json
from html import unescape
from re import findall
from urllib.parse import urljoin

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from gostore import errors
from gostore.web.dispatch import Dispatcher
from gostore.web.listing import STEP
from gostore.web.routes.lists import Lists
from tests.web.fake_request import FakeRequest
from tests.web.support import WebCase, routes


class ListTests(WebCase):
    """The list, as the routes give it; what is in it is listing's (test_listing)."""

    html = ("Accept", "text/html")

    def test_forms(self) -> None:
        """The list is what the client likes best, or what its URI says (RFC 9110 12.5.1)."""
        self.store.add("a/b", b"data")
        for target, headers, kind, begin in [
            ("/store/", [], "application/json", b'[\n{"location": "a/b"'),
            ("/store/?format=text", [self.html], "text/plain; charset=utf-8", b"a/b\t4\t"),
            ("/store/?prefix=a/", [self.html], "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ]:
            request = self.ask("GET", target, *headers)
            self.assertEqual(request.code, 200)
            self.assertEqual(request.answer["content-type"], kind)
            self.assertEqual(request.answer["vary"], "Accept, User-Agent")
            self.assertEqual(request.answer["cache-control"], "no-cache")
            self.assertTrue(request.content.startswith(begin), request.content)
            self.assertNotIn("link", request.answer)
            head = self.ask("HEAD", target, *headers)
            self.assertEqual((head.code, head.answer), (200, request.answer))

    def test_led_to_the_list(self) -> None:
        """A browser at / or /store is led to the list, also below a proxy's path (RFC 3986 4.2)."""
        for target in ("/", "/store", "/?a"):
            for method in ("GET", "HEAD"):
                request = self.ask(method, target, self.html)
                self.assertEqual((request.code, request.content), (303, b""))
                there = urljoin(f"/blobs{target}", request.answer["location"])
                self.assertEqual(there, "/blobs/store/")
                self.assertEqual(request.answer["vary"], "Accept, User-Agent")
            self.assert_refused(self.ask("GET", target), 404)

    def test_pages(self) -> None:
        """A page that is not the last one says where the next is (RFC 8288)."""
        for name in ("a", "b", "c"):
            self.store.add(name)
        target, found = "/store/?limit=2&format=json", []
        while target:
            request = self.ask("GET", target)
            found.append([entry["location"] for entry in json.loads(request.content)])
            link = request.answer.get("link", "")
            relative = link.removeprefix("<").removesuffix('>; rel="next"')
            target = urljoin(target, relative) if link else ""
        self.assertEqual(found, [["a", "b"], ["c"]])

    def test_refused(self) -> None:
        """A parameter that cannot be, or that the list does not have, is 400."""
        self.store.add("a/b")
        for query in ("limit=0", "limit=x", "format=xml", "prefix=%ff", "marker=a", "Limit=1"):
            for path in ("/store/", "/store/a/"):
                self.assert_refused(self.ask("GET", f"{path}?{query}", self.html), 400)
        self.assertEqual(self.store.listed, [])
        self.assertEqual(self.ask("GET", "/store/a/b?marker=a").code, 200)

    def test_directories(self) -> None:
        """A directory is its page for who wants HTML, if there is anything in it; else 400."""
        self.store.add("a/b/c", b"data")
        page = self.ask("GET", "/store/a/", self.html)
        self.assertEqual(page.code, 200)
        self.assertIn(b'<a href="b/">', page.content)
        self.assert_refused(self.ask("GET", "/store/b/", self.html), 400)
        self.assert_refused(self.ask("GET", "/store/a/"), 400)

    def test_relative(self) -> None:
        """Every link leads below the path that a proxy serves all of this under (RFC 3986 4.2)."""
        for name in ("a/b/c", "a/b/d/e", "a/b:c", "a:b", *map("a/b/{:04}".format, range(1001))):
            self.store.add(name)
        for target in (
            "/store/",
            "/store/a/",
            "/store/a/b/",
            "/store/a%2Fb/",
            "/store/?prefix=a/&limit=1",
            "/store/?delimiter=:&limit=1",
        ):
            page = self.ask("GET", target, self.html)
            self.assertEqual(page.code, 200)
            links = [unescape(each) for each in findall('href="([^"]*)"', page.content.decode())]
            links += findall("<([^>]*)>", page.answer.get("link", ""))
            self.assertTrue(links)
            for link in links:
                outside = urljoin(f"https://a.example/blobs{target}", link)
                self.assertTrue(outside.startswith("https://a.example/blobs/store/"), outside)
                there = outside.removeprefix("https://a.example/blobs")
                self.assertEqual(self.ask("GET", there, self.html).code, 200, there)

    def test_turns(self) -> None:
        """In one turn of the reactor one list takes one step, however many lists there are."""
        for number in range(2 * STEP):
            self.store.add(f"{number:04}")
        clock = Clock()
        self.dispatcher = Dispatcher(routes(self.store, clock=clock))
        rclone = ("User-Agent", "rclone/v1")
        lists = [self.ask("GET", "/store/?delimiter=", rclone) for _ in range(2)]
        for steps in range(4):
            self.assertEqual(len(self.store.listed), steps)
            self.assertIsNone(lists[1].code)
            (call,) = clock.getDelayedCalls()
            call.func()
            clock.calls.remove(call)
        self.assertEqual(clock.getDelayedCalls(), [])
        for request in lists:
            self.assertEqual(request.content.count(b"<tr><td>"), 2 * STEP)

    def test_too_many(self) -> None:
        """Only so many lists are made at a time; the next one is 503 with Retry-After."""
        clock = Clock()
        self.dispatcher = Dispatcher([Lists(self.store, clock, max_lists=2)])
        lists = [self.ask("GET", "/store/") for _ in range(3)]
        self.assert_refused(lists[2], 503)
        self.assertEqual(lists[2].answer["retry-after"], "1")
        clock.advance(0)
        self.assertEqual([each.code for each in lists], [200, 200, 503])
        again = [self.ask("GET", "/store/") for _ in range(2)]
        clock.advance(0)
        self.assertEqual([each.code for each in again], [200, 200])

    def test_addresses(self) -> None:
        """One address cannot take the places of all others."""
        clock = Clock()
        self.dispatcher = Dispatcher([Lists(self.store, clock, max_lists=4)])
        lists = []
        for host in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"):
            request = FakeRequest("GET", "/store/")
            request.client = IPv4Address("TCP", host, 4000)
            self.dispatcher.dispatch(request)  # type: ignore[arg-type]
            lists.append(request)
        clock.advance(0)
        self.assertEqual([each.code for each in lists], [200, 200, 200, 503, 200])

    def test_large(self) -> None:
        """A large list takes a place until it is sent, or nobody wants it any more."""
        for number in range(1200):
            self.store.add(f"{number:01000}")
        self.dispatcher = Dispatcher([Lists(self.store, max_lists=1)])
        large = self.ask("GET", "/store/?limit=10000")
        self.assert_refused(self.ask("GET", "/store/"), 503)
        self.assertEqual(len(json.loads(large.content)), 1200)
        self.assertEqual(self.ask("HEAD", "/store/?limit=10000").code, 200)
        self.assertEqual(self.ask("GET", "/store/").code, 200)

    def test_gone_from_an_empty_directory(self) -> None:
        """A client that leaves the page of an empty directory leaves its place, too."""
        clock = Clock()
        self.dispatcher = Dispatcher([Lists(self.store, clock, max_lists=4)])
        for _ in range(6):
            self.ask("GET", "/store/nothing/", self.html).is_gone = True
            clock.advance(0)
        request = self.ask("GET", "/store/nothing/", self.html)
        clock.advance(0)
        self.assert_refused(request, 400)

    def test_gone(self) -> None:
        """A list is given up when its client is gone, and its place is free."""
        for number in range(3 * STEP):
            self.store.add(f"{number:04}")
        clock = Clock()
        self.dispatcher = Dispatcher([Lists(self.store, clock, max_lists=1)])
        request = self.ask("GET", "/store/?delimiter=", ("User-Agent", "rclone/v1"))
        request.is_gone = True
        clock.advance(0)
        self.assertEqual(len(self.store.listed), 1)
        request = self.ask("GET", "/store/")
        clock.advance(0)
        self.assertEqual(request.code, 200)

    def test_failed(self) -> None:
        """A list that fails leaves its place."""
        self.dispatcher = Dispatcher([Lists(self.store, max_lists=1)])
        self.store.failure = errors.ReadOnly("No disk")
        for _ in range(2):
            self.assertIn("No disk", self.ask("GET", "/store/").error)
