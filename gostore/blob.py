"""Blobs: their three states, the log of how they came to them, and what a location may be.

::

    (new) ---> OK <---> Pending
                |          |
                +-> Failure <

Nothing leaves Failure. Pure: no clock, no files; times come in as whole nanoseconds since the
epoch, UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from attrs import Factory, define, evolve, frozen

from gostore.errors import IllegalTransition

LOG_LENGTH = 16
"""How many transitions a blob remembers: the length of the Go server's ring."""

MESSAGE_LENGTH = 500
"""The most characters of a message that are kept, so that a state file stays small."""

MAX_ID = 2**32 - 1

LOCATION_BYTES = 1024
"""The most bytes a location has, as UTF-8."""

_UPLOAD_NUMBER = re.compile("[1-9][0-9]{0,38}")

CONTROL = re.compile("[\x00-\x1f\x7f]")
"""The characters that no location contains."""


class State(Enum):
    """The state of a blob; the values are the codes in the state file."""

    OK = 0
    FAILURE = -1
    PENDING = -2

    @property
    def title(self) -> str:
        """The name printed in the log for people: OK, Failure or Pending."""
        return _TITLES[self]


_TITLES = {State.OK: "OK", State.FAILURE: "Failure", State.PENDING: "Pending"}


@frozen
class Transition:
    """One line of a blob's log; ``when`` in nanoseconds since the epoch."""

    state: State
    message: str
    when: int


class EndedBy(Enum):
    """What ended the life of a committed blob; the values are what clients are told."""

    REPLACED = "replaced"
    DELETED = "deleted"
    EXPIRED = "expired"


#: The type of a blob that says none.
DEFAULT_TYPE = "application/octet-stream"


@frozen
class Ending:
    """How a committed blob became Failure, as the newest line of its log has it.

    ``when`` in nanoseconds since the epoch; ``origin`` asked for it; ``successor`` is the id of the
    blob that took its place.
    """

    when: int
    by: EndedBy
    origin: str = ""
    successor: int | None = None


@frozen(weakref_slot=False)
class Committed:
    """What the maps keep of a committed blob: all but its log.

    There may be a million of these, so it stays small. ``size`` in bytes; ``sha256`` is 32 raw
    bytes, None if the Go server wrote the blob and gostore has not computed it yet; ``modified`` is
    the time of the newest transition in nanoseconds since the epoch; ``metadata`` has lower-case
    header names, and is None when there is none. ``expires`` is the second since the epoch from
    which on it is gone, None if it stays.
    """

    id: int
    location: str
    generation: int
    size: int
    sha256: bytes | None
    modified: int
    content_type: str | None
    metadata: Mapping[str, str] | None
    expires: int | None = None


_ENDING = re.compile(
    r"(?:Deleted!(?P<replaced> Replaced by (?P<by>[0-9]{1,10}))?|(?P<expired>Expired!))"
    r"(?: \((?P<origin>.*?)\)?)?",
    re.DOTALL,
)
_BEGINNING = re.compile(r"Blob (?:Created|Updated) & Saved!(?: \((.*?)\)?)?", re.DOTALL)

_NEW = frozenset({None})
_ALIVE = frozenset({State.OK, State.PENDING})

# The one table of legal edges: each verb, the states it may start from, the state it leads to.
# None is a blob with an empty log. It counts as OK, and the Go server may leave one behind, so it
# can be marked Failure too.
_EDGES: Mapping[str, tuple[frozenset[State | None], State]] = {
    "create": (_NEW, State.OK),
    "update": (_NEW, State.OK),
    "start_writing": (frozenset({State.OK}), State.PENDING),
    "finish_writing": (frozenset({State.PENDING}), State.OK),
    "delete": (_ALIVE | _NEW, State.FAILURE),
    "expire": (_ALIVE | _NEW, State.FAILURE),
    "replace": (_ALIVE | _NEW, State.FAILURE),
    "fail": (_ALIVE | _NEW, State.FAILURE),
    "recover": (frozenset({State.PENDING}), State.FAILURE),
}


@frozen
class UploadNote:
    """What a record keeps of an upload that comes in several requests.

    ``number`` is its name; ``owner`` is who began it, "" if nobody asked; ``text`` is whatever the
    caller wants to find again.
    """

    number: int
    owner: str
    text: str

    @property
    def members(self) -> dict[str, str]:
        """What the record has of it."""
        return {"number": str(self.number), "owner": self.owner, "text": self.text}

    @classmethod
    def of(cls, value: object) -> UploadNote:
        """Make it of `members` again. Raises ValueError, with the reason, for anything else."""
        if type(value) is not dict or not all(
            type(value.get(key)) is str for key in ("number", "owner", "text")
        ):
            raise ValueError("its upload does not have the three strings of one")
        note = cls(0, value["owner"], value["text"])
        (note.owner + note.text).encode("utf-8")
        if _UPLOAD_NUMBER.fullmatch(value["number"]) is None:
            raise ValueError("its upload has no number")
        return evolve(note, number=int(value["number"]))


@define(eq=False)
class Blob:
    """A blob with its log; what a state file holds.

    ``size`` in bytes and ``sha256`` (32 raw bytes) are None until the data is complete; the Go
    server never records them. ``created`` in nanoseconds since the epoch. ``metadata``
    maps lower-case header names to values. ``log`` is oldest first, at most 16 long. ``expires`` is
    that of Committed. ``upload`` is there if its bytes came, or come, in several requests.
    ``nonce`` is in the key of its bytes where a bucket uses ids again, else "".

    Each verb takes the time in nanoseconds, appends one transition, and raises IllegalTransition,
    changing nothing, if the blob's state does not have that edge. ``origin`` tells people who asked
    for it: the id of a request.
    """

    id: int
    location: str
    generation: int = 0
    size: int | None = None
    sha256: bytes | None = None
    created: int | None = None
    content_type: str | None = None
    metadata: dict[str, str] = Factory(dict)
    log: list[Transition] = Factory(list)
    expires: int | None = None
    upload: UploadNote | None = None
    nonce: str = ""

    @classmethod
    def of(cls, committed: Committed) -> Blob:
        """Make a blob from the maps, since its record is lost."""
        return cls(
            committed.id,
            committed.location,
            committed.generation,
            committed.size,
            committed.sha256,
            None,
            committed.content_type,
            dict(committed.metadata or {}),
            [Transition(State.OK, "Blob Data WR Complete!", committed.modified)],
            committed.expires,
        )

    @property
    def state(self) -> State:
        """The state of the newest transition; an empty log counts as OK."""
        return self.log[-1].state if self.log else State.OK

    @property
    def changed(self) -> int:
        """The time of the newest transition in nanoseconds, 0 if there is none."""
        return self.log[-1].when if self.log else 0

    @property
    def origin(self) -> str:
        """The sender who asked for it, by the first entry of its log; "" if that is not known."""
        match = _BEGINNING.fullmatch(self.log[0].message) if self.log else None
        return (match[1] or "") if match is not None else ""

    @property
    def finished(self) -> int:
        """The time at which its data was complete, in nanoseconds; 0 if that is not known."""
        return max((each.when for each in self.log if each.state is State.OK), default=0)

    @property
    def ending(self) -> Ending | None:
        """How its life ended; None if it has not, or failed before it was committed."""
        if self.state is not State.FAILURE:
            return None
        last = self.log[-1]
        match = _ENDING.fullmatch(last.message)
        if match is None:
            return None
        origin = match["origin"] or ""
        if match["replaced"]:
            return Ending(last.when, EndedBy.REPLACED, origin, int(match["by"]))
        by = EndedBy.EXPIRED if match["expired"] else EndedBy.DELETED
        return Ending(last.when, by, origin)

    def create(self, now: int, origin: str = "") -> None:
        """The first entry of a blob at a location that had none."""
        self._step("create", now, _with_origin("Blob Created & Saved!", origin))
        self.created = now

    def update(self, now: int, origin: str = "") -> None:
        """The first entry of a blob that will replace another."""
        self._step("update", now, _with_origin("Blob Updated & Saved!", origin))
        self.created = now

    def start_writing(self, now: int) -> None:
        """The data begins to arrive."""
        self._step("start_writing", now, "Starting Data WR")

    def finish_writing(self, now: int, size: int, sha256: bytes, generation: int) -> None:
        """The data is complete: ``size`` bytes with this digest, committed as ``generation``."""
        self._step("finish_writing", now, "Blob Data WR Complete!")
        self.size = size
        self.sha256 = sha256
        self.generation = generation

    def delete(self, now: int, origin: str = "") -> None:
        """Somebody deleted it."""
        self._step("delete", now, _with_origin("Deleted!", origin))

    def expire(self, now: int) -> None:
        """Its time is over."""
        self._step("expire", now, "Expired!")

    def replace(self, now: int, by: int, origin: str = "") -> None:
        """The blob with the id ``by`` took its location."""
        self._step("replace", now, _with_origin(f"Deleted! Replaced by {by}", origin))

    def fail(self, now: int, reason: str) -> None:
        """The upload failed; ``reason`` goes to the log, cut to 500 characters."""
        self._step("fail", now, reason)

    def recover(self, now: int) -> None:
        """A start found it Pending: a crash cut its write short."""
        self._step("recover", now, "Found in Pending state during Restore - Deleting!")

    def committed(self) -> Committed:
        """What the maps keep of it.

        Raises ValueError if the size is not known: the Go server records none, so take it from the
        file first.
        """
        if self.size is None:
            raise ValueError(f"the size of blob {self.id} is not known")
        return Committed(
            self.id,
            self.location,
            self.generation,
            self.size,
            self.sha256,
            self.changed,
            self.content_type,
            self.metadata or None,
            self.expires,
        )

    def _step(self, verb: str, now: int, message: str) -> None:
        origins, target = _EDGES[verb]
        current = self.log[-1].state if self.log else None
        if current not in origins:
            raise IllegalTransition(
                self.id, "new" if current is None else current.title, target.title
            )
        text = message[:MESSAGE_LENGTH]
        if not text.isascii():
            # A lone surrogate (an undecodable file name in a reason, say) has no UTF-8.
            text = text.encode("utf-8", "replace").decode("utf-8")
        self.log.append(Transition(target, text, now))
        if len(self.log) > LOG_LENGTH:
            del self.log[:-LOG_LENGTH]


def _with_origin(message: str, origin: str) -> str:
    return f"{message} ({origin})" if origin else message


def check_text(location: str) -> None:
    """Raise ValueError, with the reason, unless the location could be one by its characters.

    1 to 1,024 bytes of UTF-8, no control character (below U+0020, U+007F), no lone surrogate.
    """
    if not location:
        raise ValueError("the location is empty")
    try:
        size = len(location) if location.isascii() else len(location.encode("utf-8"))
    except UnicodeEncodeError:
        raise ValueError("the location has a lone surrogate") from None
    if size > LOCATION_BYTES:
        raise ValueError(f"the location is longer than {LOCATION_BYTES} bytes")
    if CONTROL.search(location):
        raise ValueError("the location has a control character")


def check_location(location: str) -> None:
    """Raise ValueError, with the reason, unless this is a legal location.

    Its text as in check_text, and no segment between slashes that is empty, ``.`` or ``..``.
    """
    check_text(location)
    for segment in location.split("/"):
        if segment in ("", ".", ".."):
            raise ValueError(
                f"the location has the segment {segment}"
                if segment
                else "the location has an empty segment"
            )
