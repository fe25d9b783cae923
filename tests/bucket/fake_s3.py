"""An S3 in this process, as small as one can be, that misbehaves when a test tells it to.

It looks at no signature. What it speaks is what obstore asks for: objects with conditions and
ranges, lists, and uploads in parts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler
from time import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

from attrs import Factory, define, frozen

from tests.bucket.served import Served

BUCKET = "blobs"


@frozen
class Asked:
    """A request: its method, the key below the bucket, the query and the fields of its head."""

    method: str
    key: str
    query: dict[str, str]
    head: Any
    body: bytes


@frozen
class Answer:
    """An answer."""

    status: int
    body: bytes = b""
    fields: dict[str, str] = Factory(dict)


@define
class Kept:
    """An object, and when it was written."""

    data: bytes
    etag: str
    modified: float


def keys_in(body: bytes) -> list[str]:
    """The keys that a request to delete several objects names."""
    return [unescape(key) for key in re.findall("<Key>(.*?)</Key>", body.decode())]


def error(status: int, code: str, **fields: str) -> Answer:
    """An error as S3 words it."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>No.</Message></Error>"
    return Answer(status, text.encode(), {"Content-Type": "application/xml", **fields})


HTML = Answer(200, b"<!DOCTYPE html><title>Welcome</title>", {"Content-Type": "text/html"})


class FakeS3(Served):
    """The objects of one bucket, served until `close`.

    ``trouble`` is given each request; what it answers goes out in place of the true answer.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Kept] = {}
        #: The parts of uploads that have neither been completed nor aborted.
        self.uploads: dict[str, dict[int, bytes]] = {}
        #: The key of each upload, and when it began.
        self.begun: dict[str, tuple[str, float]] = {}
        self.asked: list[Asked] = []
        #: The uploads that one answer lists.
        self.uploads_page = 1000
        #: Whether the answer to an upload has the ETag. That of Ceph has none.
        self.tells_etags = True
        self.trouble: Callable[[Asked], Answer | None] = lambda asked: None
        self._lock = threading.Lock()
        self._numbers = 0
        super().__init__(_handler(self))

    def signers(self) -> set[str]:
        """The keys that requests were signed with."""
        found = [
            re.search("Credential=([^/]+)/", each.head["Authorization"]) for each in self.asked
        ]
        return {match[1] for match in found if match is not None}

    def answer(self, asked: Asked) -> Answer:
        """Do what a request asks for."""
        if (wrong := self.trouble(asked)) is not None:
            return wrong
        return self.perform(asked)

    def perform(self, asked: Asked) -> Answer:
        """Do it, in spite of any trouble."""
        with self._lock:
            self.asked.append(asked)
            if "uploadId" in asked.query or "uploads" in asked.query:
                return self._upload(asked)
            match asked.method:
                case "GET" | "HEAD":
                    return self._list(asked) if not asked.key else self._get(asked)
                case "PUT":
                    return self._put(asked)
                case "POST" if "delete" in asked.query:
                    return self._delete(asked)
                case "DELETE":
                    self.objects.pop(asked.key, None)
                    return Answer(204)
        return error(405, "MethodNotAllowed")

    def _get(self, asked: Asked) -> Answer:
        kept = self.objects.get(asked.key)
        if kept is None:
            return error(404, "NoSuchKey")
        if asked.head.get("If-Match", kept.etag).strip('"') != kept.etag:
            return error(412, "PreconditionFailed")
        fields = {"ETag": f'"{kept.etag}"', "Last-Modified": _date(kept.modified)}
        data, status = kept.data, 200
        if (wanted := asked.head.get("Range")) is not None:
            start, _, end = wanted.partition("=")[2].partition("-")
            data, status = data[int(start) : int(end) + 1], 206
            fields["Content-Range"] = f"bytes {start}-{int(start) + len(data) - 1}/{len(kept.data)}"
        return Answer(status, data, fields)

    def _put(self, asked: Asked) -> Answer:
        kept, wanted = self.objects.get(asked.key), asked.head.get("If-Match")
        if kept is not None and asked.head.get("If-None-Match") == "*":
            return error(412, "PreconditionFailed")
        if wanted is not None and kept is None:
            return error(404, "NoSuchKey")
        if wanted is not None and kept is not None and wanted.strip('"') != kept.etag:
            return error(412, "PreconditionFailed")
        return self.keep(asked.key, asked.body)

    def keep(self, key: str, data: bytes) -> Answer:
        """Write an object."""
        etag = md5(data).hexdigest()
        self.objects[key] = Kept(data, etag, time())
        return Answer(200, b"", {"ETag": f'"{etag}"'})

    def _delete(self, asked: Asked) -> Answer:
        """Delete several objects. obstore asks for one so, too."""
        keys = keys_in(asked.body)
        for key in keys:
            self.objects.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        text = f"<DeleteResult>{deleted}</DeleteResult>"
        return Answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _list(self, asked: Asked) -> Answer:
        prefix, after = asked.query.get("prefix", ""), asked.query.get("start-after", "")
        after = max(after, asked.query.get("continuation-token", ""))
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key].data)}</Size>"
            f"<ETag>{self.objects[key].etag}</ETag>"
            f"<LastModified>{_iso(self.objects[key].modified)}</LastModified></Contents>"
            for key in keys[:1000]
        )
        more = len(keys) > 1000
        last = escape(keys[999]) if more else ""
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
        text = (
            f"<ListBucketResult><Name>{BUCKET}</Name><KeyCount>{len(keys[:1000])}</KeyCount>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        )
        return Answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _upload(self, asked: Asked) -> Answer:
        if asked.method == "POST" and "uploads" in asked.query:
            self._numbers += 1
            name = f"upload-{self._numbers}"
            self.uploads[name] = {}
            self.begun[name] = asked.key, time()
            text = f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId>"
            return Answer(200, f"{text}</InitiateMultipartUploadResult>".encode())
        if asked.method == "GET":
            return self._list_uploads(asked.query)
        name = asked.query["uploadId"]
        parts = self.uploads.get(name)
        if parts is None:
            return error(404, "NoSuchUpload")
        if asked.method == "DELETE":
            del self.uploads[name]
            return Answer(204)
        if asked.method == "PUT":
            parts[int(asked.query["partNumber"])] = asked.body
            return Answer(200, b"", {"ETag": f'"{md5(asked.body).hexdigest()}"'})
        kept = self.keep(asked.key, b"".join(parts[number] for number in sorted(parts)))
        del self.uploads[name]
        etag = kept.fields["ETag"] if self.tells_etags else ""
        text = f"<CompleteMultipartUploadResult><ETag>{etag}</ETag>"
        return Answer(200, f"{text}</CompleteMultipartUploadResult>".encode())

    def _list_uploads(self, query: dict[str, str]) -> Answer:
        after = query.get("key-marker", ""), query.get("upload-id-marker", "")
        names = sorted((self.begun[name][0], name) for name in self.uploads)
        names = [
            (key, name)
            for key, name in names
            if key.startswith(query.get("prefix", "")) and (key, name) > after
        ]
        page = names[: self.uploads_page]
        entries = "".join(
            f"<Upload><Key>{escape(key)}</Key><UploadId>{name}</UploadId>"
            f"<Initiated>{_iso(self.begun[name][1])}</Initiated></Upload>"
            for key, name in page
        )
        more = len(names) > len(page)
        if more:
            key, name = page[-1]
            entries += f"<NextKeyMarker>{escape(key)}</NextKeyMarker>"
            entries += f"<NextUploadIdMarker>{name}</NextUploadIdMarker>"
        text = f"<IsTruncated>{str(more).lower()}</IsTruncated>{entries}"
        text = f"<ListMultipartUploadsResult>{text}</ListMultipartUploadsResult>"
        return Answer(200, text.encode(), {"Content-Type": "application/xml"})


def _handler(fake: FakeS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body in one go, or each answer waits for a delayed ACK.
        wbufsize = -1
        disable_nagle_algorithm = True

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            split = urlsplit(self.path)
            key = unquote(split.path).removeprefix(f"/{BUCKET}").removeprefix("/")
            query = {
                name: values[-1]
                for name, values in parse_qs(split.query, keep_blank_values=True).items()
            }
            answer = fake.answer(Asked(self.command, key, query, self.headers, body))
            self.send_response(answer.status)
            for name, value in answer.fields.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            self.wfile.flush()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


def _date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
