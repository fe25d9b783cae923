"""Tests for gostore.web.page.document: the page as it comes, without a script."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin

from attrs import evolve
from twisted.internet.defer import Deferred

from gostore.access.door import Door
from gostore.access.rules import parse_rules
from gostore.blob import Committed
from gostore.store.interface import DamagedBlob
from gostore.web.dispatch import Dispatcher
from gostore.web.guard import Guard
from gostore.web.listing import Query
from gostore.web.page.document import AS_PAGE, PAGE_ENTRIES, POLICY, Page
from gostore.web.page.files import files
from gostore.web.routes.lists import Lists
from tests.web.fake_request import FakeRequest
from tests.web.support import WebCase, routes

BROWSER = (
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0"),
)


def links(page: FakeRequest) -> list[str]:
    """Where the rows lead."""
    body = page.content.decode().partition("<tbody")[2].partition("</tbody>")[0]
    return [urljoin(page.target.decode(), unescape(each)) for each in hrefs(body)]


def hrefs(text: str) -> list[str]:
    """What the links of a text refer to."""
    return re.findall(r'<a [^>]*?href="([^"]*)"', text)


class PageCase(WebCase):
    """Browsers get the page."""

    def setUp(self) -> None:
        super().setUp()
        found = routes(self.store)
        [self.lists] = [each for each in found if isinstance(each, Lists)]
        self.lists.page = Page(takes_uploads=True)
        self.dispatcher = Dispatcher(found)

    def browse(self, target: str, code: int = 200) -> FakeRequest:
        """Ask as a browser does."""
        request = self.ask("GET", target, *BROWSER)
        self.assertEqual(request.code, code)
        return request


class PageTests(PageCase):
    """The page of a list."""

    def test_who_gets_it(self) -> None:
        """A browser gets the page; whoever else reads HTML gets the plain list, as ever."""
        self.store.add("a")
        self.assertIn(b"page.js", self.browse("/store/").content)
        self.assertIn(b"page.js", self.browse("/store/?prefix=a&limit=3").content)
        html, mozilla = BROWSER
        plain = [
            self.ask("GET", "/store/", html),
            self.ask("GET", "/store/", html, ("User-Agent", "pip/24.0")),
            self.ask("GET", "/store/?format=html", html, mozilla),
            self.ask("GET", "/store/", ("Accept", "*/*"), ("User-Agent", "Wget/1.21")),
            self.ask("GET", "/store/", ("Accept", "*/*"), mozilla),
        ]
        self.lists.page = None
        plain.append(self.ask("GET", "/store/", html, mozilla))
        for request in plain:
            self.assertEqual(request.code, 200)
            self.assertNotIn(b"<script", request.content)

    def test_led_there(self) -> None:
        """A browser at / is led to the page."""
        request = self.browse("/", 303)
        self.assertEqual(request.answer["location"], "store/")

    def test_no_such_format(self) -> None:
        """The page is no format that a query may ask for."""
        self.assert_refused(self.ask("GET", "/store/?format=page", *BROWSER), 400)

    def test_rows(self) -> None:
        """Blobs and folders are rows whose links lead to them, from wherever the page is."""
        for location in ("a b/c:d", "a b/ü/e", "x"):
            self.store.add(location, b"data")
        self.assertEqual(links(self.browse("/store/")), ["/store/a%20b/", "/store/x"])
        inside = self.browse("/store/a%20b/")
        self.assertEqual(links(inside), ["/store/a%20b/c%3Ad", "/store/a%20b/%C3%BC/"])
        self.assertIn('<bdi dir="auto">c:d</bdi>', inside.content.decode())
        odd = self.browse("/store/a%20b/?delimiter=:")
        self.assertIn("/store/?prefix=a%20b%2Fc%3A", links(odd))

    def test_markup(self) -> None:
        """A name never becomes markup, not in a row, nor in the title, the path or an attribute."""
        evil = """"><script>alert(1)</script>'/x"""
        self.store.add(evil)
        for target in ("/store/", "/store/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E'/"):
            page = self.browse(target).content.decode()
            self.assertNotIn("<script>", page)
            self.assertEqual(page.count("<script"), 1)
        self.assertIn('data-prefix="&quot;&gt;&lt;script', page)

    def test_pages(self) -> None:
        """It works without scripts: it has so many rows, and a link to the next ones."""
        for number in range(PAGE_ENTRIES + 1):
            self.store.add(f"d/{number:04}")
        first = self.browse("/store/d/")
        self.assertEqual(len(links(first)), PAGE_ENTRIES)
        [rest] = re.findall(r'rel="next" href="([^"]*)"', first.content.decode())
        self.assertEqual(first.answer["link"], f'<{unescape(rest)}>; rel="next"')
        second = self.browse(urljoin("/store/d/", unescape(rest)))
        self.assertIn(b"page.js", second.content)
        self.assertEqual(links(second), [f"/store/d/{PAGE_ENTRIES:04}"])
        [back] = [each for each in hrefs(second.content.decode()) if each.startswith("?prefix=d")]
        self.assertEqual(links(self.browse(urljoin("/store/", back))), links(first))

    def test_empty(self) -> None:
        """An empty folder is a page to fill; it says that nothing is there."""
        page = self.browse("/store/new/", 404)
        self.assertIn('data-prefix="new/"', page.content.decode())
        self.assertIn(b'<div id="empty" class="empty" >', page.content)
        self.assertIn(b'<div id="empty" class="empty" >', self.browse("/store/").content)
        self.store.add("a")
        self.assertIn(b'<div id="empty" class="empty" hidden>', self.browse("/store/").content)

    def test_damaged_and_dying(self) -> None:
        """A damaged blob says so, and one that expires when."""
        now = 1_700_000_000
        blob = Committed(1, "a", 1, 3, None, now * 10**9, None, None, now + 60)
        form = Page().dress(Query(AS_PAGE, "", "/", "", None)).form
        row = form.entry(DamagedBlob(blob), "", now)
        self.assertIn('<span class="tag bad">damaged</span>', row)
        self.assertIn("until <time", row)
        self.assertIn("2023-11-14 22:14", row)
        plain = form.entry(evolve(blob, expires=None), "", now)
        self.assertNotIn("tag", plain)

    def test_policy(self) -> None:
        """Nothing runs but the page's own files, and no element says inline what to do."""
        self.store.add("a/b")
        page = self.browse("/store/a/")
        self.assertEqual(page.answer["content-security-policy"].encode(), POLICY)
        for word in ("unsafe", "data:", "http", "*"):
            self.assertNotIn(word.encode(), POLICY)
        self.assertEqual(page.answer["x-content-type-options"], "nosniff")
        self.assertEqual(page.answer["referrer-policy"], "no-referrer")
        self.assertEqual(page.answer["cross-origin-opener-policy"], "same-origin")
        self.assertEqual(page.answer["vary"], "Accept, User-Agent")
        text = page.content.decode()
        self.assertNotRegex(text, r"\son\w+=|\sstyle=|<style")
        self.assertEqual(re.findall(r"<script[^>]*>(.*?)</script>", text), [""])

    def test_its_files(self) -> None:
        """Each file that the page names is there, from any depth, and those that they name."""
        self.store.add("a/b/c")
        for target in ("/store/", "/store/a/b/", "/store/?prefix=a"):
            text = self.browse(target).content.decode()
            named = re.findall(r'(?:src|href)="([^"]*page/[^"]*)"', text)
            self.assertEqual(len(named), 3)
            for each in named:
                self.assertEqual(self.ask("GET", urljoin(target, each)).code, 200, each)
        for file in files().by_name.values():
            for name in re.findall(rb'from "\./([^"]*)"', file.data):
                self.assertIn(name.decode(), files().by_name)

    def test_facts(self) -> None:
        """The scripts are told what this daemon can do."""
        self.assertIn(b" data-uploads>", self.browse("/store/").content)
        self.lists.page = Page(has_history=True)
        self.assertIn(b" data-history>", self.browse("/store/").content)


class SignInTests(PageCase):
    """The page of a daemon that wants to know who asks."""

    def setUp(self) -> None:
        super().setUp()
        page = self.lists.page
        assert page is not None
        found = [self.lists, *(each for each in routes(self.store) if not isinstance(each, Lists))]
        rules = parse_rules("[anonymous]\ngrant = read public/\n", "x")
        door = Door(rules, lambda *_: Deferred())
        self.dispatcher = Dispatcher(found, guard=Guard(door, sign_in=page.sign_in))
        self.store.add("secret/a")

    def test_sign_in(self) -> None:
        """A browser gets the page without a list, and a challenge at which it asks nothing."""
        for target in ("/store/", "/store/secret/", "/store/?prefix=secret"):
            page = self.browse(target, 401)
            self.assertEqual(page.answer["www-authenticate"], 'Bearer realm="gostore"')
            self.assertEqual(page.answer["cache-control"], "no-store")
            self.assertEqual(page.answer["content-security-policy"].encode(), POLICY)
            self.assertIn(b"data-signed-out", page.content)
            self.assertEqual(links(page), [])
            self.assertNotIn(b"secret/a", page.content)

    def test_others(self) -> None:
        """Anybody else is asked as ever, and so is a browser without scripts, by the plain list."""
        plain = self.ask("GET", "/store/?format=html", *BROWSER)
        for request in (plain, self.ask("GET", "/store/"), self.ask("GET", "/store/a", *BROWSER)):
            self.assert_refused(request, 401)
            self.assertTrue(request.answer["www-authenticate"].startswith("Basic "))

    def test_scripts(self) -> None:
        """A script of the page gets no challenge that would open the browser's own dialog."""
        for target in ("/store/?format=json", "/usage", "/store/secret/a"):
            request = self.ask("GET", target, ("X-Requested-With", "gostore"))
            self.assert_refused(request, 401)
            self.assertEqual(request.answer["www-authenticate"], 'Bearer realm="gostore"')
