"""Answers, the refusals among them, and the one table of what the store's errors are in HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, define, frozen

from gostore import errors
from gostore.wire import ERROR_HEADERS, INTERNAL_ERROR, PreparedFields, Request, Source, error_body

STATUS: Mapping[type[Exception], int] = {
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.ConditionFailed: 412,
    errors.DigestMismatch: 400,
    errors.TooLarge: 413,
    errors.BodyFailed: 400,
    errors.TooMuchMetadata: 431,
    errors.NoUpload: 404,
    errors.UploadOver: 410,
    errors.WrongOffset: 409,
    errors.TakenOver: 423,
    errors.ChunkMismatch: 460,
    errors.LengthChanged: 400,
    errors.NoSpace: 507,
    errors.NoIds: 507,
    errors.Busy: 503,
    errors.ReadOnly: 503,
    errors.Stopping: 503,
    errors.Damaged: 500,
    errors.DiskFailed: 500,
}
"""The status of each error of the store; any other exception is a 500."""

RETRY_AFTER = 10
"""Seconds that a 503 asks the client to wait when its error names no time."""

JSON = dict(ERROR_HEADERS)
"""The fields of an answer whose body is JSON."""


@frozen
class Answer:
    """What a request gets: a status code, header fields (names in lower case) and a body."""

    code: int
    fields: Mapping[bytes, bytes] | PreparedFields = Factory(dict)
    body: bytes | Source = b""

    def send(self, request: Request) -> None:
        """Answer the request. Raises ValueError for a field with a line end in it."""
        fields = self.fields
        pairs = fields if isinstance(fields, PreparedFields) else tuple(fields.items())
        request.respond(self.code, pairs, self.body)


@define
class Refusal(Exception):
    """An answer that is an error: its status code, a sentence for people, and fields of its own.

    ``text`` repeats nothing of the request. Field names are in lower case.
    """

    code: int
    text: str
    fields: Mapping[bytes, bytes] = Factory(dict)

    def __str__(self) -> str:
        return self.text

    @property
    def answer(self) -> Answer:
        """The refusal as it is sent."""
        return Answer(self.code, {**JSON, **self.fields}, error_body(self.code, self.text))


def refusal_of(error: BaseException | None) -> Refusal:
    """Turn an exception into a refusal. Nobody but the log sees the text of an unforeseen one."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MemoryError):
        error = errors.as_store_error(error)
    code = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if code is None:
        return Refusal(500, INTERNAL_ERROR)
    if code != 503:
        return Refusal(code, str(error))
    seconds = error.retry_after if isinstance(error, errors.Busy) else RETRY_AFTER
    return Refusal(code, str(error), {b"retry-after": b"%d" % seconds})
