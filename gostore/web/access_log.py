"""The log of requests and answers."""

from __future__ import annotations

from twisted.logger import Logger

from gostore.wire import Exchange

log = Logger()


def log_answer(exchange: Exchange) -> None:
    """Log one answer, at debug level."""
    request = exchange.request
    log.debug(
        "{client} {method} {target!r} {code} {sent}",
        client=exchange.client,
        method=request.method if request is not None else "-",
        target=request.target if request is not None else b"",
        code=exchange.code,
        sent=exchange.sent,
    )
