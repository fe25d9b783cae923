"""Tests for gostore.web.lifetimes and .fields.lifetime: how long an upload says a blob stays."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.prefixes import ByPrefix
from gostore.store.interface import Lifetime
from gostore.web.answers import Refusal
from gostore.web.dispatch import Dispatcher
from gostore.web.fields.lifetime import lifetime_of
from gostore.web.lifetimes import LifetimeRule, Lifetimes
from gostore.wire import Headers
from tests.store.memory_store import SECOND, START
from tests.web.fake_request import FakeRequest
from tests.web.support import WebCase, routes

NOW = START // SECOND
IN_AN_HOUR = "Tue, 14 Nov 2023 23:13:20 GMT"
BEYOND = "Fri, 31 Dec 9999 23:59:59 -0100"
DAY = 86_400


def headers(*pairs: tuple[str, str]) -> Headers:
    """The header of a request with these fields."""
    return Headers.of([(name.encode(), value.encode("latin-1")) for name, value in pairs])


class FieldTests(SynchronousTestCase):
    """lifetime_of."""

    def test_none(self) -> None:
        """An upload need not say anything."""
        self.assertIsNone(lifetime_of(headers(("expires", IN_AN_HOUR), ("host", "a"))))

    def test_good(self) -> None:
        """A number of seconds, or with a unit; an HTTP date in any of its forms."""
        for value, seconds in (
            ("1", 1),
            ("3600", 3600),
            ("007s", 7),
            ("90m", 5400),
            ("2h", 7200),
            ("7d", 7 * DAY),
            ("4w", 28 * DAY),
            ("0.5", 1),
            ("1.5 h", 5400),
            ("999999999", 999_999_999),
        ):
            self.assertEqual(lifetime_of(headers(("expires-in", value))), Lifetime(seconds), value)
        for value in (
            IN_AN_HOUR,
            "Tuesday, 14-Nov-23 23:13:20 GMT",
            "Tue Nov 14 23:13:20 2023",
        ):
            self.assertEqual(
                lifetime_of(headers(("expires-at", value))), Lifetime(until=NOW + 3600), value
            )

    def test_bad(self) -> None:
        """Anything else is a 400 that says what would be right, and nothing that was sent."""
        for name, values in (
            (
                "expires-in",
                [
                    *("", "0", "00d", "0.0", "-1", "+1", "1e99", "1.", ".5", "1y", "h", "1h30m"),
                    *("\xb2", "\xe9", "9" * 11, "999999999w", "999999999d", "9" * 5000, "1\xa0h"),
                    *("3600, 3600", "never", IN_AN_HOUR),
                ],
            ),
            (
                "expires-at",
                ("", "3600", "tomorrow", f"{IN_AN_HOUR}, {IN_AN_HOUR}", "9" * 5000, BEYOND),
            ),
        ):
            for value in values:
                refusal = self.assertRaises(Refusal, lifetime_of, headers((name, value)))
                self.assertEqual(refusal.code, 400)
                self.assertIn("such as", refusal.text)

    def test_several(self) -> None:
        """Two of them are a 400, whichever they are, also if they say the same."""
        for names in (("in", "in"), ("at", "at"), ("in", "at"), ("at", "in")):
            values = {"in": "3600", "at": IN_AN_HOUR}
            both = headers(*((f"expires-{name}", values[name]) for name in names))
            self.assertEqual(self.assertRaises(Refusal, lifetime_of, both).code, 400)


class RuleTests(SynchronousTestCase):
    """Lifetimes."""

    def setUp(self) -> None:
        """Have rules for prefixes within each other."""
        self.lifetimes = Lifetimes(
            ByPrefix(
                LifetimeRule(),
                {
                    "tmp/": LifetimeRule(DAY),
                    "tmp/short/": LifetimeRule(60, 3600),
                    "tmp/kept/": LifetimeRule(),
                    "most/": LifetimeRule(None, DAY),
                },
            ),
            lambda: NOW,
        )

    def test_default(self) -> None:
        """Without a field the rule of the longest prefix says how long; without a rule it stays."""
        for location, seconds in (
            ("a", None),
            ("tmp", None),
            ("tmp/a", DAY),
            ("tmp/short", DAY),
            ("tmp/short/a", 60),
            ("tmp/kept/a/b", None),
            ("most/a", DAY),
        ):
            expected = None if seconds is None else Lifetime(seconds)
            self.assertEqual(self.lifetimes.settle(location, None), expected, location)

    def test_asked(self) -> None:
        """What is asked for counts, up to the maximum there."""
        for location, most in (("a", None), ("tmp/a", None), ("tmp/short/a", 3600)):
            for seconds in (1, 3600, 3601, 10**9):
                for wanted in (Lifetime(seconds), Lifetime(until=NOW + seconds)):
                    if most is None or seconds <= most:
                        self.assertIs(self.lifetimes.settle(location, wanted), wanted)
                    else:
                        refusal = self.assertRaises(
                            Refusal, self.lifetimes.settle, location, wanted
                        )
                        self.assertEqual(refusal.code, 400)
                        self.assertIn("3600 seconds", refusal.text)

    def test_past(self) -> None:
        """A time that is over is a 400."""
        for until in (NOW, NOW - 1, 0, -5):
            wanted = Lifetime(until=until)
            self.assertEqual(
                self.assertRaises(Refusal, self.lifetimes.settle, "a", wanted).code, 400
            )


class RouteTests(WebCase):
    """The routes of a blob that expires."""

    def setUp(self) -> None:
        super().setUp()
        rules = ByPrefix(LifetimeRule(), {"tmp/": LifetimeRule(3600, DAY)})
        lifetimes = Lifetimes(rules, lambda: self.store.now() // SECOND)
        self.dispatcher = Dispatcher(routes(self.store, lifetimes=lifetimes))

    def put(self, target: str, *fields: tuple[str, str], method: str = "POST") -> FakeRequest:
        """Upload something."""
        return self.ask(method, f"/store/{target}", *fields, body=b"data")

    def test_told(self) -> None:
        """Every answer that is about the blob says when it is over; that of another does not."""
        for field in (("Expires-In", "1h"), ("Expires-At", IN_AN_HOUR)):
            self.store.blobs.clear()
            for method, code in (("POST", 204), ("PUT", 200)):
                answer = self.put("a", field, method=method)
                self.assertEqual(answer.code, code)
                self.assertEqual(answer.answer["expires-at"], IN_AN_HOUR)
            for method in ("GET", "HEAD"):
                self.assertEqual(self.ask(method, "/store/a").answer["expires-at"], IN_AN_HOUR)
        self.assertEqual(self.put("a", method="PUT").code, 200)
        self.assertNotIn("expires-at", self.ask("GET", "/store/a").answer)

    def test_default(self) -> None:
        """A location has its default, anew with each PUT, though the metadata are kept."""
        self.assertEqual(self.put("tmp/a").answer["expires-at"], IN_AN_HOUR)
        self.put("tmp/a", ("Expires-In", "5"), method="PUT")
        keep = ("X-Gostore-Keep-Metadata", "1")
        answer = self.put("tmp/a", keep, method="PUT")
        self.assertEqual(answer.answer["expires-at"], IN_AN_HOUR)

    def test_refused(self) -> None:
        """What cannot be is a 400, and costs no upload."""
        for fields in (
            [("Expires-In", "0")],
            [("Expires-In", "2d")],
            [("Expires-At", "Tue, 14 Nov 2023 22:13:20 GMT")],
            [("Expires-In", "1"), ("Expires-At", IN_AN_HOUR)],
        ):
            for method in ("POST", "PUT"):
                self.assert_refused(self.put("tmp/a", *fields, method=method), 400)
        self.assertEqual(self.store.blobs, {})

    def test_over(self) -> None:
        """When its second comes there is nothing: 404, 204 to a POST, and no condition holds."""
        self.put("a", ("Expires-In", "1h"))
        etag = self.ask("GET", "/store/a").answer["etag"]
        self.store.now = lambda: START + 3600 * SECOND
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            self.assertEqual(self.ask(method, "/store/a").code, 404)
        for field, code in (("If-None-Match", 404), ("If-Match", 404)):
            self.assertEqual(self.ask("GET", "/store/a", (field, etag)).code, code)
        self.assertEqual(self.put("a", ("If-Match", etag), method="PUT").code, 412)
        self.assertEqual(self.ask("GET", "/store/").content, b"[\n\n]\n")
        self.assertEqual(self.put("a").code, 204)

    def test_listed(self) -> None:
        """The list has the time in each of its forms, for those blobs that expire."""
        self.put("a", ("Expires-In", "1h"))
        self.put("b")
        listed = {
            form: self.ask("GET", f"/store/?format={form}").content.decode().split("\n")
            for form in ("json", "text", "html")
        }
        when = "2023-11-14T23:13:20Z"
        self.assertIn(f'"expires": "{when}"', listed["json"][1])
        self.assertTrue(listed["text"][0].endswith(f"\texpires {when}"), listed["text"])
        self.assertTrue(any(line.endswith(f"<td>expires {when}") for line in listed["html"]))
        for lines in listed.values():
            self.assertEqual(sum("expires" in line for line in lines), 1)
