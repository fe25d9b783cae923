"""The log of requests and answers.

A query may have a token in it, and fields have credentials. So a line has the path of a request
and nothing else that the client sent.
"""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from gostore.wire import Exchange

log = Logger()


def log_answer(exchange: Exchange) -> None:
    """Log one answer, at debug level."""
    request = exchange.request
    log.debug(
        "{client} {method} {path!r} {code} {sent}{remark} {id}",
        client=_name(exchange.client),
        method="-" if request is None else request.method,
        path="-" if request is None else request.path,
        code=exchange.code,
        sent=exchange.sent,
        remark=_remark(exchange),
        id=exchange.id.decode("ascii"),
    )


def _name(client: IAddress) -> str:
    """A client by its address and port, or by its kind if it has none."""
    host = getattr(client, "host", None)
    if host is None:
        return "unix"
    port: int = getattr(client, "port", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _remark(exchange: Exchange) -> str:
    if exchange.reason:
        return f" ({exchange.reason})"
    if exchange.is_cut_off:
        return " (cut off)" if exchange.code else " (the client went away)"
    return ""
