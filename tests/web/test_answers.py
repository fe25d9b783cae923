"""Refusals: what an answer that is an error is made of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore.web.answers import Refusal


class RefusalTests(SynchronousTestCase):
    """Refusal."""

    def test_text(self) -> None:
        """A refusal reads as its sentence, and has no header fields unless it is given some."""
        refusal = Refusal(404, "There is nothing at this path")
        self.assertEqual(str(refusal), "There is nothing at this path")
        self.assertEqual((refusal.code, refusal.headers), (404, {}))

    def test_headers_are_its_own(self) -> None:
        """Two refusals share no header fields."""
        self.assertIsNot(Refusal(404, "a").headers, Refusal(404, "b").headers)
