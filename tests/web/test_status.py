"""The routes of the server itself."""

from __future__ import annotations

import json

from gostore import errors
from gostore.web.dispatch import Dispatcher
from gostore.web.routes.status import PROBES, Status
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


class ProbeTests(WebCase):
    """/livez and /readyz."""

    def setUp(self) -> None:
        super().setUp()
        self.wrong = {"running": "", "engine": ""}
        checks = {name: lambda name=name: self.wrong[name] for name in self.wrong}
        self.dispatcher = Dispatcher([Status(self.store, checks)])

    def probe(self, target: str, code: int) -> str:
        """Ask, and return the text of an answer that nobody may remember."""
        request = self.ask("GET", target)
        self.assertEqual(request.code, code)
        self.assertEqual(request.answer["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(request.answer["cache-control"], "no-store")
        self.assertEqual(request.answer.get("retry-after"), "10" if code == 503 else None)
        return request.content.decode()

    def test_alive(self) -> None:
        """/livez is 200 whatever is wrong: a restart would help none of it."""
        self.store.health = errors.ReadOnly("fsync failed")
        self.wrong["running"] = "stopping"
        self.assertEqual(self.probe("/livez", 200), "ok\n")

    def test_ready(self) -> None:
        """/readyz is 200 when nothing is wrong; ?verbose names each check."""
        self.assertEqual(self.probe("/readyz", 200), "ok\n")
        checks = "writes: ok\nspace: ok\nrunning: ok\nengine: ok\n"
        self.assertEqual(self.probe("/readyz?verbose", 200), checks)

    def test_not_ready(self) -> None:
        """/readyz is 503 with a line for each reason; ?verbose has the other checks, too."""
        self.store.health = errors.ReadOnly("fsync failed")
        self.store.free, self.store.reserve = 63 << 20, 64 << 20
        self.wrong["engine"] = "unreachable"
        writes = f"writes: {self.store.health}\n"
        space = "space: 63 MiB are free, and 64 MiB are reserved\n"
        self.assertEqual(self.probe("/readyz", 503), f"{writes}{space}engine: unreachable\n")
        checks = f"{writes}{space}running: ok\nengine: unreachable\n"
        self.assertEqual(self.probe("/readyz?verbose=1", 503), checks)

    def test_each_reason(self) -> None:
        """Each reason alone is one."""
        self.store.health = errors.Stopping()
        self.assertEqual(self.probe("/readyz", 503), f"writes: {errors.Stopping()}\n")
        self.store.health = None
        self.store.free, self.store.reserve, self.store.kept = 0, 2, 1
        self.assertTrue(self.probe("/readyz", 503).startswith("space: "))
        self.store.kept = 2
        self.assertEqual(self.probe("/readyz", 200), "ok\n")
        self.wrong["running"] = "stopping"
        self.assertEqual(self.probe("/readyz", 503), "running: stopping\n")

    def test_paths(self) -> None:
        """The probes that are answered beyond max-connections are routes that ask for nothing."""
        for path in PROBES:
            self.assertEqual(self.ask("GET", path).code, 200)
