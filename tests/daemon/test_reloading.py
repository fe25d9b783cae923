"""Tests for gostore.daemon.reloading: one line says what has changed, and what could not."""

from __future__ import annotations

from typing import Any, cast

from attrs import define
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gostore.daemon.reloading import CannotReload, reload_all


@define
class Part:
    """A part that has changed, or cannot be reloaded."""

    change: str = ""
    error: Exception | None = None

    def reload(self) -> str:
        """Say so."""
        if self.error is not None:
            raise self.error
        return self.change


class ReloadTests(SynchronousTestCase):
    """All parts together."""

    def reloaded(self, *parts: Part) -> list[tuple[str, str | None]]:
        """What is logged of them."""
        events: list[Any] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        reload_all(parts)
        globalLogPublisher.removeObserver(observer)
        globalLogPublisher.addObserver(observer)
        return [(event["log_level"].name, formatEvent(event)) for event in events]

    def test_nothing(self) -> None:
        """It is said when nothing has changed: a person has asked."""
        self.assertEqual(self.reloaded(), [("info", "Reloaded: nothing has changed")])
        self.assertEqual(self.reloaded(Part()), [("info", "Reloaded: nothing has changed")])

    def test_changes(self) -> None:
        """Several changes are one line."""
        found = self.reloaded(Part("a is new"), Part(), Part("b was 1 and is 2"))
        self.assertEqual(found, [("info", "Reloaded: a is new; b was 1 and is 2")])

    def test_failure(self) -> None:
        """A part that cannot be reloaded is named with the reason; the others are reloaded."""
        parts = [Part(error=CannotReload("x (gone)")), Part("a is new")]
        line = "Reloaded: a is new; not reloaded: x (gone)"
        self.assertEqual(self.reloaded(*parts), [("warn", line)])

    def test_unforeseen(self) -> None:
        """Whatever else a part raises is logged in full."""
        [full, line] = self.reloaded(Part(error=KeyError("x")), Part("a is new"))
        self.assertEqual(full[0], "critical")
        self.assertEqual(line, ("warn", "Reloaded: a is new; not reloaded: see above"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
