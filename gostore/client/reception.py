"""One blob on its way to a client: resumed where it was cut off, and compared with its digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from gostore.client.address import check_location
from gostore.client.errors import BadAnswer, Changed, ClientError, Damaged, Lost
from gostore.client.patience import Patience, Pauses, seconds_asked
from gostore.client.steps import Answer, Ask
from gostore.client.values import Blob, blob_of, length_of
from gostore.client.verbs import error_of, final, is_passing

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


class Reception:
    """What has come so far, and what to ask for next. It knows no socket.

    Ask, tell `begin` the head of the answer, `take` each piece of its body, and `finish` at its
    end. Tell `lost` when it fails on the way; then ask again after the pause that it returns.
    """

    def __init__(
        self,
        location: str,
        patience: Patience,
        query: Mapping[str, str],
        if_match: str | None = None,
    ) -> None:
        self.blob: Blob | None = None
        self.offset = 0
        self._location = check_location(location)
        self._query = query
        self._if_match = if_match
        self._pauses = Pauses(patience)
        self._hash = hashlib.sha256()
        self._skip = 0

    @property
    def is_whole(self) -> bool:
        """Whether all bytes that the head announced have come."""
        return self.blob is not None and self.offset == self.blob.size >= 0

    def ask(self) -> Ask:
        """The next request: for the whole, or for the rest of the same version."""
        fields = {}
        if self.blob is not None and self.offset:
            fields["Range"] = f"bytes={self.offset}-"
        expected = self._if_match
        if self.blob is not None and self.blob.etag is not None:
            expected = self.blob.etag
        if expected is not None:
            fields["If-Match"] = expected
        return Ask("GET", self._location, self._query, fields)

    def begin(self, answer: Answer) -> None:
        """Take the head of an answer, whose body follows.

        Raises Lost for what another attempt may change, else a ClientError.
        """
        if answer.code not in (200, 206):
            if is_passing(answer):
                raise Lost(str(error_of(answer, f"GET {self._location}")))
            if answer.code in (404, 412, 416) and self.blob is not None:
                raise Changed(f"{self._location} changed while it was read", answer.code)
            raise error_of(answer, f"GET {self._location}")
        length = length_of(answer.fields)
        if self.blob is None:
            if answer.code != 200:
                raise BadAnswer(f"The answer has a part of {self._location} instead of the whole")
            self.blob = blob_of(self._location, answer.fields, -1 if length is None else length)
            if self.blob.sha256 is None:
                raise BadAnswer(f"The answer does not tell the digest of {self._location}")
            return
        if answer.fields.get("etag") != self.blob.etag:
            raise Changed(f"{self._location} changed while it was read", answer.code)
        self._skip = self.offset
        if answer.code == 206:
            self._skip = 0
            found = _CONTENT_RANGE.fullmatch(answer.fields.get("content-range", ""))
            if found is None or int(found[1]) != self.offset:
                raise BadAnswer(f"The answer has other bytes of {self._location} than asked for")
        total = int(found[3]) if answer.code == 206 and found else length
        if self.blob.size >= 0 and total != self.blob.size:
            raise BadAnswer(f"The size of {self._location} changed, and its ETag did not")

    def take(self, piece: bytes) -> bytes:
        """Take a piece of the body; return what is new of it."""
        assert self.blob is not None
        if self._skip:
            skipped = min(self._skip, len(piece))
            self._skip -= skipped
            piece = piece[skipped:]
        if piece:
            self.offset += len(piece)
            if self.offset > self.blob.size >= 0:
                raise BadAnswer(f"{self._location} is longer than the answer said")
            self._hash.update(piece)
            self._pauses.restart()
        return piece

    def resume(self, pieces: Iterable[bytes]) -> None:
        """Begin with bytes that an earlier client has got; the digest tells at the end."""
        for piece in pieces:
            self._hash.update(piece)
            self.offset += len(piece)

    def finish(self) -> None:
        """The body has ended. Raises Lost if it is too short, Damaged if it is not the blob."""
        assert self.blob is not None
        if self.offset < self.blob.size or self._skip:
            raise Lost(f"The answer ended after {self.offset} of {self.blob.size} bytes")
        if self._hash.hexdigest() != self.blob.sha256:
            raise Damaged(f"{self._location} does not have the digest that the daemon gave for it")

    def lost(self, problem: Lost, answer: Answer | None) -> float:
        """Return the seconds to wait before the next attempt; raise if there will be none."""
        asked = None if answer is None else seconds_asked(answer.fields.get("retry-after"))
        seconds = self._pauses.next(asked, reached=problem.reached)
        if seconds is None:
            raise self._end(problem, answer)
        return seconds

    def _end(self, problem: Lost, answer: Answer | None) -> ClientError:
        if answer is not None and answer.code in (200, 206):
            answer = None
        return final(self.ask(), answer, problem)
