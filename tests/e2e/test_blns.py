"""The Big List of Naughty Strings as everything that a client can say, against a real daemon."""

from __future__ import annotations

import json
import re
from html import unescape
from urllib.parse import quote, unquote, urljoin

from tests.e2e.bad_inputs import Response, is_location, naughty_strings, request, talk
from tests.e2e.daemon import Daemon

STRINGS = naughty_strings()


def test_the_list_is_there() -> None:
    """The list has what makes it naughty, more than 400 of it."""
    assert len(STRINGS) > 400
    assert "' OR 1=1 -- 1" in STRINGS
    assert sum(map(is_location, STRINGS)) > 300
    assert not all(map(is_location, STRINGS))


def test_locations_and_bodies(daemon: Daemon) -> None:
    """Each string is a location and a body that come back exactly, after a restart too, or 400."""
    good = [text for text in STRINGS if is_location(text)]
    bad = [text for text in STRINGS if text and not is_location(text)]
    for text in good:
        (stored,) = talk(daemon.port, request("POST", text, text.encode()))
        assert stored.status == 204, text
    for text in bad:
        answers = talk(
            daemon.port,
            request("POST", text, text.encode()),
            request("GET", text),
            request("PUT", text, b"", "If-None-Match: *"),
            request("DELETE", text),
        )
        assert [answer.status for answer in answers] == [400] * 4, text
    daemon.kill()
    daemon.start()
    for text in good:
        (got,) = talk(daemon.port, request("GET", text))
        assert (got.status, got.body) == (200, text.encode()), text
    listed = get(daemon, "/store/?limit=10000")
    assert [entry["location"] for entry in json.loads(listed.body)] == sorted(
        good, key=lambda text: text.encode()
    )
    lines = get(daemon, "/store/?limit=10000&format=text").body.decode().split("\n")[:-1]
    assert {unquote(line.split("\t")[0]) for line in lines} == set(good)
    page = get(daemon, "/store/?limit=10000&delimiter=&format=html").body.decode()
    assert page.count("<tr>") == 1 + len(good)
    assert "<script" not in page
    links = {urljoin("/store/", unescape(link)) for link in re.findall('href="([^"]*)"', page)}
    assert {f"/store/{quote(text, safe='/')}" for text in good} <= links
    assert list(daemon.directory.parent.iterdir()) == [daemon.directory]


def test_queries(daemon: Daemon) -> None:
    """Each string, as any parameter of the list, is taken or refused with 400."""
    talk(daemon.port, request("POST", "foo", b""))
    for text in STRINGS:
        value = quote(text, safe="")
        for parameter in ("prefix", "after", "delimiter"):
            assert get(daemon, f"/store/?{parameter}={value}").status in (200, 400), text
        number = value.isdigit() and value.strip("0") != ""
        assert get(daemon, f"/store/?limit={value}").status == (200 if number else 400), text
        assert get(daemon, f"/store/?format={value}").status == 400, text


def test_fields(daemon: Daemon) -> None:
    """Each string, raw in header fields, is kept exactly, understood or refused with 4xx."""
    talk(daemon.port, request("POST", "foo", b"hello"))
    fields = [
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-Unmodified-Since",
        "If-Range",
        "Range",
        "Accept",
        "User-Agent",
        "X-Forwarded-For",
        "Authorization",
        "Cookie",
    ]
    uploads = ["Content-MD5", "Content-Digest", "Repr-Digest", "Content-Type"]
    for text in STRINGS:
        can_be_sent = not any(ord(letter) < 32 and letter != "\t" for letter in text)
        can_be_sent &= "\x7f" not in text
        kept = text.strip(" \t")
        answers = talk(
            daemon.port,
            request("PUT", "foo", b"hello", f"X-Gostore-Meta-Text: {text}"),
            request("GET", "foo"),
        )
        if can_be_sent:
            assert [answer.status for answer in answers] == [200, 200], text
            got = answers[1].headers["x-gostore-meta-text"].encode("latin-1")
            assert got.decode("utf-8") == kept, text
        else:
            assert answers[0].status == 400, text
        gets = [request("GET", "foo", None, f"{name}: {text}") for name in fields]
        if can_be_sent:
            answers = talk(daemon.port, *gets)
        else:
            # One at a time: each closes its connection.
            answers = [answer for get in gets for answer in talk(daemon.port, get)]
        wanted = (200, 206, 304, 412, 416) if can_be_sent else (400,)
        for name, answer in zip(fields, answers, strict=True):
            assert answer.status in wanted, (name, text)
        for name in uploads:
            (answer,) = talk(daemon.port, request("PUT", "foo", b"hello", f"{name}: {text}"))
            # 431: more members than are looked at.
            assert answer.status in (200, 400, 431), (name, text)
    assert daemon.running
    assert "Traceback" not in daemon.said


def get(daemon: Daemon, path: str) -> Response:
    """GET a path as it is, on a connection of its own."""
    (answer,) = talk(daemon.port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return answer
