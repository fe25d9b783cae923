"""How long a blob is to stay: Expires-In and Expires-At, which are fields of gostore's own.

A request has one of them at most. An answer has Expires-At: the second from which on the blob is
gone.
"""

from __future__ import annotations

import math

from gostore.ini import parse_duration
from gostore.store.interface import Lifetime
from gostore.web.answers import Refusal
from gostore.web.fields.conditions import END_OF_TIME, read_date
from gostore.web.fields.parsing import parsed
from gostore.web.lifetimes import LONGEST
from gostore.wire import Headers

EXPIRES_AT = b"expires-at"

_FIELDS = frozenset({b"expires-in", EXPIRES_AT})


def lifetime_of(headers: Headers) -> Lifetime | None:
    """The lifetime that an upload asks for, if any.

    Raises Refusal (400) for a value that is none, and for more than one field. An Expires-At in the
    past is none of its business.
    """
    if headers.has_none_of(_FIELDS):
        return None
    periods, dates = headers.get_all(b"expires-in"), headers.get_all(EXPIRES_AT)
    if len(periods) + len(dates) > 1:
        raise Refusal(400, "There is more than one Expires-In or Expires-At")
    if periods:
        seconds = math.ceil(parsed(_seconds, periods[0]) or 0)
        if not 0 < seconds <= LONGEST:
            text = "Expires-In is no time from 1 second to 317 years, such as 3600, 90m, 2h or 7d"
            raise Refusal(400, text)
        return Lifetime(seconds)
    until = read_date(dates[0])
    if until is None or until > END_OF_TIME:
        text = "Expires-At is no date such as Sun, 22 Nov 2026 11:01:42 GMT; Expires-In takes 2h"
        raise Refusal(400, text)
    return Lifetime(until=until)


def _seconds(value: bytes) -> float:
    return parse_duration(value.decode("ascii"))
