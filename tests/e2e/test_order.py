"""The order of system calls, as strace sees it: nothing is answered or shown before it lasts.

What is asserted is not a list of calls, but which must come before which.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from attrs import frozen

from tests.e2e.conftest import Make
from tests.e2e.daemon import PATIENCE, Daemon, eventually

#: Too much to be taken in one piece, so that it is staged while it arrives.
LARGE = 300_000

CALLS = (
    "fsync,fdatasync,syncfs,rename,renameat,renameat2,mkdir,mkdirat,openat,openat2,write,writev,"
    "pwrite64,unlinkat,unlink,rmdir,sendto,sendmsg"
)

_LINE = re.compile(r"^\d+ +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")


def _can_trace() -> str | None:
    """Say why nothing can be traced here, or None."""
    if shutil.which("strace") is None:
        return "strace is missing: see .ci/have in the Makefile"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr!r}"


_WHY_NOT = _can_trace()
pytestmark = pytest.mark.skipif(_WHY_NOT is not None, reason=str(_WHY_NOT))


@frozen
class Call:
    """One call that succeeded; its arguments with paths relative to the data directory."""

    name: str
    arguments: str


def calls_of(trace: str, directory: Path) -> list[Call]:
    """Read a trace: calls in the order in which they ended, or began, for answers and renames.

    What a call makes to last counts from its end, what it shows to others from its beginning.
    """
    begun: dict[str, tuple[int, str]] = {}
    found: list[tuple[float, Call]] = []
    for number, line in enumerate(trace.splitlines()):
        thread = line.split(" ", 1)[0]
        start = number
        if line.endswith("<unfinished ...>"):
            begun[thread] = number, line.removesuffix("<unfinished ...>").rstrip()
            continue
        if resumed := re.match(r"^\d+ +<\.\.\. \w+ resumed>(.*)$", line):
            start, head = begun.pop(thread)
            line = head + resumed[1]
        match = _LINE.match(line)
        if match is None or match["result"].startswith("-"):
            continue
        shows = match["name"].startswith(("rename", "send", "write"))
        arguments = match["arguments"].replace(f"{directory}/", "").replace(str(directory), "/")
        if match["name"].startswith(("rename", "unlink", "openat")):
            # A name below an open directory that is not the root.
            arguments = re.sub(r'\d+<([^/>]+)>, "', r'"\1/', arguments)
        found.append((start if shows else number, Call(match["name"], arguments)))
    return [call for _, call in sorted(found, key=lambda one: one[0])]


def traced(
    daemon: Daemon, trace: Path, method: str, location: str, body: bytes | None, behind: str
) -> str:
    """Send one request and return the trace of what the daemon did for it.

    ``behind`` is what a call after the answer looks like, up to which it goes; "" for none.
    """
    before = trace.stat().st_size
    # In one piece: a small body that comes after its head takes the way of a large one.
    head = f"{method} /store/{location} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    length = f"Content-Length: {len(body or b'')}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE) as connection:
        connection.sendall((head + length).encode() + (body or b""))
        answer = connection.recv(4096)
    assert re.match(rb"HTTP/1\.1 20[04] ", answer), answer
    # strace writes a line when the call has ended; the client may see the answer earlier.
    return eventually(lambda: _until_answer(trace, before, behind), "the answer in the trace")


def _until_answer(trace: Path, before: int, behind: str) -> str:
    with trace.open(encoding="utf-8", errors="replace") as file:
        file.seek(before)
        text = file.read()
    answer = re.search(r"^.*(send\w+|write)\(.*HTTP/1\.1 20.*\n", text, re.MULTILINE)
    if answer and behind:
        answer = re.compile(f"^.*{behind}.*\n", re.MULTILINE).search(text, answer.end())
    return text[: answer.end()] if answer else ""


def first(calls: list[Call], names: str, arguments: str) -> int:
    """The index of the first call of these names whose arguments match."""
    for index, call in enumerate(calls):
        if re.fullmatch(names, call.name) and re.search(arguments, call.arguments):
            return index
    raise AssertionError(f"no {names} of {arguments} in:\n" + "\n".join(map(str, calls)))


Rule = tuple[tuple[str, str], tuple[str, str]]

FLUSH = "fsync|fdatasync"
ANSWER = ("send.*|write", r"HTTP/1\.1 20")
REVEAL = ("rename.*", r'"\.new-ID".*"ID"')
MARK = ("rename.*", r'"ID/blob_state\.base64\.json\.tmp"')
#: The flush of a batch; making the journal ends in an fsync.
JOURNAL_LASTS = ("fdatasync", r"<\.journal-\d>$")
#: A batch, not the title nor the zeros that the journal is made of.
APPEND = ("pwrite64", r'<\.journal-\d>, "(?!gostoreJ|\\0\\0\\0)')

#: Each row: what comes first, and what must come after it.  ID is the new blob's id.
STAGE = [
    # 1, 2: a stage, and a file in it that was not there.
    (("mkdir.*", r'"\.new-ID"'), ("openat2?", r'\.new-ID/data\.raw".*O_CREAT\|O_EXCL')),
    (("openat2?", r'\.new-ID/data\.raw".*O_CREAT'), REVEAL),
    # 7, 9: nobody is told before the rename.
    (REVEAL, ANSWER),
]
FILES = [
    *STAGE,
    # 4, 6: the bytes, the record and their directory last before the rename shows them.
    ((FLUSH, r"<\.new-ID/data\.raw>"), REVEAL),
    ((FLUSH, r"<\.new-ID/blob_state\.base64\.json"), REVEAL),
    (("fsync", r"<\.new-ID>"), REVEAL),
    # 8: the rename lasts before anybody is told.
    (REVEAL, ("fsync", "^[0-9]+<ROOT>$")),
    (("fsync", "^[0-9]+<ROOT>$"), ANSWER),
]
#: What is on the disk in the journal is written by recovery, if nobody has done it before. So its
#: files are made behind the answer: new ones, in a new directory.
JOURNAL = [
    (APPEND, JOURNAL_LASTS),
    (JOURNAL_LASTS, ANSWER),
    (ANSWER, ("mkdir.*", '"ID"')),
    (("mkdir.*", '"ID"'), ("openat2?", r'"ID/data\.raw".*O_CREAT\|O_EXCL')),
    (("openat2?", r'"ID/data\.raw"'), ("openat2?", r'"ID/blob_state\.base64\.json".*O_EXCL')),
]
DELETE = [
    # The tombstone takes the record's place as a whole.
    (("openat2?", r'"ID/blob_state\.base64\.json\.tmp".*O_EXCL'), MARK),
]
DELETE_FILES = [
    *DELETE,
    (MARK, ANSWER),
    ((FLUSH, r"<ID/blob_state\.base64\.json\.tmp>"), MARK),
    (MARK, ("fsync", "<ID>$")),
    (("fsync", "<ID>$"), ANSWER),
]
DELETE_JOURNAL = [
    *DELETE,
    (APPEND, JOURNAL_LASTS),
    (JOURNAL_LASTS, ANSWER),
    (ANSWER, MARK),
]
#: The last call that is made behind the answer, if files are.
MADE = r'openat2?\(.*[/"]blob_state\.base64\.json".*O_EXCL'
MARKED = r'rename.*[</"]ID[>/].*blob_state\.base64\.json\.tmp"'


def hold(calls: list[Call], rules: list[Rule], blob_id: str) -> None:
    """Hold a trace to a table."""
    for (name, arguments), (later, what) in rules:
        place = [
            first(calls, names, pattern.replace("ID", blob_id).replace("ROOT", "/"))
            for names, pattern in ((name, arguments), (later, what))
        ]
        assert place[0] < place[1], f"{name} {arguments} must come before {later} {what}: {calls}"


@pytest.mark.parametrize(
    ("sync", "size", "commit", "delete"),
    [
        ("files", 10, FILES, DELETE_FILES),
        ("files", LARGE, FILES, DELETE_FILES),
        ("journal", 10, JOURNAL, DELETE_JOURNAL),
        # What is large does not pass through the journal.
        ("journal", LARGE, FILES, DELETE_JOURNAL),
    ],
)
def test_order(
    make_daemon: Make, tmp_path: Path, sync: str, size: int, commit: list[Rule], delete: list[Rule]
) -> None:
    """POST, PUT and DELETE are shown and answered after what makes them last, never earlier."""
    trace = tmp_path / "trace"
    # -D: the process that is started, and can be killed, is the daemon.
    wrapper = ["strace", "-D", "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", str(trace)]
    daemon = make_daemon("--gc-interval", "3600", "--sync", sync, wrapper=wrapper).start()
    directory = (tmp_path / "data").resolve()
    made, marked = MADE if commit is JOURNAL else "", MARKED if sync == "journal" else ""
    posted = calls_of(traced(daemon, trace, "POST", "foo", bytes(size), made), directory)
    [old] = (name for name in daemon.names() if name.isdecimal())
    hold(posted, commit, old)

    put = calls_of(traced(daemon, trace, "PUT", "foo", b"2" * size, made), directory)
    # The old blob is marked by the collector, which is not to come in this test.
    [new] = {name for name in daemon.names() if name.isdecimal()} - {old}
    hold(put, commit, new)
    # 10: the old blob is whole until the new one lasts.
    answered = first(put, *ANSWER)
    assert not [call for call in put[:answered] if re.search(rf'["<]{old}[/">]', call.arguments)]

    gone = traced(daemon, trace, "DELETE", "foo", None, marked.replace("ID", new))
    hold(calls_of(gone, directory), delete, new)
