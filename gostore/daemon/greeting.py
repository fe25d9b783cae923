"""What the daemon says when it starts: where it listens, what to paste, what to beware of."""

from __future__ import annotations

import ipaddress
import os
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from gostore.daemon.settings import Settings
from gostore.text import printable
from gostore.volume.changes import Sync


def greeting(settings: Settings, addresses: list[object]) -> list[str]:
    """Say where the daemon listens, where its blobs are, and give a command to paste."""
    lines = [f"Listening on {url(settings, address)}" for address in addresses]
    lines.append(f"Keeping blobs in {printable(settings.dir)}")
    if settings.sync is Sync.NONE:
        lines.append("Nothing is flushed to the disk (--sync none): a power cut may lose any blob")
    lines.extend(f"Try: {curl(settings, address)}" for address in addresses[:1])
    return lines


def warnings(settings: Settings, addresses: list[object]) -> list[str]:
    """Warn of each address that others may reach: nobody is asked for a password."""
    return [
        f"There is no authentication: whoever can reach {url(settings, address)} can read, replace"
        f" and delete every blob. To keep it to this machine: {how_to_hide(settings, address)}"
        for address in addresses
        if is_reachable(address)
    ]


def url(settings: Settings, address: object) -> str:
    """An address as a URL where there is one; a Unix socket by its path."""
    match address:
        case IPv4Address(host=host, port=port):
            return f"{_scheme(settings)}://{host}:{port}"
        case IPv6Address(host=host, port=port):
            return f"{_scheme(settings)}://[{host}]:{port}"
        case UNIXAddress():
            return f"unix:{_socket_path(address)}"
        case _:
            return str(address)


def curl(settings: Settings, address: object) -> str:
    """A curl command that stores a blob through this address."""
    host, socket = "localhost", ""
    match address:
        case IPv4Address(host="0.0.0.0", port=port) | IPv6Address(host="::", port=port):
            host = f"localhost:{port}"
        case IPv4Address(host=number, port=port):
            host = f"{number}:{port}"
        case IPv6Address(host=number, port=port):
            host = f"[{number}]:{port}"
        case UNIXAddress():
            socket = f"--unix-socket {_socket_path(address)} "
    return f"curl --request POST {socket}{_scheme(settings)}://{host}/store/hello --data 'Hello!'"


def how_to_hide(settings: Settings, address: Any) -> str:
    """What to tell the daemon so that only this machine can reach it, over TLS as before."""
    if _scheme(settings) == "https":
        return "interface=127.0.0.1 in the endpoint"
    return f"-s 127.0.0.1:{address.port}"


def is_reachable(address: object) -> bool:
    """Whether other machines may reach the address."""
    if not isinstance(address, (IPv4Address, IPv6Address)):
        return False
    return not ipaddress.ip_address(address.host.partition("%")[0]).is_loopback


def _scheme(settings: Settings) -> str:
    return "https" if settings.listen.startswith(("ssl:", "tls:")) else "http"


def _socket_path(address: UNIXAddress) -> str:
    name = address.name
    return printable(os.fsdecode(name)) if isinstance(name, (bytes, str)) else str(name)
