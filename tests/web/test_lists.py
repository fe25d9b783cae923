"""The routes of the list, each request as the dispatcher sees it."""

from __future__ import annotations

import json
from html import unescape
from re import findall
from urllib.parse import urljoin

from twisted.internet.task import Clock

from gostore.web.dispatch import Dispatcher
from gostore.web.listing import STEP
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
        """A parameter that cannot be is 400."""
        for query in ("limit=0", "limit=x", "format=xml", "prefix=%ff"):
            self.assert_refused(self.ask("GET", f"/store/?{query}"), 400)
        self.assertEqual(self.store.listed, [])

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
        """Between the steps of a long list, if there is a clock, others have their turn."""
        for number in range(2 * STEP):
            self.store.add(f"{number:04}")
        clock = Clock()
        whole = self.ask("GET", "/store/?limit=10000")
        self.assertEqual(len(json.loads(whole.content)), 2 * STEP)
        self.dispatcher = Dispatcher(routes(self.store, clock=clock))
        request = self.ask("GET", "/store/?limit=10000")
        self.assertIsNone(request.code)
        # What is deleted meanwhile is not in it.
        del self.store.blobs[f"{2 * STEP - 1:04}"]
        clock.advance(0)
        self.assertEqual(len(json.loads(request.content)), 2 * STEP - 1)
        self.assertEqual(clock.getDelayedCalls(), [])
