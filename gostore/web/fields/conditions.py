"""Conditional requests: what a client expects to find at a location (RFC 9110 section 13)."""

from __future__ import annotations

from enum import Enum

from attrs import frozen
from werkzeug.http import parse_date, parse_etags, unquote_etag

from gostore.blob import Committed
from gostore.store.interface import Precondition, Versions
from gostore.web.answers import Refusal
from gostore.web.fields.parsing import has_few_members, parsed
from gostore.wire import MAX_MEMBERS, Headers

NANOSECONDS = 1_000_000_000
END_OF_TIME = 253_402_300_799
"""The last second that an HTTP date can express, in the year 9999."""

LONGEST_DATE = 64
"""The most bytes of a date; its three forms have at most 33 (RFC 9110 section 5.6.7)."""


class Outcome(Enum):
    """What to do with a request once its conditions are evaluated."""

    PROCEED = 1
    NOT_MODIFIED = 2
    FAILED = 3


def etag_of(blob: Committed) -> str | None:
    """The blob's strong entity tag without its quotes: the SHA-256 in hex."""
    return None if blob.sha256 is None else blob.sha256.hex()


def modified_of(blob: Committed) -> int:
    """The blob's recorded time in whole seconds since the epoch, the precision of HTTP dates."""
    return min(max(blob.modified // NANOSECONDS, 0), END_OF_TIME)


@frozen
class Conditions:
    """The conditions of one request. None stands for a missing field and for an invalid date.

    ``if_match`` has strong tags only, since it compares strongly; ``if_none_match`` has all.
    """

    if_match: Versions | None = None
    if_none_match: Versions | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None

    @classmethod
    def of(cls, headers: Headers) -> Conditions:
        """The conditions in these headers. An invalid date is ignored (13.1.3).

        Raises Refusal (431) for more than 32 entity tags: to ignore any could let a write pass.
        """
        if headers.has_none_of(_FIELDS):
            return _NONE
        return cls(
            _versions(headers, b"if-match", weak=False),
            _versions(headers, b"if-none-match", weak=True),
            read_date(headers.get(b"if-modified-since")),
            read_date(headers.get(b"if-unmodified-since")),
        )

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self != _NONE

    @property
    def creates(self) -> bool:
        """Whether the request expects nothing to be there yet: ``If-None-Match: *``."""
        return self.if_none_match is not None and self.if_none_match.any

    def judge(self, blob: Committed) -> Outcome:
        """Evaluate the conditions of a GET or HEAD against a blob, in the order of 13.2.2.

        The last step, If-Range, is holds_if_range.
        """
        if self is _NONE:
            return Outcome.PROCEED
        if not Precondition(self.if_match, None, self.if_unmodified_since).holds(blob):
            return Outcome.FAILED
        if self.if_none_match is not None:
            if blob in self.if_none_match:
                return Outcome.NOT_MODIFIED
        elif self.if_modified_since is not None and modified_of(blob) <= self.if_modified_since:
            return Outcome.NOT_MODIFIED
        return Outcome.PROCEED

    def precondition(self, *, missing: bool = True, present: bool = True) -> Precondition | None:
        """The conditions of a write, for the store to check; None if there are none.

        ``missing`` and ``present`` say whether a missing and a present blob are judged. If one
        is not, the request fails anyway, and then its conditions are ignored (13.2.1).
        """
        if self is _NONE or self == _NONE:
            return None
        return Precondition(
            self.if_match, self.if_none_match, self.if_unmodified_since, missing, present
        )


_NONE = Conditions()
_FIELDS = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"})


def holds_if_range(value: bytes | None, blob: Committed) -> bool:
    """Whether Range applies to this blob (13.1.5): If-Range is missing, or it holds.

    Only an entity tag can hold, if it is strong and equal. A date is a weak validator, since one
    second can see two versions (8.8.2.2), so it never holds.
    """
    if value is None:
        return True
    text = value.decode("latin-1")
    return text.startswith('"') and parsed(unquote_etag, text) == (etag_of(blob), False)


def _versions(headers: Headers, name: bytes, *, weak: bool) -> Versions | None:
    """The versions that a list of entity tags names. Ours are strong: a digest in hex."""
    value = headers.get(name)
    if value is None:
        return None
    if not has_few_members(value):
        text = f"{name.decode().title()} has more than {MAX_MEMBERS} entity tags"
        raise Refusal(431, text)
    tags = parsed(parse_etags, value.decode("latin-1"))
    if tags is None:
        return Versions()
    return Versions(frozenset(tags.as_set(include_weak=weak)), any=tags.star_tag)


def read_date(value: bytes | None) -> int | None:
    """The seconds since the epoch of an HTTP date (RFC 9110 section 5.6.7); None if it is none."""
    # A date has one comma at most. werkzeug reads the first of two dates.
    if value is None or len(value) > LONGEST_DATE or value.count(b",") > 1:
        return None
    return parsed(_seconds, value.decode("latin-1"))


def _seconds(text: str) -> int | None:
    """The date in seconds since the epoch. Raises OverflowError for one beyond a C int."""
    date = parse_date(text)
    return None if date is None else int(date.timestamp())
