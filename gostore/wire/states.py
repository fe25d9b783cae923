"""The states of a connection. It goes down this list, and may leave out any but the last:

OPEN     requests are read and answered
LINGER   the last response is written. What the client still sends is dropped for a little while:
         if we closed on unread bytes, TCP would take the response back (RFC 9112 section 9.6)
CLOSING  nothing is read, and what is written is still on its way
LOST     the transport is gone
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where a connection is in its life."""

    OPEN = enum.auto()
    LINGER = enum.auto()
    CLOSING = enum.auto()
    LOST = enum.auto()


class Event(enum.Enum):
    """What moves it on."""

    LAST_ANSWER = enum.auto()
    """The last response is written, and the client may still send."""
    CLOSE = enum.auto()
    """Nothing more has to be read."""
    ABORT = enum.auto()
    """Something went wrong, and the client must not take what it has for the whole."""
    GONE = enum.auto()
    """The transport is gone."""


NEXT: dict[State, dict[Event, State]] = {
    State.OPEN: {
        Event.LAST_ANSWER: State.LINGER,
        Event.CLOSE: State.CLOSING,
        Event.ABORT: State.CLOSING,
        Event.GONE: State.LOST,
    },
    State.LINGER: {
        Event.CLOSE: State.CLOSING,
        Event.ABORT: State.CLOSING,
        Event.GONE: State.LOST,
    },
    State.CLOSING: {
        Event.ABORT: State.CLOSING,
        Event.GONE: State.LOST,
    },
    State.LOST: {},
}
"""The state that each event leads to. An event that is not here does not happen in that state."""
