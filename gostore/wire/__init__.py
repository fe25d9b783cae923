"""HTTP/1.0 and HTTP/1.1 for a server. It knows no route, no blob and no store.

It is the only room whose `__init__` has code: this is its one door. Open connection.py first: one
client's requests, one after another.
"""

from gostore.wire.body import Body, Sink
from gostore.wire.factory import HTTPFactory
from gostore.wire.handshakes import openssl_reason
from gostore.wire.head import MAX_MEMBERS, TEXT, TOKEN, Headers
from gostore.wire.limits import MAX_BODY, Limits
from gostore.wire.request import Exchange, Find, Forwarded, Request
from gostore.wire.response import (
    ERROR_HEADERS,
    INTERNAL_ERROR,
    PreparedFields,
    Source,
    Stretch,
    error_body,
    json_line,
    response_head,
)
from gostore.wire.tally import BYTES, SECONDS, Counts, Tally
from gostore.wire.transport import make_eager, make_patient
from gostore.wire.turns import Turns, shorten_turns

__all__ = [
    "BYTES",
    "ERROR_HEADERS",
    "INTERNAL_ERROR",
    "MAX_BODY",
    "MAX_MEMBERS",
    "SECONDS",
    "TEXT",
    "TOKEN",
    "Body",
    "Counts",
    "Exchange",
    "Find",
    "Forwarded",
    "HTTPFactory",
    "Headers",
    "Limits",
    "PreparedFields",
    "Request",
    "Sink",
    "Source",
    "Stretch",
    "Tally",
    "Turns",
    "error_body",
    "json_line",
    "make_eager",
    "make_patient",
    "openssl_reason",
    "response_head",
    "shorten_turns",
]
