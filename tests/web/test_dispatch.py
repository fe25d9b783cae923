"""The dispatcher: methods, paths, and what errors become, with a store in memory and no wire."""

from __future__ import annotations

from twisted.logger import globalLogPublisher

from gostore import errors
from tests.web.fake_request import FakeRequest
from tests.web.support import WebCase


class MethodTests(WebCase):
    """What is no verb, and paths that are no location."""

    everything = "DELETE, GET, HEAD, OPTIONS, POST, PUT"
    #: Uploads have one more.
    server = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

    def test_not_allowed(self) -> None:
        """Another method is 405 with those that there are (RFC 9110 section 15.5.6)."""
        for method in ("PATCH", "TRACE", "PROPFIND", "get", "X"):
            request = self.ask(method, "/store/foo", body=b"data")
            self.assert_refused(request, 405)
            self.assertEqual(request.answer["allow"], self.everything)
        for target in ("/store/", "/healthz"):
            for method in ("PUT", "POST", "DELETE", "PATCH"):
                request = self.ask(method, target)
                self.assert_refused(request, 405)
                self.assertEqual(request.answer["allow"], "GET, HEAD, OPTIONS")

    def test_connect(self) -> None:
        """CONNECT, which has no path, is 405 with the methods of the whole server."""
        request = self.ask("CONNECT", "example.com:443")
        self.assert_refused(request, 405)
        self.assertEqual(request.answer["allow"], self.server)

    def test_options(self) -> None:
        """OPTIONS is answered with the methods of a path, or of * (RFC 9110 section 9.3.7)."""
        for target, allow in [
            ("/store/foo", self.everything),
            ("*", self.server),
            ("/store/", "GET, HEAD, OPTIONS"),
            ("/healthz", "GET, HEAD, OPTIONS"),
        ]:
            request = self.ask("OPTIONS", target)
            self.assertEqual((request.code, request.content), (200, b""))
            self.assertEqual(request.answer, {"allow": allow})

    def test_nowhere(self) -> None:
        """Another path is 404 whatever the method, and is not reflected."""
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            for target in ("/nowhere", "//store/foo", "/stores"):
                request = self.ask(method, target, body=b"data")
                self.assert_refused(request, 404)
                self.assertNotIn("nowhere", request.error)


class ErrorTests(WebCase):
    """What the store fails with, and what that is in HTTP."""

    requests = (
        ("GET", "/store/foo"),
        ("HEAD", "/store/foo"),
        ("POST", "/store/foo"),
        ("PUT", "/store/foo"),
        ("DELETE", "/store/foo"),
        ("GET", "/store/"),
    )

    def test_errors(self) -> None:
        """Each of the store's errors has its status in every verb, and says what it is."""
        for error, code in [
            (errors.NotFound("foo"), 404),
            (errors.AlreadyExists("foo"), 409),
            (errors.ConditionFailed("foo"), 412),
            (errors.DigestMismatch("sha256"), 400),
            (errors.TooLarge(5), 413),
            (errors.BodyFailed("The body ended early"), 400),
            (errors.TooMuchMetadata(9), 431),
            (errors.NoSpace(), 507),
            (errors.NoIds(), 507),
            (errors.Busy("Too many uploads are in progress", retry_after=3), 503),
            (errors.ReadOnly("fsync failed"), 503),
            (errors.Stopping(), 503),
        ]:
            self.store.failure = error
            for method, target in self.requests:
                request = self.ask(method, target, body=b"data")
                self.assert_refused(request, code)
                more = ": POST creates, or --put-creates" if (method, code) == ("PUT", 404) else ""
                self.assertEqual(request.error, f"{error}{more}")
                self.assertEqual("retry-after" in request.answer, code == 503)

    def test_logged(self) -> None:
        """A fault of the disk is 500, and one line of the log; the store logs damage itself."""
        events: list[dict[str, object]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        for error, logged in (
            (errors.Damaged("foo"), 0),
            (errors.Damaged("foo", is_logged=False), 1),
            (errors.DiskFailed("EIO"), 1),
        ):
            self.store.failure = error
            for method, target in self.requests:
                events.clear()
                request = self.ask(method, target, body=b"data")
                self.assert_refused(request, 500)
                self.assertEqual(request.error, str(error))
                lines = [event.get("log_format") for event in events]
                self.assertEqual(lines, ["{method} {path!r} failed: {reason} ({id})"] * logged)
                self.assertEqual(self.flushLoggedErrors(), [])

    def test_retry_after(self) -> None:
        """A 503 says when to try again: as the error says, else in 10 seconds (15.6.4)."""
        for error, seconds in [
            (errors.Busy("Too many uploads are in progress", retry_after=3), "3"),
            (errors.Stopping(), "10"),
            (MemoryError(), "1"),
        ]:
            self.store.failure = error
            request = self.ask("POST", "/store/foo", body=b"data")
            self.assertEqual(request.answer["retry-after"], seconds)

    def test_unforeseen(self) -> None:
        """What nobody foresaw is 500 with nothing of it in the answer, and is logged."""
        for error in (
            ZeroDivisionError("secret"),
            OSError(5, "secret", "/secret"),
            errors.VolumeInUse("/secret"),
            KeyError("secret"),
        ):
            self.store.failure = error
            for method, target in self.requests:
                request = self.ask(method, target, body=b"data")
                self.assert_refused(request, 500)
                self.assertEqual(
                    request.content, b'{"code": 500, "text": "Something went wrong"}\n'
                )
                self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)

    def test_answer_fails(self) -> None:
        """If even the answer cannot be given there is a plain 500, whoever waits for it."""

        class Picky(FakeRequest):
            tries = 0
            wanted = 0

            def respond(self, code: int, headers: object, body: object) -> None:
                self.tries += 1
                if self.tries < self.wanted:
                    raise ValueError("a header field with a line end in it")
                super().respond(code, headers, body)  # type: ignore[arg-type]

        self.store.add("foo", b"data")
        for method, target, wanted in [
            ("GET", "/store/foo", 2),
            ("GET", "/store/foo", 3),
            ("DELETE", "/store/foo", 3),
            ("GET", "/", 2),
        ]:
            request = Picky(method, target)
            request.wanted = wanted
            self.dispatcher.dispatch(request)  # type: ignore[arg-type]
            self.assert_refused(request, 500)
            self.assertTrue(self.flushLoggedErrors(ValueError))
