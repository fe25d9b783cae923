"""What passes requests on to an engine, and tells of each before and after the engine has it."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler

from tests.bucket.fake_s3 import keys_in
from tests.bucket.served import Served
from tests.e2e.daemon import PATIENCE

#: What an object is, by a piece of its key.
_KINDS = {
    "/locations/": "pointer",
    "/data.raw": "data",
    "/blob_state.": "record",
    "/garbage/": "marker",
    "/gc/lease": "lease",
}


def step_of(method: str, path: str, body: bytes) -> str:
    """Name a request for people: "PUT pointer", "POST data?uploads"."""
    if method == "POST" and "?delete" in path:
        # So obstore deletes an object, too.
        method, path = "DELETE", "".join(f"/{key}" for key in keys_in(body))
    kind = next((kind for piece, kind in _KINDS.items() if piece in path), "")
    query = path.partition("?")[2]
    name = query.partition("&")[0].partition("=")[0] if kind == "data" and query else ""
    return f"{method} {kind}{'?' if name else ''}{name}"


class Lost(Exception):
    """The request goes no further, or its answer does not."""


class Relay(Served):
    """Listens at a port of its own, until `close`; signatures are of that, and stay good."""

    def __init__(self, port: int) -> None:
        """``port`` is the engine's."""
        self.engine = port
        #: Called with the name of each request before it is passed on, and after it was carried
        #: out. It raises Lost if that is to be the end of it.
        self.before: Callable[[str], None] = lambda step: None
        self.after: Callable[[str], None] = lambda step: None
        super().__init__(_handler(self))


def _handler(relay: Relay) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def serve(self) -> None:
            try:
                self.pass_on()
            except (Lost, OSError):
                self.close_connection = True

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            step = step_of(self.command, self.path, body)
            relay.before(step)
            engine = HTTPConnection("127.0.0.1", relay.engine, timeout=PATIENCE)
            engine.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                engine.putheader(name, value)
            engine.endheaders(body)
            answer = engine.getresponse()
            data = answer.read()
            engine.close()
            relay.after(step)
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
            if answer.status != 204:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
