#!/usr/bin/env python3
"""Ask a daemon on this machine whether it is well: healthcheck.py [PID], by default of process 1.

It reads from the command line of the process, and from its configuration file, where the daemon
listens; the sockets that it has from systemd it finds in /proc. The exit status is 0 if
`GET /healthz` gets 200 on every address. The Docker image uses it.
"""

import http.client
import os
import socket
import ssl
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from twisted.internet.endpoints import quoteStringArgument

from gostore.daemon.parsers import endpoint_arguments
from gostore.daemon.settings import Settings
from gostore.tap import Options

PATIENCE = 5
LISTENS, ACCEPTS = "0A", 1 << 16
ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def settings_of(pid: str) -> Settings:
    """Parse the command line of a daemon as the daemon did."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        arguments = [os.fsdecode(each) for each in file.read().split(b"\0")[:-1]]
    # Some paths may be relative to its directory.
    with suppress(OSError):
        os.chdir(f"/proc/{pid}/cwd")
    options = Options()
    options.parseOptions(arguments[arguments.index("gostore") + 1 :])
    return options.settings


def place_of(listen: str) -> str:
    """The port or the path of an address."""
    _, values, named = endpoint_arguments(listen)
    return named.get("port") or named.get("address") or values[0]


def sockets_of(pid: str) -> Iterator[str]:
    """The addresses of the sockets that a process listens on, see proc(5)."""
    own = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed by now
            own.add(os.readlink(file))
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and f"socket:[{fields[9]}]" in own:
                host, port = fields[1].split(":")
                # The kernel writes words of its own byte order.
                words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
                address = socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
                yield f"{name}:{int(port, 16)}:interface={quoteStringArgument(address)}"
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if int(fields[3], 16) & ACCEPTS and f"socket:[{fields[6]}]" in own and len(fields) == 8:
            yield f"unix:{quoteStringArgument(fields[7])}"


def connect(listen: str) -> socket.socket:
    """Connect to an address that a daemon listens on."""
    kind, _, named = endpoint_arguments(listen)
    if kind == "unix":
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(place_of(listen))
        return client
    host = named.get("interface", "::" if kind == "tcp6" else "")
    client = socket.create_connection((ANY.get(host, host), int(place_of(listen))), PATIENCE)
    if kind != "ssl":
        return client
    # Is the daemon well? Whether its certificate is for this name is not the question.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(client)


def main() -> None:
    """Ask on every address."""
    pid = sys.argv[1] if len(sys.argv) > 1 else "1"
    settings = settings_of(pid)
    addresses = [listen for listen in settings.listen if not listen.startswith("systemd:")]
    if len(addresses) < len(settings.listen):
        known = {place_of(each) for each in (*addresses, settings.metrics) if each is not None}
        addresses += [each for each in sockets_of(pid) if place_of(each) not in known]
    names = sorted(settings.hosts or ())
    host = names[0].replace("*.", "health.") if names and names[0] != "*" else "localhost"
    for listen in addresses:
        connection = http.client.HTTPConnection(host)
        try:
            connection.sock = connect(listen)
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            print(f"{listen}: {answer.status} {answer.read().decode()}")
        except (OSError, http.client.HTTPException) as error:
            sys.exit(f"{listen}: {error}")
        if answer.status != 200:
            sys.exit(1)


if __name__ == "__main__":
    main()
