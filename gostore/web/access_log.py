"""The log of requests and answers.

A query may have a token in it, and fields have credentials. So a line has the path of a request,
its User-Agent, and nothing else that the client sent.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from enum import Enum

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.http import datetimeToLogString

from gostore.wire import Exchange

log = Logger()

_WORD = re.compile(r"[\w.@:-]+", re.ASCII)

GONE = 499
"""The status of a request whose client went before it was answered, as nginx has it."""

Form = Callable[[float, Exchange], str]
"""Writes a line, with its end, for an answer that ended at a time (seconds since the epoch)."""


def log_answer(exchange: Exchange) -> None:
    """Log one answer, at debug level."""
    request = exchange.request
    remark = _remark(exchange)
    log.debug(
        "{client} {method} {path!r} {code} {sent}{remark} {id}",
        client=_name(exchange.client),
        method="-" if request is None else request.method,
        path="-" if request is None else request.path,
        code=exchange.code,
        sent=exchange.sent,
        remark=f" ({remark})" if remark else "",
        id=exchange.id.decode("ascii"),
    )


def combined(when: float, exchange: Exchange) -> str:
    """Write a line as Apache's "combined" has it, and gostore's own columns after it.

    They are: the id, the bytes of the body that came, the seconds to the first and to the last byte
    of the answer, and the reason of a refusal. There is no Referer: its query may have a token.
    Twisted's own formatter would put the client in quotes, and write the query.
    """
    request = exchange.request
    line = "-"
    if request is not None:
        major, minor = request.version
        line = f"{request.method} {request.path} HTTP/{major}.{minor}"
    return (
        f"{getattr(exchange.client, 'host', None) or '-'} - {_user(exchange)}"
        f" {datetimeToLogString(when)}"
        f" {_quoted(line)} {exchange.code or GONE} {exchange.sent}"
        f' "-" {_quoted(_agent(exchange) or "-")}'
        f" {exchange.id.decode('ascii')} {exchange.received}"
        f" {exchange.first:.6f} {exchange.seconds:.6f} {_quoted(_remark(exchange) or '-')}\n"
    )


def as_json(when: float, exchange: Exchange) -> str:
    """Write an object on one line; what is not known is not there."""
    request = exchange.request
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when))
    values = {
        "time": f"{second}.{int(when % 1 * 1000):03}Z",
        "client": getattr(exchange.client, "host", None),
        "principal": _principal(exchange),
        "id": exchange.id.decode("ascii"),
        "method": request.method if request else None,
        "path": request.path if request else None,
        "status": exchange.code or GONE,
        "received": exchange.received,
        "sent": exchange.sent,
        "first": round(exchange.first, 6),
        "seconds": round(exchange.seconds, 6),
        "reason": _remark(exchange) or None,
        "agent": _agent(exchange),
    }
    known = {name: value for name, value in values.items() if value is not None}
    return json.dumps(known) + "\n"


class AccessLogFormat(Enum):
    """How the lines of the access log are written."""

    COMBINED = "combined"
    JSON = "json"

    @property
    def form(self) -> Form:
        """What writes them."""
        return combined if self is AccessLogFormat.COMBINED else as_json


def _quoted(text: str) -> str:
    """A text in quotes, on one line, in ASCII."""
    return json.dumps(text)


def _principal(exchange: Exchange) -> str | None:
    principal = exchange.request.principal if exchange.request else None
    return None if principal is None else str(principal.name)


def _user(exchange: Exchange) -> str:
    name = _principal(exchange)
    return "-" if name is None else name if _WORD.fullmatch(name) else _quoted(name)


def _agent(exchange: Exchange) -> str | None:
    agent = exchange.request.headers.get(b"user-agent") if exchange.request else None
    return None if agent is None else agent.decode("latin-1")


def _name(client: IAddress) -> str:
    """A client by its address and port, or by its kind if it has none."""
    host = getattr(client, "host", None)
    if host is None:
        return "unix"
    port: int = getattr(client, "port", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _remark(exchange: Exchange) -> str:
    if exchange.reason:
        return exchange.reason
    if exchange.is_cut_off:
        return "cut off" if exchange.code else "the client went away"
    return ""
