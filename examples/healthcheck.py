#!/usr/bin/env python3
"""Ask a daemon on this machine whether it is well: healthcheck.py [PID], by default of process 1.

It reads from the command line of the process, and from its configuration file, where the daemon
listens. The exit status is 0 if `GET /healthz` gets 200 on every address. The Docker image uses it.
"""

import http.client
import os
import socket
import ssl
import sys
from contextlib import suppress

from gostore.daemon.parsers import endpoint_arguments
from gostore.daemon.settings import Settings
from gostore.tap import Options

PATIENCE = 5
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


def connect(listen: str) -> socket.socket:
    """Connect to an address that a daemon listens on."""
    kind, values, named = endpoint_arguments(listen)
    if kind == "unix":
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(named.get("address") or values[0])
        return client
    host = named.get("interface", "::" if kind == "tcp6" else "")
    port = int(named.get("port") or values[0])
    client = socket.create_connection((ANY.get(host, host), port), PATIENCE)
    if kind != "ssl":
        return client
    # Is the daemon well? Whether its certificate is for this name is not the question.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(client)


def main() -> None:
    """Ask on every address."""
    settings = settings_of(sys.argv[1] if len(sys.argv) > 1 else "1")
    names = sorted(settings.hosts or ())
    host = names[0].replace("*.", "health.") if names and names[0] != "*" else "localhost"
    for listen in settings.listen:
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
