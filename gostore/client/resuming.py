"""Uploads that go on where they were cut off, by tus 1.0.0; those of an earlier command, too.

verbs.py decides under which condition a blob is stored. `Resuming.write` stands for `verbs.write`
where it pays: one request begins the upload, and one brings all bytes. If that is cut off, the
client asks how far it came and sends the rest. A daemon that has no uploads gets a POST or PUT.
"""

from __future__ import annotations

import base64
import re
from typing import cast

from attrs import define, field, frozen

from gostore.client.errors import BadAnswer, ClientError, Damaged, NotFound
from gostore.client.memory import Memory, Slot, Unfinished, Way
from gostore.client.patience import Patience, Pauses
from gostore.client.sources import Bytes, File, Identity, Rest, Source
from gostore.client.steps import Answer, Ask, Verb
from gostore.client.values import Blob
from gostore.client.verbs import (
    ask_safely,
    attempt,
    error_of,
    is_passing,
    settle,
    stored,
    wait,
    write,
)

THRESHOLD = 8 * 1024 * 1024
"""A blob of fewer bytes is sent in one request: to begin an upload costs more than to repeat it."""

#: How often an upload that the daemon has forgotten is begun anew.
_BEGINNINGS = 8

#: The most bytes of Upload-Metadata that a daemon takes.
_MOST_METADATA = 8192

#: Answers to the POST that begins an upload if nobody there knows of uploads.
_UNKNOWN = frozenset({404, 405, 501})

#: After these the upload is over at the daemon, and its bytes are gone.
_OVER = frozenset({400, 409, 412, 413, 431})

_TUS = {"Tus-Resumable": "1.0.0"}
_TYPE = {"Content-Type": "application/offset+octet-stream"}
_META = "x-gostore-meta-"
_PLACE = re.compile(r"(?:.*/)?([0-9]{1,40})/[^?#]+")
_NUMBER = re.compile(r"[0-9]{1,18}")


class Resuming:
    """How one client resumes its uploads: from which size on (None: never), and what it remembers.

    Without a memory an upload is resumed by the same call of `put` only.
    """

    def __init__(self, url: str, threshold: int | None, memory: Memory | None) -> None:
        self._url = url
        self._threshold = threshold
        self._memory = memory
        self._is_known = True

    def sha256_of(self, location: str, path: str, identity: Identity) -> str | None:
        """The digest of a file, if an earlier command has begun to send it to this location."""
        if self._memory is None or self._threshold is None:
            return None
        return self._memory.sha256_of(Way(self._url, location, path), identity)

    def write(self, ask: Ask, patience: Patience) -> Verb[Blob]:
        """Store a blob; see `verbs.write`."""
        wanted = wanted_of(ask) if self._is_worth_it(ask.source) else None
        if wanted is None:
            return (yield from write(ask, patience))
        with self._slot(ask) as slot:
            try:
                return (yield from _Upload(ask, wanted, patience, slot).run())
            except _NoUploads:
                self._is_known = False
        return (yield from write(ask, patience))

    def _is_worth_it(self, source: Source | None) -> bool:
        if self._threshold is None or not self._is_known:
            return False
        return isinstance(source, Bytes | File) and source.size >= max(self._threshold, 1)

    def _slot(self, ask: Ask) -> Slot:
        if self._memory is None or not isinstance(ask.source, File) or ask.location is None:
            return Slot(None)
        return self._memory.take(Way(self._url, ask.location, ask.source.path))


@frozen
class Wanted:
    """What an upload is to become, as Upload-Metadata says it: what, and under which condition."""

    details: str
    condition: str

    @property
    def text(self) -> str:
        """The whole field."""
        return ",".join(filter(None, (self.details, self.condition)))


def wanted_of(ask: Ask) -> Wanted | None:
    """What a POST or PUT is about; None if an upload could not say that."""
    assert ask.location is not None and ask.source is not None
    details, condition = {"location": ask.location}, {}
    for name, text in ask.fields.items():
        name = name.lower()
        if name in ("if-match", "if-none-match"):
            condition[name] = text
        elif name == "content-type":
            details["filetype"] = text
        elif name.startswith(_META):
            details[name] = text
        else:
            return None
    if ask.source.sha256 is not None:
        details["sha256"] = ask.source.sha256
    if ask.method == "PUT" and not condition:
        # Without any condition an upload creates.
        condition["if-match"] = "*"
    wanted = Wanted(_encoded(details), _encoded(condition))
    return wanted if len(wanted.text) <= _MOST_METADATA else None


def _encoded(metadata: dict[str, str]) -> str:
    pairs = (
        f"{name} {base64.b64encode(text.encode('utf-8')).decode('ascii')}"
        for name, text in metadata.items()
    )
    return ",".join(pairs)


#: The two conditions of a put that takes what it finds.
_EITHER = frozenset(map(_encoded, ({"if-none-match": "*"}, {"if-match": "*"})))


class _NoUploads(Exception):
    """This daemon has no uploads that could be resumed."""


class _Gone(Exception):
    """The daemon does not know the upload any more."""


@define(eq=False)
class _Upload:
    """One blob on its way to a daemon."""

    ask: Ask
    wanted: Wanted
    patience: Patience
    slot: Slot
    number: str = ""
    #: How many bytes were sent; None if an earlier command has sent some, and nobody knows.
    sent: int | None = None
    location: str = field(init=False)
    source: Bytes | File = field(init=False)

    def __attrs_post_init__(self) -> None:
        assert self.ask.location is not None
        self.location, self.source = self.ask.location, cast("Bytes | File", self.ask.source)

    def run(self) -> Verb[Blob]:
        """Send it. Raises _NoUploads."""
        offset = None
        if self.slot.found is not None:
            found = yield from self._resume(self.slot.found)
            if isinstance(found, Blob):
                return found
            offset = found
        for _ in range(_BEGINNINGS):
            if offset is None:
                yield from self._begin()
                offset = 0
            try:
                blob = yield from self._send(offset)
            except _Gone:
                offset = None
            except Damaged:
                # Another attempt had better not build on it.
                self.slot.forget()
                raise
            else:
                self.slot.forget()
                return blob
        self.slot.forget()
        raise ClientError(f"The daemon forgot the upload of {self.location} again and again")

    # -- its beginning ------------------------------------------------------------------------

    def _begin(self) -> Verb[None]:
        length = {"Upload-Length": str(self.source.size), "Upload-Metadata": self.wanted.text}
        ask = Ask("POST", self.location, {}, {**_TUS, **length}, upload="")
        answer, _ = yield from ask_safely(ask, self.patience)
        if answer.code in _UNKNOWN and "tus-resumable" not in answer.fields:
            raise _NoUploads
        if answer.code != 201:
            raise self._refusal(answer)
        place = _PLACE.fullmatch(answer.fields.get("location", ""))
        if place is None:
            raise BadAnswer(f"The answer does not tell where the upload of {self.location} goes on")
        # Its number is all that counts. No URL of an answer is followed: it could get the token.
        self.number, self.sent = place[1], 0
        if isinstance(self.source, File):
            self.slot.keep(
                Unfinished(
                    self.number,
                    self.source.sha256,
                    self.source.identity,
                    self.wanted.details,
                    self.wanted.condition,
                )
            )

    def _resume(self, found: Unfinished) -> Verb[Blob | int | None]:
        """Go on with what an earlier command has left: how far it is, or the blob that it became.

        None: it cannot be gone on with.
        """
        self.number = found.number
        is_same = found.condition == self.wanted.condition
        is_like = is_same or {found.condition, self.wanted.condition} <= _EITHER
        if not is_like or not self._is_of(found):
            # Asked how far it is, a daemon that has all of it would make a blob of it.
            yield from self._terminate()
            return None
        try:
            standing = yield from self._look()
        except _Gone:
            standing = None
        except ClientError as error:
            if error.code not in _OVER:
                raise
            # The refusal of a new one is in words, and that of a HEAD is not.
            standing = None
        if isinstance(standing, Blob):
            # Another client may have replaced it since.
            done, _ = yield from settle(self.ask, self.patience)
            self.slot.forget()
            return done
        if standing is None or is_same:
            return standing
        yield from self._terminate()
        return None

    def _is_of(self, found: Unfinished) -> bool:
        """Whether an upload is that of this file as it is now, with all that is kept with it."""
        source = self.source
        is_file = isinstance(source, File) and found.identity == source.identity
        return is_file and (found.sha256, found.details) == (source.sha256, self.wanted.details)

    def _terminate(self) -> Verb[None]:
        """Let the daemon forget the upload; if it does not hear of it, it will expire."""
        self.slot.forget()
        yield from attempt(Ask("DELETE", self.location, {}, _TUS, upload=self.number))

    # -- its bytes ----------------------------------------------------------------------------

    def _send(self, offset: int) -> Verb[Blob]:
        """Send all from an offset on, as often as it takes. Raises _Gone."""
        pauses, most = Pauses(self.patience), offset
        while True:
            rest = Rest(self.source, offset)
            fields = {**_TUS, **_TYPE, "Upload-Offset": str(offset)}
            ask = Ask("PATCH", self.location, {}, fields, rest, upload=self.number)
            answer, problem = yield from attempt(ask)
            self.sent = max(self.sent or 0, offset + rest.taken)
            standing = self._outcome(answer)
            if standing is None:
                standing = yield from self._look()
            if isinstance(standing, Blob):
                return standing
            offset = standing
            if offset > most:
                # It may be cut off as often as it likes, as long as bytes arrive.
                pauses.restart()
                most = offset
            else:
                yield from wait(pauses, ask, answer, problem)

    def _outcome(self, answer: Answer | None) -> Blob | int | None:
        """What came of a PATCH; None if only the daemon knows. Raises _Gone."""
        if answer is None or is_passing(answer):
            return None
        if answer.code == 409 and "upload-offset" in answer.fields:
            return None
        if answer.code == 204:
            return self._standing(answer)
        raise self._error(answer)

    def _look(self) -> Verb[Blob | int]:
        """Ask how far the upload is, or what it has become. Raises _Gone."""
        ask = Ask("HEAD", self.location, {}, _TUS, upload=self.number)
        answer, _ = yield from ask_safely(ask, self.patience)
        if answer.code != 200:
            raise self._error(answer)
        length = answer.fields.get("upload-length")
        if length != str(self.source.size):
            raise BadAnswer(f"The daemon has another length for the upload of {self.location}")
        return self._standing(answer)

    def _standing(self, answer: Answer) -> Blob | int:
        """How far an answer says that the upload is. Raises BadAnswer, Damaged."""
        text = answer.fields.get("upload-offset", "")
        if _NUMBER.fullmatch(text) is None:
            raise BadAnswer(f"The answer does not tell how far the upload of {self.location} is")
        offset, most = int(text), self.source.size if self.sent is None else self.sent
        if offset > most:
            raise BadAnswer(f"The daemon has more bytes of {self.location} than were sent")
        if self.sent is None:
            self.sent = offset
        return stored(self.ask, answer) if offset == self.source.size else offset

    def _error(self, answer: Answer) -> Exception:
        if answer.code in (404, 410):
            return _Gone()
        if answer.code in _OVER:
            self.slot.forget()
        return self._refusal(answer)

    def _refusal(self, answer: Answer) -> ClientError:
        error = error_of(answer, f"{self.ask.method} {self.location}")
        names = {name.lower() for name in self.ask.fields}
        if answer.code == 412 and not names & {"if-match", "if-none-match"}:
            # It was to replace whatever is there.
            return NotFound(str(error), 412)
        return error
