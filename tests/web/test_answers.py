"""Answers and refusals, and what errors become."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gostore import errors
from gostore.web.answers import Answer, Refusal, refusal_of
from gostore.wire import PreparedFields
from tests.web.fake_request import FakeRequest


class AnswerTests(SynchronousTestCase):
    """Answer."""

    def test_send(self) -> None:
        """An answer is sent as it is, whether its fields are a mapping or written out already."""
        for fields in ({b"etag": b'"a"'}, PreparedFields([(b"etag", b'"a"')])):
            request = FakeRequest("GET", "/store/foo")
            Answer(200, fields, b"data").send(request)  # type: ignore[arg-type]
            self.assertEqual((request.code, request.content), (200, b"data"))
            self.assertEqual(request.answer, {"etag": '"a"'})

    def test_empty(self) -> None:
        """An answer has no fields and no body unless it is given some."""
        self.assertEqual(Answer(200), Answer(200, {}, b""))


class RefusalTests(SynchronousTestCase):
    """Refusal."""

    def test_text(self) -> None:
        """A refusal reads as its sentence, and has no header fields unless it is given some."""
        refusal = Refusal(404, "There is nothing at this path")
        self.assertEqual(str(refusal), "There is nothing at this path")
        self.assertEqual((refusal.code, refusal.fields), (404, {}))

    def test_fields_are_its_own(self) -> None:
        """Two refusals share no header fields."""
        self.assertIsNot(Refusal(404, "a").fields, Refusal(404, "b").fields)

    def test_answer(self) -> None:
        """A refusal is answered with one line of JSON, and its fields beside those of all."""
        answer = Refusal(405, "No", {b"allow": b"GET"}).answer
        self.assertEqual((answer.code, answer.body), (405, b'{"code": 405, "text": "No"}\n'))
        self.assertEqual(
            answer.fields,
            {
                b"content-type": b"application/json",
                b"x-content-type-options": b"nosniff",
                b"allow": b"GET",
            },
        )


class ErrorTests(SynchronousTestCase):
    """What exceptions become."""

    def test_refusal(self) -> None:
        """A refusal stays what it is."""
        refusal = Refusal(416, "Nothing there")
        self.assertIs(refusal_of(refusal), refusal)

    def test_kinds_of_errors(self) -> None:
        """An error whose class is not in the table has the status of the class it extends."""

        class Special(errors.NotFound):
            """A way of not being found."""

        refusal = refusal_of(Special("foo"))
        self.assertEqual((refusal.code, refusal.text), (404, "foo does not exist"))

    def test_unforeseen(self) -> None:
        """The text of an exception that nobody foresaw stays in the log."""
        refusal = refusal_of(OSError(5, "secret"))
        self.assertEqual((refusal.code, refusal.text), (500, "Something went wrong"))
