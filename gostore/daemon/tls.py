"""The certificate and the key of an ``ssl:`` endpoint, which SIGHUP reads anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IStreamServerEndpoint
from zope.interface import implementer

from gostore.daemon.parsers import endpoint_arguments
from gostore.daemon.reloading import CannotReload
from gostore.wire import openssl_reason

_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class TLSContext:
    """Gives an endpoint the TLS of its connections. New ones get what was read last."""

    _listen: str
    _options: Any

    @classmethod
    def put_into(cls, endpoint: IStreamServerEndpoint, listen: str) -> TLSContext:
        """Make what the endpoint has taken from its string one that can be reloaded."""
        # Twisted has no public way to what it has made of the string.
        options: Any = endpoint._sslContextFactory  # type: ignore[attr-defined]
        _send_whole_chain(options, listen)
        context = cls(listen, options)
        endpoint._sslContextFactory = context  # type: ignore[attr-defined]
        return context

    def serverConnectionForTLS(self, tlsProtocol: object) -> Any:
        """The TLS of one more connection."""
        from OpenSSL.SSL import Connection

        return Connection(self._options.getContext(), None)

    def reload(self) -> str:
        """Read the files of the endpoint anew."""
        try:
            # Parsing an endpoint string does not touch the reactor, only listening does.
            endpoint: Any = serverFromString(None, self._listen)
            options = endpoint._sslContextFactory
            _send_whole_chain(options, self._listen)
            options.getContext()  # Or OpenSSL would find a weak key at each connection.
        except Exception as error:  # whatever OpenSSL and the file system have
            raise CannotReload(f"the certificate of {self._listen} ({_reason(error)})") from error
        changed = _digests(options) != _digests(self._options)
        self._options = options
        if not changed:
            return ""
        until = options.certificate.to_cryptography().not_valid_after_utc
        return f"the certificate of {self._listen} is a new one, until {until:%Y-%m-%d}"


def _digests(options: Any) -> list[bytes]:
    return [each.digest("sha256") for each in (options.certificate, *options.extraCertChain)]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return openssl_reason(error)


def _send_whole_chain(options: Any, listen: str) -> None:
    """Send all certificates of certKey=fullchain.pem. Twisted takes the first one only."""
    from twisted.internet.ssl import Certificate

    _, values, given = endpoint_arguments(listen)
    key, certificate = [*values[1:3], None, None][:2]
    key = given.get("privateKey") or key or "server.pem"
    path = given.get("certKey") or certificate or key
    found = _CERTIFICATE.findall(Path(path).read_text(encoding="utf-8", errors="replace"))
    rest = [Certificate.loadPEM(each.encode()).original for each in found[1:]]
    sent = {each.digest("sha256") for each in rest}
    more = [each for each in options.extraCertChain if each.digest("sha256") not in sent]
    options.extraCertChain = rest + more
