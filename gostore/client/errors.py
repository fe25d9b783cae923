"""What can go wrong between a client and a daemon, each with the exit status of the command line.

The text of an error is one line for people. What the daemon said about it comes first.
"""

from __future__ import annotations


class ClientError(Exception):
    """A request that failed for good. ``code`` is the status of the answer, None without one."""

    exit_status = 1
    #: What --json calls it.
    word = "failed"

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class Unreachable(ClientError):
    """No answer came, however often the client asked."""

    exit_status = 3
    word = "unreachable"


class Unavailable(Unreachable):
    """The daemon is there, and asks to come back later: 408, 429, 502, 503 or 504."""


class Refused(ClientError):
    """There are no credentials, or wrong ones (401), or they do not allow this (403)."""

    exit_status = 4
    word = "refused"


class NotFound(ClientError):
    """The location has no blob (404), or the prefix has none."""

    exit_status = 5
    word = "not found"


class ConditionFailed(ClientError):
    """The location does not have what the request expects (412)."""

    exit_status = 6
    word = "condition failed"


class AlreadyExists(ConditionFailed):
    """A location that had to be empty has a blob (409)."""


class Changed(ConditionFailed):
    """The blob was replaced or deleted while it was read."""


class NoRoom(ClientError):
    """The daemon has no room for it (507), or takes no blob of this size (413)."""

    exit_status = 7
    word = "no room"


class Damaged(ClientError):
    """Bytes are not what they should be: on the daemon's disk, or on their way."""

    exit_status = 8
    word = "damaged"


class BadAnswer(Damaged):
    """The answer contradicts itself, the request, or an earlier answer."""


class BadLocation(ClientError, ValueError):
    """This cannot be the name of a blob."""

    word = "no location"


class SourceFailed(ClientError):
    """What was being sent cannot be read to its end, or changed meanwhile."""


class Lost(Exception):
    """One attempt that got no answer, or only a part of it.

    ``reached`` says whether the daemon may have seen the request; without it a retry is safe.
    """

    def __init__(self, reason: str, *, reached: bool = True) -> None:
        super().__init__(reason)
        self.reached = reached
