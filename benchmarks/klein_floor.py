"""Klein's own resource on twisted.web, answering from memory: what a build without care would do.

``python benchmarks/klein_floor.py PORT``. What is stored under a name that begins with "kept" can
be read; every other body is read and forgotten, so that a long run does not fill the memory.
"""

from __future__ import annotations

import sys

from klein import Klein
from twisted.internet import reactor
from twisted.web.iweb import IRequest
from twisted.web.server import Site

app = Klein()
kept: dict[str, bytes] = {}


@app.route("/store/<name>", methods=["GET"])
def read(request: IRequest, name: str) -> bytes:
    """Answer the bytes kept."""
    if name not in kept:
        request.setResponseCode(404)
    return kept.get(name, b"")


@app.route("/store/<name>", methods=["PUT", "POST"])
def write(request: IRequest, name: str) -> bytes:
    """Read a body."""
    body = request.content.read()
    if name.startswith("kept"):
        kept[name] = body
    request.setResponseCode(201)
    return b""


if __name__ == "__main__":
    site = Site(app.resource())
    # Twisted's own types do not know that a Site is what makes protocols.
    reactor.listenTCP(int(sys.argv[1]), site, interface="127.0.0.1")  # type: ignore[arg-type]
    reactor.run()
