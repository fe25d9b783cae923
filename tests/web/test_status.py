"""The routes of the server itself."""

from __future__ import annotations

import json

from gostore import errors
from tests.web.support import WebCase


class HealthTests(WebCase):
    """/healthz."""

    def test_health(self) -> None:
        """/healthz says that all is well, and that nobody may remember it."""
        for method, target in [("GET", "/healthz"), ("HEAD", "/healthz"), ("GET", "/healthz?a")]:
            request = self.ask(method, target)
            self.assertEqual((request.code, request.content), (200, b'"Ok!"'))
            self.assertEqual(request.answer["content-type"], "application/json")
            self.assertEqual(request.answer["cache-control"], "no-store")

    def test_verbose(self) -> None:
        """With ?verbose /healthz counts the blobs, the damaged ones apart, and the uploads."""
        self.store.add("foo")
        self.store.damaged = 2
        for target in ("/healthz?verbose", "/healthz?a=%zz&verbose=1"):
            request = self.ask("GET", target)
            self.assertEqual(request.code, 200)
            counts = {"text": "Ok!", "blobs": 1, "damaged": 2, "uploads": 0}
            self.assertEqual(json.loads(request.content), counts)
        self.store.health = errors.ReadOnly("fsync failed")
        self.assert_refused(self.ask("GET", "/healthz?verbose"), 503)

    def test_bad_health(self) -> None:
        """/healthz is 503 with the reason when nothing can be written."""
        for error in (errors.ReadOnly("fsync failed"), errors.Stopping()):
            self.store.health = error
            request = self.ask("GET", "/healthz")
            self.assert_refused(request, 503)
            self.assertEqual(request.error, str(error))
            self.assertEqual(request.answer["retry-after"], "10")
